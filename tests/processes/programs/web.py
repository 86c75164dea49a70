"""One app for two kinds of server: `wsgi`, and `asgi` with a lifespan that shuts its provider down."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tracing import set_up, work

provider = set_up()
tracer = provider.get_tracer(__name__)

for _ in range(int(os.environ.get("SPANS_OF_THE_IMPORT", "0"))):
    tracer.start_span("import", attributes={"versori.flow.name": "import"}).end()


class Body(list[bytes]):
    """The request is under way for a while after its answer is with the client."""

    def close(self) -> None:
        time.sleep(float(os.environ.get("BUSY_AFTER", "0")))


def wsgi(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    work(tracer, environ["PATH_INFO"])
    answer = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return Body([answer])


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # uvicorn raises the signal that ended it once more, so that `atexit` never runs.
        provider.shutdown()
        await send({"type": "lifespan.shutdown.complete"})
        return
    work(tracer, scope["path"])
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
