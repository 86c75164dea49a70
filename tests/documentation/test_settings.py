"""docs/settings.md says what the code does."""

import inspect
import re
import sys
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow import VersoriFlowSpanExporter
from opentelemetry.exporter.versori_flow.settings.load import load_settings
from opentelemetry.exporter.versori_flow.settings.table import SETTINGS

ROOT = Path(__file__).parents[2]
SETTINGS_PAGE = ROOT / "docs" / "settings.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Those that are no settings of the exporter: Versori's own CLI, and the local platform's key.
OTHERS = {"VERSORI_CONFIG", "VERSORI_CONTEXT"}
OTHERS |= {f"VERSORI_FLOW_{name}" for name in ("SERVE_KEY", "GATEWAY_TOKEN", "SAY_AT_END")}
ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def settings_table_markdown() -> str:
    """The table of settings as its page has it; `python tests/documentation/test_settings.py` prints it."""
    rows = [
        (
            f"`{row.keyword}`",
            f"`{row.variable}`" if row.variable else "-",
            row.documented_default,
            row.meaning,
        )
        for row in SETTINGS
    ]
    head = [("keyword", "variable", "default", "meaning"), ("---",) * 4]
    return "\n".join(f"| {' | '.join(row)} |" for row in head + rows)


def rows_of_settings(markdown: str) -> list[tuple[str, str, str]]:
    """Keyword, variable and default of each row whose table has these columns."""
    found: list[tuple[str, str, str]] = []
    in_table = False
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[:3] == ["keyword", "variable", "default"]:
            in_table = True
        elif not line.lstrip().startswith("|"):
            in_table = False
        elif in_table and not set(cells[0]) <= set("-: "):
            found.append((cells[0].strip("`"), cells[1].strip("`"), cells[2]))
    return found


def expected_rows() -> list[tuple[str, str, str]]:
    return [(row.keyword, row.variable or "-", row.documented_default) for row in SETTINGS]


def test_the_table_can_be_pasted():
    """The printed table reads back as the settings: no cell breaks a row."""
    assert rows_of_settings(settings_table_markdown()) == expected_rows()
    assert all(line.count("|") == 5 for line in settings_table_markdown().splitlines())


def test_the_page_has_every_setting():
    """Its table lists every setting with its variable and its default, and no other."""
    assert rows_of_settings(SETTINGS_PAGE.read_text(encoding="utf-8")) == expected_rows()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_variable_that_is_none(page):
    """Every VERSORI_ variable is a setting, or one of the command's."""
    named = set(re.findall(r"\bVERSORI_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named - {row.variable for row in SETTINGS} <= OTHERS


def test_the_exporter_takes_every_setting():
    """Its keywords are the table's, in its order, for an editor to show."""
    parameters = list(inspect.signature(VersoriFlowSpanExporter).parameters.values())
    assert [one.name for one in parameters if one.kind is one.KEYWORD_ONLY] == [
        row.keyword for row in SETTINGS
    ]


@pytest.mark.skipif(sys.flags.optimize > 1, reason="there are no docstrings")
def test_the_exporter_says_every_setting():
    """Each has its line in the class's docstring, with its variable."""
    said = inspect.getdoc(VersoriFlowSpanExporter) or ""
    assert [row.keyword for row in SETTINGS if f"\n    {row.keyword}: {row.variable or ''}" not in said] == []


def test_a_documented_default_is_the_default():
    """Writing a default out changes nothing."""
    required = {"api_key": "key", "organisation_id": ULID, "project_id": ULID}
    written = {row.keyword: row.default for row in SETTINGS if row.default is not None}
    assert load_settings(**required, **written) == load_settings(**required)


if __name__ == "__main__":
    print(settings_table_markdown())
