"""Each example does what its docstring says: its traces arrive, whole, in the flow that it names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN = ("versori-flow", "run", "--")
Start = Callable[..., Any]


def trees(spans: list[dict[str, Any]]) -> set[str]:
    """The trace ids, after a look that each span's parent is there."""
    ids = {(span["spanContext"]["traceId"], span["spanContext"]["spanId"]) for span in spans}
    assert len(ids) == len(spans)
    for span in spans:
        if parent := span.get("parentSpanContext"):
            assert (parent["traceId"], parent["spanId"]) in ids, f"an orphan: {span['name']}"
    return {trace_id for trace_id, _ in ids}


def names(spans: list[dict[str, Any]]) -> list[str]:
    return sorted(span["name"] for span in spans)


def test_script(start: Start, platform: Any) -> None:
    """A script that sets tracing up in code leaves one whole trace, its failed row with the reason."""
    program = start(sys.executable, "examples/script.py")
    assert program.wait() == 0, program.output
    spans = platform.spans("nightly-import")
    assert names(spans) == ["import", "load row", "load row", "load row"]
    assert len(trees(spans)) == 1
    [failed] = [span for span in spans if span["status"]["code"] == 1]
    assert failed["attributes"]["otel.status_description"] == "'many' is no quantity"
    assert [event["name"] for event in failed["events"]] == ["parsed", "exception"]


def test_a_second_run_of_the_script_adds_to_the_flow(start: Start, platform: Any) -> None:
    """The flow that the first run left is still there after the second, with both traces."""
    for _ in range(2):
        program = start(sys.executable, "examples/script.py")
        assert program.wait() == 0, program.output
    spans = platform.spans("nightly-import")
    assert len(spans) == 8
    assert len(trees(spans)) == 2


def test_flask(start: Start, platform: Any, free_port: int) -> None:
    """A Flask app that knows nothing of tracing is traced, and delivers what is left on SIGTERM."""
    program = start(*RUN, "python", "examples/flask_app.py", PORT=str(free_port))
    url = f"http://127.0.0.1:{free_port}"
    assert program.get(f"{url}/hello/ada").json() == {"hello": "ada"}
    assert program.get(f"{url}/broken").status_code == 500
    assert program.stop() == 0, program.output
    spans = platform.spans("flask_app")
    assert names(spans) == ["GET /broken", "GET /hello/<name>"], program.output
    assert {span["name"]: span["status"]["code"] for span in spans} == {
        "GET /broken": 1,
        "GET /hello/<name>": 0,
    }


def test_fastapi(start: Start, platform: Any, free_port: int) -> None:
    """A FastAPI app under uvicorn delivers its last spans although exit handlers never run."""
    program = start(
        "versori-flow", "run", "--service-name", "fastapi-app", "--",
        "uvicorn", "--app-dir", "examples", "fastapi_app:app", "--port", str(free_port),
    )  # fmt: skip
    assert program.get(f"http://127.0.0.1:{free_port}/items/3").json() == {"number": 3}
    assert program.get(f"http://127.0.0.1:{free_port}/items/30").status_code == 404
    program.stop()
    spans = platform.spans("fastapi-app")
    assert len(trees(spans)) == 2, program.output
    assert names(spans).count("look up") == 2
    assert {"GET /items/{number}"} < set(names(spans))


def test_django(start: Start, platform: Any, free_port: int) -> None:
    """A Django project is traced, errors included."""
    program = start(
        *RUN, "python", "examples/django_app.py", "runserver", "--noreload", str(free_port),
        DJANGO_SETTINGS_MODULE="django_app", PYTHONPATH="examples",
    )  # fmt: skip
    assert program.get(f"http://127.0.0.1:{free_port}/hello/ada").json() == {"hello": "ada"}
    assert program.get(f"http://127.0.0.1:{free_port}/broken").status_code == 500
    assert program.stop() == 0, program.output
    spans = platform.spans("django_app")
    assert names(spans) == ["GET broken", "GET hello/<name>"], program.output
    assert [span["status"]["code"] for span in spans if span["name"] == "GET broken"] == [1]


def test_gunicorn(start: Start, platform: Any, free_port: int) -> None:
    """Workers forked from a master that loaded the application write one flow and lose nothing."""
    program = start(
        "versori-flow", "run", "--service-name", "web", "--",
        "gunicorn", "--config", "examples/gunicorn_conf.py", "flask_app:app",
        BIND=f"127.0.0.1:{free_port}",
    )  # fmt: skip
    for number in range(20):
        assert program.get(f"http://127.0.0.1:{free_port}/hello/{number}").status_code == 200
    assert program.stop() == 0, program.output
    spans = platform.spans("web")
    assert names(spans) == ["GET /hello/<name>"] * 20, program.output
    assert len(trees(spans)) == 20


def test_celery(start: Start, platform: Any, tmp_path: Path) -> None:
    """Each upload is one trace: what the sender did, and what the worker's processes did for it."""
    folder = {"CELERY_FOLDER": str(tmp_path / "broker"), "VERSORI_FLOW_NAME": "thumbnails"}
    sender = start(sys.executable, "examples/celery_app.py", **folder)
    assert sender.wait() == 0, sender.output
    worker = start(
        "celery", "--workdir", "examples", "--app", "celery_app", "worker",
        "--concurrency", "2", "--loglevel", "INFO", **folder,
    )  # fmt: skip
    worker.until("three tasks done", lambda: worker.output.count("succeeded in") == 3)
    worker.stop()
    spans = platform.spans("thumbnails")
    assert names(spans) == [
        *["apply_async/thumbnail"] * 3,
        *["run/thumbnail"] * 3,
        "upload",
    ], worker.output
    assert len(trees(spans)) == 1
    assert [e["name"] for s in spans for e in s["events"]] == ["resized"] * 3


def test_lambda_handler(start: Start, platform: Any) -> None:
    """Each invocation's trace is delivered before its answer."""
    invocation = "import lambda_handler as l, signal, os\nclass C:\n"
    invocation += "    aws_request_id = 'r'\n    def get_remaining_time_in_millis(self): return 10_000\n"
    invocation += (
        "print(l.handler({'picture': 'a.png'}, C()), flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    frozen = start(sys.executable, "-c", invocation, PYTHONPATH="examples")
    assert frozen.wait() == -9
    assert "a.small.png" in frozen.output, frozen.output
    assert names(platform.spans("resize-pictures")) == ["invocation", "resize"], frozen.output
    program = start(sys.executable, "examples/lambda_handler.py")
    assert program.wait() == 0, program.output
    assert len(trees(platform.spans("resize-pictures"))) == 3


def test_declarative_configuration(start: Start, platform: Any, free_port: int) -> None:
    """OpenTelemetry's own configuration file makes the exporter, with settings from the file."""
    program = start(
        *RUN, "python", "examples/flask_app.py",
        OTEL_CONFIG_FILE="examples/declarative.yaml", PORT=str(free_port),
    )  # fmt: skip
    assert program.get(f"http://127.0.0.1:{free_port}/hello/ada").status_code == 200
    assert program.stop() == 0, program.output
    assert names(platform.spans("declared-by-yaml")) == ["GET /hello/<name>"], program.output


@pytest.mark.parametrize("switch", ["true", "false"])
def test_metrics_on_the_console(start: Start, platform: Any, switch: str) -> None:
    """The exporter counts what it exported, where the SDK's own switch says so."""
    program = start(
        sys.executable, "examples/metrics_console.py", OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=switch
    )
    assert program.wait() == 0, program.output
    assert len(platform.spans("measured")) == 10
    if switch == "false":
        assert "otel.sdk.exporter.span.exported" not in program.output
        return
    metrics = {
        metric["name"]: metric["data"]["data_points"]
        for resource in json.loads(program.stdout)["resource_metrics"]
        for scope in resource["scope_metrics"]
        for metric in scope["metrics"]
    }
    exported = metrics["otel.sdk.exporter.span.exported"]
    assert sum(point["value"] for point in exported if "error.type" not in point["attributes"]) == 10
