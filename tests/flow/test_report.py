"""What is said about one flow, how often, and what answers mean to a person."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from opentelemetry.exporter.versori_flow.delivery.attempt import perform
from opentelemetry.exporter.versori_flow.flow.body import Body
from opentelemetry.exporter.versori_flow.flow.ledger import DropReason
from opentelemetry.exporter.versori_flow.flow.outcomes import error_type, explain
from opentelemetry.exporter.versori_flow.flow.report import Notice, Reporter
from opentelemetry.exporter.versori_flow.flow.steps import Read, Write
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, UnreadableFlow
from opentelemetry.exporter.versori_flow.http.answers import (
    Absent,
    Conflict,
    Denied,
    Found,
    Misconfigured,
    Rejected,
    Stored,
    TooLarge,
    Unavailable,
    Unreadable,
)
from tests.flow.model import Platform, digest_of


def lines(reporter: Reporter, now: float = 0.0, last: bool = False) -> list[tuple[int, str]]:
    return [(notice.level, notice.text) for notice in reporter.take(now, last)]


def test_a_line_names_its_flow() -> None:
    """In front of everything, quoted as it may hold anything."""
    reporter = Reporter("a b\n")
    reporter.remark("was deleted")
    assert reporter.take(0.0) == [Notice(logging.INFO, "flow 'a b\\n': was deleted")]
    assert reporter.take(0.0) == []


def test_trouble_is_said_at_once() -> None:
    """With the level and the text that it is given."""
    reporter = Reporter("a")
    reporter.trouble(logging.WARNING, "down", 5.0)
    assert lines(reporter) == [(logging.WARNING, "flow 'a': down")]


def test_trouble_is_said_once_a_minute_with_what_was_skipped() -> None:
    """An outage of an hour is a handful of lines."""
    reporter = Reporter("a")
    for second in (0.0, 1.0, 30.0, 59.9):
        reporter.trouble(logging.WARNING, "down", second)
    assert lines(reporter) == [(logging.WARNING, "flow 'a': down")]
    reporter.trouble(logging.ERROR, "denied", 60.0)
    reporter.trouble(logging.WARNING, "down", 119.0)
    reporter.trouble(logging.WARNING, "down", 120.0)
    assert lines(reporter) == [
        (logging.ERROR, "flow 'a': denied (3 more attempts failed since the last line)"),
        (logging.WARNING, "flow 'a': down (1 more attempts failed since the last line)"),
    ]
    reporter.trouble(logging.WARNING, "down", 180.0)
    assert lines(reporter) == [(logging.WARNING, "flow 'a': down")]


def test_recovery_is_said_once() -> None:
    """After trouble only, with what waits."""
    reporter = Reporter("a")
    reporter.recovered(3)
    assert lines(reporter) == []
    reporter.trouble(logging.WARNING, "down", 0.0)
    reporter.trouble(logging.WARNING, "down", 1.0)
    reporter.recovered(3)
    reporter.recovered(3)
    assert lines(reporter)[1:] == [(logging.INFO, "flow 'a': is delivered again; 3 spans wait")]


def test_a_flapping_platform_is_a_line_a_minute() -> None:
    """Fail, succeed, fail: the next trouble is said a minute after the last, with what was skipped."""
    reporter = Reporter("a")
    for second in range(59):
        reporter.trouble(logging.WARNING, "down", float(second))
        reporter.recovered(0)
    assert [text for _, text in lines(reporter)] == [
        "flow 'a': down",
        "flow 'a': is delivered again; 0 spans wait",
    ]
    reporter.trouble(logging.WARNING, "down again", 60.0)
    reporter.recovered(1)
    assert [text for _, text in lines(reporter)] == [
        "flow 'a': down again (58 more attempts failed since the last line)",
        "flow 'a': is delivered again; 1 spans wait",
    ]


def test_what_a_person_must_act_on_does_not_wait() -> None:
    """An ERROR is said at once after a WARNING; the other way round there is a minute between them."""
    reporter = Reporter("a")
    reporter.trouble(logging.WARNING, "down", 0.0)
    reporter.trouble(logging.ERROR, "denied", 1.0)
    reporter.trouble(logging.ERROR, "denied", 2.0)
    reporter.trouble(logging.WARNING, "down", 60.5)
    assert [level for level, _ in lines(reporter)] == [logging.WARNING, logging.ERROR]


def test_a_loss_is_an_error_with_count_and_advice() -> None:
    """And what the platform said of it last."""
    reporter = Reporter("a")
    reporter.lost(DropReason.REFUSED, 2, "no name")
    reporter.lost(DropReason.REFUSED, 1)
    assert lines(reporter) == [
        (logging.ERROR, "flow 'a': 3 spans are lost: the platform refuses them for what they hold: no name")
    ]


def test_the_last_detail_is_said() -> None:
    """One is enough to see what is meant; it is said with its own losses only."""
    reporter = Reporter("a")
    reporter.lost(DropReason.REFUSED, 1, "first")
    reporter.lost(DropReason.REFUSED, 1, "second")
    assert lines(reporter, 0.0)[0][1].endswith(": second")
    reporter.lost(DropReason.REFUSED, 1)
    assert lines(reporter, 60.0) == [
        (logging.ERROR, "flow 'a': 1 spans are lost: the platform refuses them for what they hold")
    ]


def test_losses_of_one_reason_are_said_once_a_minute() -> None:
    """Those between are counted into the next line."""
    reporter = Reporter("a")
    reporter.lost(DropReason.WINDOW_FULL, 1)
    assert len(lines(reporter, 0.0)) == 1
    reporter.lost(DropReason.WINDOW_FULL, 5)
    assert reporter.take(59.9) == []
    reporter.lost(DropReason.WINDOW_FULL, 6)
    ((level, text),) = lines(reporter, 60.0)
    assert level == logging.ERROR
    assert text.startswith("flow 'a': 11 spans are lost: newer traces pushed them out")
    assert "VERSORI_FLOW_MAX_SPANS" in text
    assert lines(reporter, 600.0) == []


def test_each_reason_has_its_own_minute() -> None:
    """One kind of loss does not hide another."""
    reporter = Reporter("a")
    reporter.lost(DropReason.WINDOW_FULL, 1)
    assert len(lines(reporter, 0.0)) == 1
    reporter.lost(DropReason.TOO_LARGE, 1)
    assert len(lines(reporter, 1.0)) == 1


def test_the_last_lines_keep_nothing_back() -> None:
    """At the end everything is said, minute or not."""
    reporter = Reporter("a")
    reporter.lost(DropReason.WINDOW_FULL, 1)
    reporter.take(0.0)
    reporter.lost(DropReason.WINDOW_FULL, 2)
    reporter.lost(DropReason.SHUTDOWN, 4)
    assert [text.split(" lost")[0] for _, text in lines(reporter, 1.0, last=True)] == [
        "flow 'a': 2 spans are",
        "flow 'a': 4 spans are",
    ]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        (DropReason.UNENCODABLE, "they could not be turned into JSON"),
        (DropReason.WINDOW_FULL, "newer traces pushed them out before they could be delivered; "),
        (DropReason.TOO_LARGE, "each is too large alone; shorten its attributes, or raise "),
        (DropReason.REFUSED, "the platform refuses them for what they hold"),
        (DropReason.SHUTDOWN, "they were still waiting when the exporter shut down"),
    ],
)
def test_every_reason_has_its_advice(reason: DropReason, advice: str) -> None:
    """No span is lost without a word."""
    reporter = Reporter("a")
    reporter.lost(reason, 1)
    assert advice in lines(reporter)[0][1]


DENIED = (
    "the platform denies access (401: who); check VERSORI_API_KEY or VERSORI_API_KEY_FILE, "
    "VERSORI_AUTH_SCHEME, and that the key may write to the project"
)
MISCONFIGURED = (
    "the platform does not take flows at this address (there); check VERSORI_API_BASE_URL, "
    "VERSORI_ORGANISATION_ID and VERSORI_PROJECT_ID"
)
UNREADABLE = (
    "the stored flow can't be read (endless) and is not overwritten; repair or delete it, or set "
    "VERSORI_FLOW_WRITE_MODE=replace"
)
REJECTED = (
    "the platform refuses the flow even without its new spans (400: why); repair or delete the stored flow"
)


@pytest.mark.parametrize(
    ("answer", "level", "words", "error"),
    [
        (Denied(401, "who", None), logging.ERROR, DENIED, "401"),
        (Misconfigured(302, "there", None), logging.ERROR, MISCONFIGURED, "302"),
        (Unreadable("endless"), logging.ERROR, UNREADABLE, "unreadable"),
        (UnreadableFlow("endless"), logging.ERROR, UNREADABLE, "unreadable"),
        (Rejected(400, "", "why", ()), logging.ERROR, REJECTED, "400"),
        (
            Unavailable("503", "later", 1.0, True),
            logging.WARNING,
            "the platform is not available (503: later)",
            "503",
        ),
        (TooLarge("big"), logging.WARNING, "the platform does not take the flow now (big)", "413"),
        (Conflict("again"), logging.WARNING, "the platform does not take the flow now (again)", "409"),
    ],
)
def test_every_answer_is_explained(answer: Any, level: int, words: str, error: str) -> None:
    """WARNING where it may pass, ERROR where a person must act, and what to check."""
    assert explain(answer) == (level, words)
    assert error_type(answer) == error


def test_an_answer_that_was_not_asked_for_is_said() -> None:
    """It can't be, and is not silent."""
    words = "the platform answers with what was not asked for (Found)"
    assert explain(Found(b"", b"", 200)) == (logging.ERROR, words)


@pytest.mark.parametrize(
    "answer", [Stored(200, None), Found(b"", b"", 200), Absent(), StoredFlow(b"", None, (), ())]
)
def test_a_success_is_no_error(answer: Any) -> None:
    """Nothing is counted as failed that was not."""
    assert error_type(answer) is None


def test_a_read_parses_what_is_new() -> None:
    """A flow that is there, with the answer's digest."""
    platform = Platform()
    platform.stored["a"] = b'{"name":"a","description":"d","spans":[]}'
    flow = perform(Read("a", None), platform, 7.5)  # type: ignore[arg-type]
    assert flow == StoredFlow(digest_of(platform.stored["a"]), b'"d"', (), ())
    assert platform.deadlines == [7.5]


def test_a_read_does_not_parse_what_is_known() -> None:
    """Where the bytes are those of the last answer, they stay bytes."""
    platform = Platform()
    platform.stored["a"] = b"not even JSON"
    digest = digest_of(b"not even JSON")
    answer = perform(Read("a", digest), platform, 0.0)  # type: ignore[arg-type]
    assert answer == Found(b"not even JSON", digest, 200)


def test_a_read_answers_with_what_is_wrong() -> None:
    """A flow that can't be read is an answer, not an exception; what is not found stays that."""
    platform = Platform()
    platform.stored["a"] = b"[]"
    answer = perform(Read("a", b"other"), platform, 0.0)  # type: ignore[arg-type]
    assert isinstance(answer, UnreadableFlow)
    assert perform(Read("b", None), platform, 0.0) == Absent()  # type: ignore[arg-type]


def test_a_write_puts_the_joined_body() -> None:
    """One piece of JSON."""
    platform = Platform()
    step = Write("a", Body(b'{"spans":[', [b"1", b"2"]))
    assert perform(step, platform, 7.5) == Stored(200, digest_of(b'{"spans":[1,2]}'))  # type: ignore[arg-type]
    assert platform.deadlines == [7.5]
    assert platform.puts == [("a", b'{"spans":[1,2]}')]
