"""What has changed, told to open pages as server-sent events."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from starlette.responses import StreamingResponse

# Each open page holds a connection.
MOST_LISTENERS = 100
# Anything on the way that ends silent connections waits longer than this.
_HEARTBEAT = 15.0
# Milliseconds until a page asks again for a platform that has gone.
_RETRY = 1000
# Changes that come together are told together.
_PAUSE = 0.25


class Changes:
    """Wakes those who wait for a change; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[Callable[[], None]] = set()
        self._count = 0
        # A page that was shown before a restart must not believe that nothing has happened since.
        self._life = secrets.token_hex(4)

    @property
    def version(self) -> str:
        """Another text after each change."""
        return f"{self._life}-{self._count}"

    def tell(self) -> None:
        """Something has changed."""
        with self._lock:
            self._count += 1
            listeners = list(self._listeners)
        for wake in listeners:
            wake()

    def leave(self) -> None:
        """In a forked child: who held the lock is not there, and who listens belongs to the parent."""
        self._lock = threading.Lock()
        self._listeners = set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that each change sets.

        Raises:
            TooManyListenersError: There are 100 already.
        """
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:
                return  # the loop has been closed: the server is at its end

        with self._lock:
            if len(self._listeners) >= MOST_LISTENERS:
                raise TooManyListenersError
            self._listeners.add(wake)
        try:
            yield event
        finally:
            with self._lock:
                self._listeners.discard(wake)


class TooManyListenersError(Exception):
    """More pages are open than are told of changes."""


class Stream(StreamingResponse):
    """Tells the version of what a page shows: at once, and whenever it is another one.

    Args:
        changes: What wakes it.
        version: Says the version of what this page shows.
        headers: Further headers.
    """

    def __init__(self, changes: Changes, version: Callable[[], str], headers: dict[str, str]) -> None:
        super().__init__(_events(changes, version), 200, headers, "text/event-stream")


async def _events(changes: Changes, version: Callable[[], str]) -> AsyncIterator[str]:
    try:
        with changes.listening() as changed:
            told = None
            yield f"retry: {_RETRY}\n\n"
            while True:
                changed.clear()
                now = version()
                if now != told:
                    yield f"data: {now}\n\n"
                    told = now
                    await asyncio.sleep(_PAUSE)
                try:
                    await asyncio.wait_for(changed.wait(), _HEARTBEAT)
                except asyncio.TimeoutError:
                    yield ": still here\n\n"
    except TooManyListenersError:
        # Without data the page says that it is not live; a status would make no difference to EventSource.
        yield "event: full\ndata: \n\n"
