"""The key appears nowhere but in the Authorization header."""

from __future__ import annotations

import copy
import gc
import hashlib
import logging
import os
import pickle
import re
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from opentelemetry.exporter import versori_flow
from opentelemetry.exporter.versori_flow import (
    ConfigurationError,
    VersoriFlowSpanExporter,
    VersoriFlowSpanProcessor,
)
from opentelemetry.exporter.versori_flow.http.api import FlowsApi
from opentelemetry.exporter.versori_flow.http.credentials import Credentials
from opentelemetry.exporter.versori_flow.settings.load import load_settings
from opentelemetry.exporter.versori_flow.settings.readers import Secret
from tests.conftest import KEY
from tests.http.raw_server import RawServer, answer, play
from tests.test_delivery import ended_spans

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
HEADER = "a-header-of-its-own-0815"


def look_everywhere(exporter: VersoriFlowSpanExporter, caplog: pytest.LogCaptureFixture) -> str:
    """All that anybody could print: logs with their arguments, reprs of every object of ours, status."""
    ours = [
        thing
        for thing in gc.get_objects()
        if str(type(thing).__module__).startswith("opentelemetry.exporter.versori_flow")
        and ".server" not in str(type(thing).__module__)
    ]
    texts = [repr(thing) for thing in ours] + [repr(exporter), repr(exporter.status()), repr(vars(exporter))]
    texts += [record.getMessage() + repr(record.args) for record in caplog.records]
    texts += [str(record.exc_info) for record in caplog.records if record.exc_info]
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        f"status=400,message=your key {KEY} is bad",
        f"status=401,message=Bearer {KEY} {HEADER}",
        f"status=413,message={KEY}",
        f"status=503,message=key={KEY}",
        f"status=302,location=http://127.0.0.1:1/{KEY}",
        f"status=500,body=<html>{KEY}</html>",
        "reset",
    ],
    ids=["400", "401", "413", "503", "302", "html", "reset"],
)
def test_an_echoed_key_is_not_shown(platform, make_exporter, make_provider, caplog, fault):
    """Not at DEBUG, not in status, not in a repr, also when the platform's error echoes it."""
    caplog.set_level(logging.DEBUG)
    platform.fault(fault)
    exporter = make_exporter(headers={"X-Own": HEADER})
    exporter.export(ended_spans(make_provider().get_tracer("test"), 3))
    platform.wait_for(lambda running: len(running.requests) >= 1)
    exporter.force_flush(500)
    shown = look_everywhere(exporter, caplog)
    assert KEY not in shown
    assert HEADER not in shown


def test_a_wrong_setting_does_not_show_the_key():
    """The one error that lists every problem names variables, not values."""
    with pytest.raises(ConfigurationError) as caught:
        VersoriFlowSpanExporter(
            api_key=KEY + "\n\x00", organisation_id=KEY, project_id=KEY, base_url=f"http://{KEY}@example.com"
        )
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown
    for variable in (
        "VERSORI_API_KEY",
        "VERSORI_ORGANISATION_ID",
        "VERSORI_PROJECT_ID",
        "VERSORI_API_BASE_URL",
    ):
        assert variable in str(caught.value)


def test_an_exporter_is_shown_and_not_pickled(make_exporter):
    """One whose constructor raised has a `repr`; what can't be pickled says its name, and what to do instead."""
    with pytest.raises(ConfigurationError) as caught:
        VersoriFlowSpanExporter(api_key=KEY)
    frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if "self" in frame.f_locals]
    assert repr(frames[0].f_locals["self"]) == "<VersoriFlowSpanExporter, not configured>"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    exporter = make_exporter()
    for thing, name in [
        (exporter, "VersoriFlowSpanExporter"),
        (VersoriFlowSpanProcessor(exporter), "VersoriFlowSpanExporter"),
        (exporter._settings, "Secret"),
    ]:
        for copied in (pickle.dumps, copy.deepcopy):
            with pytest.raises(
                TypeError, match=f"^{name} can't be pickled: make one (exporter )?in each process"
            ):
                copied(thing)


PACKAGE = str(Path(versori_flow.__file__).parent)
GIVEN = {
    "keywords": {"api_key": KEY, "headers": {"X-Own": HEADER}},
    "keywords in a list": {"api_key": KEY, "headers": [f"X-Own={HEADER}", {"name": "X-2", "value": HEADER}]},
    "variables": {"VERSORI_API_KEY": KEY, "VERSORI_FLOW_HEADERS": f"X-Own={HEADER},X-Two={HEADER}"},
    "a file by keyword": {"api_key_file": KEY},
    "a file by variable": {"VERSORI_API_KEY_FILE": KEY},
    "what is refused": {"api_key": f"Bearer {KEY}", "headers": [HEADER, f"X={HEADER}\0", {"Host": HEADER}]},
    "no text": {"api_key": [KEY], "headers": [[HEADER]], "timeout": 0},
    "a file that is refused": {"api_key_file": f"{KEY}\0", "base_url": "nowhere"},
    "misspelt": {"apikey": KEY, "header": HEADER},
}


@pytest.mark.parametrize("way", GIVEN)
def test_no_step_of_construction_holds_a_secret(monkeypatch, tmp_path, way):
    """Whatever is raised wherever, Ctrl-C too: once the keywords are masked, no local variable shows them."""
    keywords = dict(GIVEN[way])
    file = tmp_path / "key"
    for name in [name for name in keywords if name.endswith(("_file", "_FILE"))]:
        file.write_text(str(keywords[name]))
        keywords[name] = str(file)
    for name in [name for name in keywords if name.isupper()]:
        monkeypatch.setenv(name, str(keywords.pop(name)))
    constructor = VersoriFlowSpanExporter.__init__.__code__
    masked = min(line for _, _, line in constructor.co_lines() if line and line > constructor.co_firstlineno)
    steps: list[tuple[str, str]] = []

    def look(frame: FrameType, _event: str, _arg: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        # What masks has to be given it: the constructor's first line, and the mask.
        if code is not Secret.__init__.__code__ and (code is not constructor or frame.f_lineno > masked):
            for value in frame.f_locals.values():
                with suppress(AttributeError):  # an object in the middle of its own making
                    steps.append((f"{code.co_filename}:{frame.f_lineno}", repr(value)))
        return look

    before, raised = sys.gettrace(), None
    sys.settrace(look)
    try:
        exporter = VersoriFlowSpanExporter(
            **{"organisation_id": ULID, "project_id": ULID, "base_url": "http://127.0.0.1:1", **keywords}
        )
        exporter._credentials.authorization()
        file.write_text(f"another-{KEY}")
        exporter._credentials.authorization()
        exporter._credentials.reread()
        exporter.shutdown(0)
    except ConfigurationError as error:
        raised = traceback.TracebackException.from_exception(error, capture_locals=True)
    finally:
        sys.settrace(before)
    assert (raised is None) is (way in list(GIVEN)[:5])
    if raised is not None:
        steps += [
            (f"{summary.filename}:{summary.lineno}", repr(summary.locals)) for summary in raised.stack[1:]
        ]
    assert len(steps) > 100
    assert [where for where, shown in steps if KEY in shown or HEADER in shown] == []


@pytest.mark.parametrize("moment", ["request", "key", "answer"])
def test_no_frame_holds_a_secret(monkeypatch, moment):
    """A traceback with locals, of a Ctrl-C in the middle of a request, shows neither key nor header values."""
    settings = load_settings(
        api_key=KEY,
        organisation_id=ULID,
        project_id=ULID,
        headers={"X-Own": HEADER},
        base_url="http://127.0.0.1:1",
    )
    frames: list[str] = []

    def interrupt(_server: RawServer, _sock: socket.socket) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        _server.released.wait(30)

    def surprise(*_: object) -> None:
        raise KeyboardInterrupt

    if moment == "key":
        monkeypatch.setattr(re, "fullmatch", surprise)
    if moment == "answer":
        monkeypatch.setattr(hashlib, "sha256", surprise)
    with RawServer(play(interrupt if moment == "request" else answer())) as server:
        settings = settings._replace(base_url=server.url)
        api = FlowsApi(settings, Credentials(settings))
        with pytest.raises(KeyboardInterrupt) as caught:
            api.put("shop", b"{}", time.monotonic() + 20)
        ours = [
            frame for frame, _ in traceback.walk_tb(caught.tb) if "versori_flow" in frame.f_code.co_filename
        ]
        frames += [repr(frame.f_locals) for frame in ours]
        monkeypatch.undo()
        api.close()
    assert len(frames) >= 3
    shown = "\n".join(frames)
    assert KEY not in shown
    assert HEADER not in shown
