"""The pages show whatever is stored, and nothing of it as anything but text; all that they do works without scripts."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.page.reading import Page, at, context, flow_page, of, placed
from tests.server.platform_client import make_flow, make_span

BROWSER = {"accept": "text/html,*/*;q=0.8"}
FAILED = {"code": 1}


def listed(http: httpx.Client, **parameters: str) -> list[str]:
    """The names on the list, in their order."""
    html = http.get("/", params=parameters).text
    return re.findall(r'<th scope="row" class="name"><a href="[^"]*">([^<]*)</a>', html)


def test_list_shows_each_flow(platform: LocalPlatform, http: httpx.Client) -> None:
    """The list links to each flow and counts its spans, traces and errors; the newest comes first."""
    platform.put("a/b & <c>", make_flow())
    failed = placed("b", 2, 0, 1, trace=2, status=FAILED)
    platform.put("shop", make_flow(placed("a", 1, 0, 1), failed, placed("c", 3, 0, 1, trace=2)))
    page = Page(http.get("/"))
    links = [link["href"] for link in page.all("a") if (link["href"] or "").startswith("/flow")]
    titles = [re.search("<h1>(.*?)</h1>", http.get(link or "").text) for link in links]
    assert [title and title[1] for title in titles] == ["shop", "a/b &amp; &lt;c&gt;"]
    rows = re.sub(r"<[^>]*>", " ", http.get("/").text)
    assert re.search(r"shop +just now +1 +3 +2 +\d+ B", rows)
    assert "2 flows" in page.text


def test_sorting(platform: LocalPlatform, http: httpx.Client) -> None:
    """The head of each column sorts by it, and the other way when it does already."""
    for name, spans in (("b", 1), ("A", 3), ("c", 2)):
        platform.put(name, make_flow(*(placed("s", number, 0, 1) for number in range(spans))))
    assert listed(http) == ["c", "A", "b"]
    assert listed(http, sort="name") == ["A", "b", "c"]
    assert listed(http, sort="spans") == ["A", "c", "b"]
    again = Page(http.get("/", params={"sort": "spans"})).link(id="sort-spans")
    assert listed(http, **dict(httpx.URL(again).params)) == ["b", "c", "A"]
    assert listed(http, sort="?", dir="?") == ["b", "A", "c"]


def test_a_long_list(platform: LocalPlatform, http: httpx.Client) -> None:
    """Of very many flows the first two hundred are shown, in the order and of the search; one link has the others."""
    for number in range(210):
        platform.put(f"{number:03}", make_flow())
    page = Page(http.get("/", params={"sort": "name"}))
    assert listed(http, sort="name")[-1] == "199"
    assert "10 more flows" in page.text
    assert "210 flows" in page.text
    assert listed(http, **dict(httpx.URL(page.link(id="further")).params))[-1] == "209"
    assert listed(http, q="209") == ["209"]


def test_searching_all_flows(platform: LocalPlatform, http: httpx.Client) -> None:
    """The list is searched by what spans are and by flows' names; its links go on with the search."""
    platform.put("one", make_flow(placed("GET", 1, 0, 1, attributes={"user": "7"})))
    platform.put("two", make_flow(placed("PUT", 1, 0, 1, status=FAILED)))
    assert listed(http, q="user=7") == ["one"]
    assert listed(http, error="1") == ["two"]
    assert listed(http, q="tw") == ["two"]
    assert listed(http, q="tw", error="1") == []
    assert Page(http.get("/", params={"q": "user=7"})).all(
        "a", href=f"/flow?{httpx.QueryParams(of(platform, 'one', q='user=7'))}"
    )


def test_an_empty_list_says_how_to_fill_it(platform: LocalPlatform, http: httpx.Client) -> None:
    """Without flows the page has one command to copy that sends a first span here."""
    text = Page(http.get("/")).text
    assert f"VERSORI_API_BASE_URL={platform.url} versori-flow run " in text
    with LocalPlatform(key="k") as keyed:
        assert (
            "VERSORI_API_KEY=THE-KEY"
            in httpx.get(keyed.page_url, trust_env=False, follow_redirects=True).text
        )


def test_a_trace_is_a_waterfall(platform: LocalPlatform, http: httpx.Client) -> None:
    """Each span has a bar, an event a mark, a service a colour and its name; an error a word and its message."""
    front, back = ({"service.name": name} for name in ("front", "back"))
    event = {"name": "retry", "timestamp": at(3)}
    back["otel.status_description"] = "no <b>stock"
    child = placed("child", 2, 1, 4, parent=1, status=FAILED, events=[event], attributes=back)
    platform.put("shop", make_flow(child, placed("root", 1, 0, 4, attributes=front)))
    page = flow_page(http, platform)
    bars = [(bar["x"], bar["width"], bar["class"]) for bar in page.all("rect", height="12")]
    assert ("0.00%", "100.00%", "c0") in bars
    assert ("25.00%", "75.00%", "c1") in bars
    assert [mark["cx"] for mark in page.all("circle")] == ["75.0%"]
    assert [row["class"] for row in page.all("li")] == ["row", "row failed"]
    assert [dot["class"] for dot in page.all("i", class_="dot")] == ["dot c0", "dot c1"]
    assert len(page.all("rect", class_="critical")) == 2
    for words in ("retry +2 s", "error", "no <b>stock", "front", "back"):
        assert words in page.text


def test_a_large_flow(platform: LocalPlatform, http: httpx.Client) -> None:
    """Of many traces the newest are open, the others a row each with a link, and the oldest one link away."""
    spans = [
        placed("s", number, number // 10, number // 10 + 1, trace=number // 10) for number in range(40, 1390)
    ]
    platform.put("shop", make_flow(*spans))
    page = flow_page(http, platform)
    found = page.all("details", class_="trace")
    assert len(found) == 100
    assert ["open" in trace for trace in found] == [True] * 30 + [False] * 70
    oldest = Page(http.get(page.link(id="older"))).all("details", class_="trace")
    assert len(oldest) == 135
    opened = flow_page(http, platform, open=oldest[99]["data-key"] or "").all("details", class_="trace")
    assert "open" in opened[99]


def test_a_large_trace(platform: LocalPlatform, http: httpx.Client) -> None:
    """A trace of a thousand spans thirty deep shows its first rows, each with its depth, and leads to the others."""
    spans = [
        placed(f"{n}", n, 0, 1, parent=n - 1 if n % 30 != 1 else (1 if n > 1 else None))
        for n in range(1, 1001)
    ]
    platform.put("shop", make_flow(*spans))
    page = flow_page(http, platform, trace=f"{1:032x}")
    assert len(page.names()) == 500
    assert max(int(row["aria-level"] or 0) for row in page.all("li")) == 31
    assert len(Page(http.get(page.link(id="further"))).names()) == 1000
    assert "500 more spans" in page.text
    # Its row is there for whoever comes for a span.
    found = http.get("/find", params={"span": spans[-1]["spanContext"]["spanId"]}, follow_redirects=True)
    assert Page(found).names()[-1] == "1000"


EVENTS = [{"name": "e", "timestamp": at(second / 10)} for second in range(20)]
LARGE = {
    "traces": [placed("s", n, 0, 1, trace=n, events=EVENTS) for n in range(1, 4001)],
    "one trace": [placed("s", n, 0, 1, 1 if n > 1 else None, events=EVENTS) for n in range(1, 4001)],
    "chain": [placed("s", n, 0, 1, n - 1 or None, status=FAILED, events=EVENTS) for n in range(1, 4001)],
    "services": [
        placed("s", n, 0, 1, trace=n // 10, attributes={"service.name": f"{n}"}, events=EVENTS)
        for n in range(10, 4010)
    ],
}


@pytest.mark.parametrize("shape", LARGE)
def test_a_page_has_a_size(platform: LocalPlatform, http: httpx.Client, shape: str) -> None:
    """Four thousand spans are under 8,000 elements and 300 kB, whatever they are like."""
    platform.put("shop", make_flow(*LARGE[shape]))
    for parameters in ({}, {"trace": f"{1:032x}"}, {"view": "calls"}, {"view": "compare"}, {"q": "s"}):
        answer = http.get("/flow", params=of(platform, **parameters))
        assert len(Page(answer).tags) < 8000
        assert len(gzip.compress(answer.content)) < 300_000


def test_links_of_a_trace(platform: LocalPlatform, http: httpx.Client) -> None:
    """Folds, levels, a part of the time and a search are links and forms, and stand in the address."""
    spans = placed("root", 1, 0, 8), placed("a", 2, 1, 2, parent=1), placed("b", 3, 1, 2, parent=2)
    platform.put("shop", make_flow(*spans))
    page = flow_page(http, platform, trace=f"{1:032x}")
    folds = [link["href"] for link in page.all("a", class_="fold")]
    folded = Page(http.get(folds[1] or ""))
    assert folded.names() == ["root", "a"]
    unfolded = [link["href"] for link in folded.all("a", class_="fold")][1]
    assert Page(http.get(unfolded or "")).names() == ["root", "a", "b"]
    halves = [link["href"] for link in page.all("a") if "from=" in (link["href"] or "")]
    zoomed = Page(http.get(halves[-1] or ""))
    assert all(text in zoomed.text for text in ("4 s", "5 s", "6 s", "7 s"))
    assert Page(http.get(zoomed.link(id="whole"))).shape() == page.shape()
    assert flow_page(http, platform, trace=f"{1:032x}", q="a").names() == ["root", "a"]
    assert flow_page(http, platform, q="nothing").names() == []


def test_details_hold_everything(platform: LocalPlatform, http: httpx.Client) -> None:
    """The details of a span have its ids, every attribute whole, and events with theirs; with a link to share."""
    event = {"name": "exception", "timestamp": at(0), "attributes": {"exception.message": "no <b>bold</b>"}}
    attributes = {
        "text": "a\n b",
        "number": 1.5,
        "flag": True,
        "big": "x" * 100_000,
        **{f"a{n}": n for n in range(300)},
    }
    platform.put("shop", make_flow(placed("a", 1, 0, 1, attributes=attributes, events=[event])))
    link = flow_page(http, platform).all("a", class_="span")[0]["href"] or ""
    for address in (link, link.replace("/flow?", "/flow/span?")):
        text = Page(http.get(address)).text
        for piece in (
            "a\n b",
            "1.5",
            "true",
            "no <b>bold</b>",
            f"{1:016x}",
            f"{1:032x}",
            at(0),
            at(1),
            "x" * 100_000,
            "a299",
        ):
            assert piece in text
    assert "x" * 100 not in flow_page(http, platform).text
    permanent = Page(http.get(Page(http.get(link)).link(id="permalink")))
    assert "exception.message" in permanent.text


def test_what_is_copied_is_what_is_stored(platform: LocalPlatform, http: httpx.Client) -> None:
    """A value that is shown with escapes carries itself for the button that copies it."""
    value = "pay \u202e100\x07"
    platform.put("shop", make_flow(placed("a\u202eb", 1, 0, 1, attributes={"note": value, "plain": "p"})))
    page = flow_page(http, platform, trace=f"{1:032x}", span=f"{1:016x}")
    raw = {button["aria-label"]: button.get("data-raw") for button in page.all("button", class_="copy")}
    assert json.loads(raw["Copy note"] or "") == value
    assert raw["Copy plain"] is None
    assert "pay \\u202e100\\x07" in page.text
    assert "a\\u202eb" in page.text


def test_links_go_to_their_spans(platform: LocalPlatform, http: httpx.Client) -> None:
    """A span's link leads to the span that it names, in whichever flow that is; else to a page that says so."""
    platform.put("other", make_flow(placed("cause", 7, 0, 1, trace=9)))
    ids = {"trace_id": f"{9:032x}", "span_id": f"{7:016x}"}
    linked = {"otel.links": json.dumps([{**ids, "attributes": {}}, {"trace_id": f"{8:032x}"}])}
    platform.put("shop", make_flow(placed("effect", 1, 0, 1, attributes=linked)))
    page = flow_page(http, platform, trace=f"{1:032x}", span=f"{1:016x}")
    found, lost = (link["href"] or "" for link in page.all("a") if (link["href"] or "").startswith("/find"))
    answer = http.get(found, follow_redirects=True)
    assert dict(answer.url.params)["name"] == "other"
    assert "cause" in Page(answer).text
    assert http.get(lost).status_code == 404
    assert http.get("/find").status_code == 404


def test_calls_and_side_by_side(platform: LocalPlatform, http: httpx.Client) -> None:
    """A flow's calls are a graph and a table; two of its traces stand side by side, the two newest at first."""
    for number in (1, 2, 3):
        spans = placed("root", 1, 0, number), placed("call", 2, 0, 0.5, parent=1, status=FAILED)
        stored = platform.spans("shop")
        platform.put(
            "shop",
            make_flow(
                *stored, *({**span, "spanContext": context(number, n)} for n, span in enumerate(spans, 1))
            ),
        )
    calls = flow_page(http, platform, view="calls")
    assert all(words in calls.text for words in ("3 errors", "p50 ", "p95 "))
    pair = flow_page(http, platform, view="compare", a=f"{1:032x}", b=f"{3:032x}")
    assert "1 s" in pair.text
    assert "+2 s" in pair.text
    assert sum("selected" in option for option in pair.all("option")) == 2
    platform.put("shop", make_flow(placed("root", 1, 0, 1)))
    assert "as soon as there are two" in flow_page(http, platform, view="compare").text


def test_download(platform: LocalPlatform, http: httpx.Client) -> None:
    """A flow is downloaded byte for byte as it is stored, under a name that is fit for a file."""
    platform.put("../a b/\u00e9", make_flow(placed("a", 1, 0, 1)))
    answer = http.get("/flow/download", params=of(platform, "../a b/\u00e9"))
    assert answer.content == platform.raw("../a b/\u00e9")
    assert answer.headers["content-disposition"] == 'attachment; filename="a-b.json"'
    assert answer.headers["content-type"] == "application/json"


def test_deleting_is_asked_about(platform: LocalPlatform, http: httpx.Client) -> None:
    """Nothing is deleted before the question is answered, nor for a page of another site."""
    platform.put("shop", make_flow(placed("a", 1, 0, 1)))
    page = Page(http.get("/flow/delete", params=of(platform)))
    fields = {field["name"] or "": field["value"] or "" for field in page.all("input", type="hidden")}
    assert "Delete shop?" in page.text
    assert (
        http.post("/flow/delete", data=fields, headers={"origin": "http://evil.example"}).status_code == 403
    )
    assert http.post("/flow/delete", data=fields, headers={"origin": "null"}).status_code == 403
    assert platform.names() == ["shop"]
    answer = http.post("/flow/delete", data=fields, headers={"origin": platform.url})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert platform.names() == []
    assert http.post("/flow/delete", data=fields).status_code == 404


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
    links = json.dumps([{"trace_id": text, "span_id": text}])
    span = make_span(
        text,
        attributes={text: text, "service.name": text, "otel.links": links},
        events=[event],
        spanContext=names,
    )
    span["status"] = FAILED
    span["attributes"]["otel.status_description"] = text
    other = {**span, "startTime": text, "endTime": text, "duration": text, "status": text, "ended": text}
    timed = {**span, "parentSpanContext": names, "events": [{**event, "timestamp": at(0)}]}
    return {"name": text, "description": text, "spans": [span, other, timed, text, {text: text}]}


def all_views(http: httpx.Client, platform: LocalPlatform, name: str = "shop") -> list[Page]:
    """Each kind of page that shows a flow."""
    page = flow_page(http, platform, name)
    trace = page.all("details", class_="trace")[0]["data-key"] or ""
    (link, *_) = (found["href"] or "" for found in page.all("a", class_="span"))
    span = dict(httpx.URL(link).params)["span"]
    views = [{}, {"trace": trace, "span": span}, {"view": "calls"}, {"view": "compare"}, {"q": "a"}]
    pages = [flow_page(http, platform, name, **view) for view in views]
    return [Page(http.get("/")), *pages, Page(http.get("/flow/delete", params=of(platform, name)))]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_text(platform: LocalPlatform, http: httpx.Client, text: str) -> None:
    """Markup, styles and template code in a flow change neither the tags of a page nor their attributes."""
    shapes = []
    for content in ("harmless", text):
        platform.forget()
        platform.put("shop", everywhere(content))
        views = all_views(http, platform)
        # Only what is shown as escapes carries itself besides.
        shapes.append(
            [
                sorted(
                    {tag for tag, _ in page.shape()}
                    | {names for _, attributes in page.shape() for names in attributes if names != "data-raw"}
                )
                for page in views[:5]
            ]
        )
    assert shapes[0] == shapes[1]
    readable = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    assert readable in views[1].text
    assert readable in views[2].text
    platform.forget()
    if "\ud800" not in text:
        platform.put(text, make_flow(placed("a", 1, 0, 1)))
        assert {tag for page in all_views(http, platform, text) for tag, _ in page.tags}.isdisjoint(
            {"style", "img", "iframe"}
        )


@pytest.mark.parametrize(
    "path", ["/", "/flow", "/page.css", "/page.js", "/icon.svg", "/flow/delete", "/nowhere"]
)
def test_policy(http: httpx.Client, path: str) -> None:
    """Every answer allows only what comes from here, in files of its own; nothing is kept by a browser."""
    headers = http.get(path, headers=BROWSER).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if "." in path else "no-store")


def test_pages_take_nothing_from_elsewhere(platform: LocalPlatform, http: httpx.Client) -> None:
    """Pages have no script and no style inside of them, and all they refer to is here."""
    platform.put("shop", everywhere("http://evil.example/"))
    for page in all_views(http, platform):
        assert not {"style", "iframe", "img"} & {tag for tag, _ in page.tags}
        assert all((script["src"] or "").startswith("/page.js?v=") for script in page.all("script"))
        for _, attributes in page.tags:
            assert not any(name == "style" or name.startswith("on") for name in attributes)
            for name in ("href", "src", "action", "data-live"):
                if address := attributes.get(name):
                    assert address.startswith(("/", "#main"))
                    assert not address.startswith("//")
    for name in ("page.css", "page.js"):
        assert not re.search(
            r"url\(|https?://(?!www\.w3\.org/2000/svg)|@import|eval|innerHTML", http.get(f"/{name}").text
        )


def test_pages_are_packed(platform: LocalPlatform, http: httpx.Client) -> None:
    """A page is compressed for whoever takes that, and for nobody else."""
    platform.put("shop", make_flow(*(placed(f"{n}", n, 0, 1) for n in range(100))))
    with http.stream("GET", "/flow", params=of(platform), headers={"accept-encoding": "gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    plain = http.get("/flow", params=of(platform), headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(packed) * 4 < len(plain.content)
    assert b"<li" in gzip.decompress(packed)


def test_what_is_missing_is_404(platform: LocalPlatform, http: httpx.Client) -> None:
    """A flow or a trace that is not there is a page that says so, with its name as text."""
    answer = http.get("/flow", params={"name": "<b>gone"})
    assert answer.status_code == 404
    assert "There is no flow <b>gone here" in Page(answer).text
    platform.put("shop", make_flow(placed("a", 1, 0, 1)))
    answer = http.get("/flow", params=of(platform, trace="gone"))
    assert answer.status_code == 404
    assert "No such trace" in Page(answer).text
    assert (
        'aria-label="Details' in http.get("/flow", params=of(platform, span="gone", trace=f"{1:032x}")).text
    )


def test_a_browser_gets_its_errors_as_pages(platform: LocalPlatform, http: httpx.Client) -> None:
    """403, 404 and 405 are pages for a browser, and the API's own form for anybody else."""
    for path, headers, status in (
        ("/nowhere", {}, 404),
        ("/", {"host": "evil.example"}, 403),
        ("/flow/%00", {}, 404),
        (f"/o/{platform.organisation_id}/projects/{platform.project_id}/workflows/gone", {}, 404),
        ("/api/v2/o/x/projects/y/workflows", {}, 400),
    ):
        page = http.get(path, headers=BROWSER | headers)
        assert (page.status_code, len(Page(page).all("main"))) == (status, 1)
        assert http.get(path, headers=headers).json()["code"] in ("not_found", "forbidden", "invalid_id")
        assert page.status_code == status


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
    assert flow_page(http, platform).names() == ["odd"]
    assert all_views(http, platform)


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


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(spans=st.lists(weird_spans | json_values, max_size=6) | json_values, description=json_values)
def test_any_stored_flow_has_a_page(
    platform: LocalPlatform, http: httpx.Client, spans: Any, description: Any
) -> None:
    """Whatever JSON is stored as a flow, its pages are well-formed, with a row per span whose bar is in its place."""
    platform.put("shop", {"spans": spans, "description": description})
    assert Page(http.get("/")).all("a")
    page = flow_page(http, platform, open=",".join(OPEN.findall(http.get("/flow", params=of(platform)).text)))
    assert len(page.names()) == (len(spans) if isinstance(spans, list) else 0)
    for bar in page.all("rect", rx="2", height="12"):
        left, width = (float((bar[name] or "").removesuffix("%")) for name in ("x", "width"))
        assert 0 <= left <= 100
        assert 0 < width <= 100
        assert left + width <= 100.01
    for link in page.all("a", class_="span"):
        assert Page(http.get((link["href"] or "").replace("/flow?", "/flow/span?"))).all("h2")
    if page.names():
        all_views(http, platform)


OPEN = re.compile(r'data-key="([^"]*)"')
