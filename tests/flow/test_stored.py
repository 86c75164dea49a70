"""The stored flow: reading it without touching foreign bytes, joining the next body."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.flow import stored as stored_room
from opentelemetry.exporter.versori_flow.flow.body import Body, head, text
from opentelemetry.exporter.versori_flow.flow.stored import StoredFlow, StoredSpan, UnreadableFlow, read
from tests.flow.model import digest_of, key, loads, make_span

MILLENNIUM = 946_684_800 * 1_000_000_000
"""2000-01-01T00:00:00Z, in nanoseconds."""


def flow(spans: str = "[]", more: str = "") -> StoredFlow:
    return read(document(spans, more), b"digest")


def document(spans: str = "[]", more: str = "") -> bytes:
    return ('{"name":"a","description":"d","spans":' + spans + more + "}").encode()


def span(**fields: Any) -> StoredSpan:
    (only,) = flow(json.dumps([fields])).spans
    return only


# -- reading -----------------------------------------------------------------------------------------------


def test_a_flow_is_read() -> None:
    """Digest, description as JSON text, spans with their keys, times and bytes."""
    ours = make_span(0, 1, start=3, end=5, parent=0)
    assert flow("[" + ours.body.decode() + "]") == StoredFlow(
        b"digest", "a", b'"d"', (), (StoredSpan(key(0, 1), ours.start, ours.end, False, ours.body),)
    )


def test_spans_keep_their_bytes() -> None:
    """Whitespace, escapes, odd numbers, unknown fields and their order: nothing is written anew."""
    bodies = [
        '{ "spanContext" : {"traceId":"AB","spanId":"CD"} , "x" : 1.50e+3 , "x" : -0 , "y" :\t[ ] }',
        '{"\\u006eame":"caf\\u00e9 \\ud83d\\ude00 \\/","é":"ü€𝄞","lone":"\\ud800"}',
        '{"big":' + "9" * 5000 + ',"small":1E-5000,"deep":[[[[{}]]]]}',
        "17",
        '"text"',
        "null",
        "[1 , 2]",
    ]
    stored = flow(" [ " + " ,\r\n\t".join(bodies) + "\n] ")
    assert [span.body.decode() for span in stored.spans] == bodies


def test_members_keep_their_bytes() -> None:
    """Every member but name, description and spans, wherever it stands, with its name as it stands."""
    source = (
        ' \n{ "id" : "01J" ,"name":"other", "tags" : [1.0, {"spans": [1]}],"spans":[] '
        ',"\\u0064escription":"d2","\\u00fc":1e400, "n":' + "7" * 4301 + ' ,"n": null }\t\r\n '
    )
    stored = read(source.encode(), b"d")
    assert (stored.digest, stored.name, stored.description) == (b"d", "other", b'"d2"')
    assert stored.members == (
        b'"id" : "01J"',
        b'"tags" : [1.0, {"spans": [1]}]',
        b'"\\u00fc":1e400',
        b'"n":' + b"7" * 4301,
        b'"n": null',
    )


@pytest.mark.parametrize("spans", ["null", "[]", "[ \n ]"])
def test_no_spans_are_an_empty_list(spans: str) -> None:
    """`spans: null` is one too; it is no other member, which would be written back beside the spans."""
    assert flow(spans) == StoredFlow(b"digest", "a", b'"d"', (), ())


@pytest.mark.parametrize("letter", ["0", "X", "x"])
def test_only_zeros_are_no_id(letter: str) -> None:
    """What an id is made of otherwise is its writer's."""
    context = {"traceId": letter * 32, "spanId": letter * 16}
    found = span(spanContext=context, parentSpanContext=context)
    assert (found.key[0] == "", found.is_root) == (letter == "0", letter == "0")


@pytest.mark.parametrize("description", ["null", "5", "{ }", '["d"]', '"\\u00e9 \\"x\\" é"'])
def test_a_description_keeps_its_bytes(description: str) -> None:
    """Escapes and all; also where it is no text, which is somebody's all the same."""
    source = '{"description" : ' + description + ' ,"name":"a","spans":[]}'
    assert read(source.encode(), b"").description == description.encode()


def test_a_byte_order_mark_is_skipped() -> None:
    """Some platforms send one."""
    assert read(b"\xef\xbb\xbf" + document("[{}]"), b"").spans[0].body == b"{}"


NO_FLOW = {
    b"{}": "it is no flow: it has no name",
    b" { } ": "it is no flow: it has no name",
    b'{"code":"x","message":"y"}': "it is no flow: it has no name",
    b'{"error":"x","description":"d","spans":[]}': "it is no flow: it has no name",
    b'{"flows":[]}': "it is no flow: it has no name",
    b'{"name":"a","spans":[]}': "it is no flow: it has no description",
    b'{"name":"a","description":"d"}': "it is no flow: it has no spans",
    b'{"name":5,"description":"d","spans":[]}': "it is no flow: its name is no text",
    b'{"name":null,"description":"d","spans":null}': "it is no flow: its name is no text",
    document("{}"): "its spans are no list",
    document('"x"'): "its spans are no list",
    document("0"): "its spans are no list",
    document("false"): "its spans are no list",
    document("[]", ',"spans":[]'): "it has spans twice",
    document("null", ',"\\u0073pans":[{}]'): "it has spans twice",
    document("[]", ',"name":"a"'): "it has name twice",
    document("[]", ',"description":"d"'): "it has description twice",
    document("[]", ',"x":1' * 1001): "it has more than 1000 members",
}


@pytest.mark.parametrize("body", NO_FLOW)
def test_what_lacks_what_a_flow_has_is_unreadable(body: bytes) -> None:
    """An error document, somebody's page, a list of flows: none is taken for an empty flow."""
    with pytest.raises(UnreadableFlow) as raised:
        read(body, b"")
    assert str(raised.value) == NO_FLOW[body]


UNREADABLE = {
    "an object was expected": b' &   & [] & null & "{" & <html>',
    "Expecting value": b'{ & {"spans": & {"spans":[ & {"spans":[{}, & {"spans":[,{}]} & {"a":1,} '
    b"& {,\"a\":1} & {'a':1}",
    "a member was expected at character 1": b'{"spans" & {"a" 1} & {5:1} & {null:1}',
    "a comma and a span were expected at character 12": b'{"spans":[{} & {"spans":[{}}',
    "a comma and a span were expected at character 13": b'{"spans":[{},]} & {"spans":[{} {}]}',
    "a comma was expected at character 11": b'{"spans":[]',
    "a comma was expected at character 12": b'{"spans":[] "a":1}',
    "a comma was expected at character 7": b'{"a":1 "b":2}',
    "a member was expected at character 9": b'{ "a":1, "b" 2}',
    "there is text behind the flow": b'{"spans":[]} x & {"spans":[]}{} & {"spans":[]}x & {}x & {} x',
    "NaN is not JSON": b'{"a":NaN}',
    "-Infinity is not JSON": b'{"spans":[{"a":-Infinity}]}',
    "Invalid control character": b'{"a":"\n"}',
    "Invalid \\escape": b'{"a":"\\x"}',
}


@pytest.mark.parametrize(("why", "bodies"), UNREADABLE.items())
def test_what_is_no_flow_in_json_is_unreadable(why: str, bodies: bytes) -> None:
    """It is said why, and where."""
    for body in bodies.split(b" & "):
        with pytest.raises(UnreadableFlow) as raised:
            read(body, b"")
        assert str(raised.value).startswith(f"it is not a flow in JSON: {why}"), body


@pytest.mark.parametrize(
    "body", [b'{"a":"\xff"}', b'{"a":"\xc3', b"\xed\xa0\x80", '{"a":1}'.encode("utf-16")]
)
def test_what_is_not_utf_8_is_unreadable(body: bytes) -> None:
    """Whatever encoding it is."""
    with pytest.raises(UnreadableFlow, match=r"^it is not UTF-8$"):
        read(body, b"")


@pytest.mark.parametrize("where", ['{"a":%s}', '{"spans":[%s]}', '{"spans":[{"a":%s}]}'])
def test_what_is_nested_too_deeply_is_unreadable(where: str) -> None:
    """A hostile depth does not end the thread."""
    with pytest.raises(UnreadableFlow, match=r"^it is nested too deeply$"):
        read((where % ("[" * 200_000 + "]" * 200_000)).encode(), b"")


# -- keys --------------------------------------------------------------------------------------------------


def test_ids_are_compared_in_lower_case() -> None:
    """Another writer may spell them in capitals; its bytes stay."""
    found = span(spanContext={"traceId": "ABCDEF", "spanId": "0A"})
    assert found.key == ("abcdef", "0a")
    assert b"ABCDEF" in found.body


NO_IDS = (
    'null|5|"x"|[]|{}|{"traceId":"a"}|{"spanId":"a"}|{"traceId":"","spanId":"a"}|{"traceId":"a","spanId":""}'
    '|{"traceId":1,"spanId":2}|{"spanId":"a","traceId":null}|{"traceId":"00","spanId":"a"}'
    '|{"traceId":"a","spanId":"00"}'
)


@pytest.mark.parametrize("context", [json.loads(context) for context in NO_IDS.split("|")])
def test_a_span_without_usable_ids_has_its_bytes_as_key(context: Any) -> None:
    """Two such spans are two, and none is lost."""
    stored = flow(json.dumps([{"spanContext": context, "n": 1}, {"spanContext": context, "n": 2}]))
    assert [span.key[0] for span in stored.spans] == ["", ""]
    assert len({span.key for span in stored.spans}) == 2
    assert len(stored.spans[0].key[1]) == 32


def test_what_stands_there_twice_is_kept_twice() -> None:
    """The same ids with other contents, byte-equal spans: each has a key of its own, whatever their order."""
    ids = '"spanContext":{"traceId":"1","spanId":"2"}'
    texts = ["{" + ids + ',"n":1}', '{"n":2}', "{" + ids + ',"n":3}', '{"n":2}', "{" + ids + "}", "{}"]
    stored, turned = flow(f"[{','.join(texts)}]"), flow(f"[{','.join(reversed(texts))}]")
    assert [span.body.decode() for span in stored.spans] == texts
    assert {(s.key, s.body) for s in stored.spans} == {(s.key, s.body) for s in turned.spans}
    twins = ("2", "2#TWIN2", "2#TWIN3")
    assert {s.key for s in stored.spans if s.key[0]} == {("1", twin) for twin in twins}
    digest = digest_of(b'{"n":2}').hex()
    assert [s.key for s in stored.spans if s.body == b'{"n":2}'] == [("", digest), ("", f"{digest}#TWIN2")]


# -- roots -------------------------------------------------------------------------------------------------


ROOTS = '{} {"A":null} {"A":{"traceId":"1"}} {"A":{"spanId":""}} {"A":{"spanId":"00"}}'
CHILDREN = (
    '{"A":{"spanId":"10"}} {"B":{"spanId":"01"}} {"A":null,"B":{"spanId":"a"}} '
    '{"A":{"spanId":"a"},"B":{"spanId":"0"}}'
)
SPELLINGS = {"A": "parentSpanContext", "B": "parentSpanContenxt"}


@pytest.mark.parametrize(
    ("fields", "is_root"), [*((f, True) for f in ROOTS.split()), *((f, False) for f in CHILDREN.split())]
)
def test_a_span_without_a_parent_is_a_root(fields: str, is_root: bool) -> None:
    """Under either spelling of the schema."""
    spelled = {SPELLINGS[name]: value for name, value in json.loads(fields).items()}
    assert span(**spelled).is_root is is_root


# -- times -------------------------------------------------------------------------------------------------


NO_TIMES = (
    "2000-13-01T00:00:00Z|2000-00-01T00:00:00Z|0000-01-01T00:00:00Z|2000-01-01T00:00:00|2000-01-01T00:00:00.Z"
    "|2000-01-01T00:00:00,5Z|2000-01-01T00:00:00Z | 2000-01-01T00:00:00Z|2000-01-01T00:00Z"
    "|٢٠٠٠-01-01T00:00:00Z|yesterday|"
)
TIMES = [
    ("2000-01-01T00:00:00Z", MILLENNIUM),
    ("2000-01-01T00:00:00.123456789Z", MILLENNIUM + 123_456_789),
    ("2000-01-01T00:00:00.5Z", MILLENNIUM + 500_000_000),
    ("2000-01-01T00:00:00.0000000019Z", MILLENNIUM + 1),
    ("2000-01-01T00:00:00." + "1" * 5000 + "Z", MILLENNIUM + 111_111_111),
    ("2000-01-01t01:02:03z", MILLENNIUM + 3_723_000_000_000),
    ("2000-01-01 00:00:00Z", MILLENNIUM),
    ("2000-01-01T02:30:00+02:30", MILLENNIUM),
    ("1999-12-31T21:45:00.25-02:15", MILLENNIUM + 250_000_000),
    ("2000-01-01T00:00:00+00:00", MILLENNIUM),
    ("2000-02-29T00:00:00Z", MILLENNIUM + 59 * 86_400 * 1_000_000_000),
    ("1970-01-01T00:00:00Z", 0),
    ("1969-12-31T23:59:59.75Z", -250_000_000),
    *((value, 0) for value in [*NO_TIMES.split("|"), None, 946684800, ["2000-01-01T00:00:00Z"]]),
]


@pytest.mark.parametrize(("value", "nanoseconds"), TIMES)
def test_times_are_read(value: Any, nanoseconds: int) -> None:
    """Offsets, fractions of any length; what is no time is the beginning of time."""
    found = span(startTime=value, endTime=value)
    assert (found.start, found.end) == (nanoseconds, nanoseconds)


# -- writing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spans", [[], [b"1"], [b"1", b"22"], [b"1", b"22", b"333"]])
def test_a_body_is_joined(spans: list[bytes]) -> None:
    """Head, members as they were read, spans with commas between them; its size is known before."""
    body = Body(head("é", b'"d"', [b'"id" : 1', b'"x":[ ]']), spans)
    start = '{"name":"é","description":"d","id" : 1,"x":[ ],"spans":['.encode()
    assert body.join() == start + b",".join(spans) + b"]}"
    assert body.size == len(body.join())
    assert head("a", b'""', []) == b'{"name":"a","description":"","spans":['


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", b'"plain"'),
        ('q"b\\n\n', b'"q\\"b\\\\n\\n"'),
        ("é€𝄞", '"é€𝄞"'.encode()),
        ("a\ud800b", b'"a?b"'),
        ("\x00", b'"\\u0000"'),
    ],
)
def test_text_becomes_json(value: str, written: bytes) -> None:
    """UTF-8, short, and valid whatever it holds."""
    assert text(value) == written


# -- anything ----------------------------------------------------------------------------------------------

Anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
Blanks = st.text(" \t\r\n", max_size=2)


@given(
    spans=st.lists(Anything | st.fixed_dictionaries({"spanContext": Anything, "startTime": st.text()})),
    members=st.dictionaries(st.text(), Anything, max_size=3),
    description=Anything,
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 1, "\t"]),
    blank=Blanks,
)
@example(spans=[], members={}, description="", ascii_only=True, indent=None, blank="")
def test_what_is_read_goes_back_as_it_stood(
    spans: list[Any], members: dict[str, Any], description: Any, ascii_only: bool, indent: Any, blank: str
) -> None:
    """Any flow, read and joined: every span and member has the same bytes and the same meaning."""

    def dump(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, indent=indent)

    members = {name: value for name, value in members.items() if name not in ("name", "description", "spans")}
    texts = [dump(value) for value in spans]
    fields = [f"{blank}{dump(name)}{blank}:{blank}{dump(value)}{blank}" for name, value in members.items()]
    fields.insert(len(fields) // 2, '"spans":' + blank + "[" + blank + f"{blank},".join(texts) + blank + "]")
    fields += ['"description":' + dump(description), '"name":"n"']
    source = (blank + "{" + ",".join(fields) + "}" + blank).encode("utf-8", "replace")

    stored = read(source, b"")
    assert [span.body for span in stored.spans] == [part.encode("utf-8", "replace") for part in texts]
    assert len({span.key for span in stored.spans}) == len(stored.spans)
    assert stored.description == dump(description).encode("utf-8", "replace")

    body = Body(head("n", stored.description, stored.members), [s.body for s in stored.spans]).join()
    again = read(body, b"")
    assert (again.members, again.spans) == (stored.members, stored.spans)
    assert loads(body) == loads(source)


HUGE = {
    "lists": b"[" + b",".join([b"[]"] * 1_100_000) + b"]",
    "objects": b"[" + b",".join([b"{}"] * 1_100_000) + b"]",
    "keys": b"[{" + b",".join([b'"":1'] * 1_100_000) + b"}]",
    "deep": b'[{"a":' + b"[" * 1_100_000 + b"]" * 1_100_000 + b"}]",
}


@pytest.mark.parametrize("spans", HUGE.values(), ids=HUGE)
def test_what_has_too_many_values_is_not_parsed(spans: bytes) -> None:
    """Each byte of it would cost 30 and more."""
    body = document(spans.decode())
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableFlow, match=f"^it has more values than a flow of {len(body)} bytes may"):
            read(body, b"")
        assert tracemalloc.get_traced_memory()[1] < 8 * len(body)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "has_too_many"),
    [
        (b"," * 20, False),  # too short for what is counted to be dear
        (b"," * 10 + b'"' * 22, False),
        (b"," * 20 + b" " * 300, False),  # one value for each 16 bytes
        (b'"' + b"," * 40 + b'"', False),  # in text; but who would look through so much of it?
        (b'"' + b"," * 41 + b'"', True),
        (b'"\\\\""' + b"," * 20 + b'"', False),
        (b'"\\"' + b"," * 20 + b'"', False),
        (b'""' * 9 + b'"' + b"," * 20 + b'"', False),
        (b'"' + b"," * 10 + b'"' + b"," * 10, False),
        (b'{"":' * 41, True),
    ],
)
def test_values_are_counted_by_what_stands_between_them(
    body: bytes, has_too_many: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commas and brackets that are not in text, where ten may be."""
    monkeypatch.setattr(stored_room, "MAX_VALUES", 10)
    with pytest.raises(UnreadableFlow) as raised:
        read(body, b"")
    assert str(raised.value).startswith("it has more values") is has_too_many


@pytest.mark.parametrize(("spans", "length", "most"), [(4, 0, 4), (5, 0, 4), (6, 384, 6), (7, 416, 6)])
def test_so_many_spans_are_read(spans: int, length: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four, and one for each 64 bytes of a larger flow."""
    monkeypatch.setattr(stored_room, "MAX_SPANS", 4)
    body = document(f"[{','.join(['0'] * spans)}]").ljust(length)
    with nullcontext() if spans <= most else pytest.raises(UnreadableFlow, match="more spans than are read"):
        read(body, b"")


def test_too_many_spans_are_not_read() -> None:
    """Small ones, each of which takes more memory here than there."""
    with pytest.raises(UnreadableFlow, match=r"^it has more spans than are read$"):
        flow("[" + ",".join(["0"] * 100_001) + "]")
    assert len(flow("[" + ",".join(["0"] * 1000) + "]").spans) == 1000


def test_commas_in_text_are_no_values() -> None:
    """A flow whose texts are full of them is read; quotes in them are no ends."""
    text = '{"a":"' + ',[{\\"\\\\' * 400_000 + '"}'
    assert flow(f"[{text}]").spans[0].body == text.encode()


@given(st.binary() | st.text().map(str.encode) | Anything.map(lambda value: json.dumps(value).encode()))
def test_anything_is_read_or_unreadable(body: bytes) -> None:
    """Nothing but a flow or the one exception comes out."""
    try:
        stored = read(body, b"")
    except UnreadableFlow:
        return
    assert {"name", "description", "spans"} <= set(loads(body))
    loads(Body(head("n", b'""', stored.members), [span.body for span in stored.spans]).join())
