"""The settings: what each is, where it is from, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ...settings.load import ConfigurationError, Given, load_settings, nearest, unknown_variables
from ...settings.readers import BadValueError, Secret
from ...settings.table import SETTINGS, Setting, Settings
from .finding import Finding, ok, warning, wrong

_CREDENTIALS = {"api_key": "none", "organisation_id": "0" * 26, "project_id": "0" * 26}
_HIDDEN = ("api_key", "headers")


class Shown(NamedTuple):
    """One setting, as people may see it.

    Attributes:
        name: The keyword.
        variable: The variable; None where there is none.
        value: What it is; `***` for a secret, and None where nothing is set or it can't be read.
        source: `argument`, `variable`, `default`, `not set`, or which entry of which file.
    """

    name: str
    variable: str | None
    value: str | None
    source: str


class Configured(NamedTuple):
    """All settings.

    Attributes:
        shown: Each of them, as people may see it.
        findings: What is wrong.
        settings: All of them; None where one is wrong.
        reachable: The same, good for a connection without credentials; None where there can't be one.
    """

    shown: list[Shown]
    findings: list[Finding]
    settings: Settings | None
    reachable: Settings | None


def look(given: Mapping[str, object]) -> Configured:
    """Reads the settings as a command does.

    Args:
        given: Those that were given on the command line.
    """
    hidden = Secret(dict(given))
    raw, _ = nearest(hidden, True)
    shown = [_shown(row, raw.get(row.keyword)) for row in SETTINGS]
    findings = [
        warning(
            "settings",
            "unknown-variable",
            f"{name} is no setting, and nothing reads it",
            f"write {meant}" if meant else f"leave {name} out",
        )
        for name, meant in unknown_variables().items()
    ]
    settings = reachable = None
    try:
        settings = reachable = load_settings(hidden, True)
        findings.append(ok("settings", "complete"))
    except ConfigurationError as error:
        findings += map(_problem, error.problems)
        # Whether the platform can be reached is worth knowing, whoever asks.
        try:
            reachable = load_settings({**given, **_CREDENTIALS}, True)
        except ConfigurationError:
            reachable = None
    return Configured(shown, findings, settings, reachable)


def _problem(text: str) -> Finding:
    what, colon, change = text.rpartition(": ")
    if not colon:
        what, change = text, f"set {text.partition(' ')[0]}"
    keyword = re.search(r"\(keyword (\w+)\)", what)
    cause = f"setting-{keyword[1]}" if keyword else "versori-config"
    return wrong("settings", cause, what, change)


def _shown(row: Setting, given: Given | None) -> Shown:
    if given is None and row.default is None:
        return Shown(row.keyword, row.variable, None, "not set")
    value, source = given or (Secret(row.default), "default")
    return Shown(row.keyword, row.variable, next(_texts(row, value), None), source)


def _texts(row: Setting, value: Secret) -> Iterator[str]:
    """The value as text, unless it can't be read: then it may be anything, a key that was pasted there too."""
    try:
        read = row.read(value if row.keyword in (*_HIDDEN, "store") else value.reveal())
    except BadValueError:
        return
    if row.keyword == "headers":
        yield ", ".join(f"{name}=***" for name in read) if isinstance(read, Mapping) else "***"
    elif isinstance(read, tuple) and not hasattr(read, "_fields"):
        yield ",".join(map(str, read))
    else:
        yield "***" if row.keyword in _HIDDEN else str(read)
