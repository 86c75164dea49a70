"""However the command ends, it is by a status that is documented and at most a line: never by a traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.command.launch import local_credentials
from opentelemetry.exporter.versori_flow.server import LocalPlatform
from tests.command.test_cli import CLEAN, COMMAND, PATIENCE, versori_flow
from tests.server.platform_client import make_flow, make_span

SUBCOMMANDS = (
    "run", "serve", "list", "show", "tail", "diff", "export", "delete", "demo", "doctor", "gateway", "push", "store",
)  # fmt: skip


def test_help_has_examples_and_exit_statuses() -> None:
    """-h is --help; it names each subcommand, how it can end, completion, and examples."""
    done = versori_flow("-h")
    assert done.stdout == versori_flow("--help").stdout
    for word in (*SUBCOMMANDS, "Exit status:", "126", "127", "130", "Examples:", "--install-completion"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "words", [*SUBCOMMANDS, *(f"store {word}" for word in ("list", "show", "drain", "drop"))]
)
def test_each_help_has_examples(words: str) -> None:
    """They begin as what is asked about, a line each."""
    shown = versori_flow(*words.split(), "-h").stdout.partition("  Examples:\n")[2].splitlines()
    assert shown
    assert all(f"{line} ".startswith(f"    versori-flow {words} ") for line in shown)


def test_a_store_may_have_space_around_it(tmp_path: Path) -> None:
    """As for the exporter, in an option and in the variable; blank is not given."""
    url = f" sqlite://{tmp_path}/spool\n"
    for words, variable in (["--store", url], " "), (["--store", " "], url), ([], url):
        done = versori_flow("store", "list", *words, VERSORI_FLOW_STORE=variable)
        assert (done.returncode, done.stdout) == (0, "nothing waits\n"), done.stderr
    done = versori_flow("store", "list", "--store", " ", VERSORI_FLOW_STORE="\t")
    assert (done.returncode, "no store is named" in done.stderr) == (1, True)


def test_completion() -> None:
    """A shell that asks is told the subcommands."""
    done = versori_flow(
        "", _VERSORI_FLOW_COMPLETE="complete_bash", COMP_WORDS="versori-flow s", COMP_CWORD="1"
    )
    assert {"serve", "show", "store"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command"),
        (["show"], "(versori-flow show -h says more)"),
        (["serve", "--port", "x"], "'--port'"),
        (["show", "x", "--traces", "0"], "'--traces'"),
        (["store", "drop", "--nonsense"], "--nonsense"),
        (["export", "x", "--format", "xml"], "'--format'"),
    ],
)
def test_misuse_is_one_line(words: list[str], said: str) -> None:
    """What is not written as it should be is one line with what to do, and status 2."""
    done = versori_flow(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert said in done.stderr


@pytest.mark.parametrize("words", [["show", "x"], ["tail"], ["delete", "x"], ["run", "true"]])
def test_an_address_that_is_no_url_is_one_line(words: list[str]) -> None:
    """It names the variable and the option."""
    done = versori_flow(*words, VERSORI_API_BASE_URL="http://[::1")
    said = "versori-flow: the address (VERSORI_API_BASE_URL or --base-url) is not a URL: "
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(said)


@pytest.fixture(scope="module")
def variables() -> object:
    """The environment beside a platform that has a large flow, and a small one."""
    with LocalPlatform(key="local") as platform:
        names = [f"größe → {n} ✓" for n in range(3000)]
        spans = [
            make_span(name, spanContext={"traceId": f"{n:032x}", "spanId": f"{n:016x}", "traceFlags": 1})
            for n, name in enumerate(names, 1)
        ]
        platform.put("large", make_flow(*spans, name="large"))
        platform.put("small", make_flow(*spans[:3], name="small"))
        yield local_credentials(platform.url)


@pytest.mark.parametrize("words", [["show", "large", "--all"], ["export", "large"], ["list"], ["-h"]])
def test_a_pipe_that_closes(variables: dict[str, str], words: list[str]) -> None:
    """`| head` ends it without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, *words], env={**CLEAN, **variables}, stdin=subprocess.DEVNULL, stdout=writing,
        stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_terminal_that_lacks_characters(variables: dict[str, str], encoding: str) -> None:
    """What it can't show is escaped, in trees, lists and complaints."""
    for words in (["show", "large"], ["show", "größer →"], ["diff", "large"]):
        done = subprocess.run(
            [*COMMAND, *words], env={**CLEAN, **variables, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == (words[1:] == ["größer →"]), done.stderr
        assert b"Traceback" not in done.stderr
        if words[0] == "show":
            assert b"\\u2192" in done.stdout + done.stderr


def shell(words: list[str], redirection: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The command, with streams as a shell gives them."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *words], env={**CLEAN, **variables},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("stdin", ["<&-", "0>/dev/null", "</dev/null"])
def test_nobody_answers(variables: dict[str, str], tmp_path: Path, stdin: str) -> None:
    """What asks does nothing where standard input is closed or can't be read; what does not ask needs none."""
    done = shell(["delete", "small"], stdin, **variables)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.endswith("versori-flow: it was not answered, so nothing was done\n")
    assert shell(["show", "small"], stdin, **variables).returncode == 0
    run = ["run", "--port", "0", "--service-name", "x", "--", sys.executable, "-c", "print('ran')"]
    done = shell(run, stdin)
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr


@pytest.mark.parametrize(
    "words", [["list"], ["show", "small"], ["export", "large"], ["doctor"], ["-h"], ["serve"], ["gateway"]]
)
def test_an_output_that_takes_nothing(variables: dict[str, str], words: list[str]) -> None:
    """A full disk is what is said, and the status is 1."""
    port = ["--port", "0"] if words[0] in ("serve", "gateway") else []
    done = shell([*words, *port], ">/dev/full", **variables)
    assert (done.returncode, done.stderr) == (1, "versori-flow: standard output: No space left on device\n")


def test_a_remark_that_nobody_can_read(variables: dict[str, str]) -> None:
    """Where standard error takes nothing, the command does all the same what it is for."""
    done = shell(["run", "--", sys.executable, "-c", "print('ran')"], "2>/dev/full", **variables)
    assert (done.returncode, done.stdout) == (0, "ran\n")


@pytest.mark.parametrize("words", [["tail"], ["tail", "large", "--json"], ["demo", "--port", "0"]])
@pytest.mark.parametrize("said", [False, True])
def test_ctrl_c_at_any_moment(variables: dict[str, str], words: list[str], said: bool) -> None:
    """While the client is being imported, and while it waits: no traceback, and what a shell calls 130."""
    with subprocess.Popen(
        [*COMMAND, *words], env={**CLEAN, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as command:  # fmt: skip
        assert command.stderr is not None
        first = ""
        if said:
            first = command.stderr.readline()
        else:
            maps = Path(f"/proc/{command.pid}/maps")
            end = time.monotonic() + PATIENCE
            while "libssl" not in maps.read_text() and command.poll() is None and time.monotonic() < end:
                time.sleep(0.005)
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=PATIENCE)
    assert command.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in first + errors


IMPORTS = """
import os, signal, sys
script, when = sys.argv[1:]
class Interrupts:
    def find_spec(self, name, *_):
        if name == when:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
module, _, name = script.partition(":")
sys.argv[1:] = ["--version"]
getattr(__import__(module, fromlist=[name]), name)()
"""


@pytest.mark.parametrize(
    "module", ["opentelemetry.exporter.versori_flow", "opentelemetry.sdk.trace", "typer"]
)
def test_ctrl_c_while_the_script_imports(module: str) -> None:
    """The console script says nothing when it is interrupted in the middle of its imports."""
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    script = re.search(r'^versori-flow = "(.*)"$', project, re.M)
    assert script is not None
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, script[1], module], capture_output=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
