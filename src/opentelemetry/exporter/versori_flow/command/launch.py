"""Starts a program under auto-instrumentation, on a platform of its own where it has no credentials.

A program that has credentials takes the place of this process, as `exec` does. One that has none is a child,
since the local platform lives in this process: signals are passed on, and the exit status is the program's.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from ..settings.readers import is_loopback

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
}
_PYTHON = re.compile(r"(python|pypy)[\d.]*(\.exe)?")
# Windows has no SIGHUP.
_PASSED_ON = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class LaunchError(Exception):
    """The program can't be started. Its text is for the user; `status` is what shells exit with."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def has_credentials(environ: Mapping[str, str]) -> bool:
    """Whether any of them is set; blank is not set, as for the exporter."""
    return any(environ.get(name, "").strip() for name in _CREDENTIALS)


def local_url(environ: Mapping[str, str], default: str) -> str | None:
    """The local platform that the environment means, by an address on this host and no credentials.

    Args:
        environ: The environment.
        default: The local platform's usual address.

    Returns:
        Its address; None where the environment means another platform.
    """
    url = environ.get(BASE_URL, "").strip() or default
    return url if is_loopback(url) and not has_credentials(environ) else None


def is_free(port: int) -> bool:
    """Whether a server could listen there, on loopback."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def local_credentials(url: str) -> dict[str, str]:
    """The variables that send a program's traces to a local platform."""
    return {
        BASE_URL: url,
        "VERSORI_API_KEY": LOCAL_KEY,
        "VERSORI_ORGANISATION_ID": LOCAL_ORGANISATION,
        "VERSORI_PROJECT_ID": LOCAL_PROJECT,
    }


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
    return {**_DEFAULTS, **environ, **paths}


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
    with _Signals() as signals:
        try:
            program = subprocess.Popen(command, env=dict(environ))  # noqa: S603 - likewise
        except OSError as error:
            raise _cannot_start(command[0], error) from None
        signals.send_to(program)
        status = program.wait()
    return 128 - status if status < 0 else status


class _Signals:
    """While open, what this process is told to do is what the program is told to do."""

    def __init__(self) -> None:
        self._program: subprocess.Popen[bytes] | None = None
        self._early: list[int] = []
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> _Signals:
        for number in _PASSED_ON:
            # Ignored before (`nohup`, `&`): the program ignores it too.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def send_to(self, program: subprocess.Popen[bytes]) -> None:
        """Names the program, and sends it what came before it was there."""
        self._program = program
        for number in self._early:
            program.send_signal(number)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and _in_foreground():
            return
        if self._program is None:
            self._early.append(number)
        else:
            self._program.send_signal(number)


def _in_foreground() -> bool:
    """Whether a terminal sends Ctrl-C to this process, and with it to its children."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY | os.O_NOCTTY)
    except (AttributeError, OSError):
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _search_path(environ: Mapping[str, str]) -> str:
    """PATH, led by this virtual environment's programs: `python` then is the one with the exporter."""
    path = environ.get("PATH", os.defpath)
    if sys.prefix == sys.base_prefix:
        return path
    return os.pathsep.join((str(Path(sys.executable).parent), path))


def _cannot_start(program: str, error: OSError) -> LaunchError:
    if isinstance(error, FileNotFoundError):
        hint = f", did you mean: python {program}" if program.endswith(".py") else ""
        return LaunchError(f"there is no program {program!r} on the PATH{hint}", 127)
    hint = f" (for a Python file: python {program})" if program.endswith(".py") else ""
    return LaunchError(f"{program!r} can't be run: {error.strerror}{hint}", 126)
