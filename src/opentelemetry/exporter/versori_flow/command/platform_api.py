"""What the command asks the platform: one flow, all of a project's, and to delete one. What fails is one line."""

from __future__ import annotations

import contextlib
import difflib
import json
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ..http import body as bodies
from ..http.answers import (
    Absent,
    Answer,
    Denied,
    Found,
    Stored,
    Unavailable,
    Unreadable,
)
from ..http.api import FlowsApi
from ..http.credentials import Credentials
from ..native import monotonic
from . import launch
from .terminal import fail
from .tree import plain
from .versori_cli import credentials

if TYPE_CHECKING:
    from ..http.line import Exchange
    from ..settings.table import Settings

BaseUrl = Annotated[str | None, typer.Option(help="The API. Default: VERSORI_API_BASE_URL.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Flow = dict[str, Any]

_MOST_DIGITS = 300  # Python refuses to convert thousands
_NAMED = 10  # flows that a line has room for
_LONGEST_LIST = 1 << 30  # all flows of a project, with all their spans


class Project:
    """The flows of the project that the settings name.

    Every method ends the command in one line where there is nothing to return.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._api = _ProjectApi(settings, Credentials(settings))

    @classmethod
    def running(cls, url: str, *, named: bool = False) -> tuple[Project, list[Flow] | str] | None:
        """The local platform that answers there, and its flows; None: there is none, or it wants another key.

        `named`: the environment says that it is there, whatever it answers now (see `poll_all`).
        """
        from ..settings.load import load_settings

        project = cls(load_settings(launch.local_settings(url)))
        found = project.poll_all()
        if named or isinstance(found, list):
            return project, found
        project.close()
        return None

    def raw(self, name: str) -> bytes:
        """The flow as it is stored, byte for byte."""
        answer = self._api.get(name, self._deadline())
        if not isinstance(answer, Found):
            self._fail(answer, f"the flow {name!r}", name)
        return answer.body

    def flow(self, name: str) -> Flow:
        """The flow, decoded."""
        return _decoded(self.raw(name), f"what the platform has as {name!r} is not a flow")

    def poll(self, name: str) -> list[Flow] | str:
        """The flow of that name; empty where there is none yet, a text where it can't be had now."""
        answer = self._api.get(name, self._deadline())
        if isinstance(answer, Absent) and answer.own_form:
            return []
        if isinstance(answer, Unavailable):
            return answer.message
        if not isinstance(answer, Found):
            self._fail(answer, f"the flow {name!r}", None)
        return [_decoded(answer.body, f"what the platform has as {name!r} is not a flow")]

    def poll_all(self) -> list[Flow] | str:
        """All flows of the project; a text where they can't be had."""
        answer = self._api.list_all(self._deadline())
        if not isinstance(answer, Found):
            return getattr(answer, "message", "") or "it is not the API of flows"
        document = _document(answer.body)
        return "it answers something else" if document is None else _flows(document)

    def flows(self) -> list[Flow]:
        """All flows of the project."""
        answer = self._api.list_all(self._deadline())
        if not isinstance(answer, Found):
            self._fail(answer, "the list of flows", None)
        return _flows(_decoded(answer.body, "what the platform answers is not a list of flows"))

    def delete(self, name: str) -> None:
        """Deletes a flow."""
        answer = self._api.delete(name, self._deadline())
        if not isinstance(answer, Stored):
            self._fail(answer, f"the flow {name!r}", name)

    @property
    def place(self) -> str:
        """Where it is looked, for people."""
        found = self.settings
        return f"in project {found.project_id} of organisation {found.organisation_id} at {found.base_url}"

    def _deadline(self) -> float:
        return monotonic() + self.settings.timeout

    def _fail(self, answer: Answer, what: str, name: str | None) -> NoReturn:
        """Says why it can't be had, and what to do about it."""
        message = getattr(answer, "message", "")
        url = self.settings.base_url
        match answer:
            case Absent(own_form=True) if name is not None:
                fail(self._unknown(name))
            case Absent():
                fail(
                    f"{url} is not the API of flows: it answers 404 to {what} ({message}); "
                    f"check {launch.BASE_URL} (the platform's is https://platform.versori.com/api/v2)"
                )
            case Denied(status=status):
                fail(f"the platform refuses the key ({status}): {message}")
            case Unavailable(answered=False) if url == launch.LOCAL_URL:
                fail(
                    f"no local platform answers at {launch.LOCAL_URL} ({message}): start one by "
                    f"`versori-flow serve`, or set {', '.join(launch.REQUIRED)}"
                )
            case _:
                fail(f"{url} does not give {what}: {message}")

    def _unknown(self, name: str) -> str:
        """What is said of a flow that there is not: the nearest names, or what there is."""
        said = f"there is no flow {name!r} {self.place}"
        answer = self._api.list_all(self._deadline())
        if not isinstance(answer, Found):
            return said
        names = [str(flow.get("name", "")) for flow in _flows(_document(answer.body) or {})]
        lowered = {each.lower(): each for each in names}
        near = [lowered[each] for each in difflib.get_close_matches(name.lower(), lowered, 3, 0.6)]
        if near:
            return f"{said}; did you mean {', '.join(repr(plain(each)) for each in near)}?"
        if not names:
            return f"{said}, nor any other"
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"{said}; there are {', '.join(repr(plain(each)) for each in names[:_NAMED])}{more}"

    def close(self) -> None:
        self._api.close()


@contextlib.contextmanager
def opened(base_url: str | None) -> Iterator[Project]:
    """The project that the settings name: the exporter's; those of a local platform where nothing names another."""
    from ..settings.load import ConfigurationError, load_settings

    environ = {**os.environ, **({launch.BASE_URL: base_url} if base_url else {})}
    try:
        url = launch.local_url({**environ, **credentials(environ)}, launch.LOCAL_URL)
        given = {"base_url": base_url} if url is None else launch.local_settings(url)
        project = Project(load_settings(given, True))
    except ConfigurationError as error:
        fail("\n".join(error.problems))
    with contextlib.closing(project):
        yield project


class _ProjectApi(FlowsApi):
    """The two endpoints more that only people ask for."""

    def list_all(self, deadline: float) -> Answer:
        """Reads all flows of the project."""
        return self._request("GET", None, deadline, self._listed)

    def delete(self, flow_name: str, deadline: float) -> Answer:
        """Deletes one flow: `Stored` where it is gone now, `Absent` where there was none."""
        return self._request("DELETE", flow_name, deadline, self._deleted)

    def _listed(self, reply: Exchange) -> Answer:
        if not 200 <= reply.status < 300:
            return self._read(reply)
        try:
            body, digest = bodies.taken(reply.chunks(), reply.header("content-encoding"), _LONGEST_LIST)
        except bodies.BodyError as error:
            return Unreadable(str(error))
        return Found(body, digest, reply.status)

    def _deleted(self, reply: Exchange) -> Answer:
        if 200 <= reply.status < 300:
            return Stored(reply.status, None)
        return self._read(reply)


def _decoded(body: bytes, otherwise: str) -> Flow:
    document = _document(body)
    if document is None:
        fail(otherwise)
    return document


def _document(body: bytes) -> Flow | None:
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(body, parse_int=_integer, parse_float=_float, parse_constant=str)
        return document if isinstance(document, dict) else None
    return None


def _integer(digits: str) -> int | str:
    return digits if len(digits) > _MOST_DIGITS else int(digits)


def _float(digits: str) -> float | str:
    """A number that no float holds stays its text: an infinity would not be JSON when it is printed."""
    return found if math.isfinite(found := float(digits)) else digits


def _flows(document: Flow) -> list[Flow]:
    found = document.get("flows")
    return [flow for flow in found if isinstance(flow, dict)] if isinstance(found, list) else []
