"""`versori-flow doctor`: what is set and from where, what is wrong, and the one thing to change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..version import __version__
from .terminal import console
from .tree import plain

if TYPE_CHECKING:
    from .checks.report import Report

_STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red", "skipped": "dim"}


def doctor(
    base_url: Annotated[str | None, typer.Option(help="The API. Default: VERSORI_API_BASE_URL.")] = None,
    store: Annotated[str | None, typer.Option(help="The store. Default: VERSORI_FLOW_STORE.")] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Also write a flow of its own, and remove it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say what is wrong with the set-up, and the one thing to change.

    It looks at settings and where they are from, at what is installed, at the way to the platform, at the key and
    at the store. Exit status: 0 where nothing is wrong (warnings are not), 1 where something is.
    """
    from .checks.report import examine  # with httpx, which the other commands needn't wait for

    given = {"base_url": base_url, "store": store}
    report = examine({name: value for name, value in given.items() if value is not None}, write=write)
    if as_json:
        typer.echo(json.dumps(_as_json(report), indent=2))
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(1)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "change": report.first.change if report.first else None,
        "cause": report.first.cause if report.first else None,
        "version": __version__,
        "settings": [each._asdict() for each in report.settings],
        "checks": [each._asdict() for each in report.findings],
    }


def _print(report: Report) -> None:
    out = console()
    settings = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("setting", "value", "from"):
        settings.add_column(heading, overflow="fold")
    for each in report.settings:
        if each.source not in ("default", "not set"):
            value = "can't be read" if each.value is None else plain(each.value)
            named = each.variable if each.source == "variable" else plain(each.source)
            settings.add_row(each.name, Text(value), Text(named or ""))
    if settings.row_count:
        out.print(settings)
    rest = [each.name for each in report.settings if each.source == "default"]
    out.print(Text(f"by default: {', '.join(rest)}", style="dim"))
    out.print()
    checks = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        checks.add_column(overflow="fold")
    for found in report.findings:
        word = found.state.upper() if found.state == "wrong" else found.state
        text = Text(plain(found.text))
        if found.change:
            text.append(f"\n-> {plain(found.change)}", style="bold")
        checks.add_row(Text(word, style=_STYLES[found.state]), found.check, text)
    out.print(checks)
    out.print()
    first = report.first
    if report.ok:
        out.print(Text("nothing is wrong", style="green"))
    elif first is not None:
        out.print(Text.assemble(("change this first: ", "bold red"), plain(first.change)))
