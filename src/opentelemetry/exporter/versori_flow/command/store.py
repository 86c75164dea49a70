"""`versori-flow store`: what waits in a durable store, and how to get rid of it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ..native import monotonic
from .platform_api import AsJson
from .terminal import at_a_terminal, confirm, console, examples, fail
from .tree import count, plain
from .versori_cli import credentials

if TYPE_CHECKING:
    from ..settings.store import StoreUrl
    from ..stores.fleet import Fleet
    from ..stores.folder import Folder
    from ..stores.spool_file import Target
    from ..stores.survey import Waiting

_T = TypeVar("_T")
_VARIABLE = "VERSORI_FLOW_STORE"
_NO_PROGRESS = 75.0
"""Seconds without a delivered span after which `drain` gives up; the exporter looks for orphans each minute."""

_BETWEEN_LOOKS = 0.1
"""Seconds between two looks at the store: what is looked at can't be taken over meanwhile."""

store = typer.Typer(
    help="Spans that wait in a durable store.",
    epilog=examples(
        "versori-flow store list", "versori-flow store drain --store sqlite:///var/lib/app/spans"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)

_Store = Annotated[
    str | None, typer.Option("--store", metavar="URL", help=f"The store. Default: {_VARIABLE}.")
]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@store.command("list", epilog=examples("versori-flow store list", "versori-flow store list --json"))
def list_(url: _Store = None, as_json: AsJson = False) -> None:
    """List what waits: by flow where its process is gone, in one number where it lives."""
    waiting = _survey(url)
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in waiting], indent=2))
        return
    if not waiting:
        typer.echo("nothing waits")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("flow", "spans", "size", "oldest", "state"):
        table.add_column(heading, justify="right" if heading in ("spans", "size") else "left")
    for each in waiting:
        table.add_row(
            Text(plain(each.flow) if each.flow is not None else "-"),
            str(each.spans),
            decimal(each.size) if each.size else "",
            _instant(each.oldest),
            _state(each),
        )
    console().print(table)


@store.command(epilog=examples("versori-flow store show shop"))
def show(
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    url: _Store = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits for one flow, file by file."""
    waiting = [each for each in _survey(url) if each.flow == flow and each.spans]
    if not waiting:
        fail(f"nothing that a process left waits for {flow!r}")
    if as_json:
        typer.echo(json.dumps([_as_json(each) for each in waiting], indent=2))
        return
    for each in waiting:
        target = each.target
        parts = [count(each.spans, "span")]
        parts += [decimal(each.size)] if each.size else []
        parts += [f"since {_instant(each.oldest)}"] if each.oldest else []
        where = f"for {target.base_url}, project {target.project}; " if target else ""
        typer.echo(f"{', '.join(parts)}; {where}in {each.path}")


@store.command(epilog=examples("versori-flow store drain"))
def drain(url: _Store = None) -> None:
    """Deliver what processes left that are gone, and wait for it.

    The VERSORI_ variables say where to, as for the exporter, then the files of Versori's own CLI; what waits for
    another project stays.
    """
    from ..exporter import VersoriFlowSpanExporter
    from ..settings.load import ConfigurationError
    from ..stores.spool_file import Target

    _parsed(url)
    try:
        os.environ.update(credentials(os.environ))
        exporter = VersoriFlowSpanExporter(store=url)
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    settings = exporter._settings
    target = Target(*settings.target)

    def left() -> list[Waiting]:
        return [each for each in _survey(url, target) if not each.alive or _is_ours(each)]

    patience = max(_NO_PROGRESS, 3 * settings.timeout)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, **at_a_terminal()) as progress:
        bar = progress.add_task("delivering", total=None)
        done, moved = 0, monotonic()
        while monotonic() - moved < patience:
            exporter.force_flush(1000)
            totals = exporter._totals()
            settled = totals.handed_over - totals.pending
            if settled > done:
                done, moved = settled, monotonic()
            # What is pending here is in the store too.
            more = max(_spans(left()), totals.pending)
            progress.update(bar, completed=done, total=done + more)
            if not more:
                break
            time.sleep(_BETWEEN_LOOKS)
    exporter.shutdown()
    totals, rest = exporter._totals(), left()
    dropped = sum(totals.dropped.values())
    typer.echo(f"{count(totals.delivered, 'span')} delivered, {dropped} dropped, {_spans(rest)} left")
    if unread := [f"{each.path}: {each.trouble}" for each in rest if each.trouble and not each.spans]:
        fail("\n".join(f"left, since it can't be read: {file}" for file in unread))
    if rest or dropped:
        raise typer.Exit(1)


@store.command(epilog=examples("versori-flow store drop", "versori-flow store drop shop --yes"))
def drop(
    flow: Annotated[str | None, typer.Argument(help="Only what waits for this flow.")] = None,
    url: _Store = None,
    yes: _Yes = False,
) -> None:
    """Throw away what processes left that are gone."""
    from ..stores.survey import drop as drop_from

    waiting = [each for each in _survey(url) if not each.alive and (flow is None or each.flow == flow)]
    spans = _spans(waiting)
    if not spans:
        typer.echo("nothing waits")
        return
    what = count(spans, "span") + (f" of {plain(flow)!r}" if flow else "")
    if not yes:
        confirm(f"Throw away {what}?")
    if _parsed(url).redis is None:
        dropped, kept = drop_from(_folder(url), None, flow)
    else:
        fleet, kept = _fleet(url), []
        dropped = _asked(lambda: sum(fleet.drop(each.flow) for each in waiting if each.flow is not None))
    typer.echo(f"{count(dropped, 'span')} thrown away")
    if kept:
        fail("\n".join(f"kept, since not all in it can be read or removed: {file}" for file in kept))


def _spans(waiting: Iterable[Waiting]) -> int:
    return sum(each.spans for each in waiting)


def _is_ours(each: Waiting) -> bool:
    """Whether this process has taken over the file of one that is gone."""
    from ..stores import owned

    return owned.held(each.path.removesuffix(".db") + ".lock")


def _parsed(url: str | None) -> StoreUrl:
    from ..settings.store import parse

    text = (url or "").strip() or os.environ.get(_VARIABLE, "").strip()
    if not text:
        fail(f"no store is named: set {_VARIABLE}, or give --store sqlite:///folder")
    try:
        read = parse(text)
    except ValueError as error:
        fail(f"the store {error}")
    if not read.durable:
        fail(f"{read} keeps nothing: name one by {_VARIABLE} or --store")
    return read


def _folder(url: str | None) -> Folder:
    from ..stores.folder import Folder

    read = _parsed(url)
    return Folder(read.folder or "", read.full_sync, 1 << 62)


def _fleet(url: str | None) -> Fleet:
    """The fleet of the project that the VERSORI_ variables name."""
    from ..settings.load import ConfigurationError, load_settings
    from ..stores.fleet import Fleet
    from ..stores.spool_file import Target

    try:
        settings = load_settings({"store": url}, True)
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    redis = settings.store.redis or _parsed(url).redis
    assert redis is not None  # noqa: S101 - asked before
    target = Target(*settings.target)
    return Fleet(redis, target, settings.max_spans, settings.max_bytes, settings.max_store_bytes)


def _survey(url: str | None, target: Target | None = None) -> list[Waiting]:
    from ..stores.survey import Waiting, survey

    read = _parsed(url)
    if read.redis is None:
        folder = _folder(url)
        try:
            os.listdir(folder.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            fail(f"{folder.path} can't be read: {error.strerror}")
        return survey(folder, target)
    fleet = _fleet(url)
    return [
        Waiting(str(read), None, held.flow, held.pending, 0, 0, "waits for whoever is next", False)
        for held in _asked(fleet.flows)
        if held.pending
    ]


def _asked(question: Callable[[], _T]) -> _T:
    """What Redis answers."""
    from ..stores.connection import StoreError

    try:
        return question()
    except StoreError as error:
        fail(str(error))


def _as_json(each: Waiting) -> dict[str, Any]:
    """What a program reads; null where it is not known."""
    target = each.target
    return {
        "flow": each.flow,
        "spans": each.spans,
        "bytes": each.size or None,
        "oldest": _instant(each.oldest) or None,
        "state": _state(each),
        "alive": each.alive,
        "in": each.path,
        "base_url": target.base_url if target else None,
        "organisation_id": target.organisation if target else None,
        "project_id": target.project if target else None,
    }


def _state(each: Waiting) -> str:
    if each.alive:
        return "in use: its process delivers them"
    return each.trouble or "left by a process that is gone"


def _instant(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    moment = datetime.fromtimestamp(nanoseconds / 1e9, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%SZ")
