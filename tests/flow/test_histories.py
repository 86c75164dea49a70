"""Any history of one or two exporters that write the same flows: nothing is lost but what is counted."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from opentelemetry.exporter.versori_flow.flow.flows import FlowStep
from opentelemetry.exporter.versori_flow.flow.policy import FlowPolicy
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.flow.stored import read
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from tests.flow.model import NOW_NS, SECOND, Platform, loads, make_policy, make_span
from tests.flow.several import Routing, perform, settle_all
from tests.profiles import QUICK

FLOWS = ("A", "B", "C")
POISON = "poison"
FOREIGN_MEMBERS = b'"x-labels" : {"n": 1.50, "big": ' + b"9" * 5000 + b"}"

EXAMPLES = int(os.environ.get("HISTORIES", "30"))

Writers = st.integers(0, 1)
Names = st.sampled_from([None, None, *FLOWS])
SpanDraws = st.tuples(
    st.integers(0, 4),  # trace
    st.integers(0, 6),  # span; its parent is (span - 1) // 2
    Names,
    st.integers(-20, 20),  # start
    st.sampled_from(["", "", "newer", "", POISON]),
    st.sampled_from([None, None, 400, 900]),
)


class Writer:
    """One exporter: its flows, the attempts that are under way, and what was handed over to it."""

    def __init__(self, number: int, policy: FlowPolicy, max_flows: int) -> None:
        self.number = number
        self.routing = Routing(policy, max_flows)
        self.flows = self.routing.flows
        self.under_way: list[FlowStep] = []
        self.hurried_until = 0.0
        self.closed = False
        self.abandoned = False
        # It has read for the last time, and can't know what a person deleted since.
        self.in_the_dark = False
        self.latest: dict[tuple[str, str], bytes] = {}
        self.texts: set[bytes] = set()
        # What a store that is told of every change keeps, by flow and key.
        self.kept: dict[tuple[str, tuple[str, str]], bytes] = {}


class Histories(RuleBasedStateMachine):
    merge = True
    roomy = False

    @initialize(
        two=st.booleans(),
        max_flows=st.sampled_from([1, 2, 100]),
        min_interval=st.sampled_from([0.0, 1.0]),
        description=st.sampled_from([None, 'ours "é"']),
        poisoned=st.booleans(),
        fields=st.booleans(),
        deletes=st.booleans(),
    )
    def begin_history(
        self,
        two: bool,
        max_flows: int,
        min_interval: float,
        description: str | None,
        poisoned: bool,
        fields: bool,
        deletes: bool,
    ) -> None:
        self.now = 1000.0
        self.now_ns = NOW_NS
        self.platform = Platform()
        self.platform.names_fields = fields
        self.platform.refuses = lambda span: poisoned and not self.roomy and POISON.encode() in span
        self.foreign: dict[bytes, str] = {}
        self.numbers = 0
        self.deletes = deletes
        self.deleted = False
        self.edited = False
        self.shrunk = False
        self.policy = make_policy(
            merge=self.merge,
            max_spans=10_000 if self.roomy else 8,
            max_bytes=10_000_000 if self.roomy else 8_000,
            min_interval=min_interval,
            description=description,
            durable=True,
        )
        max_flows = 100 if self.roomy else max_flows
        self.writers = [Writer(number, self.policy, max_flows) for number in range(1 + two)]

    def writer(self, number: int) -> Writer:
        return self.writers[number % len(self.writers)]

    # -- the application -----------------------------------------------------------------------------------

    @rule(number=Writers, draws=st.lists(SpanDraws, min_size=1, max_size=8), default=st.sampled_from("AB"))
    def hand_over(self, number: int, draws: list[Any], default: str) -> None:
        writer = self.writer(number)
        if writer.closed:
            return
        spans = []
        for trace, span, name, start, text, size in draws:
            # Both writers take part in the same traces, with spans of their own.
            ours = 10 * writer.number
            encoded = make_span(
                trace,
                span + ours,
                start=start,
                end=start + 2,
                parent=(span - 1) // 2 + ours if span else None,
                name=name,
                text=text,
                size=size,
            )
            writer.latest[encoded.trace_id, encoded.span_id] = encoded.body
            writer.texts.add(encoded.body)
            spans.append(encoded)
        for receipt in writer.routing.hand_over(*spans, default=default, now=self.now, now_ns=self.now_ns):
            writer.flows.verdict(receipt, self.now)

    @rule(number=Writers, flow=st.sampled_from("AB"))
    def hand_over_an_unencodable_one(self, number: int, flow: str) -> None:
        writer = self.writer(number)
        if not writer.closed:
            (receipt,) = writer.routing.hand_over(lost=[flow], now=self.now, now_ns=self.now_ns)
            assert writer.flows.verdict(receipt, self.now) is False

    # -- time ----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.now_ns += int(seconds * SECOND)

    @rule(seconds=st.sampled_from([-3600, -5, 5, 3600]))
    def the_wall_clock_jumps(self, seconds: int) -> None:
        self.now_ns += seconds * SECOND

    # -- attempts ------------------------------------------------------------------------------------------

    @rule(number=Writers)
    def begin(self, number: int) -> None:
        writer = self.writer(number)
        busy = {job.flow.name for job in writer.under_way}
        job = writer.flows.begin_next(self.now)
        if job is not None:
            assert job.flow.name not in busy, "a flow is never PUT by two at once"
            self.look_at(writer, job)
            writer.under_way.append(job)

    @rule(number=Writers, which=st.integers(0, 5), times=st.integers(1, 3))
    def the_platform_answers(self, number: int, which: int, times: int) -> None:
        writer = self.writer(number)
        for _ in range(times):
            if writer.under_way:
                job = writer.under_way[which % len(writer.under_way)]
                self.feed(writer, job, perform(job, self.platform))

    @rule(number=Writers)
    def whole_attempts(self, number: int) -> None:
        writer = self.writer(number)
        for _ in range(3):
            self.begin(number)
            while writer.under_way:
                self.the_platform_answers(number, 0, 1)

    @rule(number=Writers, which=st.integers(0, 5), applied=st.booleans(), wait=st.sampled_from([None, 30.0]))
    def the_platform_is_not_available(
        self, number: int, which: int, applied: bool, wait: float | None
    ) -> None:
        writer = self.writer(number)
        if writer.under_way:
            job = writer.under_way[which % len(writer.under_way)]
            if applied:
                perform(job, self.platform)
            self.feed(writer, job, Unavailable("503", "no", wait, True))
            self.check_wait(writer, job, wait)

    @rule(
        number=Writers,
        which=st.integers(0, 5),
        answer=st.sampled_from(
            [
                Denied(401, "who?", None),
                Misconfigured(302, "there", None),
                Misconfigured(404, "where?", 5.0),
                Conflict("again"),
            ]
        ),
    )
    def the_platform_says_no(self, number: int, which: int, answer: Any) -> None:
        writer = self.writer(number)
        if writer.under_way:
            job = writer.under_way[which % len(writer.under_way)]
            if isinstance(job.step, Read) and isinstance(answer, Conflict):
                answer = Unreadable("endless")
            self.feed(writer, job, answer)

    @rule(number=Writers, which=st.integers(0, 5), applied=st.booleans(), own_form=st.booleans())
    def somebody_else_answers(self, number: int, which: int, applied: bool, own_form: bool) -> None:
        """A stray 404, no two in a row; a PUT that was taken or not, and answered with a page."""
        writer = self.writer(number)
        if not writer.under_way:
            return
        job = writer.under_way[which % len(writer.under_way)]
        exchange = job.flow._exchange
        if isinstance(job.step, Write):
            if applied:
                perform(job, self.platform)
            self.feed(writer, job, Stored(200, None, believed=False))
        elif not exchange._absence.doubted:
            self.feed(writer, job, Absent(own_form and exchange.known.exists, "default backend"))

    @precondition(lambda self: not self.roomy)
    @rule(number=Writers, which=st.integers(0, 5), spans=st.lists(st.integers(0, 9), max_size=3))
    def the_platform_refuses(self, number: int, which: int, spans: list[int]) -> None:
        writer = self.writer(number)
        if writer.under_way:
            job = writer.under_way[which % len(writer.under_way)]
            if isinstance(job.step, Write):
                self.feed(writer, job, Rejected(400, "", "no", tuple(dict.fromkeys(spans))))

    @precondition(lambda self: not self.roomy)
    @rule(number=Writers, which=st.integers(0, 5), retry_after=st.sampled_from([None, 5.0]))
    def the_body_is_too_large(self, number: int, which: int, retry_after: float | None) -> None:
        writer = self.writer(number)
        if writer.under_way:
            job = writer.under_way[which % len(writer.under_way)]
            if isinstance(job.step, Write):
                self.feed(writer, job, TooLarge("too large", retry_after))

    # -- what else happens to the platform -----------------------------------------------------------------

    @precondition(lambda self: not self.roomy)
    @rule(limit=st.sampled_from([None, 2_000, 5_000]))
    def bodies_have_a_limit(self, limit: int | None) -> None:
        self.platform.max_body = limit

    @rule(flow=st.sampled_from(FLOWS))
    def a_person_deletes(self, flow: str) -> None:
        if self.deletes and self.platform.stored.pop(flow, None) is not None:
            self.deleted = True
            for writer in self.writers:
                writer.in_the_dark |= writer.closed or not self.merge

    @rule(flow=st.sampled_from(FLOWS))
    def a_person_describes(self, flow: str) -> None:
        document = self.platform.stored.get(flow)
        if document is not None and b"x-labels" not in document:
            head, tail = document.split(b'"description":', 1)
            self.platform.stored[flow] = (
                head + FOREIGN_MEMBERS + b',"description":"by hand \\u00e9",' + tail.split(b",", 1)[1]
            )

    @rule(flow=st.sampled_from(FLOWS), count=st.integers(1, 3), start=st.integers(-30, 30), ids=st.booleans())
    def somebody_adds_spans(self, flow: str, count: int, start: int, ids: bool) -> None:
        if any(job.name == flow and isinstance(job.step, Write) for w in self.writers for job in w.under_way):
            return  # between a read and its write: without an ETag nobody can tell, and the design says so
        document = self.platform.stored.get(
            flow, b'{"name":"%s","description":"","spans":[]}' % flow.encode()
        )
        for _ in range(count):
            self.numbers += 1
            if ids:
                body = make_span(3 + self.numbers % 3, 1000 + self.numbers, start=start).body
                body = body[:-1] + b' , "odd": [1e400, 0.10, "\\u00e9"] }'
            else:
                body = b'{ "number" : %d }' % self.numbers
            self.foreign[body] = flow
            at = document.rindex(b"]")
            comma = b"" if document[:at].rstrip().endswith(b"[") else b" ,\n"
            document = document[:at] + comma + body + document[at:]
        self.platform.stored[flow] = document

    # -- the end -------------------------------------------------------------------------------------------

    @rule(number=Writers)
    def hurry(self, number: int) -> None:
        writer = self.writer(number)
        writer.hurried_until = self.now + 30.0
        receipts = writer.flows.hurry(self.now, writer.hurried_until)
        assert all(receipt.flow.flushed(receipt.mark) is not True for receipt in receipts)
        for flow in writer.flows:
            if flow.window.pending and not flow.busy and not writer.closed:
                # Whether a flow is gone that was there is asked a pacing interval later, whoever waits.
                absence = flow._exchange._absence
                at = self.now if absence.since is None else max(self.now, absence.next_read)
                assert flow.due(self.now) == at

    @rule(number=Writers)
    def close(self, number: int) -> None:
        writer = self.writer(number)
        if not writer.closed:
            writer.closed = True
            writer.hurried_until = self.now + 30.0
            writer.flows.close(self.now, writer.hurried_until)

    @rule(number=Writers)
    def abandon(self, number: int) -> None:
        writer = self.writer(number)
        if writer.closed and not writer.abandoned:
            writer.abandoned = True
            writer.flows.abandon()
            assert all(flow.window.pending == 0 for flow in writer.flows)

    # -- what always holds ---------------------------------------------------------------------------------

    def feed(self, writer: Writer, job: FlowStep, answer: Any) -> None:
        writer.under_way.remove(job)
        following = writer.flows.feed(job, answer, self.now, self.now_ns)
        if following is not None:
            assert following.flow is job.flow
            self.look_at(writer, following)
            writer.under_way.append(following)

    def check_wait(self, writer: Writer, job: FlowStep, wait: float | None) -> None:
        due = job.flow.due(self.now)
        if due is not None and self.now >= writer.hurried_until:
            assert due >= self.now + max(wait or 0.0, 2.0)

    def look_at(self, writer: Writer, job: FlowStep) -> None:
        """Each body is a flow in JSON, with each span once, whole, in order and within the bounds."""
        if not isinstance(job.step, Write):
            assert self.merge or job.flow._exchange.attempt.confirming, "replace never reads"  # type: ignore[union-attr]
            return
        body = job.step.body.join()
        document = loads(body)
        assert len(body) <= self.policy.max_bytes
        assert document["name"] == job.flow.name
        assert len(document["spans"]) == len(job.step.body.spans) <= self.policy.max_spans
        texts = set().union(*(writer.texts for writer in self.writers))
        assert all(span in texts or span in self.foreign for span in job.step.body.spans)
        keys = [
            (context["traceId"], context["spanId"]) if (context := span.get("spanContext")) else ("", index)
            for index, span in enumerate(document["spans"])
        ]
        assert len(set(keys)) == len(keys)
        traces = [trace for trace, _ in keys]
        runs = [trace for index, trace in enumerate(traces) if index == 0 or traces[index - 1] != trace]
        assert len(runs) == len(set(runs)), "a trace's spans stand together"
        if self.policy.description is not None:
            assert document["description"] == self.policy.description

    @invariant()
    def everything_is_counted(self) -> None:
        for writer in getattr(self, "writers", ()):
            totals = Counter[str]()
            for status in writer.flows.memory.status(self.now).values():
                dropped = sum(status.dropped.values())
                assert status.handed_over == status.delivered + status.pending + dropped, status
                assert min(status.handed_over, status.delivered, status.pending, dropped) >= 0
                totals.update(
                    handed_over=status.handed_over, delivered=status.delivered, pending=status.pending
                )
            summed = writer.flows.memory.totals()
            assert summed.handed_over == summed.delivered + summed.pending + sum(summed.dropped.values())
            assert (summed.handed_over, summed.delivered, summed.pending) == (
                totals["handed_over"],
                totals["delivered"],
                totals["pending"],
            )

    @invariant()
    def a_store_that_is_told_keeps_what_is_pending(self) -> None:
        for writer in getattr(self, "writers", ()):
            if writer.abandoned:
                continue
            for change in writer.flows.changes():
                for span in change.added:
                    writer.kept[change.flow, span.key] = span.body
                for key in (*change.settled, *change.gone):
                    writer.kept.pop((change.flow, key), None)
            in_windows = {
                (flow.name, entry.key): entry.body
                for flow in writer.flows
                for entry in flow.window
                if entry.pending
            }
            # Beside them, what was pushed out while a PUT that carries it is under way.
            assert in_windows.items() <= writer.kept.items()
            assert len(writer.kept) == writer.flows.memory.totals().pending

    @invariant()
    def windows_are_true_and_within_bounds(self) -> None:
        for writer in getattr(self, "writers", ()):
            for flow in writer.flows:
                window, entries = flow.window, list(flow.window)
                assert window.spans == len(entries) <= self.policy.max_spans
                assert window.pending == sum(entry.pending for entry in entries)
                assert window.pending_size == sum(len(e.body) + 1 for e in entries if e.pending)
                assert window.size == window.overhead + sum(len(e.body) + 1 for e in entries)
                assert not entries or window.size - 1 <= self.policy.max_bytes
                assert not any(e.pending for e in entries if not e.is_own)

    @invariant()
    def what_is_pending_is_due_some_time(self) -> None:
        for writer in getattr(self, "writers", ()):
            for flow in writer.flows:
                assert flow.busy == any(job.flow is flow for job in writer.under_way)
                if flow.window.pending and not flow.busy and not writer.closed:
                    due = flow.due(self.now)
                    assert due is not None
                    assert due <= self.now + 60.0

    # -- the platform is well again for long enough --------------------------------------------------------

    def teardown(self) -> None:
        if not hasattr(self, "writers"):
            return
        self.platform.max_body = None
        for writer in self.writers:
            while writer.under_way:
                self.the_platform_answers(writer.number, 0, 1)
        for writer in self.writers:
            if not writer.closed:
                self.now = settle_all(writer.flows, self.platform, self.now, self.now_ns)
                assert sum(flow.window.pending for flow in writer.flows) == 0
        for writer in self.writers:
            if not writer.closed:
                writer.closed = True
                writer.flows.close(self.now, self.now + 30.0)
            self.now = settle_all(writer.flows, self.platform, self.now, self.now_ns)
        self.everything_is_counted()
        self.windows_are_true_and_within_bounds()
        self.what_is_kept_is_stored()

    def what_is_kept_is_stored(self) -> None:
        """What the windows hold stands in the platform; where nothing was lost, all that was handed over."""
        alone = len(self.writers) == 1
        for writer in self.writers:
            if writer.abandoned or writer.in_the_dark or not (alone or (self.merge and self.roomy)):
                continue
            for flow in writer.flows:
                if any(e.pending for e in flow.window):
                    assert flow.due(self.now) is None  # given up
                    continue
                stored = set(self.platform.keys(flow.name))
                missing = [e.key for e in flow.window if e.is_own and not e.pending and e.key not in stored]
                assert not missing
            if self.roomy and not self.deleted:
                self.all_is_there_once(writer, alone)

    def all_is_there_once(self, writer: Writer, alone: bool) -> None:
        if any(status.dropped or status.pending for status in writer.flows.memory.status(self.now).values()):
            return
        found: dict[tuple[str, str], list[bytes]] = {}
        for name, body in self.platform.stored.items():
            for span in read(body, b"").spans:
                found.setdefault(span.key, []).append(span.body)
                if span.body in self.foreign:
                    assert self.foreign[span.body] == name
        for key, text in writer.latest.items():
            assert text in found[key]
            if alone:
                assert found[key] == [text], "in one flow, once"
        if self.merge:
            for body in self.foreign:
                assert any(body in texts for texts in found.values()), "foreign bytes are kept"


class MergeHistories(Histories):
    merge = True


class ReplaceHistories(Histories):
    merge = False


class RoomyHistories(Histories):
    """Nothing needs to leave, and nothing is refused: nothing may be lost at all."""

    merge = True
    roomy = True


class RoomyReplaceHistories(Histories):
    merge = False
    roomy = True


@pytest.mark.parametrize("machine", [MergeHistories, ReplaceHistories, RoomyHistories, RoomyReplaceHistories])
def test_any_history_loses_nothing_but_what_is_counted(machine: type[Histories]) -> None:
    """Whatever happens, the counts hold, bodies are flows, no flow is stuck, and what is kept gets there."""
    if QUICK:
        run_state_machine_as_test(machine)
        return
    longer = settings(max_examples=EXAMPLES, stateful_step_count=40, report_multiple_bugs=False)
    run_state_machine_as_test(machine, settings=longer)
