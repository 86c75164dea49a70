"""The page in a real browser: live, by keys, on a small screen, for every reader, and without scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.browser.shop import deep, orders

NEWEST = f"{0x4BF92F3577B34DA6A3CE929D0E0E4700 + 3:032x}"
DECLINED = f"{0x4BF92F3577B34DA6A3CE929D0E0E4700 + 2:032x}"
DEEP = f"{7:032x}"


@pytest.fixture(scope="module")
def running() -> Iterator[LocalPlatform]:
    with LocalPlatform() as made:
        yield made


@pytest.fixture
def platform(running: LocalPlatform) -> LocalPlatform:
    running.forget()
    running.put("shop", orders(4))
    return running


@pytest.fixture
def watched(page: Page, platform: LocalPlatform) -> Iterator[Page]:
    """A page that fails its test where it complains, or asks another host for anything."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: request.url.startswith(platform.url) or said.append(request.url))
    page.set_default_timeout(5000)
    yield page
    assert said == []


def address(platform: LocalPlatform, name: str = "shop", **parameters: str) -> str:
    wanted = {"o": platform.organisation_id, "p": platform.project_id, "name": name, **parameters}
    return f"{platform.url}/flow?{urlencode(wanted)}"


def live(page: Page) -> Page:
    """The page, once it hears of changes."""
    expect(page.locator("#live")).to_have_attribute("data-js", "Live")
    return page


def test_the_first_span_arrives(watched: Page, platform: LocalPlatform) -> None:
    """An empty list has a command to copy; what it sends appears without a reload, in the list and in its flow."""
    platform.forget()
    watched.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.goto(platform.url)
    watched.get_by_role("button", name="Copy").first.click()
    assert f"VERSORI_API_BASE_URL={platform.url} " in watched.evaluate("navigator.clipboard.readText()")
    live(watched)
    platform.put("shop", orders(1))
    watched.get_by_role("link", name="shop").click()
    expect(watched.locator("li.row")).to_have_count(13)
    live(watched)
    platform.put("shop", orders(3))
    expect(watched.locator("details.trace")).to_have_count(3)


def test_news_disturb_nobody(watched: Page, platform: LocalPlatform) -> None:
    """While spans arrive, focus, what is typed, what is open or closed, the details and the scroll stay."""
    watched.goto(address(platform))
    live(watched)
    traces = watched.locator("details.trace")
    traces.nth(3).locator("summary").click()
    expect(traces.nth(3)).not_to_have_attribute("open", "")
    watched.locator(f"#t-{DECLINED} .row .span").nth(4).click()
    expect(watched.locator("#panel h2")).to_have_text("GET /stock/<article>")
    watched.locator("#q").fill("half a wo")
    watched.locator(f"#t-{DECLINED}").evaluate("trace => { trace.mine = true; window.scrollTo(0, 600) }")
    before = watched.locator(f"#t-{DECLINED}").bounding_box()
    newer = json.loads(json.dumps(orders(2, apart=0.1)["spans"]).replace("4bf92f35", "aaaaaaaa"))
    platform.put("shop", {**orders(4), "spans": [*platform.spans("shop"), *newer]})
    expect(traces).to_have_count(6)
    expect(watched.locator("#q")).to_be_focused()
    expect(watched.locator("#q")).to_have_value("half a wo")
    expect(watched.locator("#panel h2")).to_have_text("GET /stock/<article>")
    assert watched.locator(f"#t-{DECLINED}").evaluate("trace => trace.mine && trace.open")
    assert watched.locator("details.trace:not([open])").count() == 1
    after = watched.locator(f"#t-{DECLINED}").bounding_box()
    assert before is not None
    assert after is not None
    assert abs(before["y"] - after["y"]) < 3


def test_news_choose_nothing(watched: Page, platform: LocalPlatform) -> None:
    """A trace that is chosen for a comparison stays chosen while newer ones arrive, and until Back leaves it."""
    watched.goto(address(platform, view="compare"))
    live(watched)
    choice = watched.get_by_label("Left")
    first, chosen = choice.input_value(), choice.locator("option").nth(3).get_attribute("value") or ""
    choice.select_option(chosen)
    platform.put("shop", orders(6))
    expect(choice.locator("option")).to_have_count(6)
    expect(choice).to_have_value(chosen)
    platform.put("shop", orders(4))
    watched.get_by_role("button", name="Compare").click()
    watched.wait_for_url(f"**a={chosen}*")
    watched.go_back()
    expect(choice).to_have_value(first)


def test_pause(watched: Page, platform: LocalPlatform) -> None:
    """While paused the page stays as it is and says that there is more; then it catches up."""
    watched.goto(address(platform))
    live(watched).keyboard.press("p")
    platform.put("shop", orders(6))
    expect(watched.locator("#live")).to_have_text("Paused, there is more")
    expect(watched.locator("details.trace")).to_have_count(4)
    watched.locator("#live").click()
    expect(watched.locator("details.trace")).to_have_count(6)


def test_what_goes_may_come_back(page: Page, platform: LocalPlatform) -> None:
    """The page of a flow that is deleted says so at once, and shows it again when it is sent again."""
    page.goto(address(platform))
    live(page)
    platform.delete("shop")
    expect(page.get_by_role("heading", name="No such flow")).to_be_visible()
    platform.put("shop", orders(2))
    expect(page.locator("details.trace")).to_have_count(2)


def test_a_restart_is_noticed(page: Page) -> None:
    """A page that was open while the platform went away shows what is there when it is back."""
    with LocalPlatform() as own:
        page.goto(own.url)
        live(page)
        own.stop()
        expect(page.locator("#live")).to_have_text("Not connected")
        own.put("shop", orders(1))
        own.start()
        expect(page.get_by_role("link", name="shop")).to_be_visible(timeout=15_000)


def test_search(watched: Page, platform: LocalPlatform) -> None:
    """A search is in the address, is found again by it, goes from the list into the flow, and leaves no word behind."""
    watched.goto(platform.url)
    watched.keyboard.press("/")
    watched.keyboard.type("http.route=/orders")
    watched.get_by_label("errors").check()
    watched.keyboard.press("Enter")
    watched.wait_for_url("**error=1*")
    watched.get_by_role("link", name="shop").click()
    expect(watched.locator("details.trace")).to_have_count(1)
    expect(watched.locator("#q")).to_have_value("http.route=/orders")
    watched.reload()
    expect(watched.locator("details.trace")).to_have_count(1)
    watched.locator("#clear").click()
    expect(watched.locator("details.trace")).to_have_count(4)
    watched.keyboard.press("/")
    watched.keyboard.type("charge")
    watched.get_by_label("errors").check()
    watched.get_by_role("button", name="Search").click()
    watched.wait_for_url("**q=charge*")
    watched.locator("#clear").click()
    expect(watched.locator("#q")).to_have_value("")
    expect(watched.get_by_label("errors")).not_to_be_checked()
    watched.go_back()
    expect(watched.locator("#q")).to_have_value("charge")


def test_keys(watched: Page, platform: LocalPlatform) -> None:
    """Rows are reached, folded, opened and left by keys; errors one after the other, in closed traces too."""
    watched.goto(address(platform, trace=NEWEST))
    keys, focused = watched.keyboard, watched.locator(":focus")
    keys.press("ArrowDown")
    expect(focused).to_have_text("POST /orders")
    for key, name in (("j", "validate order"), ("ArrowDown", "reserve stock"), ("ArrowRight", "GET")):
        keys.press(key)
        expect(focused).to_have_text(name)
    for key, name in (("End", "send receipt"), ("Home", "POST /orders"), ("ArrowDown", "validate order")):
        keys.press(key)
        expect(focused).to_have_text(name)
    keys.press("ArrowLeft")
    expect(focused).to_have_text("POST /orders")
    keys.press("ArrowLeft")
    expect(watched.locator("li.row")).to_have_count(1)
    keys.press("ArrowRight")
    expect(watched.locator("li.row")).to_have_count(13)
    expect(focused).to_have_text("POST /orders")
    keys.press("Enter")
    expect(watched.locator("#panel")).to_contain_text("http.route")
    keys.press("Escape")
    expect(watched.locator("#panel")).to_be_hidden()
    expect(focused).to_have_text("POST /orders")
    keys.press("?")
    expect(watched.get_by_role("heading", name="Keys")).to_be_visible()
    keys.press("Escape")
    keys.press("ArrowDown")
    keys.press("z")
    expect(watched.locator("#whole")).to_be_visible()


def test_keys_of_a_list(watched: Page, platform: LocalPlatform) -> None:
    """Flows, and kinds of calls, are rows for the keys too, and one stop of the Tab key."""
    platform.put("calm", orders(1))
    stops = "links => links.filter(link => link.tabIndex === 0).length"
    for url, first, last in (
        (f"{platform.url}/?sort=name", "calm", "shop"),
        (address(platform, view="calls"), "POST /orders", "validate order"),
    ):
        watched.goto(url)
        assert watched.locator(".flows tbody a").evaluate_all(stops) == 1
        for key, name in (("ArrowDown", first), ("End", last), ("k", ""), ("Home", first)):
            watched.keyboard.press(key)
            expect(watched.locator("tbody :focus")).to_contain_text(name)
        watched.keyboard.press("e")
        expect(watched.locator("tr:focus-within .failed")).to_be_visible()


def test_next_error(watched: Page, platform: LocalPlatform) -> None:
    """`e` goes from error to error, opens a closed trace for it, and begins anew after the last."""
    platform.put("shop", orders(40))
    watched.goto(address(platform))
    expect(watched.locator("details.failing:not([open])").first).to_be_visible()
    seen: list[str] = []
    for _ in range(2 * 8 + 1):
        watched.keyboard.press("e")
        seen.append(focused_error(watched, seen[-1] if seen else ""))
    assert len(set(seen)) == 16
    assert seen[-1] == seen[0]
    watched.keyboard.press("Shift+E")
    assert focused_error(watched, seen[-1]) == seen[-2]


def focused_error(page: Page, before: str) -> str:
    """The failed row that has the focus, once it is another one."""
    row = page.locator(f"li.failed:focus-within:not([id='{before}'])")
    row.wait_for()
    return row.get_attribute("id") or ""


def test_details(watched: Page, platform: LocalPlatform) -> None:
    """Details open beside the trace, have an address of their own, and copy what is stored, not what is shown."""
    hidden = "pay\u202e100\x07"
    flow = orders(1)
    flow["spans"][0]["attributes"].update(note=hidden, long="x" * 20_000)
    platform.put("shop", flow)
    watched.context.grant_permissions(["clipboard-read", "clipboard-write"])
    watched.goto(address(platform))
    watched.locator(".row .span").first.click()
    panel = watched.locator("#panel")
    expect(panel).to_contain_text("pay\\u202e100\\x07")
    expect(panel).to_contain_text("x" * 20_000)
    panel.locator("div", has_text="note").first.hover()
    panel.get_by_label("Copy note").click()
    expect(panel.get_by_label("Copy note")).to_have_text("Copied")
    assert watched.evaluate("navigator.clipboard.readText()") == hidden
    watched.reload()
    expect(panel).to_contain_text("pay\\u202e100\\x07")
    expect(watched.locator(".row.chosen .span")).to_have_text("POST /orders")
    watched.go_back()
    expect(panel).to_be_hidden()


def test_links_lead_to_their_spans(watched: Page, platform: LocalPlatform) -> None:
    """A link in the details of a span opens the span that it names."""
    watched.goto(address(platform, trace=NEWEST))
    watched.locator(".row .span", has_text="send receipt").click()
    watched.locator("#panel .links a").click()
    expect(watched.locator("#panel h2")).to_have_text("POST /orders")


@pytest.mark.parametrize("width", [1280, 375])
def test_a_span_far_down(watched: Page, platform: LocalPlatform, width: int) -> None:
    """Whoever comes for a span, or goes on to its caller, sees its row beside its details, however far down it is."""
    platform.put("import", deep())
    watched.set_viewport_size({"width": width, "height": 800})
    shown = """() => {
        const row = document.querySelector(".row.chosen").getBoundingClientRect();
        const panel = document.getElementById("panel").getBoundingClientRect();
        return row.top >= 0 && row.bottom <= (panel.left > 100 ? innerHeight : panel.top);
    }"""
    last = platform.spans("import")[-1]["spanContext"]
    watched.goto(f"{platform.url}/find?trace={last['traceId']}&span={last['spanId']}")
    watched.wait_for_function(shown)
    watched.goto("about:blank")
    watched.goto(address(platform, "import", trace=DEEP, span=last["spanId"]))
    watched.wait_for_function(shown)
    watched.evaluate("scrollTo(0, 0)")
    watched.get_by_role("link", name="Its caller").click()
    watched.wait_for_function(shown)


def test_zoom_by_dragging(watched: Page, platform: LocalPlatform) -> None:
    """A drag over the ruler shows that part of the trace, in the address too, and one link the whole again."""
    watched.goto(address(platform, trace=NEWEST))
    box = watched.locator(".ruler .line").bounding_box()
    assert box is not None
    watched.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 8)
    watched.mouse.down()
    watched.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 8, steps=3)
    watched.mouse.up()
    watched.wait_for_url("**from=*to=*")
    expect(watched.locator("li.row").first.locator("rect").first).to_have_attribute("width", "100.00%")
    watched.locator("#whole").click()
    expect(watched.locator("#whole")).to_have_count(0)


def test_delete(watched: Page, platform: LocalPlatform) -> None:
    """A flow is deleted from its page, after a question, by a browser's own form."""
    watched.goto(address(platform))
    watched.get_by_role("link", name="Delete…").click()
    watched.get_by_role("link", name="Keep it").click()
    watched.get_by_role("link", name="Delete…").click()
    watched.get_by_role("button", name="Delete").click()
    expect(watched.get_by_role("heading", name="No flows yet")).to_be_visible()
    assert platform.names() == []


def test_one_stop_for_the_tab_key(watched: Page, platform: LocalPlatform) -> None:
    """A thousand spans are one stop of the Tab key, and the ruler stays in sight above them."""
    platform.put("import", deep())
    watched.goto(address(platform, "import", trace=DEEP))
    assert watched.locator("ol.rows a").count() > 500
    assert (
        watched.evaluate("[...document.querySelectorAll('ol.rows a')].filter(a => a.tabIndex === 0).length")
        == 1
    )
    assert (
        watched.evaluate(
            "[...document.querySelectorAll('a, button, input, select, summary')].filter(e => e.tabIndex === 0).length"
        )
        < 60
    )
    assert watched.evaluate("document.querySelectorAll('*').length") < 8000
    watched.evaluate("window.scrollTo(0, 5000)")
    ruler = watched.locator(".ruler").bounding_box()
    assert ruler is not None
    assert ruler["y"] == 0
    expect(watched.locator("li.row[aria-level='30'] small").first).to_have_text("30")


def test_a_small_screen(watched: Page, platform: LocalPlatform) -> None:
    """At 375 px nothing is wider than the screen, deep names have room, and no labels of the ruler overlap."""
    platform.put("import", deep())
    watched.set_viewport_size({"width": 375, "height": 800})
    for url in (
        platform.url,
        *(address(platform, **view) for view in ({}, {"view": "calls"}, {"view": "compare"})),
        VIEWS["details"](platform),
        address(platform, "import", trace=DEEP),
    ):
        watched.goto(url)
        assert watched.evaluate("document.documentElement.scrollWidth") <= 375, url
        # Beside the details there is no room for it.
        assert watched.evaluate("document.querySelector('main').offsetWidth") == 375, url
    deepest = watched.locator("li.row[aria-level='30'] .span").first.bounding_box()
    assert deepest is not None
    assert deepest["width"] > 130
    labels = watched.locator(".ruler text").evaluate_all(
        "all => all.map(text => { const {left, right} = text.getBoundingClientRect(); return [left, right]; })"
    )
    assert all(before[1] + 4 < after[0] for before, after in pairwise(labels))
    watched.goto(platform.url)
    assert watched.locator("thead th:visible").all_inner_texts()[:3] == ["Flow", "Last seen ↓", "Errors"]


VIEWS: dict[str, Callable[[LocalPlatform], str]] = {
    "list": lambda platform: platform.url,
    "found": lambda platform: f"{platform.url}/?q=charge&error=1&least=x&sort=name",
    "flow": address,
    "trace": lambda platform: address(platform, trace=DECLINED, q="charge", span="nothing"),
    "details": lambda platform: address(platform, trace=NEWEST, span=newest_span(platform)),
    "calls": lambda platform: address(platform, view="calls"),
    "compare": lambda platform: address(platform, view="compare"),
    "delete": lambda platform: address(platform).replace("/flow?", "/flow/delete?"),
    "missing": lambda platform: address(platform, "gone"),
    "nowhere": lambda platform: f"{platform.url}/nowhere",
}


# What has other colours than these has other colours than those too.
IN_THE_DARK = ("list", "trace", "details", "calls")
SMALL = {"light": ("flow", "compare"), "dark": ("details",)}


def newest_span(platform: LocalPlatform) -> str:
    last: str = platform.spans("shop")[-1]["spanContext"]["spanId"]
    return last


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_reader(browser: Browser, platform: LocalPlatform, scheme: Any) -> None:
    """axe finds nothing to complain about on any page, in both themes, on a wide screen and a small one."""
    with browser.new_context(color_scheme=scheme) as context:
        page = context.new_page()
        for name in VIEWS if scheme == "light" else IN_THE_DARK:
            page.set_viewport_size({"width": 375 if name in SMALL[scheme] else 1280, "height": 900})
            page.goto(VIEWS[name](platform))
            found = Axe().run(page)
            assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        platform.forget()
        page.goto(platform.url)
        page.keyboard.press("?")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_without_scripts(browser: Browser, platform: LocalPlatform) -> None:
    """Search, sort, fold, zoom, details, both other views and deletion work where scripts do not."""
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(platform.url)
        expect(page.locator("#live")).to_be_hidden()
        page.locator("#sort-spans").click()
        page.get_by_role("link", name="shop").click()
        page.locator("#q").fill("charge")
        page.get_by_role("button", name="Search").click()
        expect(page.locator("li.row").first).to_be_visible()
        page.locator("#clear").click()
        page.locator(".alone").first.click()
        page.locator(".fold").nth(1).click()
        expect(page.locator("li.row")).to_have_count(10)
        page.get_by_role("link", name="first half").click()
        page.locator("#whole").click()
        page.locator(".row .span").first.click()
        expect(page.locator("#panel")).to_contain_text("http.route")
        page.locator("#panel .close").click()
        expect(page.locator("#panel")).to_be_hidden()
        page.get_by_role("link", name="Calls").click()
        expect(page.locator(".graph")).to_be_visible()
        page.get_by_role("link", name="Side by side").click()
        page.get_by_role("button", name="Compare").click()
        expect(page.locator(".pair section")).to_have_count(2)
        page.get_by_role("link", name="Delete…").click()
        page.get_by_role("button", name="Delete").click()
        expect(page.get_by_role("heading", name="No flows yet")).to_be_visible()


def test_forced_colours_and_paper(page: Page, platform: LocalPlatform) -> None:
    """In forced colours bars stand out from the ground; on paper there are spans and no controls."""
    page.emulate_media(forced_colors="active")
    page.goto(address(platform, trace=DECLINED))
    fill = "bar => getComputedStyle(bar).fill"
    bars = {
        page.locator(f"li.row{which} rect").first.evaluate(fill) for which in (".failed", ":not(.failed)")
    }
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert len(bars) == 2
    assert ground not in bars
    page.goto(VIEWS["details"](platform))
    page.emulate_media(forced_colors="none", media="print", color_scheme="dark")
    for control in ("#live", "#keys", ".search", ".tools", ".fold"):
        expect(page.locator(control).first).to_be_hidden()
    expect(page.locator("li.row").last).to_be_visible()
    ground = "element => getComputedStyle(element).backgroundColor"
    for part in ("body", "#panel", ".chosen"):
        assert page.locator(part).evaluate(ground) == "rgb(255, 255, 255)", part
