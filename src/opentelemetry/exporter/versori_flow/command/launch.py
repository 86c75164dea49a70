"""Starts a program under auto-instrumentation, on a platform of its own where it has no credentials.

A program that has credentials takes the place of this process, as `exec` does. One that has none is a child,
since the local platform lives in this process: signals are passed on, and the exit status is the program's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from ..settings.load import ConfigurationError
from ..settings.readers import BadValueError, base_url, is_loopback

LOCAL_HOST = "127.0.0.1"
LOCAL_PORT = 8901  # the API description's own for development
LOCAL_URL = f"http://{LOCAL_HOST}:{LOCAL_PORT}"
BASE_URL = "VERSORI_API_BASE_URL"
REQUIRED = ("VERSORI_API_KEY", "VERSORI_ORGANISATION_ID", "VERSORI_PROJECT_ID")
# Any of these says that there is a platform to go to; what is missing, the exporter says itself.
_CREDENTIALS = (*REQUIRED, "VERSORI_API_KEY_FILE")
# What a program is told where the platform is a local one; the ids are those that it has itself.
LOCAL_KEY = "local"
LOCAL_ORGANISATION = "01H0000000000000000000000R"
LOCAL_PROJECT = "01H0000000000000000000000P"

_DEFAULTS = {
    "OTEL_TRACES_EXPORTER": "versori_flow",
    # The distribution's defaults are OTLP exporters; where those are not installed, all of the set-up fails.
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    # Its own 2,048 overflow in a burst, since its worker exports one batch after the other.
    "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
}
_PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
# Windows has no SIGHUP.
_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class LaunchError(Exception):
    """The program can't be started. Its text is for the user; `status` is what shells exit with."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def local_url(environ: Mapping[str, str], default: str) -> str | None:
    """The local platform that is meant: an address on this host (`default` where none is set), no credentials.

    None where the environment means another platform. Blank is not set, as for the exporter.

    Raises:
        ConfigurationError: The address is no URL.
    """
    if any(environ.get(name, "").strip() for name in _CREDENTIALS):
        return None
    url = environ.get(BASE_URL, "").strip() or default
    try:
        return url if is_loopback(base_url(url)) else None
    except BadValueError as problem:
        raise ConfigurationError(f"the address ({BASE_URL} or --base-url) {problem}") from None


def is_free(port: int) -> bool:
    """Whether a server could listen there, on loopback."""
    with contextlib.suppress(OSError), socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        return True
    return False


def local_settings(url: str) -> dict[str, str]:
    """The exporter's keywords for a local platform."""
    ids = {"organisation_id": LOCAL_ORGANISATION, "project_id": LOCAL_PROJECT}
    return {"base_url": url, "api_key": LOCAL_KEY, **ids}


def local_credentials(url: str) -> dict[str, str]:
    """The variables that send a program's traces to a local platform."""
    key, organisation_id, project_id = REQUIRED
    return {BASE_URL: url, key: LOCAL_KEY, organisation_id: LOCAL_ORGANISATION, project_id: LOCAL_PROJECT}


def instrumented(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Python starts under auto-instrumentation; what is set already wins.

    Raises:
        LaunchError: OpenTelemetry's distribution, without which nothing would be traced, is not installed.
    """
    if importlib.util.find_spec("opentelemetry.distro") is None:
        raise LaunchError(
            "this takes opentelemetry-distro: pip install 'opentelemetry-exporter-versori-flow[cli]'"
        )
    spec = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError("opentelemetry-instrumentation is not installed as it should be: reinstall it")
    # Python imports the `sitecustomize` in that folder before the program; it starts the instrumentation. The
    # current folder is there too, as for `opentelemetry-instrument`: programs such as gunicorn rely on it.
    first = [spec.submodule_search_locations[0], os.getcwd()]
    rest = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in first]
    paths = {"PYTHONPATH": os.pathsep.join(first + rest), "PATH": _search_path(environ)}
    given = {name: value for name, value in environ.items() if name not in _DEFAULTS or value.strip()}
    return {**_DEFAULTS, **given, **paths}


def names_service(environ: Mapping[str, str]) -> bool:
    """Whether the environment says what the service is called."""
    named = re.search(r"(^|,)\s*service\.name\s*=", environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    return bool(named or environ.get("OTEL_SERVICE_NAME") or environ.get("OTEL_CONFIG_FILE"))


def service_name(command: Sequence[str]) -> str:
    """What to call a program that was given no name: its file without the ending, or its module."""
    program = Path(command[0]).name
    if not _PYTHON.fullmatch(program):
        return Path(program).stem
    words = iter(command[1:])
    for word in words:
        if word == "-m":
            return next(words, program)
        if word == "-c":
            break
        if word in ("-W", "-X"):
            next(words, None)
        elif not word.startswith("-"):
            return Path(word).stem
    return program


def replace_process(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Becomes the program; returns only by an exception.

    Raises:
        LaunchError: There is no such program, or it can't be run.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(command[0], list(command), dict(environ))  # noqa: S606 - running a program is what this is for
    except OSError as error:
        raise _cannot_start(command[0], error) from None


def run_child(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs the program, passes signals on, and returns its exit status: 128 + n where signal n ended it.

    At a terminal Ctrl-C reaches the program without help, and is not passed on: it would come twice.

    Raises:
        LaunchError: There is no such program, or it can't be run.
    """
    program: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        if program is None:
            early.append(number)
        else:
            program.send_signal(number)

    # Ignored before (`nohup`, `&`): the program ignores it too.
    handled = [number for number in _PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in handled}
    try:
        program = subprocess.Popen(command, env=dict(environ))  # noqa: S603 - likewise
        for number in early:
            program.send_signal(number)
        status = program.wait()
    except OSError as error:
        raise _cannot_start(command[0], error) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - status if status < 0 else status


def _in_foreground() -> bool:
    """Whether a terminal sends Ctrl-C to this process, and with it to its children."""
    with contextlib.suppress(AttributeError, OSError), open(os.ctermid(), "rb", 0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False


def _search_path(environ: Mapping[str, str]) -> str:
    """PATH, led by this virtual environment's programs: `python` then is the one with the exporter."""
    path = environ.get("PATH", os.defpath)
    if sys.prefix == sys.base_prefix:
        return path
    return os.pathsep.join((str(Path(sys.executable).parent), path))


def _cannot_start(program: str, error: OSError) -> LaunchError:
    missing = isinstance(error, FileNotFoundError)
    why = f"there is no program {program!r} on the PATH" if missing else f"{program!r} can't be run"
    reason = "" if missing else f": {error.strerror}"
    hint = f" (for a Python file: python {program})" if program.endswith(".py") else ""
    return LaunchError(f"{why}{reason}{hint}", 127 if missing else 126)
