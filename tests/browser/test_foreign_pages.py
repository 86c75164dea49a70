"""A page of another origin, in a real browser, reads nothing of a running `serve` and changes nothing there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.server.platform_client import make_flow, make_span
from tests.server.serving import FLOWS, Serving, serving

SECRET = "what-only-the-user-may-see"
KEY = "secret-key"
# Tries all that a page can, and returns what it saw of it. Scripts of a page are told that something failed, and
# little else, so each way that succeeds says so.
ATTACK = """async ({target, flows}) => {
  const seen = [];
  const text = '{"name":"","description":"changed","spans":[]}';
  const note = (way, what) => seen.push([way, String(what)]);
  const attempt = async (way, url, options) => {
    try {
      const answer = await fetch(target + url, options);
      note(way, answer.status + (await answer.text()));
    } catch (error) { note(way, 'failed'); }
  };
  const outcome = (way, node) => new Promise(done => {
    node.onerror = () => { note(way, 'failed'); done(); };
    node.onload = () => {
      let inside = 'loaded';
      try { inside += node.contentDocument.documentElement.innerHTML; } catch (refused) { }
      note(way, inside);
      done();
    };
  });
  const loaded = (way, node, url) => {
    const ended = outcome(way, node);
    node.src = node.href = target + url;
    document.body.append(node);
    return ended;
  };
  const form = (way, url, method, name, value) => {
    const frame = Object.assign(document.createElement('iframe'), {name: way + Math.random()});
    const sent = {action: target + url, method, enctype: 'text/plain', target: frame.name};
    const made = Object.assign(document.createElement('form'), sent);
    made.append(Object.assign(document.createElement('input'), {name, value, type: 'hidden'}));
    document.body.append(frame, made);
    const ended = outcome(way, frame);
    made.submit();
    return ended;
  };
  for (const url of ['/', '/_faults', flows, flows + '/shop']) {
    for (const credentials of ['omit', 'include']) {
      await attempt('read', url, {credentials});
      await attempt('blind', url, {credentials, mode: 'no-cors'});
    }
    await loaded('image', new Image(), url);
    await loaded('script', document.createElement('script'), url);
    await loaded('frame', document.createElement('iframe'), url);
  }
  await loaded('image', new Image(), '/icon.svg');
  await loaded('style', Object.assign(document.createElement('link'), {rel: 'stylesheet'}), '/page.css');
  const json = {'content-type': 'application/json'};
  await attempt('put', flows + '/shop', {method: 'PUT', body: text, headers: json, credentials: 'include'});
  await attempt('put', flows + '/shop', {method: 'PUT', body: text});
  await attempt('delete', flows + '/shop', {method: 'DELETE', credentials: 'include'});
  await attempt('order', '/_faults', {method: 'POST', body: '{"fault":"status=503"}', headers: json});
  const order = {method: 'POST', body: '{"fault":"status=503"}', mode: 'no-cors', credentials: 'include'};
  await attempt('order', '/_faults', order);
  navigator.sendBeacon(target + '/_faults', '{"fault":"status=503"}');
  await form('posted', '/_faults', 'post', '{"fault":"status=503","more":"', '"}');
  await form('asked', flows + '/shop', 'get', 'name', 'shop');
  const socket = new WebSocket(target.replace('http', 'ws') + flows);
  await new Promise(done => { socket.onclose = done; socket.onopen = () => { note('socket', 'open'); done(); } });
  return seen;
}"""


class Foreign(BaseHTTPRequestHandler):
    """The other site: an empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """One that the attacker's names lead to this host, and that leaves the defence to the platform, as others do."""
    own = "--disable-features=LocalNetworkAccessChecks,HttpsUpgrades,Translate"
    return launch("--host-resolver-rules=MAP *.example 127.0.0.1", own)


@pytest.fixture(scope="module", params=["open", "locked"])
def served(request: pytest.FixtureRequest) -> Iterator[Serving]:
    locked = {"VERSORI_FLOW_SERVE_KEY": KEY} if request.param == "locked" else {}
    with serving(**locked) as running:
        if locked:
            running.http.headers["authorization"] = f"Bearer {KEY}"
        yield running


@pytest.fixture
def kept(served: Serving, page: Page) -> Iterator[None]:
    """A flow that the user looks at in this very browser; it has to be there, as it was, when all is over."""
    stored = served.http.put(f"{FLOWS}/shop", json=make_flow(make_span(SECRET))).content
    page.goto(served.page_url)
    page.get_by_role("link", name="shop").click()
    assert SECRET in page.content()
    assert "token" not in page.url
    yield
    assert served.http.get(f"{FLOWS}/shop").content == stored
    assert served.http.get("/_faults").json() == {"faults": []}
    assert served.errors == ""


def attack(page: Page, target: str) -> list[tuple[str, str]]:
    seen: list[Any] = page.evaluate(ATTACK, {"target": target, "flows": FLOWS})
    return [(way, what) for way, what in seen]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1"])
def test_another_origin_reads_and_changes_nothing(
    page: Page, served: Serving, foreign_port: int, host: str
) -> None:
    """Fetches, forms, images, scripts, frames, beacons and sockets fail, also from another port of this host."""
    page.goto(f"http://{host}:{foreign_port}/")
    for name in ("127.0.0.1", "localhost"):
        seen = attack(page, f"http://{name}:{served.port}")
        assert len(seen) > 30
        # A frame that was refused loads as an error, whose inside nobody sees; a blind answer has no content.
        assert {what for way, what in seen if way in ("frame", "posted", "asked")} == {"loaded"}
        assert {what for way, what in seen if way not in ("frame", "posted", "asked")} <= {"failed", "0"}


@pytest.mark.usefixtures("kept")
def test_a_rebound_name_reads_and_changes_nothing(page: Page, served: Serving) -> None:
    """A page whose name came to lead to the platform, to the browser its own origin, is refused all the same."""
    origin = f"http://rebound.example:{served.port}"
    # What its own server sent before the name led elsewhere.
    page.route(
        f"{origin}/attack",
        lambda route: route.fulfill(content_type="text/html", body="<!doctype html><body>"),
    )
    page.goto(f"{origin}/attack")
    seen = attack(page, origin)
    answered = [what for way, what in seen if way in ("read", "put", "delete", "order")]
    assert len(answered) > 10
    assert {what[:3] for what in answered} <= {"401", "403"}
    assert not any(SECRET in what or "shop" in what.replace(FLOWS, "") for _, what in seen)


def test_the_link_lets_in_from_wherever_it_was_followed(page: Page, foreign_port: int) -> None:
    """The printed link shows the flows at once where it is typed, and from a page of another site after a click."""
    with serving(VERSORI_FLOW_SERVE_KEY=KEY) as locked:
        page.goto(f"http://evil.example:{foreign_port}/")
        page.evaluate(
            "url => Object.assign(document.body.appendChild(document.createElement('a')), "
            "{href: url, textContent: 'look'})",
            locked.page_url,
        )
        page.get_by_text("look").click()
        page.get_by_text("go on").click()
        assert page.title().startswith("Flows")
        assert page.url == f"{locked.url}/"
        page.context.clear_cookies()
        page.reload()
        assert "Open the link that its command printed" in page.inner_text("body")
        page.goto(locked.page_url)
        assert page.title().startswith("Flows")
