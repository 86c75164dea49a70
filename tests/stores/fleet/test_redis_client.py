"""How a Redis is named, and how it is told what it refuses; no server is needed for that."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType, ModuleType

import pytest

from opentelemetry.exporter.versori_flow.settings.redis_url import parse
from opentelemetry.exporter.versori_flow.stores.connection import StoreError
from opentelemetry.exporter.versori_flow.stores.redis_client import RedisClient
from opentelemetry.exporter.versori_flow.stores.redis_errors import AwayError
from opentelemetry.exporter.versori_flow.stores.remarks import Remarks

from .conftest import added, join, span
from .redis_server import Answers

SECRET = "pa%20ss"


@pytest.mark.parametrize(
    ("url", "shown", "form", "tls", "options"),
    [
        ("redis://localhost", "redis://localhost:6379/0", "server", False, {}),
        (f"redis://me:{SECRET}@h:1/2", "redis://me:***@h:1/2", "server", False, {}),
        (f"redis://:{SECRET}@[::1]:7", "redis://:***@[::1]:7/0", "server", False, {}),
        ("redis://h?db=3", "redis://h:6379/3", "server", False, {}),
        (
            "rediss://me@h/1?ssl_ca_certs=/ca.pem&ssl_check_hostname=false",
            "rediss://me@h:6379/1",
            "server",
            True,
            {"ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False},
        ),
        (
            "rediss://h?ssl_cert_reqs=none",
            "rediss://h:6379/0",
            "server",
            True,
            {"ssl_cert_reqs": "none", "ssl_check_hostname": False},
        ),
        (f"unix://me:{SECRET}@/run/r.sock?db=2", "unix://me:***@/run/r.sock?db=2", "unix", False, {}),
        (
            f"redis+sentinel://:{SECRET}@a,b:9/main/1",
            "redis+sentinel://:***@a:26379,b:9/main/1",
            "sentinel",
            False,
            {},
        ),
        ("rediss+cluster://a:1,b", "rediss+cluster://a:1,b:6379", "cluster", True, {}),
    ],
)
def test_every_form_is_read_and_shown_without_its_password(url, shown, form, tls, options):
    """Text and repr name the place and the user, and never the password."""
    read = parse(url)
    assert (str(read), repr(read)) == (shown, shown)
    assert (read.form, read.tls, dict(read.options)) == (form, tls, options)
    assert (read.password.reveal() if read.password else None) == ("pa ss" if SECRET in url else None)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://h", "no known form"),
        ("redis:", "no usable host or port"),
        ("redis://:hunter2@", "no usable host or port"),
        ("redis://:hunter2@h:0", "no usable host or port"),
        ("redis://:hunter2@h:99999", "no usable host or port"),
        ("redis://:hunter2@h:x", "no usable host or port"),
        ("redis://:hunter2@[::1", "is not a URL"),
        ("redis://:hunter2@redis..example", "empty part"),
        (f"redis+cluster://:hunter2@a,{'b' * 64}.example", "over 63 characters"),
        ("redis://:hun/ter2@h", "percent-encode"),
        ("redis://:hun#ter2@h", "percent-encode"),
        ("redis://:hunter 2@h", "percent-encode"),
        ("redis://:hun?ter2@h", "not known"),
        ("redis://h?password=hunter2", "not known"),
        ("redis://:hunter2@h/first", "no number"),
        ("redis://:hunter2@a,b", "several hosts"),
        ("redis://:hunter2@h?ssl_ca_certs=/ca", "write rediss://"),
        ("rediss://:hunter2@h?ssl_cert_reqs=perhaps", "required, optional and none"),
        ("rediss://:hunter2@h?ssl_check_hostname=perhaps", "neither true nor false"),
        ("unix://:hunter2@", "names no socket"),
        ("unix://run/redis.sock", "before the path"),
        ("redis+sentinel://:hunter2@a", "names no service"),
        ("redis+cluster://:hunter2@a/1", "a cluster has none"),
    ],
)
def test_a_wrong_one_is_told_without_its_password(url, said):
    """What can't be read is a ValueError that says why, and holds nothing of the password."""
    with pytest.raises(ValueError, match=said) as raised:
        parse(url)
    assert "hun" not in str(raised.value)


@pytest.mark.parametrize("host", ["redis..example", "a" * 64])
def test_a_name_that_no_host_can_have_is_one_that_is_away(host):
    """As a Sentinel may give it: delivery goes on without the store."""
    client = RedisClient(parse("redis://h")._replace(hosts=((host, 6379),)), Remarks())
    with pytest.raises(AwayError, match="can't be reached"):
        client.ping()


def test_a_client_that_fails_by_itself_is_trouble(monkeypatch):
    """As where the program was forked while another thread imported redis-py; the password is not shown."""
    monkeypatch.setitem(sys.modules, "email.parser", ModuleType("email.parser"))  # half of it
    client = RedisClient(parse("redis://:hunter2@h"), Remarks())
    with pytest.raises(StoreError, match="redis-py fails by itself") as raised:
        client.ping()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("error", [MemoryError(), pytest.param(None, id="signal")])
def test_what_is_no_trouble_of_redis_is_raised(error):
    """No memory is a fault of the round that it comes in, and what a signal handler raises is the program's."""

    def command() -> None:
        if error:
            raise error
        signal.raise_signal(signal.SIGUSR1)

    def handler(number: int, frame: FrameType | None) -> None:
        raise LookupError

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(MemoryError if error else LookupError):
            RedisClient(parse("redis://h"), Remarks())._told(command)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_extra_is_named_where_it_is_missing():
    """Without redis-py one is told what to install; neither the package nor the URL's reader imports it."""
    program = """
import sys
sys.modules["redis"] = None
from opentelemetry.exporter.versori_flow.stores.fleet import Fleet
from opentelemetry.exporter.versori_flow.settings.redis_url import parse
from opentelemetry.exporter.versori_flow.stores.spool_file import Target
try:
    Fleet(parse("redis://h"), Target("b", "o", "p"), 1000, 1000)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "takes an extra: pip install 'opentelemetry-exporter-versori-flow[redis]'\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"-LOADING Redis is loading the dataset in memory", "it is loading its data"),
        (
            b"-READONLY You can't write against a read only replica.",
            "let VERSORI_FLOW_STORE name the primary",
        ),
        (b"-MASTERDOWN Link with MASTER is down", "has lost its primary"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.", "it is full"),
        (b"-MISCONF Redis is configured to save RDB snapshots", "can't save to its disk"),
        (b"-NOAUTH Authentication required.", "access is denied, it wants a password"),
        (b"-ERR Protocol error: unauthenticated multibulk length", "it wants a password"),
        (b"-WRONGPASS invalid username-password pair or user is disabled.", "correct VERSORI_FLOW_STORE"),
        (b"-NOPERM this user has no permissions to run the 'evalsha' command", "let its ACL have"),
        (b"-ERR The user executing the script can't run this command or subcommand", "let its ACL have"),
        (b"-MOVED 1234 127.0.0.1:7001", r"write redis\+cluster://"),
        (b"-CLUSTERDOWN The cluster is down", "its cluster is down"),
        (b"-BUSY Redis is busy running a script.", "busy with somebody's script"),
        (b"-ERR unknown command hunter2", r"unknown command \*\*\*"),
    ],
)
def test_what_redis_refuses_is_told_with_what_to_do(answer, said):
    """Each refusal is one error whose text has advice, the place and no password; all is wanted again."""
    with Answers(answer + b"\r\n") as server:
        fleet = join(f"redis://:hunter2@127.0.0.1:{server.port}")
        with pytest.raises(StoreError, match=said) as raised:
            fleet.put(added(span(1)))
    assert str(raised.value).startswith(f"redis://:***@127.0.0.1:{server.port}/0: ")
    assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__} {raised.value.__context__}"
    assert fleet.wants_all
