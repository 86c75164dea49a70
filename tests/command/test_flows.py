"""What the command says of flows that a platform has: list, show, delete, export, diff, tail."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from opentelemetry.exporter.versori_flow.command.cli import run_command
from opentelemetry.exporter.versori_flow.command.diff import compare
from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.command.otlp_json import as_otlp
from opentelemetry.exporter.versori_flow.command.tail import Followed
from opentelemetry.exporter.versori_flow.encoding.span import SpanEncoder
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.command.test_cli import CLEAN, COMMAND, versori_flow
from tests.server.platform_client import make_flow, make_span


class Said(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def platform() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="local") as running:
        yield running


@pytest.fixture
def command(
    platform: LocalPlatform, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Said]:
    """Runs the command in this process, with the platform's credentials."""
    for name, value in local_credentials(platform.url).items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["versori-flow", *arguments])
        status = run_command()
        out, err = capsysbinary.readouterr()
        return Said(status, out.decode(), err.decode())

    return command


def span(name: str, span_id: int, parent: int = 0, trace: int = 1, **members: Any) -> dict[str, Any]:
    context = {"traceId": f"{trace:032x}", "spanId": f"{span_id:016x}", "traceFlags": 1}
    if parent:
        members["parentSpanContext"] = {**context, "spanId": f"{parent:016x}"}
    start = f"2026-03-01T10:{trace:02d}:{span_id:02d}.000000000Z"
    return make_span(name, **{"startTime": start, "spanContext": context, **members})


FAILED = {"status": {"code": 1}}


def test_list_says_what_each_flow_holds(platform: LocalPlatform, command: Callable[..., Said]) -> None:
    """A line a flow, the one that was added to last at the end; the same as JSON; none is said as such."""
    said = command("list")
    assert (said.status, said.out.count("\n")) == (0, 1)
    assert "there is no flow in project" in said.out
    platform.put("new", make_flow(span("a", 1, trace=9), name="new"))
    platform.put("old", make_flow(span("a", 1), span("b", 2, 1, **FAILED), span("c", 3, trace=2), name="old"))
    heads, *rows = command("list").out.splitlines()
    assert heads.split() == ["flow", "traces", "spans", "errors", "newest"]
    assert [row.split()[:4] for row in rows] == [["old", "2", "3", "1"], ["new", "1", "1", "0"]]
    listed = json.loads(command("list", "--json").out)
    assert [(each["name"], each["errors"]) for each in listed] == [("old", 1), ("new", 0)]


@pytest.mark.parametrize("words", [["show"], ["export"], ["delete", "-y"], ["diff"]])
def test_an_unknown_name_is_answered_by_what_there_is(
    platform: LocalPlatform, command: Callable[..., Said], words: list[str]
) -> None:
    """The nearest names, else those that there are; where it was looked; one line, and status 1."""
    assert "nor any other" in command(*words, "shop").err
    platform.put("Shop-EU", make_flow(name="Shop-EU"))
    platform.put("billing", make_flow(name="billing"))
    for name, named in (("shop-eu", "did you mean 'Shop-EU'?"), ("zzz", "there are 'Shop-EU', 'billing'")):
        said = command(*words, name)
        assert (said.status, said.out, said.err.count("\n")) == (1, "", 1)
        assert named in said.err
        assert f"in project {platform.project_id} of organisation {platform.organisation_id}" in said.err


def test_a_wrong_address_is_not_a_missing_flow(
    platform: LocalPlatform, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is not the API, or a wrong path of it, is named as that, with the variable to check."""
    platform.fault("status=404,body=<html>no such page</html>")
    for words in (["show", "shop"], ["list"], ["delete", "-y", "shop"], ["export", "shop"]):
        said = command(*words)
        assert (said.status, said.err.count("\n")) == (1, 1)
        assert "is not the API of flows" in said.err
        assert "VERSORI_API_BASE_URL" in said.err


def test_delete_asks(platform: LocalPlatform, command: Callable[..., Said]) -> None:
    """Nobody answers: nothing is deleted, and it is said. With --yes it is."""
    platform.put("shop", make_flow(span("a", 1), name="shop"))
    said = command("delete", "shop")
    assert said.status == 1
    assert "with 1 span, in project" in said.err
    assert platform.flow("shop") is not None
    assert command("delete", "shop", "--yes").status == 0
    assert platform.flow("shop") is None


def test_export_prints_the_flow_as_it_is_stored(
    platform: LocalPlatform, command: Callable[..., Said], tmp_path: Any
) -> None:
    """Byte for byte, unknown members and long numbers too; a file that can't be written is a line."""
    platform.put("shop", b'{"name":"shop", "more":[1.10,1E400,' + b"9" * 5000 + b'],"spans":[]}')
    stored = platform.raw("shop") or b""
    assert command("export", "shop").out.encode() == stored + b"\n"
    file = tmp_path / "shop.json"
    assert command("export", "shop", "-o", str(file)).status == 0
    assert file.read_bytes() == stored + b"\n"
    said = command("export", "shop", "-o", str(tmp_path))
    assert (said.status, said.err) == (1, f"versori-flow: {tmp_path}: Is a directory\n")


def test_numbers_beyond_a_float_leave_json_json(
    platform: LocalPlatform, command: Callable[..., Said]
) -> None:
    """What is printed as JSON is JSON, whatever numbers a flow holds: such a one stays as it was written."""
    odd = b'1e999,"at":-1E400,"long":' + b"9" * 5000
    spans = [span("a", 1, attributes={"n": 0.25}), span("b", 2, trace=2, attributes={"n": 0.25})]
    stored = json.dumps(make_flow(*spans, name="shop")).encode()
    platform.put("shop", stored.replace(b"0.25", odd).replace(b'"duration": 0', b'"duration": 1e999'))

    def refuse(name: str) -> None:
        raise AssertionError(name)

    for words in (["show", "--json"], ["export", "--format", "otlp"], ["diff", "--json"], ["list", "--json"]):
        said = command(words[0], *(["shop"] if words[0] != "list" else []), *words[1:])
        assert (said.status, said.err) == (0, "")
        json.loads(said.out, parse_constant=refuse)
        assert "1e999" in said.out or words[0] in ("diff", "list")
    for words in (["show"], ["diff"], ["list"]):
        assert command(*words, *(["shop"] if words[0] != "list" else [])).status == 0


def readable_spans() -> list[ReadableSpan]:
    """Spans that have everything that OpenTelemetry knows."""
    state = TraceState([("a", "1"), ("b", "2")])
    context = SpanContext(0xA1, 0xB1, False, TraceFlags(1), state)
    linked = SpanContext(0xA2, 0xB2, True, TraceFlags(0), TraceState([("c", "3")]))
    attributes = {"text": "é", "int": 7, "float": 0.5, "bool": True, "otel.status_code": "mine"}
    whole = ReadableSpan(
        "whole", context, parent=SpanContext(0xA1, 0xB0, False), kind=SpanKind.CLIENT,
        resource=Resource({"service.name": "shop"}), attributes={**attributes},
        events=[Event("seen", {"n": 1}, 1_700_000_000_123_456_789)],
        links=[Link(linked, {"why": "batch"}), Link(context)],
        status=Status(StatusCode.UNSET), start_time=1_700_000_000_000_000_001, end_time=1_700_000_001_000_000_002,
        instrumentation_scope=InstrumentationScope("lib", "1.2"),
    )  # fmt: skip
    made = [whole]
    for number, (kind, status) in enumerate(
        [
            (SpanKind.INTERNAL, Status(StatusCode.OK)),
            (SpanKind.SERVER, Status(StatusCode.ERROR, "it broke")),
            (SpanKind.PRODUCER, Status(StatusCode.ERROR)),
            (SpanKind.CONSUMER, Status(StatusCode.UNSET)),
        ]
    ):
        made.append(
            ReadableSpan(
                f"span {number}",
                SpanContext(0xA1, 0xC0 + number, False, TraceFlags(1)),
                kind=kind,
                resource=Resource({"service.name": "warehouse"}),
                attributes={},
                status=status,
                start_time=1_700_000_000_000_000_000,
                end_time=1_700_000_000_000_000_000,
                instrumentation_scope=InstrumentationScope("other"),
            )
        )
    return made


def otlp_spans(document: dict[str, Any]) -> dict[str, Any]:
    """Spans by id, each with its resource and scope; what is empty is not there."""
    found = {}
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for each in scope["spans"]:
                kept = {key: value for key, value in each.items() if value not in ([], {}, 0, "")}
                if "attributes" in kept:
                    kept["attributes"] = sorted(kept["attributes"], key=lambda pair: str(pair["key"]))
                attributes = [
                    pair for pair in resource["resource"]["attributes"] if pair["key"] == "service.name"
                ]
                found[each["spanId"]] = (kept, attributes, scope["scope"])
    return found


def hexadecimal(value: Any) -> Any:
    """protobuf's own JSON has ids in base64 and kinds by name; OTLP's has hexadecimal and numbers."""
    import base64

    if isinstance(value, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {
            key: base64.b64decode(inner).hex() if key in ids else hexadecimal(inner)
            for key, inner in value.items()
        }
    return [hexadecimal(inner) for inner in value] if isinstance(value, list) else value


def test_otlp_is_what_the_otlp_exporter_would_have_sent() -> None:
    """Ids, times, kind, status, typed attributes, events, links, state, scope and resource come back."""
    spans = readable_spans()
    encoded = [json.loads(each.body) for each in SpanEncoder(["service.name"]).encode(spans)]
    made, left_out = as_otlp({"name": "f", "description": "d", "spans": encoded}, ["service.name"])
    assert left_out == []
    sent = hexadecimal(MessageToDict(encode_spans(spans), use_integers_for_enums=True))
    ours, theirs = otlp_spans(made), otlp_spans(sent)
    for each in theirs.values():
        each[0].pop("flags", None)
        for link in each[0].get("links", ()):
            link.pop("flags", None)
    for each in ours.values():
        each[0].pop("flags", None)
        for link in each[0].get("links", ()):
            # OpenTelemetry's exporter leaves a link's state out.
            assert link.pop("traceState") in ("c=3", "a=1,b=2")
            link.pop("attributes") if not link["attributes"] else None
    assert ours == theirs
    names = {pair["key"]: pair["value"] for pair in made["resourceSpans"][0]["resource"]["attributes"]}
    assert names["versori.flow.name"] == {"stringValue": "f"}
    assert names["versori.flow.description"] == {"stringValue": "d"}


def test_otlp_keeps_what_only_looks_like_the_exporters() -> None:
    """Counts come back as counts; a user's own value of such a name stays an attribute; broken spans are told."""
    odd = span(
        "odd", 1, ended=False,
        attributes={
            "otel.links": "none", "span.kind": "odd", "otel.dropped_events_count": 3,
            "otel.dropped_links_count": "many",
        },
    )  # fmt: skip
    made, left_out = as_otlp({"spans": [odd, {"name": "no ids"}, 7]}, [])
    only = made["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert (only["droppedEventsCount"], only["endTimeUnixNano"]) == (3, "0")
    assert {pair["key"] for pair in only["attributes"]} == {
        "otel.links", "span.kind", "otel.dropped_links_count",
    }  # fmt: skip
    assert len(left_out) == 2


def test_deep_trees_stay_readable(
    platform: LocalPlatform, command: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns a span of level 40 stands on one line with its name, and says its level."""
    monkeypatch.setattr("opentelemetry.exporter.versori_flow.command.terminal._PIPE_WIDTH", 80)
    spans = [span(f"work of level {n}", n, n - 1) for n in range(1, 41)]
    platform.put("deep", make_flow(*spans, name="deep"))
    lines = [line.rstrip() for line in command("show", "deep").out.splitlines()]
    assert max(map(len, lines)) <= 80
    for level in range(1, 41):
        (line,) = (each for each in lines if f"work of level {level}  " in each)
        assert line.endswith(f"(level {level})") == (level > 10)


def test_diff_says_what_changed(platform: LocalPlatform, command: Callable[..., Said]) -> None:
    """Spans that came, went, became slower or faster, or failed: in two traces, chosen ones, and two flows."""
    before = [
        span("root", 1, duration=10), span("gone", 2, 1), span("slow", 3, 1, duration=5),
        span("fast", 4, 1, duration=50), span("same", 5, 1, duration=5),
    ]  # fmt: skip
    after = [
        span("root", 1, trace=2, duration=10), span("slow", 3, 1, 2, duration=50),
        span("fast", 4, 1, 2, duration=5), span("same", 5, 1, 2, duration=5.2, **FAILED), span("new", 6, 5, 2),
    ]  # fmt: skip
    expected = {
        "root": [], "gone": ["went"], "slow": ["slower"], "fast": ["faster"], "same": ["errors"], "new": ["came"],
    }  # fmt: skip
    platform.put("shop", make_flow(*before, *after, name="shop"))
    platform.put("one", make_flow(*before, name="one"))
    platform.put("two", make_flow(*after, name="two"))
    by_id = ["--trace", f"{1:032x}", "--trace", f"{2:032x}"]
    for words in (["shop"], ["shop", *by_id], ["one", "two"]):
        found = json.loads(command("diff", *words, "--json").out)
        assert {each["path"][-1]: each["what"] for each in found["spans"]} == expected
    said = command("diff", "shop")
    assert said.out.splitlines()[-1] == "1 came, 1 went, 1 slower, 1 faster, 1 errors"
    alone = command("diff", "one")
    assert (alone.status, alone.err.count("\n")) == (1, 1)
    assert "it takes two to compare" in alone.err
    assert "begin with 'beef'" in command("diff", "shop", "--trace", "beef").err


def test_what_hangs_on_no_root_is_compared_too() -> None:
    """Spans in a circle, or that are no spans, are counted and never go round."""
    circle = [span("a", 1, 2), span("b", 2, 1), 7]
    assert {change.path for change in compare(circle, circle)} >= {("a",), ("b",)}


SPANS = st.lists(
    st.builds(span, st.sampled_from("abc"), st.integers(1, 8), st.integers(0, 8), st.integers(1, 2)),
    max_size=10,
)


@given(SPANS, SPANS)
def test_what_went_stands_behind_its_former_siblings(before: list[Any], after: list[Any]) -> None:
    """Each of the kinds once: those of after in their order, each other one behind all below its former parent."""
    order = [change.path for change in compare(after, after)]
    for path in (change.path for change in compare(before, before)):
        if path not in order:
            above = path[:-1]
            beside = [n for n, each in enumerate(order, 1) if each[: len(above)] == above]
            order.insert(max(beside, default=len(order)), path)
    assert [change.path for change in compare(before, after)] == order


def test_tail_shows_a_trace_once_it_is_quiet_and_again_when_it_grows() -> None:
    """What was there is not shown; a new trace is, one look after its last span; a late span shows it again."""

    def flow(*spans: Any) -> list[dict[str, Any]]:
        return [{"name": "shop", "spans": list(spans)}]

    old, one, two, late = span("old", 1), span("a", 1, trace=2), span("b", 2, 1, 2), span("c", 3, 1, 2)
    followed = Followed(flow(old))
    assert followed.look(flow(old, one)) == []
    assert followed.look(flow(old, one, two)) == []
    assert [len(trace.spans) for trace in followed.look(flow(old, one, two))] == [2]
    assert followed.look(flow(old, one, two)) == []
    assert followed.look(flow(old, one, two, late)) == []
    assert [len(trace.spans) for trace in followed.look(flow(one, two, late))] == [3]


def test_tail_remembers_nothing_of_what_has_left() -> None:
    """Traces pass through a flow for ever, and memory is of what it holds: one that comes again is new."""
    one, two = ([{"name": "shop", "spans": [span("a", 1, trace=number)]}] for number in (1, 2))
    followed = Followed(one)
    for flows in (two, one, two):
        assert followed.look(flows) == []
        assert [trace.spans for trace in followed.look(flows)] == [flows[0]["spans"]]
        assert followed.look(flows) == []


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "inf", "1e300", "0.05", "x", ""])
def test_tail_refuses_an_interval_that_is_none(interval: str) -> None:
    """One line, and status 2."""
    done = versori_flow("tail", "--interval", interval)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "'--interval'" in done.stderr


def test_tail_prints_new_traces_through_an_outage(platform: LocalPlatform) -> None:
    """What comes is printed as it comes; an outage is said once, as is its end."""
    platform.put("shop", make_flow(span("old", 1), name="shop"))
    words = ["tail", "shop", "--json", "--interval", "0.1"]
    with subprocess.Popen(
        [*COMMAND, *words], env={**CLEAN, **local_credentials(platform.url)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as tail:  # fmt: skip
        try:
            assert tail.stdout is not None
            assert tail.stderr is not None
            assert "waiting for traces of 'shop' in project" in tail.stderr.readline()
            fault = platform.fault("status=503,method=GET")
            assert "can't be asked now" in tail.stderr.readline()
            fault.clear()
            assert "answers again" in tail.stderr.readline()
            platform.put("shop", make_flow(span("old", 1), span("new", 1, trace=2), name="shop"))
            assert json.loads(tail.stdout.readline())["trace_id"] == f"{2:032x}"
        finally:
            tail.kill()


def test_the_demo_shows_errors_depth_and_links(tmp_path: Path) -> None:
    """Its flow has failed spans, events, a trace of twelve levels and more, links, and two services."""
    done = versori_flow("demo", "--once", "--port", "0", "--orders", "10", "--data", str(tmp_path / "flows"))
    assert done.returncode == 0, done.stderr
    with LocalPlatform(data=tmp_path / "flows") as later:
        spans = later.spans("demo shop")
    assert any(each["status"]["code"] == 1 for each in spans)
    assert any(each["events"] for each in spans)
    assert any("otel.links" in each["attributes"] for each in spans)
    assert "approval, level 12" in {each["name"] for each in spans}
    assert {each["attributes"]["service.name"] for each in spans} == {"shop", "warehouse"}
