"""What may be written as a setting, from where it is taken, and how a mistake is told."""

import copy
import datetime
import os
import pickle
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from opentelemetry.metrics import NoOpMeterProvider

from opentelemetry.exporter.versori_flow.settings import load as load_module
from opentelemetry.exporter.versori_flow.settings.load import (
    ConfigurationError,
    load_settings,
    unknown_variables,
)
from opentelemetry.exporter.versori_flow.settings.readers import Secret
from opentelemetry.exporter.versori_flow.settings.store import MEMORY
from opentelemetry.exporter.versori_flow.settings.table import SETTINGS, Settings

ULID = "01J9ZQ3V5T7XKM2C8WBYH4RDNE"
KEY = 'the-Key/with"marks+0123456789'
REQUIRED = {"api_key": KEY, "organisation_id": ULID, "project_id": ULID}


def load(**keywords: object) -> Settings:
    return load_settings(**{**REQUIRED, **keywords})


def problems(**keywords: object) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(**keywords)
    return caught.value.problems


def problem(**keywords: object) -> str:
    (only,) = problems(**keywords)
    return only


def test_a_keyword_wins_over_its_variable(monkeypatch):
    """A keyword wins, 0 and false too; None and blank text leave the word to the variable."""
    monkeypatch.setenv("VERSORI_FLOW_MIN_INTERVAL", "5")
    monkeypatch.setenv("VERSORI_FLOW_EXPORT_WAIT", "not looked at")
    monkeypatch.setenv("VERSORI_ALLOW_INSECURE", "true")
    loaded = load(min_interval=0, export_wait=3, allow_insecure=False)
    assert (loaded.min_interval, loaded.export_wait, loaded.allow_insecure) == (0.0, 3.0, False)
    assert load(min_interval=None, export_wait=3).min_interval == 5.0
    assert load(min_interval=" ", export_wait=3).min_interval == 5.0


def test_an_empty_variable_is_not_set(monkeypatch):
    """An empty variable is unset, as OpenTelemetry has it: defaults hold, and what is required is missing."""
    for row in SETTINGS:
        if row.variable:
            monkeypatch.setenv(row.variable, "")
    assert load() is not None
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert len(caught.value.problems) == 3


def test_every_problem_is_told_at_once(monkeypatch):
    """One error lists all that is wrong, each with its variable and its keyword."""
    monkeypatch.setenv("VERSORI_PROJECT_ID", "short")
    monkeypatch.setenv("VERSORI_FLOW_TIMEOUT", "0")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(headers="x-fine=1,no-equals,Host=h", max_spans="many", stroe="memory:")
    told = caught.value.problems
    for names in (
        "VERSORI_API_KEY (keyword api_key)",
        "VERSORI_API_KEY_FILE (keyword api_key_file)",
        "VERSORI_ORGANISATION_ID (keyword organisation_id)",
        "VERSORI_PROJECT_ID (keyword project_id)",
        "VERSORI_FLOW_MAX_SPANS (keyword max_spans)",
        "VERSORI_FLOW_TIMEOUT (keyword timeout)",
        "VERSORI_FLOW_HEADERS (keyword headers) item 2",
        "VERSORI_FLOW_HEADERS (keyword headers) item 3 is Host",
        "keyword 'stroe' is not a setting: write store",
    ):
        assert sum(names in text for text in told) == 1, (names, told)
    assert len(told) == 8
    assert all(text in str(caught.value) for text in told)
    assert isinstance(caught.value, ValueError)
    assert pickle.loads(pickle.dumps(caught.value)).problems == told


def test_unknown_variables(monkeypatch):
    """What looks like a variable of ours and is none is found, and named where its setting is missing."""
    for name in ("VERSORI_FLOW_TIMOUT", "VERSORI_FLOW_XYZZY_PLUGH", "VERSORI_ORGANIZATION_ID"):
        monkeypatch.setenv(name, ULID)
    monkeypatch.setenv("VERSORI_REGION", "eu")
    monkeypatch.setenv("VERSORI_FLOW_STORE", "memory:")
    assert unknown_variables() == {
        "VERSORI_FLOW_TIMOUT": "VERSORI_FLOW_TIMEOUT",
        "VERSORI_FLOW_XYZZY_PLUGH": unknown_variables()["VERSORI_FLOW_XYZZY_PLUGH"],
        "VERSORI_ORGANIZATION_ID": "VERSORI_ORGANISATION_ID",
    }
    assert "VERSORI_ORGANIZATION_ID is set" in problem(organisation_id=None)


REFUSED = {
    # It may be the key, pasted into the wrong variable.
    "project_id": [ULID[:-1], ULID + "A", "8" + ULID[1:], ULID[:-1] + "U", ULID[:-1] + "\u212a", KEY],
    "base_url": [
        *("h.example", "ftp://h.example", "https:///", "https:///path", "https://user@h.example"),
        *("https://user:hidden@h.example", "https://h.example?x=1", "https://h.example?"),
        *("https://h.example#x", "https://h.example:99999", "https://h.example:0", "https://h.example:x"),
        *("https://[::1", "https://[zz::1]", "https://[v1.x]", "https://300.1.1.1", "https://a..b"),
        *("https://bücher.example", "https://h.example\\@evil.example", "http://localhost\\.evil.example"),
        *("https://h.exam\nple", "https://h ost", f"https://{'a' * 64}.example"),
    ],
    "headers": [
        *("hidden", "=hidden", "x y=hidden", "x=hidden%0Ainjected", "x=hidden%E2%82%AC", "x=hidden,X=hidden"),
        *("X=hidden,x=hidden", {"x": 1}, {"x": None}, {1: "hidden"}, {"x": "hidden\r\ninjected: 1"}, 7, [7]),
        *([{"name": "x"}], [{"name": "x", "value": "hidden", "more": ""}], [("x", "hidden", "more")]),
        *([["x", "hidden"]], ["hidden"], "\udcff=hidden"),
        # What the exporter sets itself is not set twice.
        *(
            "authorization=x",
            {"Content-Type": "x"},
            "CONTENT-LENGTH=1",
            ["host=x"],
            {"Transfer-Encoding": "x"},
        ),
        *("Content-Encoding=x", "accept-encoding=x"),
    ],
    "resource_attributes": [[1], ["a", ""], [None], {"a": "b"}, 5, {"a", "b"}],
    "write_mode": ["append"],
    "compression": ["zstd"],
    "store": ["redis://:hidden@host/x"],
    "auth_scheme": ["Bearer token"],
    "allow_insecure": ["yes", 1],
    "meter_provider": ["global"],
    "flow_description": ["\ud800"],
    "flow_name": ["{", "}", "{a", "a}", "{}", "{ }", "{a}}", "{{a}", "{a{b}}", "{a}{"],
    # Each bound is its own, and seconds beyond a day are a mistaken unit.
    "timeout": [0, 1e12],
    "min_interval": [1e12],
    "export_wait": [1e12],
    "max_spans": [0, 1.5],
    "max_bytes": [1023],
}
NUMBERS = {
    "max_spans": 1,
    "max_bytes": 1024,
    "max_flows": 1,
    "min_interval": 0,
    "timeout": 0.001,
    "export_wait": 0,
}
NO_NUMBERS = [-1, "-0.5", True, "nan", float("nan"), "inf", 10**400, "9" * 5000, "ten", [1], {"a": 1}, b"1"]
TEXTS = ["api_key", "auth_scheme", "organisation_id", "flow_name", "flow_description", "write_mode", "store"]
TEXTS += ["base_url", "certificate", "api_key_file"]
NO_TEXTS = [5, 1.5, True, ["x"], {"service.name": None}, datetime.date(2026, 1, 1), b"x"]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [(keyword, value) for keyword, values in REFUSED.items() for value in values]
    + [(keyword, value) for keyword in NUMBERS for value in NO_NUMBERS],
)
def test_what_is_refused(keyword, value):
    """Whatever a setting does not take is one problem with its names and an advice, and is not quoted."""
    more = {"allow_insecure": True} if keyword == "base_url" else {}
    told = problem(**{**more, keyword: value})
    row = next(row for row in SETTINGS if row.keyword == keyword)
    assert told.startswith(f"{row.variable or keyword} (keyword {keyword}) ")
    _, _, what = told.partition(") ")
    assert any(
        advice in what for advice in ("write", "leave", "give", "quote", "name an", "must be a number")
    )
    assert "hidden" not in what
    assert not isinstance(value, str) or len(value) < 8 or value not in what


@pytest.mark.parametrize("value", NO_TEXTS)
@pytest.mark.parametrize("keyword", TEXTS)
def test_yaml_made_something_else_of_it(keyword, value):
    """Where text is meant, what YAML makes of unquoted text is refused with the advice to quote it."""
    told = problems(**{keyword: value})
    assert any(f"keyword {keyword}" in text and "quote it" in text for text in told)


def test_the_key_from_one_place(monkeypatch, tmp_path):
    """The key comes from one source: keywords before variables, and never a guess between two of a kind."""
    file = tmp_path / "key"
    file.write_text("from-file\n")
    monkeypatch.setenv("VERSORI_API_KEY_FILE", str(file))
    assert load(api_key=None).api_key is None
    assert load(api_key=None).api_key_file == str(file)
    assert load().api_key_file is None
    assert load().api_key == Secret(KEY)

    monkeypatch.setenv("VERSORI_API_KEY", "from-variable")
    assert load(api_key=None, api_key_file=file).api_key is None
    assert "both set" in problem(api_key=None)
    assert "both set" in problem(api_key_file=file)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("two\nlines", "line break"),
        ("a\x00b", "can't carry"),
        ("k\u20acy", "can't carry"),
        ("Bearer abc", "without"),
        (12345678, "quote it"),
        (b"bytes", "bytes"),
    ],
)
def test_a_key_that_no_header_can_carry(key, says, tmp_path):
    """A key is refused at once where it could never be sent, from code and from a file, and is not shown."""
    told = problem(api_key=key)
    assert says in told or says == "without"
    assert str(key) not in told
    if isinstance(key, str):
        file = tmp_path / "key"
        file.write_text(key, encoding="utf-8", newline="")
        told = problem(api_key=None, api_key_file=file)
        assert told.startswith("VERSORI_API_KEY_FILE")
        assert key not in told


def test_a_key_file_without_a_key(tmp_path):
    """The file must be there, be a file, be text and hold a key; its path is not shown, it may be the key."""
    empty, binary, long = tmp_path / "empty", tmp_path / "binary", tmp_path / "long"
    empty.write_text(" \n")
    binary.write_bytes(b"\xff\xfe\x00")
    long.write_text("k" * 70_000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing", tmp_path, empty, binary, long, pipe, "nul\0", "/dev/zero"):
        told = problem(api_key=None, api_key_file=path)
        assert told.startswith("VERSORI_API_KEY_FILE (keyword api_key_file) ")
        assert str(path) not in told


@pytest.mark.parametrize(
    "url",
    [
        *("https://h.example/api/v2", "HTTPS://h:8443", "http://localhost:8901", "http://127.9.9.9/x/y"),
        *("http://[::1]:80", "https://[2001:db8::1]/", "https://xn--bcher-kva.example/%7Eme//"),
        *("https://a_b.example/~x/%7E", "https://h.example."),
    ],
)
def test_a_base_url(url):
    """An https URL of any host and an http URL of this one are taken, as httpx takes them, less a last slash."""
    checked = load(base_url=url).base_url
    assert checked == url.rstrip("/")
    client = httpx.URL(checked + "/o/x")
    assert (client.host, client.raw_path) == (
        httpx.URL(url).host,
        httpx.URL(checked).raw_path.rstrip(b"/") + b"/o/x",
    )


@pytest.mark.parametrize(
    "url",
    [
        *("http://platform.versori.com", "http://localhost.evil.example", "http://127.0.0.1.example"),
        *("http://128.0.0.1", "http://0.0.0.0", "HTTP://[::2]"),
    ],
)
def test_the_key_does_not_travel_in_the_clear(url):
    """http to another host takes a word of its own."""
    assert "VERSORI_ALLOW_INSECURE" in problem(base_url=url)
    assert load(base_url=url, allow_insecure=True).base_url == url
    assert load(base_url=url, allow_insecure="True").allow_insecure is True
    assert "ALLOW_INSECURE (keyword" in problem(base_url=url, allow_insecure="ture")


@pytest.mark.parametrize(("keyword", "smallest"), NUMBERS.items())
def test_numbers(keyword, smallest):
    """A number is taken as one or as text, from its bound on."""
    assert getattr(load(**{keyword: smallest}), keyword) == smallest
    assert getattr(load(**{keyword: f" {smallest} "}), keyword) == smallest
    assert getattr(load(**{keyword: 2000.0}), keyword) == 2000
    assert type(getattr(load(**{keyword: 2000.0}), keyword)) is type(getattr(load(), keyword))


TWO_HEADERS = {"x-team": Secret("a,b"), "X-Other": Secret("c=d")}
NOOP = NoOpMeterProvider()
TAKEN = [
    # As it was written, without the space around it.
    *(("project_id", text, text.strip()) for text in (ULID, ULID.lower(), "7" * 26, f" {ULID}\n")),
    # As OTEL_EXPORTER_OTLP_HEADERS writes them, as a mapping and as YAML's lists.
    ("headers", "x-team=a%2Cb,X-Other=c=d", TWO_HEADERS),
    ("headers", " x-team = a%2Cb ,, X-Other=c=d ,", TWO_HEADERS),
    ("headers", {"x-team": "a,b", "X-Other": "c=d"}, TWO_HEADERS),
    ("headers", [{"name": "x-team", "value": "a,b"}, {"value": "c=d", "name": "X-Other"}], TWO_HEADERS),
    ("headers", ["x-team=a%2Cb", "X-Other=c=d"], TWO_HEADERS),
    ("headers", [("x-team", "a,b"), ("X-Other", "c=d")], TWO_HEADERS),
    # Once each and in order; an empty list means none.
    ("resource_attributes", "a, b ,a", ("a", "b")),
    ("resource_attributes", ",", ()),
    ("resource_attributes", ["a", "b", "a"], ("a", "b")),
    ("resource_attributes", ("a",), ("a",)),
    ("resource_attributes", [], ()),
    ("resource_attributes", {"a": None, "b": None}, ("a", "b")),
    # In any case; schemes that are not documented stay as they were written.
    *(
        ("write_mode", "REPLACE", "replace"),
        ("compression", "Gzip", "gzip"),
        ("allow_insecure", "False", False),
    ),
    *(
        ("auth_scheme", "bEARER\n", "Bearer"),
        ("auth_scheme", "JWT", "JWT"),
        ("auth_scheme", "ApiKey", "ApiKey"),
    ),
    *(
        ("base_url", "http://localhost:8901/", "http://localhost:8901"),
        ("store", "memory:", MEMORY),
        ("max_store_bytes", "1048576", 1 << 20),
    ),
    *(("flow_name", "a-{service.name}", "a-{service.name}"), ("flow_description", "a b", "a b")),
    *(("max_spans", "7", 7), ("max_bytes", "2048", 2048), ("max_flows", "3", 3), ("timeout", "2.5", 2.5)),
    *(("min_interval", "0", 0.0), ("export_wait", "0", 0.0), ("api_key", f"  {KEY}\n", Secret(KEY))),
    ("organisation_id", ULID.lower(), ULID.lower()),
    # What code alone can give.
    *(("flow_name", repr, repr), ("meter_provider", NOOP, NOOP)),
]


@pytest.mark.parametrize(("keyword", "value", "read"), TAKEN)
def test_what_is_taken(keyword, value, read, monkeypatch):
    """Each setting is read from every form that it may have, in code, in YAML and, if it is text, in a variable."""
    assert getattr(load(**{keyword: value}), keyword) == read
    if isinstance(value, str):
        (variable,) = [row.variable for row in SETTINGS if row.keyword == keyword]
        monkeypatch.setenv(variable, value)
        assert getattr(load(**{keyword: None}), keyword) == read
        assert unknown_variables() == {}


def test_every_setting_is_taken():
    """None is forgotten in the table: files have tests of their own."""
    files = {"api_key_file", "certificate", "client_certificate", "client_key"}
    assert {keyword for keyword, _, _ in TAKEN} == {row.keyword for row in SETTINGS} - files
    assert len({row.variable for row in SETTINGS}) == len(SETTINGS)


def test_certificates(tmp_path, monkeypatch):
    """Files must be there and hold PEM, and a key without its certificate is half a setting."""
    pem, other = tmp_path / "client.pem", tmp_path / "other"
    pem.write_text("a comment\n-----BEGIN CERTIFICATE-----\n")
    other.write_bytes(b"\x30\x82")
    loaded = load(certificate=pem, client_certificate=str(pem), client_key=pem)
    for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        monkeypatch.setenv(f"VERSORI_FLOW_{name}", str(pem))
    for one in (loaded, load()):
        assert (one.certificate, one.client_certificate, one.client_key) == (str(pem),) * 3
    assert "PEM" in problem(certificate=other)
    assert "can't be read" in problem(client_certificate=tmp_path / "missing")
    monkeypatch.delenv("VERSORI_FLOW_CLIENT_CERTIFICATE")
    assert "VERSORI_FLOW_CLIENT_CERTIFICATE" in problem(client_key=pem)


def test_a_program_that_goes_elsewhere(tmp_path, monkeypatch):
    """A path is meant from where the program was when it was read: daemons go to `/`, and files are read later too."""
    (tmp_path / "file").write_text("-----BEGIN CERTIFICATE-----")
    (tmp_path / "key").write_text(KEY)
    monkeypatch.chdir(tmp_path)
    loaded = load(api_key=None, api_key_file="key", certificate="file", client_certificate="./file")
    assert loaded.api_key_file == str(tmp_path / "key")
    assert (loaded.certificate, loaded.client_certificate) == (str(tmp_path / "file"),) * 2
    names = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
    options = load(store="rediss://h?" + "&".join(f"{name}=file" for name in names)).store.redis.options
    assert dict(options) == dict.fromkeys(names, str(tmp_path / "file"))
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert load(certificate=tmp_path / "file").certificate == str(tmp_path / "file")


def test_settings_may_come_as_a_mapping():
    """As for `dict`: a mapping, keywords, or both."""
    assert load_settings(REQUIRED) == load_settings({"api_key": KEY}, organisation_id=ULID, project_id=ULID)
    assert len(problems(keywords=1, given=2)) == 2


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.sampled_from("a=,:{}/%0h. \n[]@"))
    | st.binary()
    | st.dates()
    | st.sampled_from([ULID, KEY, "memory:", "true", "1", f"x={KEY}", f"https://{KEY}@h", "/dev/null", "."]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=5) | st.just("name") | st.integers(), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from([row.keyword for row in SETTINGS]) | st.text(max_size=8), YAML_VALUES, max_size=6
    ),
    st.booleans(),
)
@hypothesis_settings(suppress_health_check=list(HealthCheck))
def test_any_input_gives_settings_or_the_one_error(keywords, complete):
    """Whatever is given, settings or a ConfigurationError come out, and the key is in neither's text."""
    told: ConfigurationError | Settings
    try:
        told = load_settings(**{**(REQUIRED if complete else {}), **keywords})
    except ConfigurationError as error:
        told = error
    # Where the key is text like any other, such as a flow's name, it is shown like any other.
    open_text = {keyword: keywords.get(keyword) for keyword in ("flow_name", "flow_description")}
    open_text["resource_attributes"] = keywords.get("resource_attributes")
    if isinstance(told, ConfigurationError) or KEY not in repr(open_text):
        assert KEY not in repr(told)
        assert KEY not in str(told)
    assert isinstance(told, Settings) or told.problems


def test_secrets_are_in_no_text():
    """Neither key nor header values are in a repr, a str or an f-string, and no pickle is made of a key."""
    loaded = load(headers={"x-token": "header-secret"})
    for shown in (repr(loaded), str(loaded), f"{loaded.api_key}", f"{loaded.api_key!r}"):
        assert KEY not in shown
        assert "header-secret" not in shown
    assert loaded.api_key is not None
    assert loaded.api_key.reveal() == KEY
    assert loaded.api_key == Secret(KEY)
    assert loaded.api_key != Secret("another")
    assert loaded.api_key != KEY
    for write in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            write(loaded.api_key)
    with pytest.raises(TypeError):
        loaded.headers["x-token"] = "changed"  # type: ignore[index]


def test_only_settings_reads_the_environment():
    """No other module of the package looks at the environment."""
    package = Path(load_module.__file__).parents[1]
    readers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\bos\.environ\b|\bgetenv\b", path.read_text())
    }
    # The command passes the environment on to the program that it starts.
    assert {path for path in readers if not path.startswith(("command/", "server/"))} == {"settings/load.py"}
