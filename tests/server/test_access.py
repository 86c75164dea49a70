"""No page of another site reads or changes anything here by way of a browser."""

from __future__ import annotations

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import Project, make_flow

FOREIGN = ["evil.example", "evil.example:8901", "localhost.evil.example", ""]
OWN = ["localhost:1", "127.0.0.1", "[::1]:8901", "app.localhost", "192.0.2.7:8901"]


@pytest.mark.parametrize(
    ("host", "status"), [*((host, 403) for host in FOREIGN), *((host, 200) for host in OWN), ("[", 400)]
)
def test_only_names_of_this_host_lead_here(project: Project, host: str, status: int) -> None:
    """A request by a foreign name, as a rebound one would be, gets no flow, no page, and changes nothing."""
    stored = project.put("shop", make_flow()).content
    headers = {"host": host}
    for path in (project.at("shop"), "/", "/_faults"):
        assert project.http.get(path, headers=headers).status_code == status
    assert project.put("shop", make_flow(more=1), headers=headers).status_code == status
    assert (project.get("shop").content == stored) is (status != 200)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:1"])
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


def test_a_platform_may_have_more_names() -> None:
    """Names that are allowed lead to page and flows; with a key the flows go by any name."""
    with LocalPlatform(host="0.0.0.0", allowed_hosts=["Platform"]) as platform, Project(platform) as project:
        for host, status in (("platform:8901", 200), ("other:8901", 403)):
            for path in ("/", project.path):
                assert project.http.get(path, headers={"host": host}).status_code == status
    with LocalPlatform(key="k") as platform, Project(platform, key="k") as project:
        assert httpx.get(platform.url, trust_env=False).status_code == 200  # the page needs no key
        assert project.http.get(project.path, headers={"host": "other"}).status_code == 200
        for path in ("/", "/_faults"):
            assert httpx.get(platform.url + path, headers={"host": "other"}).status_code == 403
