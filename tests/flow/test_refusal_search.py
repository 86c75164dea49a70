"""The search for what the platform refuses, where its answer does not name it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow.refusal_search import SINGLES_IN_A_ROW, Search, Verdict
from opentelemetry.exporter.versori_flow.flow.window import Entry, Origin


def suspects(count: int) -> list[Entry]:
    return [Entry(("t", str(number)), number, False, b"{}", True, Origin.OWN) for number in range(count)]


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.start for entry in entries]


def play(count: int, refuses: Callable[[list[int]], bool]) -> tuple[list[int], list[int], bool, int]:
    """Searches to the end; returns who was dropped, who was delivered, whether it gave up, and the bodies."""
    search = Search(suspects(count))
    dropped: list[int] = []
    delivered: list[int] = []
    search.refused()
    bodies = 1
    while not search.done:
        bodies += 1
        testing = numbers(search.testing)
        if refuses(testing):
            verdict = search.refused()
        else:
            delivered += testing
            verdict = search.accepted()
        if verdict is Verdict.GIVE_UP:
            return dropped, delivered, True, bodies
        if verdict is Verdict.DROP:
            dropped += numbers(search.guilty)
    return dropped, delivered, False, bodies


def test_one_offender_is_found_among_many() -> None:
    """It is dropped, everything else is delivered, with a logarithm of bodies."""
    dropped, delivered, gave_up, bodies = play(512, lambda body: 77 in body)
    assert (dropped, gave_up) == ([77], False)
    assert sorted(delivered) == [number for number in range(512) if number != 77]
    assert bodies <= 2 * 9 + 3


def test_several_offenders_are_found() -> None:
    """Wherever they stand."""
    dropped, delivered, gave_up, _ = play(100, lambda body: bool({0, 50, 99} & set(body)))
    assert (sorted(dropped), gave_up) == ([0, 50, 99], False)
    assert len(delivered) == 97


def test_all_can_be_offenders() -> None:
    """After so many single refusals without a success the rest leaves with them."""
    dropped, delivered, gave_up, bodies = play(1000, bool)
    assert (sorted(dropped), delivered, gave_up) == (list(range(1000)), [], False)
    assert bodies < 40


def test_fewer_than_eight_in_a_row_take_nobody_with_them() -> None:
    """Seven single refusals prove nothing about the rest."""
    bad = set(range(SINGLES_IN_A_ROW - 1))
    dropped, delivered, _, _ = play(64, lambda body: bool(bad & set(body)))
    assert (set(dropped), len(delivered)) == (bad, 64 - len(bad))


def test_a_success_begins_the_count_anew() -> None:
    """Offenders with accepted spans between them are not in a row."""
    dropped, delivered, _, _ = play(64, lambda body: any(number % 2 for number in body))
    assert sorted(dropped) == list(range(1, 64, 2))
    assert sorted(delivered) == list(range(0, 64, 2))


def test_eight_in_a_row_take_the_rest_with_them() -> None:
    """The eighth single refusal, and who waits then."""
    search = Search(suspects(20))
    search.refused()
    search.accepted()  # the first ten are fine
    assert numbers(search.testing) == list(range(10, 20))
    dropped: list[list[int]] = []
    while not search.done:
        if search.refused() is Verdict.DROP:
            dropped.append(numbers(search.guilty))
    assert dropped == [[10], [11], [12], [13], [14], [15], [16], [17, 18, 19]]
    search.keep([])
    assert search.done


def test_the_first_halves_are_tried_first() -> None:
    """The order is that of the body."""
    search = Search(suspects(5))
    assert search.refused() is Verdict.GO_ON
    assert numbers(search.testing) == [0, 1]
    assert search.refused() is Verdict.GO_ON
    assert numbers(search.testing) == [0]
    assert search.accepted() is Verdict.GO_ON
    assert numbers(search.testing) == [1]
    assert search.accepted() is Verdict.GO_ON
    assert numbers(search.testing) == [2, 3, 4]
    assert not search.done


def test_the_last_suspect_is_not_dropped_without_a_proof() -> None:
    """The body without any suspect is tried first, where none was accepted yet."""
    search = Search(suspects(1))
    assert search.refused() is Verdict.GO_ON
    assert search.testing == []
    assert not search.done
    assert search.accepted() is Verdict.DROP
    assert numbers(search.guilty) == [0]
    assert search.done


def test_with_the_proof_a_suspect_is_dropped_at_once() -> None:
    """Once a body was accepted, the rest of it is fine, and nothing is tried twice."""
    search = Search(suspects(2))
    search.refused()
    search.accepted()
    assert numbers(search.testing) == [1]
    assert search.refused() is Verdict.DROP
    assert numbers(search.guilty) == [1]
    assert search.done


def test_the_proof_holds_for_later_suspects() -> None:
    """The body without suspects is tried once only."""
    search = Search(suspects(2))
    assert [search.refused(), search.refused()] == [Verdict.GO_ON, Verdict.GO_ON]
    assert search.accepted() is Verdict.DROP
    assert numbers(search.testing) == [1]
    assert search.refused() is Verdict.DROP
    assert (numbers(search.guilty), search.done) == ([1], True)


def test_a_body_that_is_refused_anyway_convicts_nobody() -> None:
    """Refused without any suspect: it gives up, and drops nothing."""
    assert play(4, lambda body: True) == ([], [], True, 4)
    search = Search(suspects(1))
    search.refused()
    assert search.refused() is Verdict.GIVE_UP
    assert search.guilty == []


def test_a_search_without_suspects_gives_up() -> None:
    """There is nobody to blame."""
    search = Search([])
    assert search.done
    assert search.refused() is Verdict.GIVE_UP


def test_who_left_is_no_suspect_any_more() -> None:
    """Among those that are tested and those that wait."""
    all_of_them = suspects(8)
    search = Search(all_of_them)
    search.refused()
    search.refused()
    assert numbers(search.testing) == [0, 1]
    search.keep([all_of_them[number] for number in (1, 3, 6)])
    assert numbers(search.testing) == [1]
    search.accepted()
    assert numbers(search.testing) == [3]
    search.accepted()
    assert numbers(search.testing) == [6]
    search.accepted()
    assert search.done


def test_the_next_ones_are_tried_when_all_that_were_tested_left() -> None:
    """An empty test proves nothing: it would be the proof of the rest instead."""
    all_of_them = suspects(4)
    search = Search(all_of_them)
    search.refused()
    search.keep(all_of_them[2:])
    assert numbers(search.testing) == [2, 3]
    search.keep([])
    assert search.done


def test_a_trial_goes_on_while_its_suspect_is_here() -> None:
    """The body without suspects is still the next one to try."""
    all_of_them = suspects(2)
    search = Search(all_of_them)
    search.refused()
    search.refused()
    search.keep(all_of_them)
    assert search.testing == []
    assert search.accepted() is Verdict.DROP
    assert numbers(search.guilty) == [0]


def test_a_trial_ends_when_its_suspect_left() -> None:
    """Then the next group is tried, and nobody is convicted for it."""
    all_of_them = suspects(2)
    search = Search(all_of_them)
    search.refused()
    search.refused()
    search.keep(all_of_them[1:])
    assert numbers(search.testing) == [1]
    assert search.accepted() is Verdict.GO_ON
    assert search.done


def test_equal_spans_are_told_apart() -> None:
    """A newer text under the same ids is another suspect."""
    old, new = suspects(1)[0], suspects(1)[0]
    search = Search([old])
    search.keep([new])
    assert search.done


@pytest.mark.parametrize("bad", [set(), {0}, {3}, {0, 7}, {6, 7}])
def test_a_refusal_that_comes_once_only_drops_nobody(bad: set[int]) -> None:
    """A platform that changed its mind accepts the halves."""
    dropped, delivered, gave_up, _ = play(8, lambda body: bool(bad & set(body)))
    assert (set(dropped), gave_up) == (bad, False)
    assert len(delivered) == 8 - len(bad)


@given(st.integers(1, 60), st.sets(st.integers(0, 59), max_size=7))
def test_exactly_the_offenders_are_dropped(count: int, bad: set[int]) -> None:
    """With fewer than eight offenders nobody else is, whatever their places."""
    assume(count > 1 or 0 in bad)  # one alone that was refused is guilty, once the rest is accepted
    dropped, delivered, gave_up, _ = play(count, lambda body: bool(bad & set(body)))
    assert not gave_up
    assert sorted(dropped) == sorted(bad & set(range(count)))
    assert sorted(dropped + delivered) == list(range(count))
