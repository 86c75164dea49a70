"""The page shows whatever is stored, as waterfalls, and nothing of it as anything but text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.server.waterfall import length, moment, traces
from tests.server.platform_client import make_flow, make_span

SECOND = 1_000_000_000
VOID = {"meta", "link"}


@pytest.fixture
def platform(shared: LocalPlatform) -> LocalPlatform:
    return shared


@pytest.fixture(scope="module")
def http(running: LocalPlatform) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.url, trust_env=False, timeout=20) as client:
        yield client


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
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            found
            for name, found in self.tags
            if name == tag and all(value in (found.get(key) or "").split() for key, value in wanted.items())
        ]

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        return sorted({(tag, tuple(sorted(attributes))) for tag, attributes in self.tags})


def flow_page(http: httpx.Client, platform: LocalPlatform, name: str = "shop") -> Page:
    parameters = {"o": platform.organisation_id, "p": platform.project_id, "name": name}
    answer = http.get("/flow", params=parameters)
    assert answer.status_code == 200
    return Page(answer)


def at(seconds: float) -> str:
    return f"2026-01-02T03:04:{5 + seconds:012.9f}Z"


def context(trace: int, span: int) -> dict[str, Any]:
    return {"traceId": f"{trace:032x}", "spanId": f"{span:016x}", "traceFlags": 1}


def placed(name: str, span: int, start: float, end: float, parent: int | None = None, **members: Any) -> Any:
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


def test_list_shows_each_flow(platform: LocalPlatform, http: httpx.Client) -> None:
    """The list links to each flow and counts its spans, traces and errors; the newest comes first."""
    platform.put("a/b & <c>", make_flow())
    failed = placed("b", 2, 0, 1, trace=2, status={"code": 1})
    platform.put("shop", make_flow(placed("a", 1, 0, 1), failed, placed("c", 3, 0, 1, trace=2)))
    page = Page(http.get("/"))
    links = [link["href"] for link in page.all("a") if (link["href"] or "").startswith("/flow")]
    assert [Page(http.get(link or "")).text.split("·")[0].strip() for link in links] == ["shop", "a/b & <c>"]
    rows = re.sub(r"\s+", " ", page.text)
    assert f"shop {platform.project_id} 2 3 1 " in rows
    assert f"a/b & <c> {platform.project_id} 0 0 0 " in rows


def test_an_empty_list_says_how_to_fill_it(platform: LocalPlatform, http: httpx.Client) -> None:
    """Without flows the page tells what to set, its own address included."""
    assert f"VERSORI_API_BASE_URL={platform.url}" in Page(http.get("/")).text


def test_bars_stand_where_their_spans_are_in_the_trace(platform: LocalPlatform, http: httpx.Client) -> None:
    """Each span has a bar at its share of the trace, an error a red one, an event a mark."""
    event = {"name": "retry", "timestamp": at(3)}
    child = placed("child", 2, 1, 4, parent=1, status={"code": 1}, events=[event])
    platform.put("shop", make_flow(child, placed("root", 1, 0, 4)))
    page = flow_page(http, platform)
    bars = [(bar["x"], bar["width"]) for bar in page.all("rect", class_="c0")]
    assert bars == [("0.00%", "100.00%"), ("25.00%", "75.00%")]
    assert [mark["cx"] for mark in page.all("circle")] == ["75.00%"]
    assert [span["class"] for span in page.all("details", class_="span")] == ["span", "span failed"]
    assert "+2 s" in page.text


def test_spans_are_a_tree(platform: LocalPlatform, http: httpx.Client) -> None:
    """Parents, under either spelling, come before their children, siblings by start, each a step further in."""
    leaf = placed("leaf", 3, 1, 2, parentSpanContenxt=context(1, 2))
    late, early = placed("late", 4, 3, 4, parent=1), placed("early", 2, 1, 2, parent=1)
    platform.put("shop", make_flow(late, leaf, early, placed("root", 1, 0, 4)))
    labels = flow_page(http, platform).all("span", class_="label")
    found = [(label["title"], (label["class"] or "").split()[-1]) for label in labels]
    assert found == [("root", "d0"), ("early", "d1"), ("leaf", "d2"), ("late", "d1")]


def test_newest_traces_first() -> None:
    """Traces are ordered by their start, newest first; those without a time come last."""
    spans = [placed("b", 1, 1, 2, trace=2), make_span("none", startTime="?"), placed("c", 1, 3, 4, trace=3)]
    spans.append(placed("a", 1, 0, 9, trace=4))
    assert [trace.name for trace in traces(spans)] == ["c", "b", "a", "none"]


def test_services_have_colours(platform: LocalPlatform, http: httpx.Client) -> None:
    """The services of a trace are named in its headline, and their bars have their colours."""
    front, back = ({"service.name": name} for name in ("front", "back"))
    spans = placed("a", 1, 0, 4, attributes=front), placed("b", 2, 1, 2, parent=1, attributes=back)
    platform.put("shop", make_flow(*spans))
    page = flow_page(http, platform)
    assert [dot["class"] for dot in page.all("i")] == ["dot c0", "dot c1"]
    assert [bar["class"] for bar in page.all("rect") if bar.get("class")] == ["c0", "c1"]


def test_details_hold_attributes_and_events(platform: LocalPlatform, http: httpx.Client) -> None:
    """The panel of a span has its ids, attributes and events with theirs."""
    event = {"name": "exception", "timestamp": at(0), "attributes": {"exception.message": "no <b>bold</b>"}}
    attributes = {"text": "a\n b", "number": 1.5, "flag": True}
    platform.put("shop", make_flow(placed("a", 1, 0, 1, attributes=attributes, events=[event])))
    text = flow_page(http, platform).text
    for piece in ("a\n b", "1.5", "true", "no <b>bold</b>", f"{1:016x}", f"{1:032x}", at(0), at(1)):
        assert piece in text


def test_nothing_is_left_out() -> None:
    """Spans in circles, or whose parent is missing or twice there, are shown once each; a chain of any length too."""
    spans = [
        placed("self", 1, 0, 1, parent=1),
        placed("a", 2, 0, 1, parent=3),
        placed("b", 3, 0, 1, parent=2),
        placed("below", 4, 0, 1, parent=3),
        placed("orphan", 5, 0, 1, parent=99),
        placed("twin", 5, 0, 1),
        placed("under twins", 6, 0, 1, parent=5),
    ]
    assert sorted(row.name for row in traces(spans)[0].rows) == sorted(span["name"] for span in spans)
    spans = [placed(f"{number}", number, 0, 1, parent=number - 1 or None) for number in range(1, 1001)]
    assert [row.name for row in traces(spans)[0].rows] == [span["name"] for span in spans]


def test_a_thousand_spans(platform: LocalPlatform, http: httpx.Client) -> None:
    """A full window of many traces is one page; the newest traces are open and the others closed."""
    spans = [placed("s", number, 0, 1, trace=number // 10) for number in range(1000)]
    platform.put("shop", make_flow(*spans))
    found = flow_page(http, platform).all("details", class_="trace")
    assert len(found) == 100
    assert ["open" in trace for trace in found] == [True] * 4 + [False] * 96


def test_huge_values_are_cut(platform: LocalPlatform, http: httpx.Client) -> None:
    """A huge attribute, very many of them and a huge name are cut, and it is said how much is missing."""
    attributes = {f"a{number}": 1 for number in range(300)}
    platform.put("shop", make_flow(make_span("n" * 5000, attributes={"big": "x" * 1_000_000, **attributes})))
    page = flow_page(http, platform)
    assert "(992000 more characters)" in page.text
    assert "101 more attributes" in page.text
    assert len(page.text) < 50_000


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>*{display:none}",
    "</title></details></main>",
    "{{ 7 * 7 }}{% include 'x' %}",
    "javascript:alert(1)",
    "red;background:url(http://evil.example)",
    "&lt;&amp;&#0;",
    "\ud800",
    "\u202e\x00\x1b",
]


def everywhere(text: str) -> Any:
    """A flow with a text wherever a text can be."""
    names = {"traceId": text, "spanId": text, "traceFlags": text}
    event = {"name": text, "timestamp": text, "attributes": {text: text}}
    span = make_span(text, attributes={text: text, "service.name": text}, events=[event], spanContext=names)
    other = {**span, "startTime": text, "endTime": text, "duration": text, "status": text, "ended": text}
    timed = {**span, "parentSpanContext": names, "events": [{**event, "timestamp": at(0)}]}
    return {"name": text, "description": text, "spans": [span, other, timed, text, {text: text}]}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(platform: LocalPlatform, http: httpx.Client, text: str) -> None:
    """Markup, styles and template code in a flow change neither the tags of a page nor their attributes."""
    shapes = []
    for content in ("harmless", text):
        platform.forget()
        platform.put("shop", everywhere(content))
        shapes.append(flow_page(http, platform).shape())
    assert shapes[0] == shapes[1]
    readable = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    assert readable.replace("\ufffd", "\x00") in flow_page(http, platform).text.replace("\ufffd", "\x00")
    platform.forget()
    platform.put(text, make_flow())
    assert "script" not in {tag for tag, _ in Page(http.get("/")).tags}


@pytest.mark.parametrize("path", ["/", "/flow", "/page.css", "/icon.svg"])
def test_policy(http: httpx.Client, path: str) -> None:
    """Every answer forbids scripts, inline styles, frames, and anything from another host."""
    headers = http.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_pages_take_nothing_from_elsewhere(platform: LocalPlatform, http: httpx.Client) -> None:
    """Pages have no script and no style of their own, and all they refer to is here."""
    platform.put("shop", everywhere("http://evil.example/"))
    for page in (Page(http.get("/")), flow_page(http, platform)):
        assert not {"script", "style", "iframe", "img", "form"} & {tag for tag, _ in page.tags}
        for _, attributes in page.tags:
            assert not any(name == "style" or name.startswith("on") for name in attributes)
            for name in ("href", "src"):
                if address := attributes.get(name):
                    assert address.startswith("/")
                    assert http.get(address).status_code == 200
    assert "url(" not in http.get("/page.css").text


def test_a_missing_flow_is_404(platform: LocalPlatform, http: httpx.Client) -> None:
    """A flow that is not there is a page that says so, with its name as text."""
    answer = http.get("/flow", params={"name": "<b>gone"})
    assert answer.status_code == 404
    assert "There is no flow <b>gone here" in Page(answer).text


@pytest.mark.parametrize("raw", [b"", b"[1, 2", b"\xff\xfe", b"null", b'"text"', b"[" * 100_000])
def test_what_is_no_flow_is_shown_as_it_is(platform: LocalPlatform, http: httpx.Client, raw: bytes) -> None:
    """Stored bytes that are no flow have a page too."""
    platform.put("shop", raw)
    assert Page(http.get("/")).all("a")
    page = flow_page(http, platform)
    assert raw.decode("utf-8", "replace")[:100] in page.text


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "-1", "1e300"])
def test_numbers_out_of_reach(platform: LocalPlatform, http: httpx.Client, number: str) -> None:
    """A duration or attribute that no float or int of Python holds doesn't keep a flow from its page."""
    span = b'{"name":"odd","startTime":"2026-01-01T00:00:00Z","duration":N,"attributes":{"n":N}}'
    platform.put("shop", b'{"spans":[%s]}' % span.replace(b"N", number.encode()))
    assert len(flow_page(http, platform).all("details", class_="span")) == 1


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
times = st.sampled_from(
    [at(0), at(1), "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:60-23:59", "2026-02-30T00:00:00Z", "x"]
)
ids = st.sampled_from(["", "1", "2", "3"])
contexts = st.fixed_dictionaries({}, optional={"traceId": ids | json_values, "spanId": ids | json_values})
weird_spans = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=10) | json_values,
        "startTime": times | json_values,
        "endTime": times | json_values,
        "duration": st.floats(allow_nan=False, allow_infinity=False) | json_values,
        "attributes": st.dictionaries(st.text(max_size=8), json_values, max_size=4) | json_values,
        "status": st.just({"code": 1}) | json_values,
        "ended": json_values,
        "events": st.lists(
            st.fixed_dictionaries({}, optional={"name": json_values, "timestamp": times | json_values})
            | json_values,
            max_size=3,
        )
        | json_values,
        "spanContext": contexts | json_values,
        "parentSpanContext": contexts | json_values,
    },
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(spans=st.lists(weird_spans | json_values, max_size=6) | json_values, description=json_values)
def test_any_stored_flow_has_a_page(
    platform: LocalPlatform, http: httpx.Client, spans: Any, description: Any
) -> None:
    """Whatever JSON is stored as a flow, the list and its page are well-formed, with a row per span."""
    platform.put("shop", {"spans": spans, "description": description})
    assert Page(http.get("/")).all("a")
    page = flow_page(http, platform)
    rows = page.all("details", class_="span")
    assert len(rows) == (len(spans) if isinstance(spans, list) else 0)
    for bar in page.all("rect", rx="3"):
        left, width = (float((bar[name] or "").removesuffix("%")) for name in ("x", "width"))
        assert 0 <= left <= 100
        assert 0 < width <= 100
        assert left + width <= 100.01


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ns"),
        (1500, "1.5 \N{MICRO SIGN}s"),
        (999_999, "1000 \N{MICRO SIGN}s"),
        (12_345_678, "12.3 ms"),
        (SECOND, "1 s"),
        (59.9 * SECOND, "59.9 s"),
        (125 * SECOND, "2 min 05 s"),
        (3_600_000 * SECOND, "1e+03 h"),
    ],
)
def test_lengths_of_time(nanoseconds: float, text: str) -> None:
    """Lengths of time have three digits and a unit that fits."""
    assert length(nanoseconds) == text


def test_moments() -> None:
    """Moments are told in UTC to the millisecond, whatever the offset they were written with."""
    spans = [make_span(startTime="2026-01-02T03:04:05.987654321+02:30")]
    assert traces(spans)[0].started == "2026-01-02 00:34:05.987 UTC"
    assert moment(None) == "at an unknown time"
