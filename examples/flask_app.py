"""A Flask app under auto-instrumentation: nothing in it knows where its traces go.

versori-flow run -- python examples/flask_app.py
curl http://127.0.0.1:5000/hello/ada
"""

import os
import signal
import sys

from flask import Flask, abort

from opentelemetry import trace

app = Flask(__name__)


@app.get("/hello/<name>")
def hello(name: str) -> dict[str, str]:
    trace.get_current_span().add_event("greeted", {"name": name})
    return {"hello": name}


@app.get("/teapot")
def teapot() -> None:
    abort(418)


@app.get("/broken")
def broken() -> None:
    raise RuntimeError("the boiler is empty")


if __name__ == "__main__":
    # SIGTERM, which is how containers are stopped, ends Python without its exit handlers: spans that still
    # wait in OpenTelemetry's queue would die with it. As SystemExit it is an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app.run(port=int(os.environ.get("PORT", "5000")))
