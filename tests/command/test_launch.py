"""What `versori-flow run` starts a program with: pure decisions about an environment."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.command import launch as _launch
from opentelemetry.exporter.versori_flow.server import platform
from opentelemetry.exporter.versori_flow.settings.load import ConfigurationError
from opentelemetry.exporter.versori_flow.settings.readers import is_loopback


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python app.py", "app"),
        ("/usr/bin/python3.11 -u -X dev -W error src/my.app.py --port 1", "my.app"),
        ("python -m shop.web --port 1", "shop.web"),
        ("python -c print()", "python"),
        ("python", "python"),
        ("gunicorn wsgi:app", "gunicorn"),
        ("./bin/worker.sh -m x", "worker"),
    ],
)
def test_a_program_is_called_after_its_file(command: str, name: str) -> None:
    """A service without a name is called as its file is, or its module."""
    assert _launch.service_name(command.split()) == name


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": ""}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, True),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=1, service.name=shop"}, True),
        ({"OTEL_RESOURCE_ATTRIBUTES": "my.service.name=shop,service.namespace=x"}, False),
        ({"OTEL_CONFIG_FILE": "otel.yaml"}, True),
    ],
)
def test_a_service_that_has_a_name_keeps_it(variables: dict[str, str], named: bool) -> None:
    """Each of OpenTelemetry's ways to name a service is seen."""
    assert _launch.names_service(variables) is named


def test_what_is_set_wins() -> None:
    """Only what is missing is added; other variables, and what PYTHONPATH has, stay."""
    environ = {
        "OTEL_METRICS_EXPORTER": "console",
        "PYTHONPATH": f"lib{os.pathsep}{os.getcwd()}",
        "HOME": "/h",
    }
    made = _launch.instrumented(environ)
    assert made["OTEL_METRICS_EXPORTER"] == "console"
    assert (made["OTEL_TRACES_EXPORTER"], made["OTEL_LOGS_EXPORTER"]) == ("versori_flow", "none")
    assert made["HOME"] == "/h"
    instrumentation, *rest = made["PYTHONPATH"].split(os.pathsep)
    assert Path(instrumentation, "sitecustomize.py").is_file()
    assert rest == [os.getcwd(), "lib"]
    assert made["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert "OTEL_TRACES_EXPORTER" not in environ


DEFAULT = "http://127.0.0.1:8901"


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, DEFAULT),
        ({"VERSORI_API_KEY": " "}, DEFAULT),
        ({"VERSORI_API_BASE_URL": "http://localhost:9"}, "http://localhost:9"),
        ({"VERSORI_API_BASE_URL": "https://platform.example/api"}, None),
        ({"VERSORI_API_KEY": "k"}, None),
        ({"VERSORI_API_KEY_FILE": "/k"}, None),
        ({"VERSORI_PROJECT_ID": "01H0000000000000000000000P"}, None),
        ({"VERSORI_API_BASE_URL": "http://localhost:9", "VERSORI_API_KEY": "k"}, None),
    ],
)
def test_only_where_nothing_names_a_platform_it_is_a_local_one(
    variables: dict[str, str], url: str | None
) -> None:
    """A part of the credentials is enough to go to the platform, which then says what misses."""
    assert _launch.local_url(variables, DEFAULT) == url


@given(st.text() | st.text("htps:/[]1.%@ab").map("http://".__add__))
@example("http://[::1")
@example("http://[zz]")
def test_an_address_that_is_no_url(url: str) -> None:
    """Whatever it is, it is the address of a local platform or of another one, or the one error that names it."""
    assert is_loopback(url) in (True, False)
    with contextlib.suppress(ConfigurationError):
        assert _launch.local_url({_launch.BASE_URL: url}, DEFAULT) in (url.strip(), DEFAULT, None)
    # Where there are credentials, what is wrong is said of where it stands.
    assert _launch.local_url({_launch.BASE_URL: url, "VERSORI_API_KEY": "k"}, DEFAULT) is None


def test_the_local_ids_are_those_of_the_local_platform() -> None:
    """What another program puts there by default is where this one looks."""
    ids = (_launch.LOCAL_ORGANISATION, _launch.LOCAL_PROJECT)
    assert ids == (platform.ORGANISATION_ID, platform.PROJECT_ID)
