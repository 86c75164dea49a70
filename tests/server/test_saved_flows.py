"""What a local platform keeps in a folder: whole or not there, private, and for one platform at a time."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from opentelemetry.exporter.versori_flow.server import LocalPlatform
from opentelemetry.exporter.versori_flow.server.platform import ORGANISATION_ID, PROJECT_ID
from opentelemetry.exporter.versori_flow.server.replies import ApiError
from tests.server.platform_client import Project, make_flow

NAMES = ["a/b", "..", "A", "a", "con", "ü" * 200, "x" * 300, "x" * 300 + "y", " ", "%41"]


def test_a_folder_keeps_flows_over_restarts(tmp_path: Path) -> None:
    """With a folder, flows of any name come back with their bytes, ids and order; deleted ones don't."""
    with LocalPlatform(data=tmp_path) as platform, Project(platform) as project:
        stored = {name: project.put(name, make_flow(name=name)).content for name in NAMES}
        project.put("gone", make_flow())
        project.delete("gone")
    with LocalPlatform(data=tmp_path) as platform, Project(platform) as project:
        assert {name: platform.raw(name) for name in platform.names()} == stored
        assert platform.names() == NAMES
        again = project.put("a", make_flow()).json()
        assert again["id"] == json.loads(stored["a"])["id"]
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


def file_of(folder: Path) -> Path:
    (path,) = folder.glob("*.flow")
    return path


def as_by_version_01(path: Path) -> bytes:
    """Writes the file as version 0.1 did, without the line that checks the rest, and returns what it holds."""
    path.write_bytes(path.read_bytes().partition(b"\n")[2])
    return path.read_bytes()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_folder_and_files_are_private(tmp_path: Path, umask: int) -> None:
    """Under any umask the folders that are made have mode 0700, and all files in them 0600."""
    before = os.umask(umask)
    try:
        with LocalPlatform(data=tmp_path / "more" / "flows") as platform:
            platform.put("shop", make_flow())
    finally:
        os.umask(before)
    for path in (tmp_path / "more").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert stat.S_IMODE((tmp_path / "more").stat().st_mode) == 0o700


@pytest.mark.parametrize("shared", [False, True])
def test_a_folder_of_version_01_is_read_and_made_private(tmp_path: Path, shared: bool) -> None:
    """Its flows come back byte for byte; a folder that holds other things too keeps its mode."""
    with LocalPlatform(data=tmp_path) as platform:
        platform.put("shop", make_flow())
        stored = platform.raw("shop")
    as_by_version_01(file_of(tmp_path))
    file_of(tmp_path).chmod(0o644)
    tmp_path.chmod(0o755)
    (tmp_path / f"shop-{'0' * 16}.tmp").write_bytes(b"begun")
    if shared:
        (tmp_path / "mine.txt").touch()
    for _ in range(2):
        with LocalPlatform(data=tmp_path) as platform:
            assert platform.raw("shop") == stored
            platform.put("other", make_flow())
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.flow")} == {0o600}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == (0o755 if shared else 0o700)
    assert list(tmp_path.glob("*.tmp")) == []


def _about(path: Path, **members: str) -> None:
    """Changes what an old file, which has no checksum, says about its flow."""
    head, _, raw = as_by_version_01(path).partition(b"\n")
    about = {name: json.dumps(value) for name, value in json.loads(head).items()} | members
    text = ",".join(f'"{name}":{value}' for name, value in about.items())
    path.write_bytes(f"{{{text}}}\n".encode() + raw)


def _replaced(path: Path, make: object) -> None:
    path.unlink()
    make(path)  # type: ignore[operator]


DAMAGE = {
    "torn": lambda path: os.truncate(path, path.stat().st_size - 1),
    "torn early": lambda path: os.truncate(path, 30),
    "empty": lambda path: os.truncate(path, 0),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "changed": lambda path: path.write_bytes(path.read_bytes().replace(b'"spans"', b'"Spans"')),
    "changed head": lambda path: path.write_bytes(b"0" + path.read_bytes()[1:]),
    "another name": lambda path: path.write_bytes(
        path.read_bytes().replace(b'"name": "shop"', b'"name": "show"')
    ),
    "old and torn": lambda path: path.write_bytes(as_by_version_01(path)[:-1]),
    "deep": lambda path: path.write_bytes(b"[" * 100_000 + b"\n{}"),
    "no object": lambda path: path.write_bytes(b"[]\n{}"),
    "no text": lambda path: path.write_bytes(b"\xff\n{}"),
    "a number of 400 digits": lambda path: _about(path, changed_at="9" * 400),
    "a number of 5000 digits": lambda path: _about(path, changed_at="9" * 5000),
    "infinity": lambda path: _about(path, changed_at="1e999"),
    "a year beyond": lambda path: _about(path, changed_at="1e300"),
    "no id": lambda path: _about(path, id='"x"'),
    "id of another type": lambda path: _about(path, id="[]"),
    "name of another type": lambda path: _about(path, name="[]"),
    "FIFO": lambda path: _replaced(path, os.mkfifo),
    "folder": lambda path: _replaced(path, os.mkdir),
    "link": lambda path: _replaced(path, lambda link: os.symlink("/dev/zero", link)),
    "huge": lambda path: os.truncate(path, 1 << 40),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture, damage) -> None:
    """It is named in a line, kept under another name, never served, and the start and all else works."""
    with LocalPlatform(data=tmp_path) as platform:
        platform.put("shop", make_flow(more=1))
    shop = file_of(tmp_path)
    with LocalPlatform(data=tmp_path) as platform:
        platform.put("whole", make_flow())
    damage(shop)
    for _ in range(2):
        with LocalPlatform(data=tmp_path) as platform, Project(platform) as project:
            assert [flow["name"] for flow in project.list().json()["flows"]] == ["shop"]
            assert platform.names() == ["whole"]
            assert project.get("shop").status_code == 404
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    (aside,) = tmp_path.glob("*.damaged-*")
    assert shop.name in line
    assert aside.name in line
    with LocalPlatform(data=tmp_path) as platform:
        platform.put("shop", make_flow())
    assert aside.is_symlink() or aside.exists()


@pytest.mark.parametrize(
    "copied_to",
    [b"a\xff\x1b[2J\n.flow", b"{stem}.copy.flow", b"{stem} (2).flow"],
    ids=["named anew", "dot", "2"],
)
def test_a_copied_file_is_no_flow(tmp_path: Path, caplog: pytest.LogCaptureFixture, copied_to: bytes) -> None:
    """A copy under any other name is set aside, named as text for a terminal, and undoes no delete."""
    with LocalPlatform(data=tmp_path) as platform:
        platform.put("shop", make_flow())
        stored = platform.raw("shop")
    name = copied_to.replace(b"{stem}", os.fsencode(file_of(tmp_path).stem))
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(file_of(tmp_path).read_bytes())
    with LocalPlatform(data=tmp_path) as platform:
        assert platform.raw("shop") == stored
        assert platform.delete("shop")
    with LocalPlatform(data=tmp_path) as platform:
        assert platform.names() == []
    (record,) = caplog.records
    assert "copy" in record.getMessage()
    assert record.getMessage().isprintable()


@contextlib.contextmanager
def limited(folder: Path) -> Iterator[None]:
    """No file can grow beyond 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """The file system takes no further byte."""
    with (folder.parent / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"x" * 4096)
    try:
        yield
    finally:
        (folder.parent / "filler").unlink()


@pytest.fixture(params=["limit", "disk"])
def full_disk(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Path, AbstractContextManager[None]]]:
    """A folder, and what fills the disk that it is on: a true one where this user may mount it."""
    folder = tmp_path / "flows"
    if request.param == "limit":
        yield folder, limited(folder)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a disk, and not everywhere")
    try:
        yield folder, full(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_keeps_the_old_version(full_disk: tuple[Path, AbstractContextManager[None]]) -> None:
    """The answer is 507 and says so, the old flow stays, what was begun is removed, and a delete works."""
    folder, no_space = full_disk
    with LocalPlatform(data=folder) as platform, Project(platform) as project:
        stored = project.put("shop", make_flow()).content
        with no_space:
            for name in ("shop", "new"):
                answer = project.put(name, make_flow(more="x" * 5000))
                assert (answer.status_code, answer.json()["code"]) == (507, "no_space")
                assert "no space" in answer.json()["message"]
            with pytest.raises(ApiError, match="no space"):
                platform.put("shop", b"x" * 5000)
            assert project.get("shop").content == stored
            assert project.get("new").status_code == 404
            assert list(folder.glob("*.tmp")) == []
            assert project.delete("shop").status_code == 204
        assert project.put("shop", make_flow(more="x" * 5000)).status_code == 200


def test_a_folder_that_takes_no_file_is_said_at_the_start(tmp_path: Path) -> None:
    """The platform is not made, and the error names the folder."""
    for path, number in ((tmp_path / "file", errno.ENOTDIR), (Path("/proc/flows"), errno.ENOENT)):
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match=path.name) as caught:
            LocalPlatform(data=path / "flows")
        assert caught.value.filename == str(path / "flows")
        assert caught.value.errno == number


def test_a_read_only_folder_is_said_at_the_start(tmp_path: Path) -> None:
    """Also where the folder was written to before, and to its owner: the error names it, its mode stays."""
    LocalPlatform(data=tmp_path).close()
    if os.getuid() == 0:
        # Root may write anywhere: another user owns it, and the child becomes that one.
        for folder in tmp_path.parents[:2]:
            folder.chmod(0o755)
        for path in (tmp_path / ".lock", tmp_path):
            os.chown(path, 65534, 65534)
    tmp_path.chmod(0o500)
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            LocalPlatform(data=tmp_path)
        except OSError as error:
            os._exit(0 if (error.errno, error.filename) == (errno.EACCES, str(tmp_path)) else 2)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o500
    tmp_path.chmod(0o700)


def test_a_second_platform_is_refused(tmp_path: Path) -> None:
    """In this process and by `serve`: the line names the folder and who has it; then the folder is free."""
    with LocalPlatform(data=tmp_path):
        with pytest.raises(OSError, match=f"process {os.getpid()}"):
            LocalPlatform(data=tmp_path)
        command = [sys.executable, "-m", "opentelemetry.exporter.versori_flow", "serve", "--port", "0"]
        done = subprocess.run([*command, "--data", str(tmp_path)], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert str(tmp_path) in done.stderr
        assert f"process {os.getpid()}" in done.stderr
    LocalPlatform(data=tmp_path).close()


@pytest.mark.skipif(sys.platform != "linux", reason="finds the lock in /proc")
def test_a_closed_folder_is_free_while_programs_are_started(tmp_path: Path) -> None:
    """Also where another process lives that has inherited its lock, as each has for a moment when it is made."""
    platform = LocalPlatform(data=tmp_path)
    lock = next(
        int(name)
        for name in os.listdir("/proc/self/fd")
        if os.path.realpath(f"/proc/self/fd/{name}") == str(tmp_path / ".lock")
    )
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]) as other:
        with pytest.raises(OSError, match="has it"):
            LocalPlatform(data=tmp_path)
        platform.close()
        try:
            LocalPlatform(data=tmp_path).close()
        finally:
            other.communicate(b"\n")


def test_a_change_is_on_disk_before_it_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is on disk before it has its name, and the folder after each change of a name."""
    done: list[str] = []
    for name in ("fsync", "replace", "unlink"):
        real = getattr(os, name)

        def noted(*arguments: object, _name: str = name, _real=real, **keywords: object) -> None:
            _real(*arguments, **keywords)
            folder = _name == "fsync" and stat.S_ISDIR(os.fstat(arguments[0]).st_mode)  # type: ignore[arg-type]
            done.append("fsync of the folder" if folder else _name)

        monkeypatch.setattr(os, name, noted)
    with LocalPlatform(data=tmp_path) as platform, Project(platform) as project:
        for change, steps in (
            (lambda: project.put("shop", make_flow()), ["fsync", "replace"]),
            (lambda: project.delete("shop"), ["unlink"]),
        ):
            done.clear()
            assert change().is_success
            assert done == [*steps, "fsync of the folder"]


def test_a_slow_disk_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a PUT and then a DELETE wait for the disk, other requests are answered."""
    slow, written = threading.Event(), threading.Event()
    sync = os.fsync

    def wait(descriptor: int) -> None:
        slow.set()
        written.wait(30)
        sync(descriptor)

    with LocalPlatform(data=tmp_path) as platform, Project(platform) as project, Project(platform) as other:
        stored = project.put("shop", make_flow()).content
        monkeypatch.setattr(os, "fsync", wait)
        for change in (lambda: project.put("shop", make_flow(more=1)), lambda: project.delete("shop")):
            slow.clear()
            written.clear()
            changing = threading.Thread(target=change)
            changing.start()
            try:
                assert slow.wait(10)
                # What is not on disk yet is not told.
                assert other.get("shop").content == stored
                assert other.list().status_code == 200
            finally:
                written.set()
                changing.join()
            stored = other.get("shop").content
        assert platform.names() == []


NURSERY = """
import os, sys, time
from opentelemetry.exporter.versori_flow.server import LocalPlatform
for line in sys.stdin:
    if os.fork() == 0:
        platform = LocalPlatform(data=sys.argv[1]).start()
        print(os.getpid(), platform.port, flush=True)
        time.sleep(600)
    os.wait()
"""


def test_kill_amid_writers(tmp_path: Path) -> None:
    """Ten rounds of eight writers until kill -9: what was acknowledged is there whole, or gone if deleted."""
    known: dict[str, tuple[int | None, int | None]] = {}  # the last acknowledged, and what was sent since

    def write(url: str, name: str, first: int) -> None:
        with (
            httpx.Client(base_url=url, trust_env=False, verify=False, timeout=30) as http,
            contextlib.suppress(httpx.HTTPError),
        ):
            for number in range(first, first + 10_000):
                sent = None if number % 5 == 4 else number
                before = known.get(name, (None, None))[0]
                known[name] = (before, sent)
                if sent is None:
                    status = http.delete(name).status_code
                else:
                    status = http.put(name, json=make_flow(number=number, more="x" * 20_000)).status_code
                assert status in (200, 204, 404)
                known[name] = (sent, sent)

    nursery = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    with nursery, nursery.stdin:
        for turn in range(11):
            nursery.stdin.write("\n")
            nursery.stdin.flush()
            pid, port = map(int, nursery.stdout.readline().split())
            try:
                url = f"http://127.0.0.1:{port}/o/{ORGANISATION_ID}/projects/{PROJECT_ID}/workflows/"
                for name, allowed in known.items():
                    answer = httpx.get(url + name, trust_env=False, verify=False)
                    there = answer.json()["number"] if answer.status_code == 200 else None
                    assert there in allowed
                    assert there is None or len(answer.json()["more"]) == 20_000
                    known[name] = (there, there)
                if turn < 10:
                    first = turn * 10_000
                    threads = [
                        threading.Thread(target=write, args=(url, f"flow-{number}", first))
                        for number in range(8)
                    ]
                    for thread in threads:
                        thread.start()
                    threads[0].join(random.uniform(0.1, 0.4))
            finally:
                os.kill(pid, signal.SIGKILL)
            for thread in threads:
                thread.join()
    assert list(tmp_path.glob("*.damaged-*")) == []
    assert any(number is not None for number, _ in known.values())
