"""What every store promises, whatever it keeps spans in: a class of tests, to be given the places of one store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from opentelemetry.exporter.versori_flow.flow.journal import Change, Kept
from opentelemetry.exporter.versori_flow.stores.seam import Store

from .writer import Writer, added, fork_and_end, kept, settled

EXAMPLES = int(os.environ.get("HISTORIES", "30"))
FLOWS = ("shop", "b\udcffd\0", "naïve/..")

Make = Callable[[], Store]


class Contract:
    """Tests of a durable store; whoever inherits from it gives `make`: stores of several processes in one place."""

    @pytest.fixture
    def start(self, make: Make) -> Iterator[Callable[[], Writer]]:
        """Starts processes."""
        writers: list[Writer] = []

        def start() -> Writer:
            writers.append(Writer(make))
            return writers[-1]

        yield start
        for writer in writers:
            writer.kill()

    def test_what_was_kept_outlives_its_process(self, start: Callable[[], Writer]):
        """After kill -9 the next process has what was added and is neither settled nor gone, as it was, in order."""
        writer = start()
        spans = [kept(number, os.urandom(50)) for number in range(9)]
        writer.apply(added("shop", spans))
        writer.apply([Change("shop", (), [spans[3].key], [spans[4].key])])
        newer = spans[2]._replace(body=b"newer")
        writer.apply(added("shop", [newer]))
        assert writer.keeps("shop", spans[0].key)
        assert not writer.keeps("shop", spans[3].key)
        writer.kill()
        heir = start()
        assert heir.inherit() == [("shop", span) for span in (*spans[:2], *spans[5:], newer)]
        assert heir.take_unreadable() == 0

    def test_who_leaves_is_followed(self, start: Callable[[], Writer]):
        """What was left goes to one heir at once; who left takes it back as long as nobody has it."""
        writer, heir = start(), start()
        writer.apply(added("shop", [kept(1)]))
        assert writer.leave(added("shop", [kept(1), kept(2)]))
        assert writer.take_back()
        assert heir.inherit() == []
        assert writer.leave([])
        assert {span.key for _, span in heir.inherit()} == {kept(1).key, kept(2).key}
        assert not writer.take_back()
        assert writer.keeps("shop", kept(1).key)
        writer.apply(added("shop", [kept(3)]))
        writer.apply(settled("shop", [kept(1), kept(2)]))
        heir.kill()
        writer.kill()
        assert {span.key for _, span in start().inherit()} == {kept(number).key for number in (1, 2, 3)}

    def test_who_has_nothing_leaves_nothing(self, start: Callable[[], Writer]):
        """With all delivered there is nothing to leave."""
        writer = start()
        writer.apply(added("shop", [kept(1)]))
        writer.apply(settled("shop", [kept(1)]))
        assert not writer.leave([])
        assert writer.take_back()

    @pytest.mark.parametrize(
        ("flow", "span"),
        [
            ("b\udcffd \0 name" + 300 * "ü", kept(1)),
            ("", kept(1)._replace(key=("", "\ud800\0"))),
            ("shop", kept(1)._replace(body=bytes(range(256)) * 5000)),
            ("shop", kept(1)._replace(body=b"", start=-(1 << 63), end=(1 << 63) - 1)),
        ],
        ids=["flow", "ids", "large", "times"],
    )
    def test_any_span_is_kept(self, start: Callable[[], Writer], flow: str, span: Kept):
        """Whatever a name, an id or a body holds, it comes back as it was."""
        writer = start()
        writer.apply(added(flow, [span, kept(2)]))
        writer.kill()
        assert start().inherit() == [(flow, span), (flow, kept(2))]

    def test_times_beyond_all_bounds_harm_nobody(self, start: Callable[[], Writer]):
        """A span with a time that nothing can hold is kept with the nearest one, and so are those beside it."""
        writer = start()
        writer.apply(added("shop", [kept(1, start=10**40), kept(2)]))
        writer.kill()
        assert [span.key for _, span in start().inherit()] == [kept(1).key, kept(2).key]

    def test_a_forked_child_is_a_process_of_its_own(self, start: Callable[[], Writer]):
        """A child that ends takes nothing of its parent's with it, and what it adds is its own."""
        writer = start()
        for number in range(0, 40, 4):
            writer.apply(added("shop", [kept(number)]))
            assert writer.run(fork_and_end) == 0
            writer.apply(added("shop", [kept(number + 1)]))
            assert writer.run(fork_and_end, added("child", [kept(number + 2)])) == 0
        other = start()
        assert {flow for flow, _ in other.inherit()} == {"child"}
        writer.kill()
        assert len(other.inherit()) == 20

    def test_any_history(self, make_anew: Callable[[], Make]):
        """In any history of several processes that are killed, leave and fork, what was kept is held by one heir."""
        run_state_machine_as_test(
            lambda: Histories(make_anew()),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )


class Histories(RuleBasedStateMachine):
    """Processes beside a plain model: who holds each span, None for nobody."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.make = make
        self.writers: list[Writer] = []
        self.left: dict[Writer, set[tuple[str, Kept]]] = {}
        self.holders: dict[tuple[str, Kept], Writer | None] = {}
        self.number = 0

    def of(self, holder: Writer | None) -> list[tuple[str, Kept]]:
        """What somebody holds."""
        return [place for place, held_by in self.holders.items() if held_by is holder]

    @rule()
    def starts(self) -> None:
        if len(self.writers) < 4:
            self.writers.append(Writer(self.make))

    def some(self, data: st.DataObject) -> Writer:
        return data.draw(st.sampled_from(self.writers))

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), flow=st.sampled_from(FLOWS), count=st.integers(1, 6), size=st.integers(0, 3000))
    def adds(self, data: st.DataObject, flow: str, count: int, size: int) -> None:
        writer = self.some(data)
        spans = [kept(self.number + number, b"x" * size) for number in range(count)]
        self.number += count
        writer.apply(added(flow, spans))
        self.holders.update(dict.fromkeys([(flow, span) for span in spans], writer))

    @precondition(lambda self: self.writers)
    @rule(data=st.data(), is_settled=st.booleans())
    def delivers(self, data: st.DataObject, is_settled: bool) -> None:
        writer = self.some(data)
        if mine := self.of(writer):
            done = data.draw(
                st.lists(st.sampled_from(mine), unique_by=lambda place: (place[0], place[1].key))
            )
            writer.apply(
                [
                    Change(flow, (), *([[span.key], ()] if is_settled else [(), [span.key]]))
                    for flow, span in done
                ]
            )
            for place in done:
                del self.holders[place]

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def changes(self, data: st.DataObject) -> None:
        writer = self.some(data)
        if mine := self.of(writer):
            flow, span = data.draw(st.sampled_from(mine))
            newer = span._replace(body=span.body + b"+")
            writer.apply(added(flow, [newer]))
            del self.holders[flow, span]
            self.holders[flow, newer] = writer

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def inherits(self, data: st.DataObject) -> None:
        writer = self.some(data)
        found, orphans = writer.inherit(), self.of(None)
        assert sorted(found) == sorted(orphans)
        self.holders.update(dict.fromkeys(orphans, writer))
        assert writer.take_unreadable() == 0

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        writer = self.some(data)
        mine = self.of(writer)
        assert writer.leave([]) == bool(mine)
        self.holders.update(dict.fromkeys(mine))
        self.writers.remove(writer)
        self.left[writer] = set(mine)

    @precondition(lambda self: self.left)
    @rule(data=st.data(), goes=st.booleans())
    def takes_back(self, data: st.DataObject, goes: bool) -> None:
        writer = data.draw(st.sampled_from(list(self.left)))
        left = self.left.pop(writer)
        mine = [place for place in left if self.holders.get(place, writer) is None]
        if goes:
            writer.kill()
        elif writer.take_back():
            assert not [place for place in left if self.holders.get(place) is not None]
            self.holders.update(dict.fromkeys(mine, writer))
            self.writers.append(writer)
        else:
            assert len(mine) < len(left) or not left
            writer.kill()

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def dies(self, data: st.DataObject) -> None:
        writer = self.some(data)
        self.writers.remove(writer)
        writer.kill()
        self.holders.update(dict.fromkeys(self.of(writer)))

    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def forks(self, data: st.DataObject) -> None:
        assert self.some(data).run(fork_and_end) == 0

    def teardown(self) -> None:
        for writer in (*self.writers, *self.left):
            writer.kill()
        heir = Writer(self.make)
        try:
            assert sorted(heir.inherit()) == sorted(self.holders)
            assert heir.take_unreadable() == 0
        finally:
            heir.kill()
