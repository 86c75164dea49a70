"""Spans that are offered: let in where nothing that is pending has to leave for them, and never pushed out then."""

from __future__ import annotations

import sys
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.delivery.question import Kind, OpenQuestions, Question, Taken
from opentelemetry.exporter.versori_flow.encoded_span import EncodedSpan, Move
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.memory import MOST_ACTIVE, WINDOWS_OF_BYTES
from opentelemetry.exporter.versori_flow.intake import Batch
from opentelemetry.exporter.versori_flow.routing.router import Router
from tests.flow.model import DOWN, NOW_NS, Platform, flow_of, key, make_policy, make_span
from tests.flow.several import attempt_next, settle_all

HEAD = flow_of().window.overhead
"""Bytes of a body without spans."""


class Offers:
    """Flows that admit, as a gateway's dispatcher asks them."""

    def __init__(self, max_spans: int, max_bytes: int = 100_000, max_flows: int = 100) -> None:
        policy = make_policy(max_spans=max_spans, max_bytes=max_bytes, admits=True)
        self.flows = Flows(policy, max_flows)
        self.questions = OpenQuestions(self.flows)
        self.router = Router(10_000)

    def offer(self, *spans: EncodedSpan, now: float = 1000.0, default: str = "a") -> object:
        """What is answered."""
        question = Question(Kind.OFFER, now)
        routed, moves = self.router.route([(span, default) for span in spans])
        for batch in self.questions.admit(question, Batch(routed, moves, ())):
            self.flows.hand_over(*batch, now, NOW_NS)
        self.questions.give(lambda flow, key: True)
        assert question.waiter.answered
        return question.waiter.answer


class Flaky(Platform):
    """Down now and then, for all flows or for those with a letter in their names."""

    down: str | None = None

    def get(self, flow_name: str, *arguments: Any, **keywords: Any) -> Any:
        return DOWN if self._is_down(flow_name) else super().get(flow_name, *arguments, **keywords)

    def put(self, flow_name: str, *arguments: Any, **keywords: Any) -> Any:
        return DOWN if self._is_down(flow_name) else super().put(flow_name, *arguments, **keywords)

    def _is_down(self, flow_name: str) -> bool:
        return self.down is not None and self.down in flow_name


def some_spans(random: Random, number: int, most: int) -> list[EncodedSpan]:
    """Of few traces, with names that are learnt late."""
    return [
        make_span(
            random.randrange(4),
            number * 10 + n,
            parent=random.choice([None, max(0, number - 1) * 10, number * 10 + 10]),
            name=random.choice([None, None, None, "b", "c"]),
            start=random.randrange(100),
            size=random.choice([None, None, None, 350]),
        )
        for n in range(random.randint(1, most))
    ]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**9), max_spans=st.integers(1, 9), max_bytes=st.sampled_from([500, 1500, 100_000])
)
def test_nothing_that_was_let_in_is_pushed_out(seed: int, max_spans: int, max_bytes: int) -> None:
    """Whatever is offered, moves, is delivered or not; and what was refused is let in once all is delivered."""
    random, platform = Random(seed), Flaky()
    offers, now = Offers(max_spans, max_bytes), 1000.0
    too_large, refused = 0, list[list[EncodedSpan]]()
    for number in range(40):
        now += random.random()
        platform.down = "" if random.random() < 0.4 else None
        for _ in range(random.randrange(3)):
            attempt_next(offers.flows, platform, now)
        again = refused and random.random() < 0.3
        spans = refused.pop() if again else some_spans(random, number, max_spans)
        answer = offers.offer(*spans, now=now)
        if isinstance(answer, Taken):
            too_large += answer.too_large
        else:
            refused.append(spans)
        assert sum(offers.flows.memory.totals().dropped.values()) == too_large
    platform.down = None
    now = settle_all(offers.flows, platform, now)
    for spans in refused:
        for span in spans:
            if offers.offer(span, now=now) is None:  # moves that were owed came first, and took the room
                now = settle_all(offers.flows, platform, now)
                assert isinstance(offers.offer(span, now=now), Taken)
            now = settle_all(offers.flows, platform, now)


def test_a_window_is_filled_to_half() -> None:
    """The other half is for what a store brings; what waits alone may fill it, and a trace of one flow goes on."""
    offers, platform = Offers(max_spans=10), Platform()
    assert offers.offer(*(make_span(0, n) for n in range(10))) == Taken(0)
    assert offers.offer(make_span(0, 10)) is None
    settle_all(offers.flows, platform, 1000.0)
    assert offers.offer(*(make_span(0, n) for n in range(10, 13))) == Taken(0)
    assert offers.offer(*(make_span(0, n) for n in range(13, 16))) is None
    assert offers.offer(*(make_span(0, n) for n in range(13, 15))) == Taken(0)
    settle_all(offers.flows, platform, 2000.0)
    assert offers.flows.memory.totals().dropped == {}
    # Delivered spans have left for them, the oldest first, and the trace is not torn further than that.
    assert platform.keys("a") == [key(0, n) for n in range(5, 15)]


def test_all_windows_together() -> None:
    """Pending bytes of all flows, and flows with pending spans, have a bound; delivered spans leave before that."""
    offers, platform, most = Offers(max_spans=100, max_bytes=1200), Platform(), WINDOWS_OF_BYTES * 1200
    fitting = most // 1001  # with the comma
    for number in range(fitting):
        assert offers.offer(make_span(number, 0, size=1000), default=f"flow {number}") == Taken(0)
    assert offers.offer(make_span(99, 0, size=1000), default="one more") is None
    settle_all(offers.flows, platform, 1000.0)
    for number in range(fitting):
        assert offers.offer(make_span(number, 1, size=900), default=f"flow {number}") == Taken(0)
    assert sum(flow.window.pending_size for flow in offers.flows) == fitting * 901
    assert offers.flows.memory.size <= most + fitting * 200  # the flows' other members are not counted
    assert offers.flows.memory.totals().dropped == {}
    few = Offers(max_spans=10, max_flows=1)
    for number in range(MOST_ACTIVE):
        assert few.offer(make_span(number, 0), default=str(number)) == Taken(0)
    assert few.offer(make_span(99, 0), default="one more") is None


def test_an_offer_costs_the_same_however_many_flows_there_are() -> None:
    """Whether there is room is known without a look at the flows that it is not for."""

    def calls(flows: int) -> int:
        offers, counted = Offers(max_spans=10), 0
        for number in range(flows):
            assert offers.offer(make_span(number, 0), default=f"flow {number}") == Taken(0)
        routed, _ = offers.router.route([(make_span(flows, 0), "flow 0")])

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal counted
            counted += 1

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            assert offers.flows.memory.admits(routed) == 0
        finally:
            sys.setprofile(before)
        return counted

    assert calls(5) == calls(500)


def test_what_has_to_move_does_so_once_there_is_room() -> None:
    """Delivery makes the room, and no other offer has to come; one move for each span is remembered."""
    offers, platform = Offers(max_spans=4), Platform()
    assert offers.offer(*(make_span(0, n, name="b") for n in range(4))) == Taken(0)
    assert offers.offer(make_span(1, 1, parent=0)) == Taken(0)
    for name in ("b", "c", "b"):
        offers.offer(make_span(1, 0, name=name), *(make_span(2, n) for n in range(5)))
    assert len(offers.questions._owed_moves) == 1
    assert offers.questions.owed() is None
    settle_all(offers.flows, platform, 1000.0)
    moving = offers.questions.owed()
    assert moving is not None
    offers.flows.hand_over(*moving, 2000.0, NOW_NS)
    settle_all(offers.flows, platform, 2000.0)
    assert (platform.keys("a"), platform.keys("b")[-1:]) == ([], [key(1, 1)])
    assert offers.questions.owed() is None


@pytest.mark.parametrize(
    ("pending", "offered", "answer"),
    [
        ([], [10_000], Taken(0)),
        ([], [10_001], Taken(1)),
        ([], [20_000, 300, 10_001], Taken(2)),
        ([], [4999, 4999], Taken(0)),
        ([], [4999, 5000], None),
        ([], [300] * 5, Taken(0)),
        ([], [300] * 6, None),
        ([2400], [2598], Taken(0)),
        ([2400], [2599], None),
        ([300] * 2, [300], Taken(0)),
        ([300] * 3, [300], None),
    ],
)
def test_a_window_has_room_to_the_byte(pending: list[int], offered: list[int], answer: object) -> None:
    """Each span with its comma; one that fills a window alone is let in where nothing waits there."""
    offers = Offers(max_spans=5, max_bytes=HEAD + 10_000)
    for number, size in enumerate(pending):
        offers.offer(make_span(0, number, size=size))
    spans = [make_span(1, number, size=size) for number, size in enumerate(offered)]
    assert offers.offer(*spans) == answer
    assert offers.flows.memory.totals().dropped == (
        {"too_large": answer.too_large} if answer and answer.too_large else {}
    )


@pytest.mark.parametrize(
    ("pending", "moving", "made"),
    [
        ([], [10_000], 1),
        ([], [4999, 4999], 2),
        ([], [4999, 5000], 1),
        ([], [300] * 4, 3),
        ([3000], [6998], 1),
        ([3000], [6999], 0),
        ([300] * 2, [300], 1),
        ([300] * 3, [300], 0),
    ],
)
def test_moves_are_made_from_the_first_on_as_far_as_there_is_room(
    pending: list[int], moving: list[int], made: int
) -> None:
    """What is not here any more takes none; pending spans may fill the window for them."""
    flows = Flows(make_policy(max_spans=3, max_bytes=HEAD + 10_000, admits=True), 100)
    source = Flows(make_policy(max_spans=9, max_bytes=90_000), 100).memory.get("a")
    flows.memory.flows["a"] = source
    source.hand_over([make_span(0, number, size=size) for number, size in enumerate(moving)], NOW_NS)
    waiting = [("b", make_span(1, number, size=size)) for number, size in enumerate(pending)]
    flows.hand_over(waiting, [], [], 0.0, NOW_NS)
    moves = [Move("a", "b", *key(0, number)) for number in range(len(moving))]
    gone = [Move("a", "b", *key(7, 0)), Move("nobody", "b", *key(0, 0))]
    assert flows.memory.may_move([*gone, *moves]) == len(gone) + made


def test_a_newer_text_is_not_replaced_by_one_that_moves_late() -> None:
    """Though the newer one was delivered, and has left its window, before there was room for the older one's move."""
    offers, platform = Offers(max_spans=4), Flaky()
    platform.down = "c"
    assert offers.offer(*(make_span(0, n, name="c") for n in range(4))) == Taken(0)
    for trace, name in ((1, "c"), (2, "b")):
        assert offers.offer(make_span(trace, 1, parent=0, text="older")) == Taken(0)
        offers.offer(make_span(trace, 0, name=name))
    assert offers.offer(make_span(2, 1, parent=0, text="newer")) == Taken(0)
    for _ in range(20):
        attempt_next(offers.flows, platform, 1000.0)
    assert "newer" in {span["name"] for span in platform.spans("b")}
    assert offers.offer(*(make_span(3, n, name="b") for n in range(4))) == Taken(0)
    platform.down = None
    now = settle_all(offers.flows, platform, 2000.0)
    while (moving := offers.questions.owed()) is not None:
        offers.flows.hand_over(*moving, now, NOW_NS)
        now = settle_all(offers.flows, platform, now)
    assert platform.keys("a") == []
    assert platform.keys("b") == [key(3, n) for n in range(4)]
    assert offers.flows.memory.totals().dropped == {}


def test_what_is_not_kept_is_not_taken() -> None:
    """Spans that the store does not have are not answered for."""
    offers = Offers(max_spans=10)
    question = Question(Kind.OFFER, 0.0)
    routed, _ = offers.router.route([(make_span(0, 0), "a")])
    for batch in offers.questions.admit(question, Batch(routed, (), ())):
        offers.flows.hand_over(*batch, 0.0, NOW_NS)
    offers.questions.give(lambda flow, span: False)
    assert question.waiter.answer is None


def test_what_may_come_in_is_bounded_to_the_byte() -> None:
    """Each span by its own flow's window, and all that is pending by what all windows may hold."""
    memory = Offers(max_spans=10, max_bytes=1000).flows.memory
    room, most = 1000 - HEAD, WINDOWS_OF_BYTES * 1000
    assert [memory.fits("a", make_span(0, 0, size=size)) for size in (room, room + 1)] == [True, False]
    large = [(name, make_span(0, 0, size=room + 1)) for name in "aab"]
    assert memory.admits(large) == 3
    many = [(f"f{number}", make_span(number, 0, size=799)) for number in range(most // 800)]
    assert memory.admits(many) == 0
    assert memory.admits([*many[1:], ("f0", make_span(0, 0, size=800))]) is None
