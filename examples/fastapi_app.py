"""A FastAPI app under auto-instrumentation, served by uvicorn.

versori-flow run --service-name fastapi-app -- uvicorn --app-dir examples fastapi_app:app
curl http://127.0.0.1:8000/items/3
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from opentelemetry.sdk.trace import TracerProvider

from opentelemetry import trace


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Delivers what is left when the server stops.

    uvicorn raises SIGTERM again once it has shut down, so that exit handlers never run: what they would
    have done has to be done here, beside the event loop rather than on it.
    """
    yield
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        await asyncio.to_thread(provider.shutdown)


app = FastAPI(lifespan=lifespan)
tracer = trace.get_tracer("examples.fastapi_app")


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    with tracer.start_as_current_span("look up", attributes={"item.number": number}) as span:
        if number > 10:
            span.add_event("not found", {"item.number": number})
            raise HTTPException(404, f"there is no item {number}")
        return {"number": number}
