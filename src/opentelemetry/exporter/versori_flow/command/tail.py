"""`versori-flow tail`: new traces as they come."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple

import typer
from rich.text import Text

from .platform_api import BaseUrl, Flow, opened
from .terminal import console, say
from .tree import draw_trace, plain, span_id, start_of, traces_of


class Trace(NamedTuple):
    """One trace as a flow holds it now."""

    flow: str
    trace_id: str
    spans: list[Any]


class Followed:
    """What was seen of the flows: pure, fed by what each look shows."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self._shown = {each[:2]: _ids(each) for each in _traces(flows)}
        self._growing: dict[tuple[str, str], frozenset[str]] = {}

    def look(self, flows: Iterable[Flow]) -> list[Trace]:
        """The traces that have new spans, and did not grow since the last look; the newest last."""
        found, shown, growing = [], {}, {}
        for trace in _traces(flows):
            place, ids = trace[:2], _ids(trace)
            shown[place] = self._shown.get(place, frozenset())
            if ids <= shown[place]:
                continue
            if self._growing.get(place) == ids:
                shown[place] = ids
                found.append(trace)
            else:
                growing[place] = ids
        self._shown, self._growing = shown, growing  # of what has left the flows nothing is kept
        return sorted(found, key=lambda trace: min(map(start_of, trace.spans)))


def _seconds(text: str) -> float:
    if not 0.1 <= (seconds := float(text)) <= 86_400:
        raise typer.BadParameter("write seconds from 0.1 to 86400")
    return seconds


def tail(
    flow: Annotated[str | None, typer.Argument(help="The flow's name. Default: all flows.")] = None,
    interval: Annotated[
        float, typer.Option(parser=_seconds, metavar="SECONDS", help="The pause between two looks.")
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each trace.")] = False,
    base_url: BaseUrl = None,
) -> None:
    """Show new traces as they come, until Ctrl-C.

    A trace is shown once nothing was added to it for one look; what comes later shows it again.
    """
    out = console()
    with opened(base_url) as project:
        answer = project.flows() if flow is None else project.poll(flow)
        followed = Followed([] if isinstance(answer, str) else answer)
        # Where a name is mistyped nothing would ever come, and nothing say why.
        say(f"waiting for traces of {'all flows' if flow is None else repr(plain(flow))} {project.place}")
        trouble = False
        while True:
            time.sleep(interval)
            answer = project.poll_all() if flow is None else project.poll(flow)
            if isinstance(answer, str):
                if not trouble:
                    say(f"the platform can't be asked now, and will be again: {answer}")
                trouble = True
                continue
            if trouble:
                say("the platform answers again")
            trouble = False
            for trace in followed.look(answer):
                if as_json:
                    typer.echo(json.dumps(trace._asdict()))
                else:
                    out.print(Text(plain(trace.flow), style="bold cyan"))
                    out.print(draw_trace(trace.trace_id, list(trace.spans), out.width // 8))
                    out.print()
            out.file.flush()


def _traces(flows: Iterable[Flow]) -> Iterator[Trace]:
    for flow in flows:
        for trace_id, spans in traces_of(flow.get("spans")).items():
            yield Trace(str(flow.get("name", "")), trace_id, spans)


def _ids(trace: Trace) -> frozenset[str]:
    return frozenset(map(span_id, trace.spans))
