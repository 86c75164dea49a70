"""Anything as an attribute's value: text, a number or a boolean, to the byte."""

from __future__ import annotations

import json
import sys
from collections import deque
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings

from tests.encoding.reference import reference
from tests.encoding.spans import (
    IDENTITY,
    LOOP,
    MAP_LOOP,
    RELEASED,
    VALUES,
    Broken,
    Colour,
    Endless,
    EndlessMap,
    Level,
    Liar,
    Loud,
    Point,
    Ratio,
    Unhashable,
    Unprintable,
    Word,
    attributes,
    encode,
    make,
    meaning,
    type_name,
    written,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ('q"b\\n\n\t\x00\x1f/\x7f', '"q\\"b\\\\n\\n\\t\\u0000\\u001f/\x7f"'),
        ("é😀\u2028", '"é😀\u2028"'),
        ("\ud800", '"\ufffd"'),
        ("a\udfffb\ud800", '"a\ufffdb\ufffd"'),
        ("\ud83d\ude00", '"😀"'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (2**53 - 1, "9007199254740991"),
        (-(2**53) + 1, "-9007199254740991"),
        (2**53, '"9007199254740992"'),
        (-(2**53), '"-9007199254740992"'),
        (10**30, '"1000000000000000000000000000000"'),
        (16**5000, f'"0x1{"0" * 5000}"'),
        (1.5, "1.5"),
        (-0.0, "-0.0"),
        (1e22, "1e+22"),
        (5e-324, "5e-324"),
        (sys.float_info.max, "1.7976931348623157e+308"),
        (-sys.float_info.max, "-1.7976931348623157e+308"),
        (float("nan"), '"NaN"'),
        (float("inf"), '"Infinity"'),
        (float("1e400"), '"Infinity"'),
        (float("-inf"), '"-Infinity"'),
        (None, '""'),
        (b"\x00\xff?", '"AP8/"'),
        (b"", '""'),
        (bytearray(b"ab"), '"YWI="'),
        (memoryview(b"abcd")[::2], '"YWM="'),
        (RELEASED, '"<memoryview>"'),
        (Decimal("1.10"), '"1.10"'),
        (Fraction(1, 3), '"1/3"'),
        (IDENTITY, f'"{IDENTITY}"'),
        (datetime(2024, 1, 2, tzinfo=timezone.utc), '"2024-01-02 00:00:00+00:00"'),
        (Colour.RED, '"Colour.RED"'),
        (Level.HIGH, "2"),
        (Word.YES, '"yes"'),
        (Ratio(2.5), "2.5"),
        (Ratio("nan"), '"NaN"'),
        (Loud("quiet"), '"quiet"'),
        (Unprintable(), '"<Unprintable>"'),
        (Unhashable(), '"odd"'),
        (Liar(), '"liar"'),
        (frozenset({1}), '"frozenset({1})"'),
        ([], '"[]"'),
        ({}, '"{}"'),
        ((1, "a", True, 1.5, None), '"[1,\\"a\\",true,1.5,null]"'),
        ([None, b"ab", float("nan"), 2**53], '"[null,\\"YWI=\\",\\"NaN\\",\\"9007199254740992\\"]"'),
        (["\ud800"], '"[\\"\ufffd\\"]"'),
        (Point(1, 2), '"[1,2]"'),
        (deque([1]), '"[1]"'),
        (range(3), '"[0,1,2]"'),
        ([[1], (2,), {"a": [Level.HIGH, Word.YES]}], '"[[1],[2],{\\"a\\":[2,\\"yes\\"]}]"'),
        ({"a": 1, "b": None}, '"{\\"a\\":1,\\"b\\":null}"'),
        (MappingProxyType({"a": 1}), '"{\\"a\\":1}"'),
        ({1: 2, None: 3, False: 4, (1,): 5}, '"{\\"1\\":2,\\"\\":3,\\"false\\":4,\\"[1]\\":5}"'),
        ({1: "x", "1": "y"}, '"{\\"1\\":\\"y\\"}"'),
        (dict(zip(("\ud800", "\udc00"), (1, 2), strict=True)), '"{\\"\ufffd\\":2}"'),
        ([Broken(), Unprintable(), Unhashable()], '"[\\"<Broken>\\",\\"<Unprintable>\\",\\"odd\\"]"'),
        (Broken(), '"\\"<Broken>\\""'),
    ],
    ids=type_name,
)
def test_values(value, text):
    """Every value is text, a number or a boolean, to the byte."""
    assert written(value) == text


def test_huge_text_is_kept():
    """Bounds on bytes are the window's: a value's text is whole."""
    huge = "x" * 2_000_000
    assert attributes(make(attributes={"a": huge}))["a"] == huge


def test_depth_is_bounded():
    """32 containers within each other are written, the next one is cut."""
    deep: Any = []
    for _ in range(31):
        deep = [deep]
    assert written(deep) == f'"{"[" * 32}{"]" * 32}"'
    assert written([deep]) == f'"{"[" * 32}\\"...\\"{"]" * 32}"'
    maps: Any = {}
    for _ in range(32):
        maps = {"a": maps}
    assert written(maps).count("{") == 32
    assert written(maps).count("...") == 1


def test_entries_are_bounded():
    """10,000 entries of one value are written, over all its depths, and one that never ends does end."""
    assert written([0] * 10_000) == f'"[{",".join(["0"] * 10_000)}]"'
    assert written([0] * 10_001) == f'"[{",".join(["0"] * 10_000)},\\"...\\"]"'
    assert written([[]] * 10_001) == f'"[{",".join(["[]"] * 10_000)},\\"...\\"]"'
    assert written(Endless()) == f'"[{",".join(["0"] * 10_000)},\\"...\\"]"'
    assert written(Endless([Endless()])).count("...") == 2
    assert written({n: n for n in range(10_001)}).endswith(',\\"9999\\":9999,\\"...\\":\\"...\\"}"')
    assert not written({n: n for n in range(10_000)}).endswith('...\\"}"')
    assert written(EndlessMap()) == '"{\\"0\\":0,\\"1\\":1,\\"2\\":2,\\"...\\":\\"...\\"}"'
    wide = json.loads(json.loads(written([[0] * 4000] * 4)))
    assert [len(part) for part in wide[:3]] == [4000, 4000, 1998]
    assert wide[2][-1] == "..."
    assert wide[3:] == ["..."]


def test_containers_that_hold_themselves_end():
    """A loop is written until it is too deep."""
    assert written(LOOP) == f'"{"[1," * 32}\\"...\\"{"]" * 32}"'
    assert written(MAP_LOOP).count("again") == 32


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_any_value_means_what_the_reference_says(value):
    """The same for values alone, where more of them are tried."""
    span = make(attributes={"k": value}, resource=None)
    expected = reference(span)
    assert expected is not None
    assert meaning(encode(span)) == expected
