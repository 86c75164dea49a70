"""What answers mean to a person, what is said of one flow, and of all of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.flow.bulletin import MAX_LINES
from opentelemetry.exporter.versori_flow.flow.flows import Flows, Receipt
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.report import Reporter, Trouble, error_type, explain
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, UnreadableFlow
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stale,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from tests.flow.model import NOW_NS, Platform, make_policy, make_span
from tests.flow.several import Routing, settle_all

DOWN = Unavailable("503", "no", None, True)
DENIED = Denied(401, "who", None)
PASSES = Conflict("busy")
FLEETING = logging.WARNING, "the platform does not take the flow now (busy)"
LASTING = logging.ERROR, "wrong"
BUSY = "flow 'a': the platform does not take the flow now (busy). "


def lines(reporter: Reporter, now: float = 0.0, last: bool = False) -> list[tuple[int, str]]:
    return [(notice.level, notice.text) for notice in reporter.take(now, last)]


def said(flows: Flows, now: float, last: bool = False) -> list[tuple[int, str]]:
    return [(notice.level, notice.text) for notice in flows.notices(now, last)]


# -- one flow ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"), [("a b\n", "a b\\n"), ("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…")]
)
def test_a_line_names_its_flow(name: str, words: str) -> None:
    """In front of everything, quoted as it may hold anything, and cut where it is too long to be read."""
    reporter = Reporter(name)
    reporter.remark("was deleted")
    assert lines(reporter) == [(logging.INFO, f"flow '{words}': was deleted")]
    assert (lines(reporter), reporter.speaks_at) == ([], None)


def test_trouble_is_said_once_a_minute_with_what_was_skipped() -> None:
    """And with what waits, for how long; no line speaks of no span."""
    reporter = Reporter("a")
    for second in (0.0, 1.0, 30.0, 59.9):
        reporter.trouble(*FLEETING, 3, 0.25, second)
    reporter.trouble(*FLEETING, 1, 2.0, 60.0)
    reporter.trouble(*FLEETING, 1, 2.0, 119.0)
    reporter.trouble(*FLEETING, 0, 2.0, 120.0)
    reporter.trouble(*FLEETING, 2, 2.0, 180.0)
    since = "failed since the last line)"
    assert lines(reporter) == [
        (logging.WARNING, BUSY + "3 spans wait; the next attempt is in 0.2 s"),
        (logging.WARNING, BUSY + f"1 span waits; the next attempt is in 2.0 s (3 more attempts {since}"),
        (logging.WARNING, BUSY + f"The next attempt is in 2.0 s (1 more attempt {since}"),
        (logging.WARNING, BUSY + "2 spans wait; the next attempt is in 2.0 s"),
    ]


def test_flapping_is_a_line_a_minute_and_its_end_another() -> None:
    """Recovery is said once, after trouble only, with what waits."""
    reporter = Reporter("a")
    reporter.recovered(3)
    assert lines(reporter) == []
    for second in range(59):
        reporter.trouble(*FLEETING, 1, 1.0, float(second))
        reporter.recovered(0)
    reporter.trouble(*FLEETING, 1, 1.0, 60.0)
    reporter.recovered(1)
    told = lines(reporter)
    assert [text for level, text in told if level == logging.INFO] == [
        "flow 'a': is delivered again",
        "flow 'a': is delivered again; 1 span waits",
    ]
    assert len(told) == 4
    assert told[2][1].endswith("(58 more attempts failed since the last line)")


def test_what_a_person_must_act_on_does_not_wait() -> None:
    """An ERROR is said at once after a WARNING; the other way round there is a minute between them."""
    reporter = Reporter("a")
    for second, trouble in ((0.0, FLEETING), (1.0, LASTING), (2.0, LASTING), (60.5, FLEETING)):
        reporter.trouble(*trouble, 1, 1.0, second)
    assert [level for level, _ in lines(reporter)] == [logging.WARNING, logging.ERROR]


def test_losses_of_one_reason_are_said_once_a_minute() -> None:
    """With their count and the last detail; those between are counted into the next line."""
    reporter = Reporter("a")
    reporter.lost(DropReason.REFUSED, 2, "first")
    reporter.lost(DropReason.REFUSED, 1, "second")
    why = "lost: the platform refuses"
    assert reporter.speaks_at == float("-inf")
    assert lines(reporter) == [
        (logging.ERROR, f"flow 'a': 3 spans are {why} them for what they hold: second")
    ]
    reporter.lost(DropReason.REFUSED, 1)
    assert (lines(reporter, 59.9), reporter.speaks_at) == ([], 60.0)
    reporter.lost(DropReason.TOO_LARGE, 1)
    assert len(lines(reporter, 59.9)) == 1, "one kind of loss does not hide another"
    assert lines(reporter, 60.0) == [(logging.ERROR, f"flow 'a': 1 span is {why} it for what it holds")]
    reporter.lost(DropReason.REFUSED, 1)
    reporter.lost(DropReason.SHUTDOWN, 4)
    assert [text.split(" lost")[0] for _, text in lines(reporter, 61.0, last=True)] == [
        "flow 'a': 1 span is",
        "flow 'a': 4 spans are",
    ]


@pytest.mark.parametrize(
    ("reason", "one", "many"),
    [
        (DropReason.UNENCODABLE, "it could not be turned", "they could not be turned into JSON"),
        (DropReason.WINDOW_FULL, "newer traces pushed it out", "newer traces pushed them out"),
        (DropReason.WINDOW_FULL, "raise VERSORI_FLOW_MAX_SPANS", "or VERSORI_FLOW_MAX_BYTES"),
        (DropReason.TOO_LARGE, "it is too large alone; shorten its", "each is too large alone; shorten its"),
        (DropReason.REFUSED, "refuses it for what it holds", "refuses them for what they hold"),
        (DropReason.SHUTDOWN, "it was still waiting", "they were still waiting when the exporter shut down"),
    ],
)
def test_every_reason_has_its_advice(reason: DropReason, one: str, many: str) -> None:
    """No span is lost without a word, and one is not many."""
    for count, words in ((1, one), (2, many)):
        reporter = Reporter("a")
        reporter.lost(reason, count)
        assert words in lines(reporter)[0][1]


# -- answers -----------------------------------------------------------------------------------------------

ADDRESS = "VERSORI_API_BASE_URL, VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID"
UNREADABLE = (
    "the stored flow can't be read (endless) and is not overwritten; repair or delete it, or set "
    "VERSORI_FLOW_WRITE_MODE=replace"
)
EXPLAINED: list[tuple[Any, int, str, str]] = [
    (
        Misconfigured(414, "414 URI Too Long", None),
        logging.ERROR,
        "its name is too long (414 URI Too Long); give the flow a shorter one",
        "414",
    ),
    (
        DENIED,
        logging.ERROR,
        "the platform denies access (401: who); check VERSORI_API_KEY or VERSORI_API_KEY_FILE, "
        "VERSORI_AUTH_SCHEME, and that the key may write to the project",
        "401",
    ),
    (
        Misconfigured(404, "404 Not Found: no such project", None),
        logging.ERROR,
        f"the platform does not take flows at this address (404 Not Found: no such project); check {ADDRESS}",
        "404",
    ),
    (
        Misconfigured(302, "there", None),
        logging.ERROR,
        f"the platform does not take flows at this address (302: there); check {ADDRESS}",
        "302",
    ),
    (Misconfigured(0, "a, b", None), logging.ERROR, "no request can be made (a, b)", "0"),
    (Misconfigured(407, "the proxy", None), logging.ERROR, "no request can be made (the proxy)", "407"),
    (Unreadable("endless"), logging.ERROR, UNREADABLE, "unreadable"),
    (UnreadableFlow("endless"), logging.ERROR, UNREADABLE, "unreadable"),
    (
        Rejected(400, "", "why", ()),
        logging.ERROR,
        "the platform refuses the flow even without its new spans (400: why); repair or delete the stored flow",
        "400",
    ),
    (DOWN, logging.WARNING, "the platform is not available (503: no)", "503"),
    (
        Unavailable("error", "MemoryError", None, False),
        logging.WARNING,
        "the exporter itself failed in an attempt (MemoryError)",
        "error",
    ),
    (TooLarge("big"), logging.WARNING, "the platform does not take the flow now (big)", "413"),
    (Conflict("again"), logging.WARNING, "the platform does not take the flow now (again)", "409"),
    (
        Absent(False, "<html>"),
        logging.WARNING,
        "something answers 404 that is not the platform's API (<html>); the flow is not written until that does",
        "404",
    ),
    (
        Stored(200, None, False),
        logging.WARNING,
        "the flow was answered with 200 and not as it was written, and a read does not show its spans",
        "unreadable",
    ),
]


@pytest.mark.parametrize(("answer", "level", "words", "error"), EXPLAINED)
def test_every_answer_is_explained(answer: Any, level: int, words: str, error: str) -> None:
    """WARNING where it may pass, ERROR where a person must act, what to check, once, and whom it concerns."""
    concern_all = isinstance(answer, Denied | Misconfigured | Unavailable | Absent) and error != "414"
    vain = {Unreadable: 0.5, UnreadableFlow: 0.5, Denied: 1, Misconfigured: 1, Rejected: 1}
    assert explain(answer) == Trouble(error, level, words, concern_all, vain.get(type(answer), 0))
    assert error_type(answer) == error


def test_a_success_is_no_error() -> None:
    """Nothing is counted as failed that was not."""
    found = StoredFlow(b"", "a", b'""', (), ())
    for answer in (Stored(200, None), Found(b"", b"", 200), Absent(), found, Stale()):
        assert error_type(answer) is None


# -- all flows ---------------------------------------------------------------------------------------------


def fail_all(flows: Flows, answer: Any, now: float) -> None:
    """Makes an attempt at all that is due, and no other."""
    while (job := flows.begin_next(now)) is not None:
        assert flows.feed(job, answer, now, NOW_NS) is None


def test_an_outage_is_one_line_a_minute_for_all_flows() -> None:
    """Naming how many flows and spans wait, and when it is over one line more."""
    routing = Routing()
    flows, told = routing.flows, []
    for number in range(500):
        routing.hand_over(*(make_span(3 * number + n, 0) for n in range(3)), default=f"f{number}")
    for second in range(1000, 1200, 5):
        fail_all(flows, DOWN, float(second))
        told += said(flows, float(second))
    assert [level for level, _ in told] == [logging.WARNING] * 4
    assert told[0][1] == (
        "the platform is not available (503: no). 1500 spans of 500 flows wait; the next attempt is in 2.0 s"
    )
    assert all(
        "1500 spans of 500 flows wait" in text and "more attempts failed" in text for _, text in told[1:]
    )
    end = settle_all(flows, Platform(), 1200.0)
    assert said(flows, end) == [(logging.INFO, "the platform takes flows again")]


def test_an_outage_of_one_flow_names_it() -> None:
    """From the first line to the last; what a person must act on is said at once."""
    routing = Routing()
    routing.hand_over(make_span(0, 0))
    fail_all(routing.flows, DOWN, 1000.0)
    fail_all(routing.flows, DENIED, 1002.0)
    fail_all(routing.flows, DENIED, 1006.0)
    (first, second) = said(routing.flows, 1006.0)
    assert first[1].startswith("flow 'a': the platform is not available (503: no). 1 span waits; the next")
    assert second[0] == logging.ERROR
    assert second[1].startswith("flow 'a': the platform denies access")
    end = settle_all(routing.flows, Platform(), 1006.0)
    assert said(routing.flows, end) == [(logging.INFO, "flow 'a': is delivered again")]
    fail_all(routing.flows, DOWN, end)
    assert said(routing.flows, end) == [], "nothing is due, nothing fails"


def test_an_outage_is_over_when_no_flow_is_in_it() -> None:
    """One that is stuck goes on being said, though others are delivered."""
    routing = Routing()
    flows = routing.flows
    routing.hand_over(make_span(0, 0), default="stuck")
    fail_all(flows, DOWN, 1000.0)
    routing.hand_over(make_span(1, 0), default="well")
    fail_all(flows, PASSES, 1000.0)
    assert [text[:13] for _, text in said(flows, 1000.0)] == ["the platform ", "flow 'well': "]
    job = flows.begin_next(1002.0)
    assert job is not None
    assert job.name == "stuck"
    write = flows.feed(job, Absent(), 1002.0, NOW_NS)
    assert said(flows, 1002.0) == [], "not before the attempt is over"
    assert write is not None
    flows.feed(write, Stored(200, None), 1002.0, NOW_NS)
    assert [text for _, text in said(flows, 1002.0)] == ["flow 'stuck': is delivered again; 1 span waits"]


def test_an_outage_ends_once_and_with_the_flow_that_was_in_it(platform: Platform) -> None:
    """Whose spans moved away has nothing to wait for; who is delivered later has nothing to say."""
    routing = Routing()
    flows = routing.flows
    routing.hand_over(make_span(0, 1, parent=0))
    fail_all(flows, DOWN, 1000.0)
    flows.notices(1000.0, False)
    routing.hand_over(make_span(0, 0, name="b"))
    told = []
    for number in range(2):
        routing.hand_over(make_span(5 + number, 0), default="b", now=1010.0 + number)
        settle_all(flows, platform, 1010.0 + number)
        told += said(flows, 1010.0 + number)
    assert told == [(logging.INFO, "flow 'a': is delivered again")]


def test_lines_about_single_flows_have_a_bound() -> None:
    """What is beyond it is added up by reason, and said when the minute is over."""
    routing = Routing()
    flows, many = routing.flows, [f"f{number:02}" for number in range(MAX_LINES + 7)]
    routing.hand_over(lost=many)
    told = said(flows, 1000.0)
    assert len(told) == MAX_LINES
    assert told[0][1] == "flow 'f00': 1 span is lost: it could not be turned into JSON: TypeError"
    routing.hand_over(lost=many[-1:])
    assert said(flows, 1059.9) == []
    assert said(flows, 1060.0)[0] == (
        logging.ERROR,
        "7 spans of 7 flows are lost: they could not be turned into JSON: TypeError "
        "('f10': 1, 'f11': 1, 'f12': 1, 'f13': 1, 'f14': 1 and 2 more)",
    )
    for flow in flows:
        flow.report.remark("was deleted")
        flows._bulletin.listen(flow)
    assert len(said(flows, 1061.0)) == MAX_LINES - 1
    assert said(flows, 1120.0)[-1] == (
        logging.WARNING,
        "8 more lines about single flows were left out; status() says how each does",
    )


def test_the_end_is_one_line_for_each_reason() -> None:
    """By flow and count, nothing kept back: the minute does not hold, nor the bound."""
    routing = Routing()
    for number in range(MAX_LINES + 1):
        routing.hand_over(make_span(number, 0), default=f"f{number:02}")
    routing.hand_over(make_span(99, 0), default="f03")
    routing.hand_over(lost=["f03"])
    assert len(said(routing.flows, 1000.0)) == 1
    routing.hand_over(lost=["f03"])
    routing.flows.close(1000.0, 1001.0)
    routing.flows.abandon()
    assert sorted(text for _, text in said(routing.flows, 1000.0, last=True)) == [
        "12 spans of 11 flows are lost: they were still waiting when the exporter shut down "
        "('f03': 2, 'f00': 1, 'f01': 1, 'f02': 1, 'f04': 1 and 6 more)",
        "flow 'f03': 1 span is lost: it could not be turned into JSON: TypeError",
    ]
    assert said(routing.flows, 1000.0, last=True) == []


def test_exports_that_wait_in_vain_are_said_once_a_minute() -> None:
    """With how many flows that are, and how many exports there were since the last line."""
    flows, receipts = Flows(make_policy(), 100), list[Receipt]()
    routed = [("a", make_span(0, 0)), ("b", make_span(1, 0))]
    flows.waited_in_vain([], 999.0)
    receipts = flows.hand_over(routed, [], [], 1000.0, NOW_NS)
    lines = []
    for now, waited in ((1000.0, 1), (1001.0, 1), (1002.0, 2), (1060.0, 2), (1120.0, 1)):
        flows.waited_in_vain(receipts[:waited], now)
        lines += said(flows, now)
    slow = (
        " not delivered within VERSORI_FLOW_EXPORT_WAIT, and the exporter goes on: the platform is slow to"
        " answer, or another process of this host is writing there"
    )
    assert lines == [
        (logging.WARNING, f"flow 'a' is{slow}"),
        (logging.WARNING, f"2 flows are{slow} (2 more exports since the last line)"),
        (logging.WARNING, f"flow 'a' is{slow}"),
    ]


@pytest.mark.parametrize(("flows", "more"), [(2, ""), (5, ""), (6, " and 1 more")])
def test_the_flows_that_lost_most_are_named(flows: int, more: str) -> None:
    """Each with all that it lost."""
    routing = Routing()
    for number in range(flows):
        for span in range(flows - number):
            routing.hand_over(make_span(number, span), default=f"f{number}")
    routing.flows.abandon()
    named = ", ".join(f"'f{number}': {flows - number}" for number in range(min(flows, 5)))
    ((level, text),) = said(routing.flows, 1000.0, last=True)
    assert level == logging.ERROR
    assert text.endswith(
        f" of {flows} flows are lost: they were still waiting when the exporter shut down ({named}{more})"
    )


def test_losses_of_one_flow_are_added_up() -> None:
    """Of those that were left out before, and at the end."""
    routing = Routing()
    routing.hand_over(lost=[*(f"f{number}" for number in range(MAX_LINES)), "late"])
    assert len(said(routing.flows, 1000.0)) == MAX_LINES
    routing.hand_over(lost=["late", "late"])
    assert said(routing.flows, 1000.0, last=True) == [
        (logging.ERROR, "flow 'late': 3 spans are lost: they could not be turned into JSON: TypeError")
    ]


@pytest.mark.parametrize("flows", [1, 2])
def test_an_outage_says_of_how_many_flows_spans_wait(flows: int) -> None:
    routing = Routing()
    for number in range(flows):
        routing.hand_over(make_span(number, 0), default=f"f{number}")
    fail_all(routing.flows, DOWN, 1000.0)
    assert [(" of 2 flows" in text) for _, text in said(routing.flows, 1000.0)] == [flows == 2]
