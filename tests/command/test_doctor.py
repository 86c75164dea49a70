"""`versori-flow doctor`: each misconfiguration is named by its cause, with the one thing to change."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest

from opentelemetry.exporter.versori_flow.command.checks.finding import Finding
from opentelemetry.exporter.versori_flow.command.checks.report import Report, examine
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.conftest import KEY
from tests.http.raw_server import RawServer, Step, answer, hold, play
from tests.http.test_connection import Authority
from tests.ports import free_port

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class World(NamedTuple):
    """A set-up in which nothing is wrong, to be spoilt in one place."""

    monkeypatch: pytest.MonkeyPatch
    platform: LocalPlatform
    folder: Path
    authority: Authority
    open: contextlib.ExitStack

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def unset(self, *variables: str) -> None:
        for name in variables:
            self.monkeypatch.delenv(name)

    def answers(self, step: Step, tls: bool = False) -> None:
        """The API is a raw server that gives this answer to all."""
        server = RawServer(play(*[step] * 9), self.authority.server() if tls else None)
        self.set(VERSORI_API_BASE_URL=self.open.enter_context(server).url)

    def hide(self, module: str) -> None:
        """The module is not installed."""
        self.monkeypatch.setitem(sys.modules, module, None)

    def install(self, name: str, version: str, more: str = "") -> None:
        """A package of that name and version comes first on the path: its metadata, and nothing else."""
        folder = self.folder / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}")
        self.monkeypatch.syspath_prepend(str(self.folder / "site"))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def world(
    monkeypatch: pytest.MonkeyPatch, platform: LocalPlatform, tmp_path: Path, authority: Authority
) -> Iterator[World]:
    with contextlib.ExitStack() as stack:
        made = World(monkeypatch, platform, tmp_path, authority, stack)
        made.set(
            HOME=str(tmp_path),
            VERSORI_API_KEY=KEY,
            VERSORI_ORGANISATION_ID=platform.organisation_id,
            VERSORI_PROJECT_ID=platform.project_id,
            VERSORI_API_BASE_URL=platform.url,
            VERSORI_FLOW_TIMEOUT="5",
            OTEL_TRACES_EXPORTER="versori_flow",
            OTEL_METRICS_EXPORTER="none",
            OTEL_LOGS_EXPORTER="none",
            OTEL_SERVICE_NAME="shop",
        )
        yield made


def expired_key() -> str:
    head, claims = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, {"exp": 1_700_000_000})
    )
    return f"{head}.{claims}.c2ln"


def full_store(world: World) -> None:
    world.set(VERSORI_FLOW_STORE=f"sqlite://{world.folder}/spool", VERSORI_FLOW_MAX_STORE_BYTES="1048576")
    (world.folder / "spool").mkdir()
    (world.folder / "spool" / f"{'0' * 8}-1-{'0' * 16}.corrupt-1").write_bytes(bytes(1 << 20))
    (world.folder / "spool" / f"{'0' * 8}-1-{'0' * 16}.db").write_bytes(bytes(1 << 20))


def key_file(world: World, content: bytes | None) -> None:
    world.unset("VERSORI_API_KEY")
    path = world.folder / "key"
    if content is not None:
        path.write_bytes(content)
    world.set(VERSORI_API_KEY_FILE=str(path))


def dead_proxy(world: World, url: str) -> None:
    # A proxy is not asked for this host.
    world.set(VERSORI_API_BASE_URL="https://platform.invalid/api/v2", HTTPS_PROXY=url)


OLD = formatdate(time.time() - 3600, usegmt=True)
FLOW = b'{"name": "shop", "description": "", "spans": []}'
ERROR = b'{"code": "x", "message": "no such project"}'

# What is spoilt, the cause that is named, the state, and a word of what to change.
CASES: dict[str, tuple[Callable[[World], object], str, str, str]] = {
    "no key": (lambda w: w.unset("VERSORI_API_KEY"), "setting-api_key", "wrong", "write the API key"),
    "half of the credentials": (
        lambda w: w.unset("VERSORI_PROJECT_ID"),
        "setting-project_id",
        "wrong",
        "set VERSORI_PROJECT_ID",
    ),
    "an id that is none": (
        lambda w: w.set(VERSORI_ORGANISATION_ID="acme"),
        "setting-organisation_id",
        "wrong",
        "write the 26 letters",
    ),
    "a key file that is not there": (
        lambda w: key_file(w, None),
        "setting-api_key_file",
        "wrong",
        "write the path of a readable",
    ),
    "a key file that is no key": (
        lambda w: key_file(w, b"\xff\xfe"),
        "setting-api_key_file",
        "wrong",
        "UTF-8",
    ),
    "http to another host": (
        lambda w: w.set(VERSORI_API_BASE_URL="http://platform.invalid"),
        "setting-base_url",
        "wrong",
        "write https",
    ),
    "a store that is none": (
        lambda w: w.set(VERSORI_FLOW_STORE="mysql://x"),
        "setting-store",
        "wrong",
        "memory:",
    ),
    "a store that takes an extra": (
        lambda w: (w.hide("redis"), w.set(VERSORI_FLOW_STORE="redis://127.0.0.1")),
        "setting-store",
        "wrong",
        "versori-flow[redis]",
    ),
    "a template that is open": (
        lambda w: w.set(VERSORI_FLOW_NAME="{a"),
        "setting-flow_name",
        "wrong",
        "close the placeholder",
    ),
    "a certificate file that is none": (
        lambda w: w.set(VERSORI_FLOW_CERTIFICATE="/dev/null"),
        "setting-certificate",
        "wrong",
        "write the path",
    ),
    "a variable that is misspelt": (
        lambda w: w.set(VERSORI_FLOW_TIMOUT="3"),
        "unknown-variable",
        "warning",
        "write VERSORI_FLOW_TIMEOUT",
    ),
    "no entry point": (
        lambda w: w.install("opentelemetry-exporter-versori-flow", "0.1.0"),
        "entry-point-missing",
        "wrong",
        "--force-reinstall",
    ),
    "an SDK that does not fit": (
        lambda w: w.install("opentelemetry-api", "1.20.0"),
        "version-mismatch",
        "wrong",
        "pip install --upgrade",
    ),
    "a library that does not fit": (
        lambda w: w.install("flask", "0.1"),
        "instrumentation-mismatch",
        "warning",
        "flask",
    ),
    "no distribution": (
        lambda w: w.hide("opentelemetry.distro"),
        "distribution-missing",
        "wrong",
        "versori-flow[cli]",
    ),
    "the SDK disabled": (lambda w: w.set(OTEL_SDK_DISABLED="True"), "sdk-disabled", "wrong", "unset"),
    "no traces exporter": (
        lambda w: w.unset("OTEL_TRACES_EXPORTER"),
        "traces-exporter-unset",
        "warning",
        "versori-flow run",
    ),
    "another traces exporter": (
        lambda w: w.set(OTEL_TRACES_EXPORTER="console"),
        "traces-exporter-other",
        "wrong",
        "OTEL_TRACES_EXPORTER=console,versori_flow",
    ),
    "metrics by default": (
        lambda w: w.unset("OTEL_METRICS_EXPORTER"),
        "metrics-exporter-missing",
        "wrong",
        "OTEL_METRICS_EXPORTER=none",
    ),
    "logs to what is not there": (
        lambda w: w.set(OTEL_LOGS_EXPORTER="nowhere"),
        "logs-exporter-missing",
        "wrong",
        "OTEL_LOGS_EXPORTER=none",
    ),
    "a sampler that takes nothing": (
        lambda w: w.set(OTEL_TRACES_SAMPLER="parentbased_always_off"),
        "sampler-off",
        "wrong",
        "unset OTEL_TRACES_SAMPLER",
    ),
    "a share of nothing": (
        lambda w: w.set(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.0"),
        "sampler-off",
        "wrong",
        "unset OTEL_TRACES_SAMPLER",
    ),
    "no service name": (
        lambda w: w.unset("OTEL_SERVICE_NAME"),
        "service-name-unknown",
        "wrong",
        "set OTEL_SERVICE_NAME",
    ),
    "a template of what is not there": (
        lambda w: w.set(VERSORI_FLOW_NAME="{no.such}"),
        "template-attribute-missing",
        "wrong",
        "OTEL_RESOURCE_ATTRIBUTES",
    ),
    "a name that is none": (
        lambda w: w.set(VERSORI_API_BASE_URL="https://platform.invalid/api/v2"),
        "dns",
        "wrong",
        "the host in VERSORI_API_BASE_URL",
    ),
    "a closed port": (
        lambda w: w.set(VERSORI_API_BASE_URL=f"http://127.0.0.1:{free_port()}"),
        "refused",
        "wrong",
        "host and port in VERSORI_API_BASE_URL",
    ),
    "a host that says nothing": (
        lambda w: (w.set(VERSORI_FLOW_TIMEOUT="0.3"), w.answers(hold)),
        "timeout",
        "wrong",
        "a firewall",
    ),
    "a dead proxy": (
        lambda w: dead_proxy(w, f"http://127.0.0.1:{free_port()}"),
        "proxy",
        "wrong",
        "HTTPS_PROXY",
    ),
    "a proxy that can't be resolved": (
        lambda w: dead_proxy(w, "http://proxy.invalid:3128"),
        "proxy-dns",
        "wrong",
        "HTTPS_PROXY",
    ),
    "a proxy that is no URL": (
        lambda w: dead_proxy(w, "http://[::1"),
        "proxy-unusable",
        "wrong",
        "as in http://",
    ),
    "a certificate that is not trusted": (
        lambda w: w.answers(answer(), tls=True),
        "certificate-untrusted",
        "wrong",
        "VERSORI_FLOW_CERTIFICATE",
    ),
    "https to an http port": (
        lambda w: w.set(VERSORI_API_BASE_URL=w.platform.url.replace("http:", "https:")),
        "https-to-http",
        "wrong",
        "scheme and port of VERSORI_API_BASE_URL",
    ),
    "http to an https port": (
        lambda w: (w.answers(answer(), tls=True), w.set(VERSORI_API_BASE_URL=_plain())),
        "http-to-https",
        "wrong",
        "write https://",
    ),
    "a clock that is wrong": (
        lambda w: w.answers(answer(200, FLOW, Date=OLD)),
        "clock",
        "wrong",
        "set this machine's clock",
    ),
    "a wrong key": (
        lambda w: w.set(VERSORI_API_KEY="wrong-key-2718"),
        "key",
        "wrong",
        "into VERSORI_API_KEY",
    ),
    "an expired key": (
        lambda w: w.set(VERSORI_API_KEY=expired_key()),
        "key-expired",
        "wrong",
        "put a new key into VERSORI_API_KEY",
    ),
    "a wrong organisation": (
        lambda w: w.platform.fault("status=403,message=not a member"),
        "permission",
        "wrong",
        "check VERSORI_ORGANISATION_ID",
    ),
    "a wrong project": (
        lambda w: w.answers(answer(404, ERROR)),
        "organisation-or-project",
        "wrong",
        "VERSORI_PROJECT_ID",
    ),
    "an address that is somebody's page": (
        lambda w: w.answers(answer(404, b"<html>default backend</html>")),
        "address",
        "wrong",
        "path in VERSORI_API_BASE_URL",
    ),
    "an address that moved": (
        lambda w: w.answers(answer(302, b"", Location="https://login.example/")),
        "address",
        "wrong",
        "VERSORI_API_BASE_URL",
    ),
    "a platform that is down": (
        lambda w: w.platform.fault("status=503"),
        "unavailable",
        "wrong",
        "try again",
    ),
    "a full store": (full_store, "store-full", "wrong", "VERSORI_FLOW_MAX_STORE_BYTES"),
    "a store that can't be written": (
        lambda w: w.set(VERSORI_FLOW_STORE="sqlite:///proc/self/task"),
        "store-unwritable",
        "wrong",
        "name another folder by VERSORI_FLOW_STORE",
    ),
    "a Redis that is not there": (
        lambda w: w.set(VERSORI_FLOW_STORE=f"redis://:pass@127.0.0.1:{free_port()}"),
        "store-unreachable",
        "wrong",
        "VERSORI_FLOW_STORE",
    ),
    "a broken file of Versori's CLI": (
        lambda w: (
            w.set(VERSORI_CONFIG=str(w.folder / "config.yaml")),
            (w.folder / "config.yaml").write_text("{"),
        ),
        "versori-config",
        "wrong",
        "versori context add",
    ),
}


def _plain() -> str:
    return os.environ["VERSORI_API_BASE_URL"].replace("https:", "http:")


def found(report: Report, *states: str) -> list[Finding]:
    return [each for each in report.findings if each.state in states]


@pytest.mark.parametrize("case", CASES)
def test_a_misconfiguration_is_named_by_its_cause(world: World, case: str):
    """What is wrong is named once, with the one thing to change, and nothing else is; the key is never shown."""
    spoil, cause, state, change = CASES[case]
    spoil(world)
    report = examine({})
    trouble = found(report, "wrong", "warning")
    assert {(each.cause, each.state) for each in trouble} == {(cause, state)}, trouble
    assert change in trouble[0].change, trouble
    assert report.ok == (state == "warning")
    assert report.first == trouble[0]
    assert not any(secret in repr(report) for secret in (KEY, "wrong-key-2718", ":pass@", expired_key()))


def test_nothing_is_wrong(world: World):
    """Where nothing is wrong every check is said to be well, and nothing is left to change."""
    report = examine({})
    assert (report.ok, report.first) == (True, None), report
    first = ["settings", "versions", "entry point", "fit", "instrumentation", "variables", "flow"]
    way = ["proxy", "DNS", "connection", "clock", "read", "store"]
    assert [each.check for each in report.findings] == [*first, *way]
    # Whoever has no clock in his answers is not measured by one.
    assert [each.check for each in report.findings if each.state != "ok"] == ["clock"]
    world.answers(answer(200, FLOW, Date=formatdate(time.time(), usegmt=True)))
    assert [each.state for each in examine({}).findings if each.check == "clock"] == ["ok"]
    world.answers(answer(200, FLOW, Date=OLD))
    # A wrong clock keeps nobody from being asked.
    assert [each.state for each in examine({}).findings if each.check in ("clock", "read")] == ["wrong", "ok"]


def test_a_setting_is_shown_with_its_source(world: World):
    """Argument, variable, file and default are told apart; secrets are masked, and what can't be read is not shown."""
    world.unset("VERSORI_API_KEY", "VERSORI_ORGANISATION_ID", "VERSORI_PROJECT_ID")
    (world.folder / "config.yaml").write_text(
        f"active_context: dev\ncontexts: {{dev: {{organisation_id: {ULID}, jwt: {KEY}}}}}"
    )
    world.set(
        VERSORI_CONFIG=str(world.folder / "config.yaml"),
        VERSORI_FLOW_HEADERS="x-token=hush-hush",
        VERSORI_PROJECT_ID="pasted-key-1618",
    )
    report = examine({"store": "memory:"})
    shown = {each.name: (each.value, each.source) for each in report.settings}
    entry = f"of the context 'dev' in {world.folder / 'config.yaml'}"
    assert shown["api_key"] == ("***", f"jwt {entry}")
    assert shown["auth_scheme"] == ("JWT", f"jwt {entry}")
    assert shown["organisation_id"] == (ULID, f"organisation_id {entry}")
    assert shown["project_id"] == (None, "variable")
    assert shown["headers"] == ("x-token=***", "variable")
    assert shown["store"] == ("memory:", "argument")
    assert shown["max_spans"] == ("1000", "default")
    assert shown["client_key"] == (None, "not set")
    assert not any(secret in repr(report) for secret in (KEY, "hush-hush", "pasted-key-1618"))


def test_write_writes_a_flow_of_its_own_and_removes_it(world: World):
    """Only `write` writes: one flow, which is gone afterwards; no permission, and a flow that stays, are named."""
    examine({})
    assert {method for method, _ in world.platform.counts()} == {"GET"}
    report = examine({}, write=True)
    assert found(report, "wrong", "warning") == []
    assert [each.text for each in report.findings if each.check == "write"] == ["the key may write flows"]
    puts = {request.flow for request in world.platform.requests if request.method == "PUT"}
    deleted = {request.flow for request in world.platform.requests if request.method == "DELETE"}
    assert puts == deleted
    assert len(puts) == 1
    assert world.platform.names() == []
    with world.platform.fault("status=403,method=PUT"):
        (trouble,) = found(examine({}, write=True), "wrong", "warning")
        assert (trouble.check, trouble.cause) == ("write", "permission")
    with world.platform.fault("status=500,method=DELETE"):
        (trouble,) = found(examine({}, write=True), "wrong", "warning")
        assert (trouble.cause, trouble.change) == (
            "not-removed",
            f"delete the flow {world.platform.names()[0]}",
        )


def test_it_says_what_waits_in_a_store(world: World):
    """Spans that a process left are counted, and said how to be delivered."""
    url = f"sqlite://{world.folder}/spool"
    program = (
        "import os; from opentelemetry.sdk.trace import TracerProvider as T\n"
        "from opentelemetry.exporter.versori_flow import *\n"
        "exporter = VersoriFlowSpanExporter(base_url='http://127.0.0.1:9', export_wait=0)\n"
        "provider = T(); provider.add_span_processor(VersoriFlowSpanProcessor(exporter))\n"
        "for _ in range(3): provider.get_tracer('t').start_span('s').end()\n"
        "provider.force_flush(500); os._exit(0)"
    )
    world.set(VERSORI_FLOW_STORE=url)
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env={**os.environ})
    (other,) = found(examine({}), "ok")[-1:]
    assert "3 spans for other projects" in other.text
    world.set(VERSORI_API_BASE_URL="http://127.0.0.1:9")
    report = examine({})
    (waits,) = [each for each in report.findings if each.cause == "spans-wait"]
    assert "3 spans of processes that are gone" in waits.text
    assert "store drain" in waits.change


def test_what_only_matters_under_auto_instrumentation_is_a_warning_elsewhere(world: World):
    """A program that sets OpenTelemetry up in code, or is started by `run`, passes without those variables."""
    world.unset("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_SERVICE_NAME")
    world.hide("opentelemetry.distro")
    report = examine({})
    assert report.ok
    assert {each.cause for each in found(report, "warning")} == {
        "distribution-missing",
        "traces-exporter-unset",
        "service-name-unknown",
    }


def test_without_credentials_the_way_is_looked_at_all_the_same(world: World):
    """Missing credentials don't hide that the platform can't be reached; and what can't be asked is said."""
    world.unset("VERSORI_API_KEY")
    world.set(VERSORI_API_BASE_URL=f"http://127.0.0.1:{free_port()}")
    report = examine({})
    assert [each.cause for each in found(report, "wrong")] == ["setting-api_key", "refused"]
    assert [each.text for each in found(report, "skipped")] == ["the settings come first"]
