"""Who may ask: nobody by way of a browser at another site, and with a key nobody without it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import Project, make_flow, read_all
from tests.server.serving import FLOWS, serving

FOREIGN = ["evil.example", "evil.example:8901", "localhost.evil.example", ""]
OWN = ["localhost:1", "127.0.0.1", "[::1]:8901", "app.localhost", "192.0.2.7:8901"]
NO_HOST = ["[", "[::1", "a b", "evil@localhost", "localhost/", "localhost:x", "localhost:" + "9" * 5000]
PATHS = ["/", "/flow", "/page.css", "/none", "/_faults"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 403) for host in FOREIGN),
        *((host, 200) for host in OWN),
        *((host, 400) for host in NO_HOST),
    ],
)
def test_only_names_of_this_host_lead_here(
    project: Project, shared: LocalPlatform, host: str, status: int
) -> None:
    """A request by a foreign name, as a rebound one would be, gets no flow, no page, and changes nothing."""
    stored = project.put("shop", make_flow()).content
    headers = {"host": host}
    shared.fault("status=503", times=1, method="DELETE")
    for path in (project.at("shop"), project.path, *PATHS):
        answered = project.http.get(path, headers=headers).status_code
        assert answered == (404 if status == 200 and path in ("/flow", "/none") else status)
    assert project.put("shop", make_flow(more=1), headers=headers).status_code == status
    assert (project.get("shop").content == stored) is (status != 200)
    # No fault is used up by it either.
    assert project.http.delete(project.at("none"), headers=headers).status_code == {200: 503}.get(
        status, status
    )


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1", ""])
def test_other_sites_change_nothing(project: Project, shared: LocalPlatform, origin: str) -> None:
    """What a page of another origin could make a browser send is refused; the platform's own origin may."""
    project.put("shop", make_flow())
    for method, path in (("PUT", project.at("shop")), ("DELETE", project.at("shop")), ("POST", "/_faults")):
        sent = {"fault": "reset"} if method == "POST" else make_flow(more=1)
        answer = project.http.request(method, path, json=sent, headers={"origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    plain = project.http.post(
        "/_faults", content=b'{"fault":"reset"}', headers={"content-type": "text/plain"}
    )
    assert plain.status_code == 415
    assert project.http.get("/_faults").json() == {"faults": []}
    assert "more" not in project.get("shop").json()
    assert project.put("shop", make_flow(more=1), headers={"origin": shared.url}).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_embed_nothing(project: Project, site: str) -> None:
    """What a browser says is for a page of another origin is refused, be it an image; a link may lead here."""
    project.put("shop", make_flow())
    for path in (project.at("shop"), "/", "/icon.svg", "/_faults"):
        for use, status in (("image", 403), ("iframe", 403), ("empty", 403), ("document", 200)):
            headers = {"sec-fetch-site": site, "sec-fetch-dest": use}
            assert project.http.get(path, headers=headers).status_code == status
        assert project.http.get(path, headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_platform_may_have_more_names() -> None:
    """Names that are allowed lead to page and flows; with a key, which tells who asks, any name does."""
    with LocalPlatform(host="0.0.0.0", allowed_hosts=["Platform"]) as platform, Project(platform) as project:
        for host, status in (("platform:8901", 200), ("other:8901", 403)):
            for path in ("/", project.path):
                assert project.http.get(path, headers={"host": host}).status_code == status
    with LocalPlatform(key="k") as platform, Project(platform, key="k") as project:
        assert project.http.get(project.path, headers={"host": "other"}).status_code == 200
        assert project.http.get(project.path, headers={"host": "["}).status_code == 400
        assert project.put("shop", make_flow(), headers={"origin": "http://other"}).status_code == 403


@pytest.fixture
def locked() -> Iterator[LocalPlatform]:
    with LocalPlatform(key="secret-key") as platform:
        platform.put("shop", make_flow())
        yield platform


@pytest.fixture
def browser(locked: LocalPlatform) -> Iterator[httpx.Client]:
    """What keeps cookies."""
    with httpx.Client(base_url=locked.url, trust_env=False) as client:
        yield client


def test_with_a_key_nothing_is_shown_without_it(locked: LocalPlatform, browser: httpx.Client) -> None:
    """The page, all that belongs to it, and the faults are 401 without the key, with a wrong one, and with a wrong
    token."""
    for path in PATHS:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"cookie": f"versori-flow-{locked.port}=wrong"},
        ):
            answer = browser.get(path, params={"token": "wrong"}, headers=headers)
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            assert "shop" not in answer.text
        known = browser.get(path, headers={"authorization": "JWT secret-key"}).status_code
        assert known == (404 if path in ("/flow", "/none") else 200)
    ordered = browser.post("/_faults", json={"fault": "reset"})
    assert (ordered.status_code, browser.delete("/_faults").status_code) == (401, 401)
    ordered = browser.post(
        "/_faults", json={"fault": "reset"}, headers={"authorization": "Bearer secret-key"}
    )
    assert ordered.status_code == 201


def test_the_link_lets_a_browser_in(locked: LocalPlatform, browser: httpx.Client) -> None:
    """The link holds a token that isn't the key; it is exchanged for a cookie that no script and no other site has,
    and is gone from the address."""
    link = urlsplit(locked.page_url)
    assert "secret-key" not in locked.page_url
    first = browser.get(f"/flow?name=a%26b&{link.query}&o=1")
    assert (first.status_code, first.headers["location"]) == (303, "/flow?name=a%26b&o=1")
    cookie = first.headers["set-cookie"].lower()
    assert cookie.startswith(f"versori-flow-{locked.port}=")
    assert "; httponly" in cookie
    assert "; samesite=strict" in cookie
    assert "secret-key" not in cookie
    assert "shop" in browser.get("/").text
    assert browser.get("/page.css").status_code == 200
    assert browser.get("/_faults").status_code == 200
    # It is for who looks: flows are written with the key.
    with Project(locked) as project:
        project.http.cookies = browser.cookies
        assert project.get("shop").status_code == 401
    # Another platform has another one.
    with LocalPlatform(key="secret-key") as other:
        assert httpx.get(other.url + "/?" + link.query, trust_env=False).status_code == 401
    assert LocalPlatform().page_url.count("token") == 0


@pytest.mark.parametrize("fault", [[], ["max-body=10"]])
def test_a_body_is_not_read_before_the_key_is_checked(fault: list[str]) -> None:
    """Who lacks the key is answered before the body is sent; one that comes all the same passes unseen."""
    with LocalPlatform(key="secret-key", faults=fault) as platform, Project(platform) as project:
        head = f"PUT {project.at('shop')} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n"
        for more in ("", "Expect: 100-continue\r\n"):
            with socket.create_connection(project.address, timeout=10) as waiting:
                waiting.sendall(f"{head}{more}\r\n".encode())
                assert waiting.recv(12) == b"HTTP/1.1 401"
        head = head.partition("Content-Length")[0] + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        with socket.create_connection(project.address, timeout=10) as broken:
            broken.sendall(head.encode())
            assert broken.recv(12) == b"HTTP/1.1 401"
            # What is wrong with the rest gets no answer of its own.
            broken.sendall(b"x\r\n")
            assert b"HTTP/1.1" not in read_all(broken)
        assert project.put("shop", bytes(65 * 1024 * 1024)).status_code == 401
        assert {request.size for request in platform.requests} == {0}
        # The same connection takes the next request.
        with project.connect(f"GET {project.path}") as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert read_all(connection).count(b"HTTP/1.1 401") == 2


def test_serve_takes_its_key_from_a_variable() -> None:
    """A key in a variable is on no command line; serve prints the link to its page, and warns who may listen."""
    with serving("--host", "0.0.0.0", VERSORI_FLOW_SERVE_KEY="secret-key") as running:
        command = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
        assert b"secret-key" not in command
        assert "secret-key" not in "".join(running.printed)
        assert "the key crosses the network in the clear" in running.errors
        assert running.http.get(FLOWS).status_code == 401
        assert running.http.get(FLOWS, headers={"authorization": "Bearer secret-key"}).status_code == 200
        assert "No flows yet" in running.http.get(running.page_url, follow_redirects=True).text
