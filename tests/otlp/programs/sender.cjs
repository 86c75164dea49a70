// A program as its authors write it: OpenTelemetry's own SDK, told by OpenTelemetry's own variables.
// node sender.cjs proto|http
const { context, trace, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${process.argv[2]}`);

const provider = new BasicTracerProvider({
  resource: resourceFromAttributes({ 'service.name': `node-${process.argv[2]}`, 'service.version': '1.2' }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
});
const tracer = provider.getTracer('checkout', '0.9');
const linked = { traceId: '1'.repeat(32), spanId: '2'.repeat(16), traceFlags: 1 };
const root = tracer.startSpan('POST /orders', {
  kind: SpanKind.SERVER,
  links: [{ context: linked, attributes: { why: 'batch' } }],
  attributes: { 'http.status': 500, big: Number.MAX_SAFE_INTEGER, ratio: 0.5, ok: false, tags: ['a', 'b'], ü: '✓' },
});
const child = tracer.startSpan('charge', { kind: SpanKind.CLIENT }, trace.setSpan(context.active(), root));
child.addEvent('retry', { attempt: 2 });
child.recordException(new Error('card declined'));
child.setStatus({ code: SpanStatusCode.ERROR, message: 'declined' });
child.end();
root.setStatus({ code: SpanStatusCode.OK });
root.end();
provider.shutdown().then(() => console.log(root.spanContext().traceId, child.spanContext().spanId));
