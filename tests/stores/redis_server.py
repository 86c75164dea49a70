"""A real redis-server, or Valkey's, on a port and a socket of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import redis

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")


def require_redis() -> None:
    """Skips where there is no server; fails where `REDIS_TESTS=required` says that there is to be one."""
    if PROGRAM is None:
        said = "no redis-server on the path: the tests of the fleet's store need one (apt-get install redis-server)"
        if os.environ.get("REDIS_TESTS") == "required":
            pytest.fail(said)
        pytest.skip(said)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A server that a test may kill, pause, empty and start again."""

    def __init__(self, folder: Path, *options: str, wait: bool = True) -> None:
        require_redis()
        self.port, self.socket = free_port(), str(folder / "redis.sock")
        self.url = f"unix://{self.socket}"
        self._command = [
            *(PROGRAM or "", *(() if "--sentinel" in options else ("--save", "", "--dir", str(folder)))),
            *("--port", str(self.port), "--unixsocket", self.socket, "--bind", "127.0.0.1"),
        ]
        if options and not options[0].startswith("--"):
            self._command.insert(1, options[0])
            options = options[1:]
        self._command += options
        self.log = folder / f"redis-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start(wait)

    def start(self, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while wait:
            try:
                self.tell("PING")
                return
            except redis.ResponseError:  # it wants a password, and is up
                return
            except redis.ConnectionError:
                assert time.monotonic() < end and self._process.poll() is None, self.log.read_text()
                time.sleep(0.02)

    def tell(self, *command: Any, **options: Any) -> Any:
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
