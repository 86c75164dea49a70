"""docs/troubleshooting.md quotes lines that are really logged."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\| `([^`]+)` \|", PAGE.split("## By log line\n")[1], re.M)


def texts_of_the_core() -> str:
    """Every text that stands in its code, with the names of what is filled in."""
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(p.value for p in node.values if isinstance(p, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


TEXTS = texts_of_the_core()


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_is_quoted_is_one_of_the_code(line):
    """Whoever searches the page for a line that he met finds it."""
    assert line in TEXTS
