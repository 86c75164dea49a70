"""`configure()`: a program's set-up in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec

from opentelemetry.sdk.trace import TracerProvider

from opentelemetry import trace

from .exporter import VersoriFlowSpanExporter
from .processor import VersoriFlowSpanProcessor
from .settings.load import ConfigurationError
from .settings.readers import Secret

_Keywords = ParamSpec("_Keywords")


def _with_keywords_of(
    _: Callable[_Keywords, object],
) -> Callable[[Callable[..., TracerProvider]], Callable[_Keywords, TracerProvider]]:
    """Types a function by the keywords of another, so that they are written once."""
    return lambda function: function


@_with_keywords_of(VersoriFlowSpanExporter)
def configure(**keywords: Any) -> TracerProvider:
    """Sends the program's spans to Versori flows from now on.

    It makes a `TracerProvider` with a `VersoriFlowSpanProcessor`, and makes it the global one. The resource is the
    environment's (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES). At the end of the program the provider is shut
    down, and what is pending delivered. A program that auto-instrumentation starts needs no call of it.

    Args:
        **keywords: Those of `VersoriFlowSpanExporter`; all have a variable, and may be left out.

    Returns:
        The provider, to flush or to add other processors.

    Raises:
        ConfigurationError: Settings are missing or wrong, or the program has a global provider already, which
            can't be replaced: add a `VersoriFlowSpanProcessor` to that one.
    """
    hidden, keywords = Secret(keywords), {}
    before = trace.get_tracer_provider()
    if not isinstance(before, trace.ProxyTracerProvider):
        raise _already(before)
    exporter = VersoriFlowSpanExporter(**hidden.reveal())
    provider = TracerProvider()
    provider.add_span_processor(VersoriFlowSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    now = trace.get_tracer_provider()
    if now is not provider:  # another thread was faster
        provider.shutdown()
        raise _already(now)
    return provider


def _already(provider: object) -> ConfigurationError:
    kind = f"{type(provider).__module__}.{type(provider).__qualname__}"
    return ConfigurationError(
        f"the program has a global tracer provider already ({kind}), set in code or by auto-instrumentation: call "
        "configure() before that or leave it out, or call"
        " provider.add_span_processor(VersoriFlowSpanProcessor(VersoriFlowSpanExporter()))"
    )
