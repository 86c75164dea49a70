"""docs/how-it-works.md is true to the code: every answer, reason and state is in it, and no other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from opentelemetry.exporter.versori_flow import DropReason, FlowStatus
from opentelemetry.exporter.versori_flow.delivery import backoff, crew
from opentelemetry.exporter.versori_flow.flow import due, refusal_search, schedule
from opentelemetry.exporter.versori_flow.http import answers, api

PAGE = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the rows of a section's table, without its head."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_answer_has_a_row():
    """The table has the types of `http.answers.Answer`, once each."""
    named = [row[1].strip("`") for row in rows("What each answer leads to")]
    assert sorted(named) == sorted(answer.__name__ for answer in get_args(answers.Answer))


def test_what_is_tried_again_is_what_the_table_says():
    """The statuses of the row are those that the code takes for passing trouble."""
    (cell,) = [row[0] for row in rows("What each answer leads to") if row[1] == "`Unavailable`"]
    assert tuple(map(int, re.findall(r"\d{3}", cell))) == api._TRY_AGAIN


def test_every_reason_has_a_row():
    """The table of losses has the reasons, in their order."""
    assert [row[0].strip("`") for row in rows("A span's way")] == [reason.value for reason in DropReason]


def test_every_state_is_drawn():
    """The picture has the states that `FlowStatus` tells."""
    told = re.search(r"state: (.*)\n", FlowStatus.__doc__ or "")
    assert told is not None
    picture = PAGE.split("## The states of a flow\n", 1)[1].split("```")[1]
    for state in re.findall(r'"([a-z ]+)"', told[1]):
        assert state in picture


@pytest.mark.parametrize(
    "said",
    [
        f"1 to {crew.MAX_THREADS}, daemons",
        f"at most {due.MOST_IN_TROUBLE} attempts",
        f"After {refusal_search.SINGLES_IN_A_ROW} single refusals",
        f"at most {schedule.MAX_CHECKS}\n",
        f"{backoff.SHORTEST_WAIT} s to {backoff.LONGEST_WAIT:g} s",
    ],
)
def test_its_numbers_are_those_of_the_code(said):
    """A bound that is named is the one that holds."""
    assert said in PAGE
