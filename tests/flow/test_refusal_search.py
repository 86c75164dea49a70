"""The search for what the platform refuses, where its answer does not name it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow.refusal_search import SINGLES_IN_A_ROW, Search, Verdict
from opentelemetry.exporter.versori_flow.flow.window import Entry

Refuses = Callable[[list[int]], bool]


def suspects(count: int) -> list[Entry]:
    return [Entry(("t", str(number)), number, False, b"{}", True, True) for number in range(count)]


def numbers(entries: Iterable[Entry]) -> list[int]:
    return [entry.start for entry in entries]


def steps(search: Search, *answers: str) -> list[list[int]]:
    """Answers "+" or "-" in turn; returns what was tested each time, and what is next."""
    tested = [numbers(search.testing)]
    for answer in answers:
        if answer == "+":
            search.accepted()
        else:
            search.refused()
        tested.append(numbers(search.testing))
    return tested


class Play:
    """A search from its first refusal to its end."""

    def __init__(self, count: int, refuses: Refuses, names: bool = False) -> None:
        search = Search(suspects(count))
        self.dropped: list[int] = []
        self.delivered: list[int] = []
        self.gave_up = False
        self.bodies: list[list[int]] = []
        while not (search.done or self.gave_up):
            testing = numbers(search.testing)
            self.bodies.append(testing)
            if not self.bodies[1:] or refuses(testing):
                named = [entry for entry in search.testing if names and refuses([entry.start])]
                verdict = search.refused(named)
                self.gave_up = verdict is Verdict.GIVE_UP
                if verdict is Verdict.DROP:
                    self.dropped += numbers(search.guilty)
            else:
                self.delivered += testing
                search.accepted()


@pytest.mark.parametrize(
    ("count", "bad", "most"),
    [
        (512, {77}, 2 * 9 + 5),
        (100, {0, 50, 99}, 60),
        (64, set(range(SINGLES_IN_A_ROW - 1)), 60),
        (64, set(range(1, 64, 2)), 200),
    ],
)
def test_offenders_are_found_among_many(count: int, bad: set[int], most: int) -> None:
    """They are dropped, everything else is delivered, with few bodies; accepted ones between are no row."""
    play = Play(count, lambda body: bool(bad & set(body)))
    assert (set(play.dropped), play.gave_up) == (bad, False)
    assert sorted(play.delivered) == [number for number in range(count) if number not in bad]
    assert len(play.bodies) <= most


def test_eight_in_a_row_take_the_rest_with_them() -> None:
    """After so many single refusals without a success."""
    play = Play(1000, bool)
    assert (sorted(play.dropped), play.delivered, play.gave_up) == (list(range(1000)), [], False)
    assert len(play.bodies) < 60
    search = Search(suspects(20))
    steps(search, "-", "+")  # the first ten are fine
    search.keep(search.testing, changes=1)  # and somebody changes the flow
    dropped = []
    while not search.done:
        if not search.testing:
            search.accepted()
        elif search.refused() is Verdict.DROP:
            dropped.append(numbers(search.guilty))
    assert dropped == [[10], [11], [12], [13], [14], [15], [16], [17, 18, 19]]


def test_the_first_halves_are_tried_first() -> None:
    """The order is that of the body."""
    search = Search(suspects(5))
    assert steps(search, "-", "-", "+", "+") == [[0, 1, 2, 3, 4], [0, 1], [0], [1], [2, 3, 4]]
    assert not search.done


def test_who_is_named_waits_for_all_the_others() -> None:
    """With who was named before; also where the flow changes meanwhile."""
    search = Search(suspects(6))
    steps(search, "-")
    for named in ([], [1]):
        search.refused(search.testing[:1])
        assert (numbers(search.on_trial), numbers(search.testing)) == ([0, *named], [1, 2][len(named) :])
    search.keep([*search.testing, *search.held_back], changes=1)
    assert (search.on_trial, numbers(search.testing)) == ([], [2])
    assert steps(search, "+", "+", "-", "-") == [[2], [3, 4, 5], [0, 1], [0], []]
    search = Search(suspects(4))
    steps(search, "-")
    search.refused(search.testing[:1])
    assert steps(search, "-", "+", "+") == [[1], [], [1], [2, 3]]


def test_nobody_is_dropped_for_one_refusal() -> None:
    """The body without the suspect must be taken, and the suspect alone be refused again."""
    search = Search(suspects(2))
    assert steps(search, "-", "+", "-") == [[0, 1], [0], [1], []]
    assert (numbers(search.on_trial), search.guilty) == ([1], [])
    search.accepted()
    assert (numbers(search.testing), search.guilty) == ([1], [])
    assert search.refused() is Verdict.DROP
    assert (numbers(search.guilty), search.done) == ([1], True)


def test_a_body_that_is_refused_anyway_convicts_nobody() -> None:
    """Refused without any suspect: it gives up, and drops nothing."""
    play = Play(4, lambda body: True)
    assert (play.dropped, play.delivered, play.gave_up, len(play.bodies)) == ([], [], True, 4)
    search = Search(suspects(1))
    search.refused()
    assert (search.refused(), search.guilty) == (Verdict.GIVE_UP, [])
    assert Search([]).refused() is Verdict.GIVE_UP
    assert Search([]).done


@pytest.mark.parametrize("changed_at", [1, 2, 3])
def test_evidence_holds_for_one_state_of_the_flow(changed_at: int) -> None:
    """When it changed in between, the suspect is tried alone again, and then without it."""
    search = Search(all_of_them := suspects(2))
    steps(search, "-", *("-", "+")[: changed_at - 1])
    search.keep(all_of_them, changes=1)
    alone = changed_at > 1
    assert numbers(search.testing) == ([1] if alone else [0])
    if alone:
        assert steps(search, "+", "-", "+", "-") == [[1], [0], [], [0], []]
        assert (numbers(search.guilty), search.done) == ([0], True)


def test_singles_are_counted_for_one_state_of_the_flow() -> None:
    """Seven before it changed, and one after, take nobody with them."""
    search = Search(all_of_them := suspects(40))
    search.refused()
    dropped: list[int] = []
    while len(dropped) < 9:
        if len(dropped) == SINGLES_IN_A_ROW - 1:
            search.keep(all_of_them, changes=1)
        if not search.testing:
            search.accepted()
        elif search.refused() is Verdict.DROP:
            dropped += numbers(search.guilty)
    assert dropped == list(range(9))
    assert not search.done


def test_who_is_not_named_again_is_tried_further() -> None:
    """A name that came once only proves nothing; without any name they are halved."""
    search = Search(all_of_them := suspects(4))
    search.refused(all_of_them[:3])
    search.accepted()
    assert numbers(search.testing) == [0, 1, 2]
    assert search.refused(all_of_them[:1]) is Verdict.DROP
    assert (numbers(search.guilty), numbers(search.testing)) == ([0], [1, 2])
    search.refused(all_of_them[1:3])
    search.accepted()
    assert search.refused() is Verdict.GO_ON
    assert steps(search, "+", "+") == [[1], [2], []]
    assert search.done


def test_who_is_named_waits_while_the_others_are_halved() -> None:
    """They were refused without those that were named, too."""
    search = Search(all_of_them := suspects(4))
    search.refused(all_of_them[:2])
    assert steps(search, "-", "+", "+", "+") == [[2, 3], [2], [3], [0, 1], []]
    assert search.done


def test_who_left_is_no_suspect_any_more() -> None:
    """Among those that are tested, those that wait, and those on trial; newer texts are others."""
    search = Search(all_of_them := suspects(8))
    assert steps(search, "-", "-") == [[*range(8)], [0, 1, 2, 3], [0, 1]]
    search.keep([all_of_them[number] for number in (1, 3, 6)])
    assert steps(search, "+", "+", "+") == [[1], [3], [6], []]
    assert search.done
    search = Search(suspects(1))
    search.keep(suspects(1))
    assert search.done


def test_who_was_delivered_elsewhere_is_no_suspect_any_more() -> None:
    """The platform takes it; held back, it would be missing in the flow until the search is over."""
    search = Search(all_of_them := suspects(4))
    assert steps(search, "-") == [[0, 1, 2, 3], [0, 1]]
    for entry in all_of_them[1:]:
        entry.pending = False
    search.keep(all_of_them)
    assert steps(search, "+") == [[0], []]
    assert search.done


@pytest.mark.parametrize("proven", [False, True])
def test_a_trial_ends_when_its_suspect_left(proven: bool) -> None:
    """Then the next group is tried, and nobody is convicted for it; it goes on while the suspect is here."""
    search = Search(all_of_them := suspects(2))
    steps(search, "-", "-", *(["+"] if proven else []))
    search.keep(all_of_them)
    assert numbers(search.testing) == ([0] if proven else [])
    search.keep(all_of_them[1:])
    assert steps(search, "+") == [[1], []]
    assert (search.done, search.guilty) == (True, [])


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=7), st.booleans(), st.integers(0, 200))
def test_exactly_the_offenders_are_dropped(count: int, bad: set[int], names: bool, stray: int) -> None:
    """Whatever their places; one stray refusal, whenever it comes, costs nobody."""
    asked = iter(range(10_000))
    if not bad & set(range(count)):
        stray = -1  # the first refusal was it
    play = Play(count, lambda body: bool(bad & set(body)) or (not names and next(asked) == stray), names)
    if not play.gave_up:
        assert sorted(play.dropped) == sorted(bad & set(range(count)))
        assert sorted(play.dropped + play.delivered) == list(range(count))
    assert set(play.dropped) <= bad
