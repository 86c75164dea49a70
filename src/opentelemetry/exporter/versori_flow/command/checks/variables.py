"""OpenTelemetry's own variables: whether spans are made at all, and whether they come to this exporter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import SimpleNamespace
from typing import Any, cast

from ...routing.default_flow import DefaultFlow
from ...settings.table import Settings
from .finding import Finding, ok, skipped, warning, wrong
from .installed import ENTRY_POINT

_TRACES = "OTEL_TRACES_EXPORTER"
_SIGNALS = ("metrics", "logs")
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http", "http/json": "otlp_json_http"}


def by_environment() -> bool:
    """Whether OTEL_TRACES_EXPORTER names this exporter."""
    return ENTRY_POINT in _names(_value(_TRACES))


def look() -> Iterator[Finding]:
    """What the variables say."""
    if _value("OTEL_SDK_DISABLED").lower() == "true":
        yield wrong(
            "variables",
            "sdk-disabled",
            "OTEL_SDK_DISABLED is true: no span is made at all",
            "unset OTEL_SDK_DISABLED",
        )
    if file := _value("OTEL_CONFIG_FILE"):
        yield skipped("variables", f"OTEL_CONFIG_FILE names {file}: exporters and sampler are what it says")
        return
    findings = [*_traces(), *_sampler(), *(found for signal in _SIGNALS for found in _other(signal))]
    yield from findings
    if not findings:
        yield ok("variables", f"{_TRACES} names {ENTRY_POINT}, and nothing keeps spans from it")


def flow_of(settings: Settings) -> tuple[str | None, list[Finding]]:
    """The flow that a program with this environment writes, where that can be known; and what is odd about it."""
    from opentelemetry.sdk.resources import Resource

    if callable(settings.flow_name):
        return None, []
    default = DefaultFlow(settings.flow_name)
    name = default(cast("Any", SimpleNamespace(resource=Resource.create())))
    found = []
    for remark in default.remarks():
        # A program may name its service in code; one that auto-instrumentation starts can't.
        say = wrong if by_environment() else warning
        if "OTEL_SERVICE_NAME" in remark:
            text, change = remark.partition(": ")[2].rpartition("; ")[0], "set OTEL_SERVICE_NAME"
            found.append(say("flow", "service-name-unknown", text, change))
        else:
            change = "set it in OTEL_RESOURCE_ATTRIBUTES, or change VERSORI_FLOW_NAME"
            found.append(say("flow", "template-attribute-missing", _readable(remark), change))
    return name, found or [ok("flow", f"spans go to the flow {name!r}, unless they name another")]


def _readable(remark: str) -> str:
    return remark.replace("that the resource of these spans lacks", "that the environment's resource lacks")


def _traces() -> Iterator[Finding]:
    names = _names(_value(_TRACES))
    if not names:
        yield warning(
            "variables",
            "traces-exporter-unset",
            f"{_TRACES} is not set: opentelemetry-instrument sends its spans elsewhere",
            f"set {_TRACES}={ENTRY_POINT}, or start the program by `versori-flow run`",
        )
    elif ENTRY_POINT not in names:
        yield wrong(
            "variables",
            "traces-exporter-other",
            f"{_TRACES} is {','.join(names)}: spans go there, and not to Versori",
            f"set {_TRACES}={','.join([*(name for name in names if name != 'none'), ENTRY_POINT])}",
        )


def _sampler() -> Iterator[Finding]:
    sampler, share = _value("OTEL_TRACES_SAMPLER").lower(), _value("OTEL_TRACES_SAMPLER_ARG")
    never = sampler.endswith("always_off")
    if sampler.endswith("traceidratio"):
        try:
            never = float(share) == 0
        except ValueError:
            never = False  # the SDK takes all then
    if never:
        yield wrong(
            "variables",
            "sampler-off",
            f"OTEL_TRACES_SAMPLER is {sampler}{f' with {share}' if share else ''}: no span is sampled",
            "unset OTEL_TRACES_SAMPLER",
        )


def _other(signal: str) -> Iterator[Finding]:
    """The exporters of another signal, which end all of auto-instrumentation's set-up where they are missing."""
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    value = _value(variable)
    if not value and not by_environment():
        return  # `versori-flow run` says none
    for name in _names(value or "otlp"):
        protocol = _value(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or _value(
            "OTEL_EXPORTER_OTLP_PROTOCOL"
        )
        needed = _OTLP.get(protocol or "grpc", name) if name == "otlp" else name
        if needed == "none" or entry_points(group=f"opentelemetry_{signal}_exporter", name=needed):
            continue
        says = f"is {name}" if value else "is not set, which means otlp"
        yield wrong(
            "variables",
            f"{signal}-exporter-missing",
            f"{variable} {says}, and the exporter {needed} is not installed: all of the set-up fails",
            f"set {variable}=none",
        )


def _value(variable: str) -> str:
    return os.environ.get(variable, "").strip()


def _names(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]
