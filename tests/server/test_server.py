"""The local platform speaks the API of flows, over real HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from ulid import ULID

from opentelemetry.exporter.versori_flow import server
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.server.platform_client import CONTEXT, Project, make_flow, make_span

SPEC = Path(server.__file__).with_name("versori-flows.openapi.yaml")
COMPONENTS = yaml.safe_load(SPEC.read_text())["components"]


def is_error(response: httpx.Response) -> dict[str, Any]:
    """The body, after a check that it is an `Error` of the API."""
    document: dict[str, Any] = response.json()
    schema = {"$ref": "#/components/schemas/Error", "components": COMPONENTS}
    Draft4Validator(schema).validate(document)
    assert response.headers["content-type"] == "application/json"
    return document


def test_put_get_and_delete(project: Project) -> None:
    """PUT answers the flow as stored, which GET answers byte for byte, and replaces it whole; DELETE removes it."""
    project.put("shop", make_flow(make_span("old"), description="by hand", more=1))
    put = project.put("shop", make_flow(make_span()))
    assert put.status_code == 200
    assert project.get("shop").content == put.content
    assert put.json() == {"id": put.json()["id"], **make_flow(make_span())}
    deleted = project.delete("shop")
    assert (deleted.status_code, deleted.content) == (204, b"")
    for answer in (project.get("shop"), project.delete("shop")):
        assert answer.status_code == 404
        assert is_error(answer)["code"] == "not_found"


def test_put_keeps_every_byte_but_the_id(project: Project) -> None:
    """White space, the order of members, escapes, long numbers and unknown members stay as sent."""
    sent = (
        '\n { "x-more" : [1.10, 1E400, ' + "9" * 5000 + '],\t"spans":[ ], "name":"\\u0041\\/é" ,'
        '"description":"" } \n'
    ).encode()
    stored = project.put("shop", sent).content
    id_ = json.loads(stored, parse_int=str)["id"]
    assert stored == sent.replace(b'"x-more"', b'"id":"%s","x-more"' % id_.encode(), 1)


def test_id_is_the_platforms(project: Project) -> None:
    """A flow gets a ULID when it is created and keeps it; an id in a body is ignored."""
    first = project.put("shop", make_flow(id="mine")).json()["id"]
    assert str(ULID.from_str(first)) == first
    assert project.put("shop", make_flow(id="other")).json()["id"] == first
    project.delete("shop")
    assert project.put("shop", make_flow()).json()["id"] != first


REST = '"name":"","description":"","spans":[]'


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (f'{{"id":"x",{REST}}}', f'{{"id":ID,{REST}}}'),
        (f'{{{REST},"id":"x"}}', f'{{"id":ID,{REST}}}'),
        (
            '{ "name":"" , "id" : "x" ,\n"description":"","id":"y","spans":[] , "\\u0069d":"z" }',
            '{ "id":ID,"name":"" , "description":"","spans":[] }',
        ),
        (f'{{{REST},"more":{{"id":"inner"}}}}', f'{{"id":ID,{REST},"more":{{"id":"inner"}}}}'),
    ],
)
def test_id_is_cut_out_wherever_it_stands(project: Project, sent: str, stored: str) -> None:
    """Exactly one id is stored, in front, and nothing else is touched; what was read can be put as it is."""
    answer = project.put("shop", sent.encode()).text
    assert answer == stored.replace("ID", json.dumps(json.loads(answer)["id"]))
    assert project.put("shop", answer.encode()).text == answer


def test_list_has_the_flows_of_its_project_only(project: Project, shared: LocalPlatform) -> None:
    """The list holds each flow of the project as stored, and none of another project."""
    assert project.list().json() == {"flows": []}
    shared.put("elsewhere", make_flow(), project_id=str(ULID()))
    stored = [project.put(name, make_flow(make_span(name))).content for name in ("b", "a")]
    assert project.list().content == b'{"flows":[' + b",".join(stored) + b"]}"


def test_api_is_served_with_and_without_its_prefix(project: Project, shared: LocalPlatform) -> None:
    """A base URL with `/api/v2` and one without lead to the same flows."""
    with Project(shared, prefix="/api/v2") as prefixed:
        stored = prefixed.put("shop", make_flow()).content
        assert project.get("shop").content == stored
        assert prefixed.list().json() == project.list().json()
        assert prefixed.delete("shop").status_code == 204


def pathlike(test: Any) -> Any:
    """Plays a test with names that have the signs of a path, or of percent-encoding, in them."""
    for name in ("a/b", "a%2Fb", "..", ".", "a?b#c", "a b+c", "Überweisung €", "a//", "%"):
        test = example(name)(test)
    return test


@pathlike
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_name_is_one_flow(project: Project, shared: LocalPlatform, name: str) -> None:
    """A percent-encoded name of any characters, those of a path too, is one segment and one flow."""
    assert project.put(name, make_flow(name=name)).status_code == 200
    assert project.get(name).json()["name"] == name
    assert (shared.names(), shared.requests[-1].flow) == ([name], name)
    assert project.delete(name).status_code == 204


def test_other_spellings_are_the_same_address(project: Project) -> None:
    """`a%62` names the flow `ab`, and ULIDs are compared without regard to case."""
    project.put("ab", make_flow())
    for path in (f"{project.path}/a%62", project.at("ab").replace("H0", "h0").replace("R/", "r/")):
        assert project.http.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        *(("GET", path, 404, "not_found") for path in ("/", "/workflows/a/b", "/nothing")),
        ("POST", "", 405, "method_not_allowed"),
        ("PATCH", "/a", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_served_is_an_error(
    project: Project, method: str, path: str, status: int, code: str
) -> None:
    """What is no path of the API, or a method that a path does not have, is an `Error`; nothing is redirected."""
    answer = project.http.request(method, project.path + path)
    assert answer.status_code == status
    assert is_error(answer)["code"] == code


@pytest.mark.parametrize("wrong", ["x", "0" * 27, "81HV0000000000000000000000", "01HV000000000000000000000U"])
def test_ids_are_ulids(project: Project, shared: LocalPlatform, wrong: str) -> None:
    """An organisation or project that is no ULID is refused with 400, and the message says which."""
    for path, name in (
        (project.path.replace(shared.organisation_id, wrong), "organisation_id"),
        (project.path.replace(shared.project_id, wrong), "project_id"),
    ):
        answer = project.http.get(path)
        assert answer.status_code == 400
        assert is_error(answer)["message"].startswith(name)


CUT = b'{ {}x [1,] {"a"1} {"a":1,} {a:1} {"a":NaN} {"a":-Infinity}'.split()
CODED = [b"\xff\xfe", b'{"a":"\xc3"}', b"\xef\xbb\xbf{}"]


@pytest.mark.parametrize("body", [b"", *CUT, *CODED, b"[" * 200_000, b'{"a":' * 200_000])
def test_what_is_not_json_is_400(project: Project, body: bytes) -> None:
    """A body that is not UTF-8 or not JSON is refused with 400, and nothing is stored."""
    answer = project.put("shop", body)
    assert answer.status_code == 400
    is_error(answer)
    assert project.get("shop").status_code == 404


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], [""]),
        ("text", [""]),
        ({}, ["name", "description", "spans"]),
        (make_flow(name=1), ["name"]),
        (make_flow() | {"spans": None}, ["spans"]),
        (make_flow(1), ["spans[0]"]),
        (make_flow(make_span(), make_span(name=None)), ["spans[1].name"]),
        (make_flow(make_span(startTime="yesterday")), ["spans[0].startTime"]),
        (make_flow(make_span(endTime="2026-02-30T00:00:00Z")), ["spans[0].endTime"]),
        (make_flow(make_span(duration=True)), ["spans[0].duration"]),
        (make_flow(make_span(attributes={"a.b": None})), ["spans[0].attributes.a.b"]),
        (make_flow(make_span(attributes={"ok": "x", "a": [1]})), ["spans[0].attributes.a"]),
        (make_flow(make_span(status={"code": 2})), ["spans[0].status.code"]),
        (make_flow(make_span(status={})), ["spans[0].status.code"]),
        (make_flow(make_span(ended="yes")), ["spans[0].ended"]),
        (make_flow(make_span(events=[{"name": "e", "timestamp": "x"}])), ["spans[0].events[0].timestamp"]),
        (
            make_flow(make_span(parentSpanContenxt={**CONTEXT, "traceFlags": 0.5})),
            ["spans[0].parentSpanContenxt.traceFlags"],
        ),
    ],
)
def test_what_breaks_the_schema_is_422(project: Project, body: Any, fields: list[str]) -> None:
    """A body that the API description forbids is refused with 422 and the paths of what is wrong in it."""
    answer = project.put("shop", body)
    assert answer.status_code == 422
    assert {field["field"] for field in is_error(answer)["fields"]} == set(fields)
    assert project.get("shop").status_code == 404


def test_the_verdict_does_not_depend_on_what_was_seen_before(project: Project) -> None:
    """A span that was valid once stays valid, and one that equals it but for a type is still refused."""
    good = make_span(attributes={"a": 1, "b": "x", "c": True}, status={"code": 0})
    for _ in range(2):
        assert project.put("shop", make_flow(good)).status_code == 200
        for worse in (
            {"status": {"code": False}},
            {"ended": 1},
            {"attributes": {"a": 1, "b": "x", "c": None}},
        ):
            assert project.put("shop", make_flow(good, {**good, **worse})).status_code == 422


def test_fields_of_an_error_are_few_and_short(project: Project) -> None:
    """However much is wrong, an `Error` names 20 fields at most and repeats no long value."""
    many = project.put("shop", make_flow(*[make_span(attributes={"a": ["x" * 10_000]})] * 50))
    assert len(is_error(many)["fields"]) == 20
    assert len(many.content) < 10_000


def test_gzip_is_undone(project: Project) -> None:
    """A gzip body is stored as what it holds; broken is 400, another encoding 415, above 64 MiB unpacked 413."""
    body = json.dumps(make_flow(make_span())).encode()
    headers = {"Content-Encoding": "gzip"}
    assert project.put("shop", gzip.compress(body), headers=headers).json()["spans"] == [make_span()]
    bomb = gzip.compress(bytes(65 * 1024 * 1024), 1)
    for sent, encoding, status in (
        *((broken, "gzip", 400) for broken in (body, gzip.compress(body)[:-9])),
        (body, "br", 415),
        (bomb, "gzip", 413),
    ):
        answer = project.put("shop", sent, headers={"Content-Encoding": encoding})
        assert answer.status_code == status
        is_error(answer)


def test_a_window_of_spans_is_taken(project: Project) -> None:
    """A body of a thousand spans is stored, and the next one that shares most of them too."""
    spans = [make_span(f"span {number}", attributes={"text": "x" * 500}) for number in range(1000)]
    assert project.put("shop", make_flow(*spans)).status_code == 200
    answer = project.put("shop", make_flow(*spans[1:], make_span("newest")))
    assert [span["name"] for span in answer.json()["spans"]][-2:] == ["span 999", "newest"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        *((f"{scheme} secret-key", 200) for scheme in ("Bearer", "bearer", "JWT")),
        *(
            (header, 401)
            for header in ("", "Bearer", "Bearer wrong", "Basic secret-key", "secret-key", "Bearer é")
        ),
    ],
)
def test_a_key_is_taken_under_both_schemes(header: str, status: int) -> None:
    """The key lets in as `Bearer` and as `JWT`; else every endpoint is 401; the record never tells the key."""
    with LocalPlatform(key="secret-key") as platform, Project(platform) as project:
        platform.put("shop", make_flow())
        before = platform.raw("shop")
        project.http.headers["Authorization"] = header
        for answer in (project.list(), project.get("shop"), project.put("shop", make_flow(more=1))):
            assert answer.status_code == status
            assert status == 200 or is_error(answer)["code"] == "unauthorized"
            assert "secret-key" not in answer.text
        assert (platform.raw("shop") == before) is (status == 401)
        assert project.delete("shop").status_code == (204 if status == 200 else 401)
        assert "secret-key" not in repr(platform.requests)


def test_record_of_requests(shared: LocalPlatform, project: Project) -> None:
    """A request is on record with its size and status as soon as it is answered, without its credential."""
    project.http.headers["Authorization"] = "Bearer abc"
    sent = json.dumps(make_flow()).encode()
    project.put("a/b", sent)
    project.get("none")
    project.list()
    seen = [(request.method, request.flow, request.size, request.status) for request in shared.requests]
    assert seen == [("PUT", "a/b", len(sent), 200), ("GET", "none", 0, 404), ("GET", None, 0, 200)]
    assert shared.counts() == {("PUT", 200): 1, ("GET", 404): 1, ("GET", 200): 1}
    assert [request.at for request in shared.requests] == sorted(request.at for request in shared.requests)
    assert {request.headers["authorization"] for request in shared.requests} == {"Bearer ***"}


def test_in_process_face(shared: LocalPlatform, project: Project) -> None:
    """What was sent is at hand parsed and raw, and what is put in by hand is served."""
    stored = project.put("shop", make_flow(make_span("a"))).content
    assert shared.raw("shop") == stored
    assert shared.flow("shop") == json.loads(stored)
    assert shared.spans("shop") == [make_span("a")]
    assert shared.flows() == [json.loads(stored)]
    assert shared.flow("shop", project_id=str(ULID())) is None
    assert shared.spans("none") == []
    shared.put("shop", make_flow(make_span("b")))
    assert [span["name"] for span in project.get("shop").json()["spans"]] == ["b"]
    assert project.get("shop").json()["id"] == json.loads(stored)["id"]
    shared.put("broken", b"{ no flow")
    assert project.get("broken").content == b"{ no flow"
    assert shared.flow("broken") is None
    assert shared.delete("shop")
    assert not shared.delete("shop")


def test_wait_for_tells_what_did_come_in(shared: LocalPlatform, project: Project) -> None:
    """Waiting returns what the condition found; in vain, the error lists the requests that came."""
    late = threading.Timer(0.05, project.put, ("late", make_flow()))
    late.start()
    assert shared.wait_for(lambda platform: platform.flow("late")) == shared.flow("late")
    # Its answer is still to come, and the next test closes what it comes by.
    late.join()
    with pytest.raises(TimeoutError, match="PUT late -> 200"):
        shared.wait_for(lambda platform: platform.flow("never"), timeout=0.01)


def test_validate_off_takes_any_object() -> None:
    """With validation off any JSON object is stored, and what is not JSON is refused still."""
    with LocalPlatform(validate="off") as platform, Project(platform) as project:
        assert project.put("shop", {"spans": [1]}).status_code == 200
        assert project.put("shop", []).status_code == 422
        assert project.put("shop", b"x").status_code == 400
    with pytest.raises(ValueError, match="'full' or 'off'"):
        LocalPlatform(validate="no")  # type: ignore[arg-type]


def test_it_logs_nothing_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Start, requests good and bad, disconnects and stop leave no line in the log."""
    caplog.set_level("INFO")
    with LocalPlatform() as platform:
        address = ("127.0.0.1", platform.port)
        for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(sent)
                assert connection.recv(8) == b"HTTP/1.1"
        socket.create_connection(address).close()
    assert [record.name for record in caplog.records if not record.name.startswith("asyncio")] == []
