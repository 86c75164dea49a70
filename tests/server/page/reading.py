"""What the tests of the page share: a page taken apart, and spans at known times."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import httpx

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import make_span

VOID = {"meta", "link", "input"}


class Page(HTMLParser):
    """A page, taken apart: its tags with their attributes, and the text in them."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        self.feed(response.content.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        """The attributes of the tags that have these words in theirs."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.tags
            if name == tag and all(value in (found.get(key) or "").split() for key, value in wanted.items())
        ]

    def link(self, **attributes: str) -> str:
        """Where the one link leads that has these words in its attributes."""
        (found,) = self.all("a", **attributes)
        return found["href"] or ""

    def names(self) -> list[str | None]:
        """The names on the rows, in their order."""
        return [link["title"] for link in self.all("a", class_="span")]

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """The tags and the names of their attributes."""
        return sorted({(tag, tuple(sorted(attributes))) for tag, attributes in self.tags})


def of(platform: LocalPlatform, name: str = "shop", **parameters: str) -> dict[str, str]:
    """The parameters of a flow's address."""
    return {"o": platform.organisation_id, "p": platform.project_id, "name": name, **parameters}


def flow_page(http: httpx.Client, platform: LocalPlatform, name: str = "shop", **parameters: str) -> Page:
    """The page of a flow."""
    answer = http.get("/flow", params=of(platform, name, **parameters))
    assert answer.status_code == 200
    return Page(answer)


def at(seconds: float) -> str:
    """A time, as a span has it."""
    return f"2026-01-02T03:04:{5 + seconds:012.9f}Z"


def context(trace: int, span: int) -> dict[str, Any]:
    """The context of a span."""
    return {"traceId": f"{trace:032x}", "spanId": f"{span:016x}", "traceFlags": 1}


def placed(name: str, span: int, start: float, end: float, parent: int | None = None, **members: Any) -> Any:
    """A span from a second to another one of the minute."""
    members.setdefault("trace", 1)
    trace = members.pop("trace")
    if parent is not None:
        members["parentSpanContext"] = context(trace, parent)
    return make_span(
        name,
        startTime=at(start),
        endTime=at(end),
        duration=(end - start) * 1000,
        spanContext=context(trace, span),
        **members,
    )
