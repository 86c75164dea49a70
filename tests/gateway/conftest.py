"""A gateway as it is run: a process, told by variables, ended by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY


def command(*options: str) -> list[str]:
    """What starts a gateway on any free port."""
    return [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "gateway", "--port", "0", *options]


def environment(key: str, organisation_id: str, project_id: str, **variables: str) -> dict[str, str]:
    """This process's, with these credentials and no other settings than these."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("VERSORI_")}
    required = {
        "VERSORI_API_KEY": key,
        "VERSORI_ORGANISATION_ID": organisation_id,
        "VERSORI_PROJECT_ID": project_id,
    }
    return {**environ, **required, **variables}


class RunningGateway:
    """One process, or several behind one port."""

    def __init__(
        self, platform: LocalPlatform, log: IO[bytes], options: tuple[str, ...], **variables: str
    ) -> None:
        ids = platform.organisation_id, platform.project_id
        environ = environment(KEY, *ids, VERSORI_API_BASE_URL=platform.url, **variables)
        self.process = subprocess.Popen(
            command(*options), env=environ, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().partition("http://")[2].partition(";")[0]
        self.http = httpx.Client(base_url=f"http://{self.url}", trust_env=False, timeout=20)
        self.port = int(self.url.rpartition(":")[2])

    def post(self, body: bytes, **headers: str) -> httpx.Response:
        headers = {"Content-Type": "application/x-protobuf", **headers}
        return self.http.post("/v1/traces", content=body, headers=headers)

    def status(self) -> Any:
        return self.http.get("/status").json()["flows"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it; returns its status."""
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def gateway(platform: LocalPlatform, tmp_path: Path) -> Iterator[Callable[..., RunningGateway]]:
    """Runs gateways in front of the platform."""
    made: list[RunningGateway] = []
    with (tmp_path / "log").open("wb") as log:

        def run(*options: str, **variables: str) -> RunningGateway:
            made.append(RunningGateway(platform, log, options, **variables))
            return made[-1]

        yield run
        for one in made:
            one.http.close()
            one.process.kill()
            one.process.wait()
            assert one.process.stdout is not None
            one.process.stdout.close()
    text = (tmp_path / "log").read_text()
    assert "Traceback" not in text, text
    assert "is no setting" not in text, text
    assert KEY not in text
