"""The key in use: from its file, by its scheme, and out of every text."""

import base64
import html
import json
import os
import threading
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentelemetry.exporter.versori_flow.http.credentials import Credentials
from opentelemetry.exporter.versori_flow.settings.load import ConfigurationError, load_settings

ULID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
MISSING = "names a file that can't be read (No such file or directory): write the path of a readable one"
FILE = "VERSORI_API_KEY_FILE (keyword api_key_file) "
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2ln_-bmF0dXJl"


def credentials(**keywords: object) -> Credentials:
    return Credentials(load_settings(organisation_id=ULID, project_id=ULID, **keywords))


@pytest.mark.parametrize(
    ("key", "set_as", "scheme"),
    [
        (JWT, None, "JWT"),
        *(
            (key, None, "Bearer")
            for key in (
                "plain-key", "eyJhbGciOiJSUzI1NiJ9", "eyJh.eyJz.", "eyJh..c2ln", "eyJh.eyJz.c2ln.more",
                "eyJh.eyJz.c2/n", "abc.def.ghi",
            )
        ),
        (JWT, "bearer", "Bearer"),
        ("k", "ApiKey", "ApiKey"),
    ],
)  # fmt: skip
def test_the_scheme_by_the_keys_form(key, set_as, scheme):
    """A key in three parts of base64url, the first of JSON, is a JWT, any other a bearer token; what is set holds."""
    current = credentials(api_key=key, **({"auth_scheme": set_as} if set_as else {}))
    assert current.authorization().reveal() == f"{scheme} {key}"


@pytest.fixture
def file(tmp_path):
    """A file with the key that the credentials begin with."""
    path = tmp_path / "key"
    path.write_text("first")
    return path


def test_a_file_that_changes(file, monkeypatch):
    """A key file is read when it changes, not between; the scheme follows the new key."""
    file.write_text("\ufefffirst\r\n", encoding="utf-8")
    current = credentials(api_key_file=file)
    assert current.authorization().reveal() == "Bearer first"
    file.write_text(JWT)
    assert current.authorization().reveal() == f"JWT {JWT}"
    assert current.take_problem() is None

    def reading(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("opentelemetry.exporter.versori_flow.http.credentials.read_key_file", reading)
    assert current.authorization().reveal() == f"JWT {JWT}"


def test_a_file_that_is_exchanged(file, tmp_path):
    """A file put in the old one's place is a change, even with its size and time (Kubernetes does so)."""
    other, status = tmp_path / "other", file.stat()
    current = credentials(api_key_file=file)
    other.write_text("secnd")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(file)
    assert current.authorization().reveal() == "Bearer secnd"


def test_reread_ignores_the_stamp(file):
    """After a refusal the file is read even if it looks unchanged; the answer says whether that helped."""
    current = credentials(api_key_file=file)
    assert current.reread() is False
    status = file.stat()
    file.write_text("secnd")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert current.authorization().reveal() == "Bearer first"
    assert current.reread() is True
    assert current.authorization().reveal() == "Bearer secnd"
    assert current.reread() is False


def test_reread_by_the_second_that_was_refused(file):
    """Two flows are refused with the old key; the second learns of the new one that the first found."""
    current = credentials(api_key_file=file)
    refused = current.authorization()
    file.write_text("a second")
    assert current.reread(refused) is True
    assert current.reread(refused) is True
    assert current.reread(current.authorization()) is False
    assert credentials(api_key="k").reread() is False  # a key from a variable stays what it is


@pytest.mark.parametrize("fault", ["missing", "empty", "two lines", "directory", "binary"])
def test_a_file_that_became_unusable(tmp_path, fault):
    """The last good key stays in use and the problem is told, without the key, until the file is good."""
    file = tmp_path / "key"
    file.write_text("first-key")
    current = credentials(api_key_file=file)
    file.unlink()
    if fault == "empty":
        file.touch()
    elif fault == "two lines":
        file.write_text("half-a-key\nmore")
    elif fault == "directory":
        file.mkdir()
    elif fault == "binary":
        file.write_bytes(b"\xff\xff")
    assert current.authorization().reveal() == "Bearer first-key"
    problem = current.take_problem()
    assert problem.startswith(FILE)
    assert "last good key" in problem
    assert not any(key in problem for key in ("first-key", "half-a-key"))
    assert current.reread() is False

    if fault == "directory":
        file.rmdir()
    file.write_text("next-key")
    assert current.authorization().reveal() == "Bearer next-key"
    assert current.take_problem() is None


def test_a_problem_is_told_once(file, tmp_path):
    """Each trouble with the file is told once, until it is another or over; the same file again is none."""
    away = tmp_path / "away"
    current = credentials(api_key_file=file)
    told = []
    for change in (
        lambda: None,
        lambda: file.rename(away),
        lambda: None,
        file.touch,
        lambda: away.rename(file),
        lambda: file.rename(away),
    ):
        change()
        assert current.authorization().reveal() == "Bearer first"
        told.append(current.take_problem())
    assert [problem and problem.split(";")[0].removeprefix(FILE) for problem in told] == [
        None,
        MISSING,
        None,
        "names a file whose content is empty: write the key",
        None,
        MISSING,
    ]


def test_a_file_that_vanishes_before_the_first_read(file):
    """Without any good key there is nothing to go on with."""
    loaded = load_settings(organisation_id=ULID, project_id=ULID, api_key_file=file)
    file.unlink()
    with pytest.raises(ConfigurationError, match="VERSORI_API_KEY_FILE"):
        Credentials(loaded)


def test_threads_see_whole_keys(tmp_path):
    """While the file changes, every thread gets a key that was in it once, and all end with the last."""
    file, next_file = tmp_path / "key", tmp_path / "next"
    file.write_text("key-0")
    current = credentials(api_key_file=file)
    seen: set[str] = set()
    failures: list[BaseException] = []
    over = threading.Event()

    def use() -> None:
        try:
            while not over.is_set():
                header = current.authorization()
                seen.add(header.reveal())
                assert header.reveal() not in current.redact(header.reveal())
                current.reread(header)
                time.sleep(0)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(1, 30):
        next_file.write_text(f"key-{number}")
        next_file.replace(file)
    over.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert seen <= {f"Bearer key-{number}" for number in range(30)}
    assert current.authorization().reveal() == "Bearer key-29"


def spellings(secret: str) -> list[str]:
    raw = secret.encode()
    return [
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret.islower() else quote(secret),
        quote(quote(secret, safe=""), safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        repr(secret)[1:-1],
        html.escape(secret),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
        base64.b64encode(secret.encode("latin-1")).decode(),
        base64.b64encode(b"u:" + raw).decode()[3:],
        base64.b64encode(b"me:" + raw).decode()[4:],
    ]


def test_redact_every_spelling():
    """A key is taken out of a text as it is and as URLs, JSON, Python, HTML and base64 spell it."""
    for secret in ("a/b+c d\"e\\f&g<h'i~é", "sk_live-0123.456", "x/y+z=="):
        current = credentials(api_key=secret)
        for spelt in spellings(secret):
            redacted = current.redact(f"before {spelt} after")
            assert redacted == "before *** after", (spelt, redacted)


def test_redact_a_key_of_backslashes():
    """Escapes of a key that is full of them are found, and a text full of them is soon done with."""
    key = "a\\\\b" + "\\" * 30 + "c"
    current = credentials(api_key=key)
    for spelt in (key, json.dumps(key)[1:-1], json.dumps(json.dumps(key))[3:-3], quote(key)):
        assert current.redact(f"before {spelt} after") == "before *** after"
    assert current.redact("a\\b" + "\\" * 5_000) == "a\\b" + "\\" * 5_000


@pytest.mark.parametrize("key", ["'quoted\"", "\\\\share/x", "\\/\\/\\/\\/x", "+/=%&x", "k\\ey"])
def test_redact_takes_no_longer_for_hostile_text(key):
    """A text is gone through once, whatever it repeats: long runs of escapes cost about what letters cost."""
    current = credentials(api_key=key)

    def cost(unit: str) -> float:
        text = (unit * 20_000)[:20_000]
        began = time.process_time()
        assert current.redact(text) == text
        return time.process_time() - began

    usual = max(cost("a "), cost("a "))
    alike = [
        *'\\%&"=/+',
        '\\"',
        "\\\\/",
        "\\u005c",
        "%25",
        "%5c",
        "%255c",
        "%25255c",
        "&#0",
        "&#x00",
        "&#092;",
        "&amp;",
    ]
    runs = ("\\" * 999 + "/", "%5c" * 99 + "/", "k" + "\\" * 999)
    for unit in (*alike, *runs, f"{key[:-1]}\\", f"{key[:-1]}%5c"):
        assert cost(unit) < 200 * usual + 0.1, unit


@pytest.mark.parametrize(
    ("key", "header", "text", "shown"),
    [
        ("api", "platform", "no connection to api.platform.test:443", None),
        ("form", "test", "certificate verify failed: API.platform.TEST is not trusted", None),
        ("key-1", "platform", "at x.api.platform.test: platform key-1", "at x.api.platform.test: *** ***"),
        ("api.platform.test", "long", "api.platform.test", None),
        ("api.platform.test/key", "long", "see api.platform.test/key", "see ***"),
        ("x-api.platform.test", "long", "see x-api.platform.test", "see ***"),
        ("platform", "long", "platform.test api.platform.tes", "***.test api.***.tes"),
        ("sk-012345", "long-value", "HTTP 422 yes: spans[3].name is wrong {\"sk\": 1, 'long': 2}", None),
    ],
)  # fmt: skip
def test_redact_leaves_the_rest(key, header, text, shown):
    """What is no secret stays; no secret tears a hole into the platform's host, one that holds the host goes whole."""
    current = credentials(api_key=key, headers={"x": header}, base_url="https://api.platform.test/v2")
    assert current.redact(text) == (shown or text)


def test_redact_headers_and_former_keys(file):
    """Header values and former keys, up to a bound, are as secret; short header values are mere words."""
    file.write_text("first-key")
    current = credentials(api_key_file=file, headers={"x-token": "header secret", "x-one": "yes"})
    file.write_text("first-key-and-more")
    current.authorization()
    text = "first-key first-key-and-more header%20secret header+secret yes"
    assert current.redact(text) == "*** *** *** *** yes"
    for number in range(100, 140):
        file.write_text(f"key-{number}{'x' * (number % 7)}")
        current.reread()
    assert current.redact("key-139xxxxxx") == "***"
    assert current.redact("first-key") == "first-key"


LATIN_1 = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, categories=["L", "N", "P", "S"]), min_size=4
)


@given(LATIN_1.filter(lambda key: key.strip()), st.text(), st.text())
def test_redact_any_key_anywhere(key, before, after):
    """Whatever the key and whatever stands around it, the key is gone from the text."""
    current = credentials(api_key=key)
    for spelt in (key, quote(key, safe=""), json.dumps(key)):
        assert key == "***" or key not in current.redact(before + spelt + after).replace("***", "\n")


HOSTILE = st.lists(st.sampled_from([*'\\/"%&;<+=ux025cé', "%5c", "%25", "&#92;"])).map("".join)


@settings(deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_redact_an_escaped_key_between_escapes(middle, before, after):
    """However alike a key, its spelling and what stands around them: what only the key has is gone with it."""
    key = f"{middle}SECRET{middle}"
    current = credentials(api_key=key)
    *texts, _, _, _, _, _ = spelt = spellings(key)
    for text in (*spelt, *(text * 2 for text in texts)):  # base64 needs something between
        shown = current.redact(before + text + after)
        assert not any(part in shown for part in ("SECRET", text)), (before + text + after, shown)
