"""The local platform spoils answers as ordered, over real connections."""

from __future__ import annotations

import contextlib
import json
import time
import zlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.server import (
    Fault,
    FaultError,
    FaultHandle,
    LocalPlatform,
    parse_fault,
)
from tests.processes.running import PATIENCE
from tests.server.platform_client import Project, make_flow, make_span, read_all


@pytest.fixture
def project(project: Project, shared: LocalPlatform) -> Project:
    shared.put("shop", make_flow())
    return project


def put_and_leave(shared: LocalPlatform, project: Project, name: str, fault: FaultHandle) -> None:
    """A client that goes away once the fault has struck it, and the platform is done with it."""
    with project.connect("PUT " + project.at(name), json.dumps(make_flow()).encode()):
        shared.wait_for(lambda platform: fault.struck, PATIENCE)
    shared.wait_for(lambda platform: platform.requests[-1].seconds is not None, PATIENCE)


def statuses(project: Project, count: int) -> list[int]:
    return [project.get("shop").status_code for _ in range(count)]


def test_status_answers_an_error(shared: LocalPlatform, project: Project) -> None:
    """A status fault answers its status, Retry-After, message, code and fields; then all is well again."""
    text = (
        'status=503,retry-after="Wed, 21 Oct 2026 07:28:00 GMT",message=closed,code=busy,fields=a;spans[1].b'
    )
    with shared.fault(text):
        answer = project.put("shop", make_flow(make_span()))
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert answer.json() == {
        "code": "busy",
        "message": "closed",
        "fields": [{"field": "a", "message": "closed"}, {"field": "spans[1].b", "message": "closed"}],
    }
    assert shared.spans("shop") == []
    assert project.put("shop", make_flow(make_span())).status_code == 200


def test_status_with_another_body(shared: LocalPlatform, project: Project) -> None:
    """Any status can carry any text, and a redirect its location."""
    shared.fault("status=200,body=<html>,times=1")
    shared.fault("status", status=307, location="http://127.0.0.1:9/", times=1)
    assert project.get("shop").text == "<html>"
    redirect = project.get("shop")
    assert (redirect.status_code, redirect.headers["location"]) == (307, "http://127.0.0.1:9/")


def test_times_and_share(shared: LocalPlatform, project: Project) -> None:
    """`times` bounds how often a fault strikes; a share strikes that part of the requests, evenly."""
    handle = shared.fault("status=500", times=2)
    assert statuses(project, 3) == [500, 500, 200]
    assert (handle.struck, handle.over) == (2, True)
    with shared.fault("status=500,share=0.25"):
        assert statuses(project, 8) == [200, 200, 200, 500] * 2
    with shared.fault("status=500,share=0.1"):
        assert statuses(project, 100).count(500) == 10


def test_share_by_chance_is_repeatable(shared: LocalPlatform, project: Project) -> None:
    """With a seed chance decides, and the same seed decides the same."""
    rounds = []
    for seed in (1, 1, 2):
        with shared.fault("status=500,share=0.5", seed=seed):
            rounds.append(statuses(project, 20))
    assert rounds[0] == rounds[1] != rounds[2]
    assert 0 < rounds[0].count(500) < 20


def test_method_and_flow(shared: LocalPlatform, project: Project) -> None:
    """A fault of one method and one flow strikes nothing else."""
    shared.fault("status=500,method=put,flow=a/b")
    assert project.put("a/b", make_flow()).status_code == 500
    assert project.put("shop", make_flow()).status_code == 200
    assert project.get("a/b").status_code == 404
    assert project.list().status_code == 200


def test_first_that_strikes(shared: LocalPlatform, project: Project) -> None:
    """Of several faults the first one that can strike does; each can be taken back alone."""
    first = shared.fault("status=500")
    shared.fault("status=503")
    assert project.get("shop").status_code == 500
    assert first.clear()
    assert not first.clear()
    assert project.get("shop").status_code == 503


def test_faults_from_the_start() -> None:
    """Faults that the platform is made with stand from the first request on; they come before the key."""
    faults = ["status=500,times=1", parse_fault("status=502")]
    with LocalPlatform(key="k", faults=faults) as platform, Project(platform) as project:
        assert statuses(project, 2) == [500, 502]


ENDLESS = ("slow=60", "blackhole", "flood")
WITHHELD = ("status=500", "slow=60", "reset", "blackhole", "flood")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        *((text, False) for text in WITHHELD),
        *((f"{text},apply=yes", True) for text in WITHHELD),
        *((text, True) for text in ("slow=0.01", "drip=0", "cut", "reset,part=body")),
    ],
)
def test_what_is_carried_out(shared: LocalPlatform, project: Project, text: str, stored: bool) -> None:
    """A flow is stored with `apply`, or where the client gets the true answer or a part of it; else not."""
    fault = shared.fault(text)
    if text.startswith(ENDLESS):
        put_and_leave(shared, project, "new", fault)
    else:
        with contextlib.suppress(httpx.TransportError):
            assert project.put("new", make_flow()).headers.get("content-type") == "application/json"
    assert (shared.flow("new") is not None) is stored


def test_slow_waits_then_answers_truly(shared: LocalPlatform, project: Project) -> None:
    """A slow answer comes after its delay and is the true one."""
    shared.fault("slow=0.2")
    start = time.monotonic()
    assert project.get("shop").content == shared.raw("shop")
    assert time.monotonic() - start >= 0.2


def test_slow_is_not_applied_for_a_client_that_left(shared: LocalPlatform, project: Project) -> None:
    """A PUT whose client goes away within the delay is not stored, or was stored before with `apply`."""
    for name, apply in (("without", False), ("with", True)):
        with shared.fault("slow=60", apply=apply) as fault:
            put_and_leave(shared, project, name, fault)
        assert shared.requests[-1].status is None
    assert shared.names() == ["shop", "with"]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_drip(shared: LocalPlatform, project: Project, part: str) -> None:
    """A drip gives the true answer in single bytes, from its first one or from that of its body."""
    shared.fault("drip=0.002", part=part)
    pieces = []
    with project.connect("GET " + project.at("shop")) as connection:
        while piece := connection.recv(65536):
            pieces.append(piece)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    assert body == shared.raw("shop")
    assert f"content-length: {len(body)}".encode() in head.lower()
    # Two bytes may arrive together, but not all of them.
    assert len(pieces) > len(body) // 2
    assert (len(pieces[0]) < 20) is (part == "headers")


@pytest.mark.parametrize("part", ["", "headers", "body"])
def test_reset(shared: LocalPlatform, project: Project, part: str) -> None:
    """RST comes before a byte of the true answer, after its head, or in the middle of its body."""
    shared.fault(f"reset,part={part}" if part else "reset")
    received = b""
    with project.connect("GET " + project.at("shop")) as connection, pytest.raises(ConnectionResetError):  # noqa: PT012
        while piece := connection.recv(65536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    whole = shared.raw("shop") or b""
    assert head.startswith(b"HTTP/1.1 200 OK" if part else b"")
    assert (b"\r\n\r\n" in received) is bool(part)
    assert body == (whole[: len(whole) // 2] if part == "body" else b"")
    assert shared.requests[-1].status == (200 if part else None)


def test_blackhole(shared: LocalPlatform, project: Project) -> None:
    """A black hole keeps the connection and says nothing; other requests are answered meanwhile."""
    shared.fault("blackhole,flow=stuck")
    with project.connect("GET " + project.at("stuck")) as stuck:
        shared.wait_for(lambda platform: platform.requests and platform.requests[-1].fault)
        assert project.get("shop").status_code == 200
        stuck.settimeout(0.05)
        with pytest.raises(TimeoutError):
            stuck.recv(1)
        assert shared.requests[0].seconds is None
    shared.wait_for(lambda platform: platform.requests[0].seconds is not None)
    assert shared.counts()["GET", None] == 1


def test_cut(shared: LocalPlatform, project: Project) -> None:
    """A cut answer promises its whole length and ends in the middle."""
    shared.fault("cut")
    head, _, body = read_all(project.connect("GET " + project.at("shop"))).partition(b"\r\n\r\n")
    whole = shared.raw("shop") or b""
    assert f"content-length: {len(whole)}".encode() in head.lower()
    assert body == whole[: len(whole) // 2]


@pytest.mark.parametrize("packed", [False, True])
def test_flood(shared: LocalPlatform, project: Project, packed: bool) -> None:
    """A flood is 200 and a body without end, be it gzip that weighs very little; it ends with the client."""
    shared.fault("flood", gzip=packed)
    unpacker = zlib.decompressobj(31)
    received = unpacked = 0
    with project.http.stream("GET", project.at("shop")) as answer:
        assert (answer.status_code, answer.headers.get("content-encoding") == "gzip") == (200, packed)
        for part in answer.iter_raw():
            received += len(part)
            unpacked += len(unpacker.decompress(part) if packed else part)
            if unpacked > 10_000_000:
                break
    assert (unpacked > 100 * received) is packed
    shared.wait_for(lambda platform: platform.requests[-1].seconds is not None)


def test_max_body(shared: LocalPlatform, project: Project) -> None:
    """Bodies above the limit are 413, those at it are stored."""
    body = json.dumps(make_flow()).encode()
    shared.fault("max-body", limit=len(body))
    assert project.put("shop", body).status_code == 200
    assert project.put("shop", body + b" ").status_code == 413


@pytest.mark.parametrize("named", [True, False])
def test_poison(shared: LocalPlatform, project: Project, named: bool) -> None:
    """A body with a poisoned span is 422, which names it if so ordered; other bodies are stored."""
    shared.fault("poison", match="arsenic", named=named)
    spans = [make_span(), make_span("an arsenic pill"), make_span(attributes={"what": "arsenic"})]
    answer = project.put("shop", make_flow(*spans))
    assert answer.status_code == 422
    fields = [field["field"] for field in answer.json().get("fields", [])]
    assert fields == (["spans[1]", "spans[2]"] if named else [])
    assert project.put("shop", make_flow(spans[0])).status_code == 200
    assert project.put("shop", b"no flow").status_code == 400


def test_an_outage_frees_what_a_fault_holds() -> None:
    """Stopping ends black holes, drips and slow answers at once."""
    faults = ["blackhole,times=1", "drip=60,times=1", "slow=60,times=1", "flood"]
    with LocalPlatform(faults=faults) as platform, Project(platform) as other:
        held = [other.connect("GET " + other.path) for _ in range(4)]
        platform.wait_for(lambda running: sum(bool(seen.fault) for seen in running.requests) == 4)
        platform.stop()
        for connection in held:
            with contextlib.suppress(ConnectionResetError):
                read_all(connection)


# Orders over HTTP.


def test_control_endpoint(project: Project) -> None:
    """Faults are ordered, listed and taken back over HTTP too."""
    ordered = [
        project.http.post("/_faults", json={"fault": text}) for text in ("status=500,times=1", "status=503")
    ]
    assert [answer.status_code for answer in ordered] == [201, 201]
    first, second = (answer.json() for answer in ordered)
    assert first == {"id": first["id"], "fault": "status=500,times=1", "struck": 0, "over": False}
    assert statuses(project, 2) == [500, 503]
    listed = project.http.get("/_faults").json()["faults"]
    assert listed == [{**first, "struck": 1, "over": True}, {**second, "struck": 1}]
    for status in (204, 404):
        assert project.http.delete(f"/_faults/{second['id']}").status_code == status
    assert statuses(project, 1) == [200]
    assert project.http.delete("/_faults").status_code == 204
    assert project.http.get("/_faults").json() == {"faults": []}


def test_control_endpoint_says_what_is_wrong(project: Project) -> None:
    """An order that can't be understood is refused with the parser's words, and nothing is ordered."""
    wrong = project.http.post("/_faults", json={"fault": "reset,tims=1"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_fault")
    assert "did you mean 'times'?" in wrong.json()["message"]
    headers = {"content-type": "application/json"}
    for body, status in ((b'{"fault":1}', 422), (b'["reset"]', 422), (b"{}", 422), (b"{", 400)):
        assert project.http.post("/_faults", content=body, headers=headers).status_code == status
    assert project.http.get("/_faults").json() == {"faults": []}


# The words of an order.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, "needs a kind") for text in ("", " , ")),
        ("stat=500", "did you mean 'status'"),
        *((text, "needs a value") for text in ("status", "slow")),
        *((f"status={text}", "from 200 to 599") for text in ("99", "x", "500 share=0.3")),
        *((f"slow={text}", "seconds") for text in ("-1", "inf", "nan")),
        ("cut,delay=soon", "seconds"),
        ("reset=1", "takes no value"),
        ("reset,times", "option=value"),
        *((f"reset,times={text}", "1 or more") for text in ("0", "1.5")),
        ("reset,share=2", "from 0 to 1"),
        ("reset,interval=2", "no option 'interval'"),
        ("drip,apply=yes", "no option 'apply'"),
        ("reset,apply=perhaps", "yes or no"),
        ("reset,part=middle", "headers or body"),
        ("reset,flow=", "a text"),
        ('status=500,message="open', "quotation mark"),
    ],
)
def test_a_wrong_order_is_told(text: str, message: str) -> None:
    """An order that can't be carried out is an error that names it and what should be there."""
    with pytest.raises(FaultError, match=message):
        parse_fault(text)


def test_orders_mean_what_they_say() -> None:
    """The three examples of the documentation, and options as keywords."""
    text = "status=503,retry-after=2,share=0.3,method=PUT"
    said = Fault("status", text, status=503, retry_after="2", share=0.3, method="PUT")
    assert parse_fault(text) == said
    assert parse_fault("reset", times=5) == Fault("reset", "reset,times=5", times=5)
    drip = parse_fault("drip,interval=1,part=headers,flow=shop")
    assert (drip.interval, drip.part, drip.flow) == (1.0, "headers", "shop")
    assert parse_fault("max_body=10") == parse_fault("max-body", limit=10)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "message": st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1),
            "retry_after": st.sampled_from(["2", "Wed, 21 Oct 2026 07:28:00 GMT"]),
            "times": st.integers(1, 9),
            "flow": st.sampled_from(["it's", 'a"b', "a\\b", "a,b", "a b"]),
            "apply": st.booleans(),
            "fields": st.lists(st.sampled_from(["spans[0]", "name"]), min_size=1),
        },
    )
)
def test_the_words_of_a_fault_order_the_same_again(options: dict[str, object]) -> None:
    """A fault shows itself in words that order the same fault, whatever is in its options."""
    fault = parse_fault("status=500", **options)
    assert parse_fault(fault.text) == fault
