"""Open pages are told of changes: of theirs, at once, for as long as they are open, and never in anybody's way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.server.page.live import MOST_LISTENERS
from opentelemetry.exporter.versori_flow.server.platform import ORGANISATION_ID, PROJECT_ID
from tests.server.page.reading import of
from tests.server.platform_client import make_flow, make_span


@contextmanager
def listening(http: httpx.Client, name: str | None = None) -> Iterator[Iterator[str]]:
    """The data of the events, as they come."""
    parameters = {} if name is None else {"o": ORGANISATION_ID, "p": PROJECT_ID, "name": name}
    with http.stream("GET", "/live", params=parameters) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        yield told_in(answer)


def told_in(answer: httpx.Response) -> Iterator[str]:
    """What is told; a heartbeat says that there was nothing to tell."""
    for line in answer.iter_lines():
        assert not line.startswith(":"), "nothing was told"
        if line.startswith(("data:", "event:")):
            yield line


@contextmanager
def alone() -> Iterator[tuple[LocalPlatform, httpx.Client]]:
    """A platform, and a client that opens as many connections as are asked of it."""
    limits = httpx.Limits(max_connections=None)
    with (
        LocalPlatform() as platform,
        httpx.Client(base_url=platform.url, trust_env=False, timeout=10, limits=limits) as http,
    ):
        yield platform, http


def test_a_page_is_told_of_what_it_shows(platform: LocalPlatform, http: httpx.Client) -> None:
    """A flow's page hears of its flow alone, deletion included; the list hears of them all."""
    platform.put("shop", make_flow())
    with listening(http, "shop") as mine, listening(http) as all_of_them:
        first, before = next(mine), next(all_of_them)
        assert first.removeprefix("data: ") in http.get("/flow", params=of(platform, "shop")).text
        platform.put("other", make_flow())
        assert next(all_of_them) != before
        platform.put("shop", make_flow(make_span()))
        second = next(mine)
        assert second != first
        platform.delete("shop")
        assert next(mine) == "data: gone"


def test_changes_on_any_way_are_told(platform: LocalPlatform, http: httpx.Client) -> None:
    """What comes by the API is told as what is put by code."""
    with listening(http) as told:
        versions = [next(told)]
        path = f"/o/{platform.organisation_id}/projects/{platform.project_id}/workflows/shop"
        for change in (lambda: http.put(path, json=make_flow()), lambda: http.delete(path), platform.forget):
            platform.put("another", make_flow())
            versions.append(next(told))
            change()
            versions.append(next(told))
    assert len(set(versions)) == len(versions)


def test_a_question_about_the_stream_ends(http: httpx.Client) -> None:
    """HEAD is answered, as for a page, and takes no listener's place."""
    assert http.head("/live").headers["content-type"].startswith("text/event-stream")


def test_listeners_are_bounded() -> None:
    """The hundred and first page is told that it is not live, and one that leaves makes room."""
    with alone() as (_, http):
        with ExitStack() as open_pages:
            told = [open_pages.enter_context(listening(http)) for _ in range(MOST_LISTENERS)]
            assert all(next(events) != "event: full" for events in told)
            with listening(http) as late:
                assert next(late) == "event: full"
        end = time.monotonic() + 10
        full = True
        while full:
            assert time.monotonic() < end
            with listening(http) as again:
                full = next(again) == "event: full"


def test_the_end_is_not_held_up() -> None:
    """A platform with open pages ends at once, and its thread with it."""
    before = set(threading.enumerate())
    with alone() as (platform, http), ExitStack() as open_pages:
        platform.put("shop", make_flow())
        told = [open_pages.enter_context(listening(http, name)) for name in (None, "shop", None)]
        assert all(map(next, told))
        begun = time.monotonic()
        platform.stop()
        assert time.monotonic() - begun < 1
        left = {thread.name for thread in set(threading.enumerate()) - before}
        assert "versori-local-platform" not in left


def test_puts_go_on_beside_a_page_that_is_drawn(platform: LocalPlatform, http: httpx.Client) -> None:
    """While a page waits for its turn, and one that nobody reads is open, flows are stored and read."""
    platform.put("busy", make_flow(*(make_span(f"{n}") for n in range(4000))))
    query = httpx.QueryParams(of(platform, "busy", rows="4000"))
    with socket.create_connection(("127.0.0.1", platform.port)) as lazy:
        lazy.sendall(f"GET /flow?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        path = f"/o/{platform.organisation_id}/projects/{platform.project_id}/workflows/shop"
        assert http.put(path, json=make_flow()).status_code == 200
        assert http.get("/").status_code == 200
