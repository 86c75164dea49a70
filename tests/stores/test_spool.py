"""The folder of a spool: kills at each step, torn and damaged files, full disks, forks, odd neighbours."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import resource
import shutil
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.delivery.keeper import Keeper
from opentelemetry.exporter.versori_flow.delivery.turn_queue import TurnQueue
from opentelemetry.exporter.versori_flow.flow.flows import Flows
from opentelemetry.exporter.versori_flow.flow.journal import Kept
from opentelemetry.exporter.versori_flow.stores import spool as spool_module
from opentelemetry.exporter.versori_flow.stores.folder import Folder
from opentelemetry.exporter.versori_flow.stores.seam import Store
from opentelemetry.exporter.versori_flow.stores.spool import Spool
from opentelemetry.exporter.versori_flow.stores.survey import drop, survey
from tests.flow.model import NOW_NS, Platform, key, make_policy, make_span
from tests.flow.several import settle_all

from .contract import EXAMPLES
from .test_contract import spool
from .writer import Writer, added, inherit, kept, killed_at, settled

Start = Callable[..., Writer]
BODY = os.urandom(1900)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts processes with a spool in the folder."""
    writers: list[Writer] = []

    def start(path: Path = folder, max_bytes: int = 64 << 20, durable: bool = True) -> Writer:
        writers.append(Writer(lambda: spool(path, max_bytes, durable)))
        return writers[-1]

    yield start
    for writer in writers:
        writer.kill()


def spans(count: int, first: int = 0, body: bytes = BODY) -> list[Kept]:
    return [kept(first + number, body) for number in range(count)]


def names(path: Path, suffix: str) -> list[Path]:
    return sorted(path.glob("*" + suffix))


# -- kills -------------------------------------------------------------------------------------------------


def at_each_step(play: Callable[[int], bool]) -> int:
    """Plays it with a kill at step 1, 2, ... until it ends without; returns the steps."""
    step = 1
    while play(step):
        step += 1
    return step - 1


def dies(writer: Writer, step: int, name: str, *arguments: object) -> bool:
    """Whether a call was killed at that step."""
    try:
        writer.run(killed_at, step, name, *arguments)
    except (EOFError, ConnectionResetError):
        writer.wait()
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("call", ["apply", "leave"])
def test_killed_at_any_step_of_a_write(tmp_path: Path, start: Start, call: str, is_new: bool):
    """What was kept before is whole, and the new batch is there as a whole or not at all, never counted as lost."""

    def play(step: int) -> bool:
        path = tmp_path / str(step)
        writer = start(path)
        before, second = [] if is_new else spans(3), spans(4, 10)
        writer.apply(added("shop", before))
        died = dies(writer, step, call, added("shop", second))
        writer.kill()
        heir = start(path)
        found = [span for _, span in heir.inherit()]
        assert found in (([before, before + second]) if died else [before + second])
        assert heir.take_unreadable() == 0
        heir.apply(settled("shop", found))
        assert not names(path, "")
        heir.kill()
        return died

    assert at_each_step(play) > (25 if is_new else 5)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [True, False])
def test_killed_at_any_step_of_a_removal(tmp_path: Path, start: Start, whole: bool):
    """What was pending beside it is whole; what was settled is away, or comes back as a whole."""

    def play(step: int) -> bool:
        path = tmp_path / str(step)
        writer, all_spans = start(path), spans(6)
        writer.apply(added("shop", all_spans))
        done = all_spans if whole else all_spans[1:4]
        died = dies(writer, step, "apply", settled("shop", done))
        writer.kill()
        heir = start(path)
        found = [span for _, span in heir.inherit()]
        rest = [span for span in all_spans if span not in done]
        assert found in ([all_spans, rest] if died else [rest])
        assert heir.take_unreadable() == 0
        heir.kill()
        return died

    assert at_each_step(play) > 5


@pytest.mark.slow
def test_killed_at_any_step_of_an_adoption_and_of_what_follows(tmp_path: Path, start: Start):
    """An heir that dies while it looks, reads, removes or leaves is followed by one that has all that is pending."""

    def orphan(path: Path) -> list[Kept]:
        writer, left = start(path), spans(5)
        writer.apply(added("shop", left))
        writer.kill()
        return left

    def look(step: int) -> bool:
        path = tmp_path / f"look{step}"
        left = orphan(path)
        heir = start(path)
        died = dies(heir, step, "inherit")
        heir.kill()
        assert [span for _, span in start(path).inherit()] == left
        return died

    def deliver(step: int) -> bool:
        path = tmp_path / f"deliver{step}"
        left = orphan(path)
        heir = start(path)
        heir.inherit()
        done = left[: 2 + 3 * (step % 2)]
        died = dies(heir, step, "apply", settled("shop", done)) or dies(heir, max(1, step - 8), "leave", [])
        heir.kill()
        last = start(path)
        assert [span for _, span in last.inherit()] in ([left, left[len(done) :]])
        assert last.take_unreadable() == 0
        last.kill()
        return died or step < 30

    assert at_each_step(look) > 10
    assert at_each_step(deliver) > 15


# -- damage ------------------------------------------------------------------------------------------------


def orphan(start: Start, path: Path, count: int, batch: int) -> list[Kept]:
    """A file that a killed process left, some of it in its log."""
    writer, left = start(path), spans(count)
    for number in range(0, count, batch):
        writer.apply(added("shop", left[number : number + batch]))
    writer.kill()
    return left


def check_heir(start: Start, path: Path, left: list[Kept]) -> int:
    """What is whole is read once, the rest counted and said; the file is set aside, and work goes on."""
    heir = start(path)
    found = [span for _, span in heir.inherit()]
    assert len({span.key for span in found}) == len(found)
    assert all(span in left for span in found)
    lost = heir.take_unreadable()
    said = [notice for notice in heir.remarks() if notice.level == logging.ERROR]
    assert lost == len(left) - len(found)
    if lost:
        assert [f"{len(found)} spans of it were read, {lost} are lost" in notice.text for notice in said] == [
            True
        ]
    heir.apply(settled("shop", found))
    assert bool(names(path, ".corrupt-*[0-9]")) == bool(said)
    heir.apply(added("shop", spans(1, 5000)))
    heir.kill()
    after = start(path)
    assert [span for _, span in after.inherit()] == spans(1, 5000)
    assert after.take_unreadable() == 0
    after.kill()
    return lost


def test_a_torn_log(tmp_path: Path, start: Start, folder: Path):
    """Whatever is torn off the end of the log, the transactions before are read and the rest is counted."""
    left = orphan(start, folder, 12, 3)
    size = names(folder, "-wal")[0].stat().st_size
    losses = set()
    for at in range(0, size, 512 * (400 // EXAMPLES)):
        torn = tmp_path / f"torn{at}"
        shutil.copytree(folder, torn)
        os.truncate(names(torn, "-wal")[0], at)
        losses.add(check_heir(start, torn, left))
    assert 12 in losses
    assert losses <= {3, 6, 9, 12}


@pytest.mark.parametrize("suffix", [".db", "-wal"])
def test_a_flipped_byte(tmp_path: Path, start: Start, folder: Path, suffix: str):
    """Wherever a byte is flipped, what is whole is read, and what is lost is counted and said."""
    left = orphan(start, folder, 40, 5)
    if suffix == ".db":  # all of it into the file
        heir = start()
        assert len(heir.inherit()) == 40
        assert heir.leave([])
        heir.kill()
    size = names(folder, suffix)[0].stat().st_size
    for at in [*range(0, 120, 800 // EXAMPLES), *range(120, size, 2 * size // EXAMPLES)]:
        flipped = tmp_path / f"flipped{at}"
        shutil.copytree(folder, flipped)
        with open(names(flipped, suffix)[0], "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0xA5]))
        if version_of(flipped) <= 1:  # beyond it: another version's, left alone
            check_heir(start, flipped, left)
        shutil.rmtree(flipped)


def version_of(path: Path) -> int:
    data = names(path, ".db")[0].read_bytes()
    return int.from_bytes(data[60:64], "big", signed=True)


def test_pages_that_are_gone(start: Start, folder: Path):
    """Where pages in the middle are rubbish, the spans before and behind them are read all the same."""
    left = orphan(start, folder, 2000, 500)
    start().kill()
    heir = start()
    heir.inherit(1)
    assert heir.leave([])
    heir.kill()
    path = names(folder, ".db")[0]
    with open(path, "r+b") as file:
        for page in (60, 61, 62, 250):
            file.seek(8192 * page)
            file.write(os.urandom(8192))
    assert 4 <= check_heir(start, folder, left) <= 40


def test_three_damaged_files_are_kept(start: Start, folder: Path):
    """Of damaged files the last three are kept, the others don't fill the folder."""
    for content in (b"", b"text", b"text" * 9999, b"SQLite format 3\0" + bytes(9999), os.urandom(9999)):
        left = orphan(start, folder, 2, 1)
        names(folder, ".db")[0].write_bytes(content)
        if content:
            names(folder, ".db-wal")[0].unlink()
        assert check_heir(start, folder, left) == 2
        heir = start()
        heir.apply(settled("shop", [span for _, span in heir.inherit()]))
        heir.kill()
    assert len(names(folder, ".corrupt-*[0-9]")) == 3
    assert not names(folder, ".lock")


def test_a_damaged_file_of_its_own(start: Start, folder: Path):
    """A process whose own file is damaged sets it aside, asks for all that is pending, and keeps that in a new one."""
    writer, pending = start(), spans(400)
    writer.apply(added("shop", pending))
    assert writer.run(damage_own) == 0
    writer.apply(settled("shop", pending[:1]))
    assert [notice.level for notice in writer.remarks()] == [logging.ERROR]
    assert writer.wants_all(time.monotonic())
    writer.apply(added("shop", pending[1:]))
    assert not writer.wants_all(time.monotonic())
    writer.kill()
    assert len(names(folder, ".corrupt-*[0-9]")) == 1
    assert [span for _, span in start().inherit()] == pending[1:]


def damage_own(store: Spool) -> int:
    """Writes rubbish over all pages of the own file but the first."""
    file = store._own._file
    assert file is not None
    file.close()
    with open(file.path, "r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(8192)
        opened.write(os.urandom(size - 8192))
    return 0


# -- odd neighbours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["fifo", "link", "folder", "empty", "text", "unreadable"])
@pytest.mark.parametrize("suffix", [".lock", ".db"])
def test_an_odd_file_keeps_nobody_from_working(start: Start, folder: Path, what: str, suffix: str):
    """A side file or database that is something else altogether harms no other file, and is said at most once."""
    left = orphan(start, folder, 3, 3)
    target = names(folder, ".db")[0].name.split("-")[0]
    odd = folder / f"{target}-1-{'0' * 16}{suffix}"
    beside = odd.with_suffix(".lock" if suffix == ".db" else ".db")
    beside.write_bytes(b"")
    outside = folder.parent / "outside"
    outside.write_text("precious")
    {
        "fifo": lambda: os.mkfifo(odd),
        "link": lambda: odd.symlink_to(outside),
        "folder": odd.mkdir,
        "empty": odd.touch,
        "text": lambda: odd.write_text("some text " * 1000),
        "unreadable": lambda: odd.touch(0),
    }[what]()
    heir = start()
    assert [span for _, span in heir.inherit()] == left
    descriptors = heir.run(open_descriptors)
    assert heir.inherit() == heir.inherit() == []
    assert heir.run(open_descriptors) == descriptors
    assert len(heir.remarks()) <= 1
    heir.apply(settled("shop", left))
    heir.apply(added("shop", spans(1, 50)))
    heir.kill()
    assert [span for _, span in start().inherit()] == spans(1, 50)
    assert outside.read_text() == "precious"


def open_descriptors(_store: Store | None = None) -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_newer_version_is_left_alone(start: Start, folder: Path):
    """A file of a newer version stays as it is, and is said once."""
    orphan(start, folder, 3, 3)
    path = names(folder, ".db")[0]
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = path.read_bytes()
    heir = start()
    assert heir.inherit() == heir.inherit() == []
    assert ["newer version" in notice.text for notice in heir.remarks()] == [True]
    assert path.read_bytes() == before


def test_another_projects_spans_are_not_touched(start: Start, folder: Path):
    """Who writes for another project never inherits."""
    writer = start()
    writer.apply(added("shop", spans(1)))
    writer.kill()
    for path in folder.iterdir():
        path.rename(folder / ("0" * 8 + path.name[8:]))
    assert start().inherit() == []


def test_two_spools_of_one_process(folder: Path, tmp_path: Path):
    """Two exporters of one process never inherit from each other, by whatever name they know the folder."""
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    gc.collect()  # or those of another test close meanwhile
    before = open_descriptors()
    one, other = spool(folder), spool(tmp_path / "link")
    one.apply(added("shop", spans(1)))
    assert inherit(other) == []
    other.apply(added("shop", spans(2, 10)))
    assert inherit(one) == []
    assert not [*one.remarks(), *other.remarks()]
    assert one.leave([])
    assert [span for _, span in inherit(other)] == spans(1)
    other.apply(settled("shop", [*spans(1), *spans(2, 10)]))
    assert not other.leave([])
    assert not list(folder.iterdir())
    assert open_descriptors() == before


def test_two_threads_find_one_orphan(start: Start, folder: Path):
    """Two exporters of one process that look at the same instant have one heir, too."""
    found: list[tuple[str, Kept]] = []

    def look(heir: Spool) -> None:
        found.extend(inherit(heir))

    for _ in range(20):
        found.clear()
        orphan(start, folder, 2, 2)
        heirs = [spool(folder) for _ in range(4)]
        threads = [threading.Thread(target=look, args=[heir]) for heir in heirs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [span for _, span in found] == spans(2)
        for heir in heirs:
            heir.apply(settled("shop", spans(2)))


def test_eight_heirs_of_the_same_orphans(start: Start, folder: Path):
    """Of eight processes that find the same forty orphans at once, each span has exactly one heir."""
    for number in range(40):
        writer = start()
        writer.apply(added("shop", spans(5, 10 * number)))
        writer.kill()
    heirs = [start() for _ in range(8)]
    for heir in heirs:
        heir._pipe.send((inherit, ()))
    found = [span.key for heir in heirs for _, span in heir._pipe.recv()]
    assert len(found) == len(set(found)) == 200


# -- modes, bounds, trouble --------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_all_of_it_is_private(start: Start, folder: Path, mask: int):
    """Every file is 0600 and every folder that was made 0700, under any umask."""
    before = os.umask(mask)
    try:
        writer = start(folder / "deep")
        writer.apply(added("shop", spans(1)))
        modes = {path.suffix: path.stat().st_mode & 0o777 for path in (folder / "deep").iterdir()}
    finally:
        os.umask(before)
    assert modes == {".db": 0o600, ".db-wal": 0o600, ".lock": 0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "deep")} == {0o700}


def size_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


def test_the_folder_is_bounded(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder never takes more than it may; one line says so; removing gives room back, and all is kept again."""
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0.0)
    writer, most = start(max_bytes=8 << 20), 8 << 20
    corrupt = folder / "00000000-1-0000000000000000.corrupt-1"
    writer.apply(added("shop", spans(1)))
    corrupt.write_bytes(bytes(7 << 20))  # a person's to remove, and no reason to keep nothing
    batches = [spans(100, 100 * number) for number in range(1, 80)]
    for batch in batches:
        writer.apply(added("shop", batch))
        assert size_of(folder) <= most + (3 << 20)
    corrupt.unlink()
    assert size_of(folder) <= most
    safe = [batch for batch in batches if writer.keeps("shop", batch[0].key)]
    assert 5 < len(safe) < 40
    assert ["can't be kept" in notice.text for notice in writer.remarks()] == [True]
    assert not writer.wants_all(time.monotonic() + 50)
    assert writer.wants_all(time.monotonic() + 61)
    # Still too much: what was kept stays kept.
    writer.apply([change for batch in batches for change in added("shop", batch)])
    for batch in safe:
        assert writer.keeps("shop", batch[0].key)
    for batch in batches[2:]:
        writer.apply(settled("shop", batch))
    assert size_of(folder) < 3 << 20
    assert writer.wants_all(time.monotonic() + 61)
    writer.apply([change for batch in batches[:2] for change in added("shop", batch)])
    assert ["again" in notice.text for notice in writer.remarks()] == [True]
    writer.kill()
    assert len({span.key for _, span in start(max_bytes=most).inherit()}) == 201


def test_what_failed_is_told_again_before_anything_else(folder: Path):
    """After a failure nothing but all that is pending ends it: no change in between makes it forget what failed."""
    folder.parent.joinpath("spool").write_text("no folder")
    store = spool(folder)
    store.apply(added("shop", spans(2)))
    folder.unlink()
    store._trouble.met(time.monotonic() - 61)
    store.apply(added("shop", spans(1, 10)))  # nobody has asked whether it wants all
    assert store.wants_all(time.monotonic())
    store.apply(added("shop", [*spans(2), *spans(1, 10)]))
    assert not store.wants_all(time.monotonic() + 100)
    assert all(store.keeps("shop", span.key) for span in (*spans(2), *spans(1, 10)))
    store.apply(settled("shop", [*spans(2), *spans(1, 10)]))
    assert not store.leave([])


def kept_flows(store: Spool) -> tuple[Flows, Keeper]:
    """Flows whose pending spans that store keeps."""
    flows = Flows(make_policy(durable=True), 100)
    keeper = Keeper(flows, TurnQueue(None, 10.0), lambda: store, True, "the store")
    keeper.inherit(0.0, float("inf"))
    return flows, keeper


def test_after_a_damage_all_is_kept_anew_at_once(folder: Path):
    """Not only when the courier has something to do again: that may be in a minute, and a crash comes any time."""
    store = spool(folder)
    flows, keeper = kept_flows(store)
    for traces in (range(20), range(20, 21)):
        routed = [("shop", make_span(trace, 0, size=1900)) for trace in traces]
        flows.hand_over(routed, (), (), 0.0, NOW_NS)
        keeper.keep(0.0, anew=False)
        assert all(store.keeps("shop", key(trace, 0)) for trace in range(traces.stop))
        damage_own(store)


def test_what_is_delivered_while_all_is_told_anew_is_not_kept(folder: Path):
    """The telling anew is of what is pending; what a PUT has carried just before it must leave the file too."""
    store = spool(folder)
    flows, keeper = kept_flows(store)
    flows.hand_over([("shop", make_span(0, 0))], (), (), 0.0, NOW_NS)
    keeper.keep(0.0, anew=False)
    assert store.keeps("shop", key(0, 0))
    store._trouble.met(-61)
    settle_all(flows, Platform(), 0.0)
    keeper.keep(0.0, anew=False)
    assert not store.keeps("shop", key(0, 0))


def let_no_file_grow(store: Spool, never: bool, beyond: int = 0) -> None:
    """What a full disk does; to so many bytes each may."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (beyond if never else hard, hard))


def test_what_could_not_be_removed_is_still_expected(start: Start, folder: Path):
    """Whoever finds less than is there knows that it is lost."""
    writer, left = start(), spans(3)
    writer.apply(added("shop", left))
    writer.run(let_no_file_grow, True, 64)  # what is noted fits
    writer.apply(settled("shop", left[:1]))
    writer.kill()
    os.truncate(names(folder, "-wal")[0], 0)
    assert check_heir(start, folder, left) == 3


@pytest.mark.parametrize("inherited", [False, True])
def test_a_newer_text_that_can_not_be_written_is_not_kept(start: Start, folder: Path, inherited: bool):
    """The old text stays for as long as there is no other, and is not taken for the new one; nothing else suffers."""
    if inherited:
        orphan(start, folder, 5, 5)
    writer = start()
    old = writer.inherit() if inherited else []
    if not inherited:
        writer.apply(added("shop", spans(5)))
        old = [("shop", span) for span in spans(5)]
    changed, *others = [span for _, span in old]
    newer = changed._replace(body=b"{}")
    writer.run(let_no_file_grow, True)
    writer.apply(added("shop", [newer, others[0]]))
    assert not writer.keeps("shop", changed.key)
    assert all(writer.keeps("shop", span.key) for span in others)
    assert not writer.leave(added("shop", [newer, *others]))
    writer.run(let_no_file_grow, False)
    assert writer.leave(added("shop", [newer, *others]))
    assert writer.keeps("shop", changed.key)
    writer.kill()
    assert sorted(span for _, span in start().inherit()) == sorted([newer, *others])


def test_what_is_told_anew_leaves_an_orphan_after_it_is_kept(start: Start, folder: Path):
    """An orphan's spans that can't be kept a second time stay in the orphan's file."""
    left = orphan(start, folder, 5, 5)
    heir = start(max_bytes=1 << 10)
    assert [span for _, span in heir.inherit()] == left
    heir.apply(added("shop", left))
    assert ["can't be kept" in notice.text for notice in heir.remarks()] == [True]
    heir.kill()
    assert [span for _, span in start().inherit()] == left


@pytest.mark.parametrize("what", ["folder", ".db", ".lock"])
def test_a_folder_that_goes(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch, what: str):
    """Somebody removes it, or a file of it, in the middle: it is said, all is kept anew, and nothing counts as lost."""
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0.0)
    writer = start()
    writer.apply(added("shop", spans(3)))
    if what == "folder":
        shutil.rmtree(folder)
    for path in names(folder, what):
        path.unlink()
    writer.apply(added("shop", spans(1, 10)))
    assert ["taken away" in notice.text for notice in writer.remarks()] == [True]
    assert writer.wants_all(time.monotonic())
    writer.apply(added("shop", [*spans(3), *spans(1, 10)]))
    assert writer.inherit() == []
    assert (writer.take_unreadable(), writer.remarks()) == (0, [])
    writer.kill()
    assert len(start().inherit()) == 4


@pytest.mark.parametrize("what", ["newer", "damaged"])
def test_what_can_not_be_read_is_not_dropped(start: Start, folder: Path, what: str):
    """Another flow's spans in a file that can't be read now: it is kept, and said to be."""
    orphan(start, folder, 400, 100)
    (path,) = names(folder, ".db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if what == "newer":
            connection.execute("PRAGMA user_version = 99")
    if what == "damaged":
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2 // 8192 * 8192)
            file.write(os.urandom(8192))
    before = path.read_bytes()
    done = drop(Folder(str(folder), False, 64 << 20), None, "another flow")
    assert path.exists()
    assert path.read_bytes() == before
    assert (done.spans, [str(path) in text for text in done.kept]) == (0, [True])


def test_a_look_at_its_own_folder_drops_no_lock(start: Start, folder: Path):
    """The command that drains a folder looks at it while its own exporter delivers from it."""
    store, sibling = spool(folder), spool(folder)
    for number, each in enumerate((store, sibling)):
        each.apply(added("shop", spans(2, 10 * number)))
    found = survey(Folder(str(folder), False, 64 << 20))
    assert [(each.spans, each.alive) for each in found] == [(2, True), (2, True)]
    assert start().inherit() == []


def test_a_log_without_anything_pending_takes_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0)
    store = spool(folder)
    some = spans(400)
    store.apply(added("shop", some))
    store.apply(settled("shop", some))
    assert sum(path.stat().st_size for path in names(folder, "-wal")) < 256 << 10


@pytest.mark.parametrize("burst", [400, 1500, 9000])
def test_the_room_of_a_burst_is_given_back_while_spans_go_on_to_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch, burst: int
):
    """Something is pending all the time: neither free pages nor a long log stay, which would keep others' spans out."""
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0)
    store, some = spool(folder), spans(burst)
    for at in range(0, burst, 100):
        store.apply(added("shop", some[at : at + 100]))
    store.apply(settled("shop", some[1:]))
    before = some[:1]
    for number in range(300):
        store.apply(added("shop", after := spans(1, burst + number)))
        store.apply(settled("shop", before))
        before = after
        assert number < 2 or size_of(folder) < 1200 << 10


def test_a_folder_that_goes_twice(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A new file is begun at once each time, as the line in the log says."""
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0)
    store = spool(folder)
    for number in range(3):
        store.apply(added("shop", spans(1, number)))
        shutil.rmtree(folder)
        store.apply([])
        assert store.wants_all(time.monotonic())
        store.apply(added("shop", spans(number + 1)))
        assert len(names(folder, ".db")) == 1


def test_a_lock_that_was_dropped(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever reads the side file in the same process drops its lock: it is locked again, or left to who has it."""
    monkeypatch.setattr(spool_module, "_BETWEEN_SYNCS", 0.0)
    writer, heir = start(), start()
    for number in range(2):
        writer.apply(added("shop", spans(1, number)))
        assert int(writer.run(read_side)) == number + 1
    assert heir.inherit() == []  # the database is locked too
    writer.apply(settled("shop", spans(1)))
    writer.kill()
    assert [span for _, span in heir.inherit()] == spans(1, 1)


def read_side(store: Spool) -> str:
    return names(Path(store._folder.path), ".lock")[0].read_text()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, where one can be mounted."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=2m,mode=700 none {path} 2>/dev/null"):
        pytest.skip("no file system can be mounted here")
    yield path
    os.system(f"umount -l {path}")


def test_a_full_disk(start: Start, small_disk: Path):
    """A disk that is full raises nothing: what was kept stays, one line says it, and room brings all back."""
    writer = start(small_disk)
    batches = [spans(100, 100 * number) for number in range(20)]
    for batch in batches:
        writer.apply(added("shop", batch))
    safe = [batch for batch in batches if writer.keeps("shop", batch[0].key)]
    assert 2 < len(safe) < 12
    assert sum("can't be kept" in notice.text for notice in writer.remarks()) == 1
    for batch in batches[1:]:
        writer.apply(settled("shop", batch))
    assert writer.wants_all(time.monotonic() + 61)
    writer.apply(added("shop", batches[0]))
    writer.kill()
    found = {span.key for _, span in start(small_disk).inherit()}
    assert found >= {span.key for span in batches[0]}


def test_a_disk_that_is_full_or_read_only_at_the_start(start: Start, small_disk: Path):
    """Nothing can be made there: it is said once, nothing is raised, and what others left stays where it is."""
    left = orphan(start, small_disk, 5, 5)
    filler = small_disk / "filler"
    assert os.system(f"dd if=/dev/zero of={filler} 2>/dev/null")
    writer = start(small_disk)
    for number in range(3):
        writer.apply(added("shop", spans(1, 100 + number)))
    assert sum("can't be kept" in notice.text for notice in writer.remarks()) == 1
    filler.unlink()
    assert os.system(f"mount -o remount,ro {small_disk}") == 0
    other = start(small_disk)
    other.apply(added("shop", spans(1, 200)))
    other.inherit()
    assert len(other.remarks()) <= 2
    assert not other.leave(added("shop", spans(1, 201)))
    for process in (writer, other):
        process.kill()
    assert os.system(f"mount -o remount,rw {small_disk}") == 0
    assert [span for _, span in start(small_disk).inherit()] == left


@pytest.mark.slow
@pytest.mark.parametrize("stuck", [1, 12])
@pytest.mark.parametrize("mixed", [True, False], ids=["mixed", "in turn"])
def test_a_stuck_flow_holds_up_no_other(folder: Path, start: Start, stuck: int, mixed: bool):
    """What nobody takes of some flows waits in its files; the others go on, and those too once they can, in order."""
    flows = {f"flow {number}": spans(1000, 1000 * number) for number in range(stuck + 2)}
    parts = [(at, flow) for flow in flows for at in range(0, 1000, 100)]
    writer = start()
    for at, flow in sorted(parts) if mixed else parts:
        writer.apply(added(flow, flows[flow][at : at + 100]))
    writer.kill()
    store = Spool(Folder(str(folder), False, 64 << 20), spool(folder)._target, True, 500)
    found: dict[str, list[Kept]] = {flow: [] for flow in flows}

    def deliver(*moving: str) -> None:
        held = {flow: list(some) for flow, some in found.items()}
        for flow in moving:
            store.apply(settled(flow, held[flow]))
        while store.next_look() == float("-inf"):
            for left in store.inherit(0.0):
                found[left.flow] += left.spans
                if left.flow in moving:
                    store.apply(settled(left.flow, left.spans))
            waiting = sum(len(span.body) for flow in flows if flow not in moving for span in found[flow])
            assert waiting < 5 << 20

    moving = list(flows)[stuck:]
    deliver(*moving)
    assert all(found[flow] == flows[flow] for flow in moving)
    assert all(0 < len(found[flow]) <= 500 for flow in list(flows)[:stuck])
    deliver(*flows)
    assert found == flows
    assert store.take_unreadable() == 0
    assert not list(folder.iterdir())


@pytest.mark.slow
def test_many_orphans_of_a_stuck_flow_hold_up_no_other(folder: Path, start: Start):
    """A program that is killed again and again leaves many files; they take few descriptors, and all come in."""
    orphans = [added("stuck", spans(9, 9 * number, b"{}")) for number in range(80)]
    for changes in (*orphans, added("shop", spans(9, 5000))):
        writer = start()
        writer.apply(changes)
        writer.kill()
    heir = Writer(lambda: Spool(Folder(str(folder), False, 64 << 20), spool(folder)._target, True, 500))
    before = len(os.listdir(f"/proc/{heir.pid}/fd"))
    found = heir.inherit()
    assert [span for flow, span in found if flow == "shop"] == spans(9, 5000)
    assert len(os.listdir(f"/proc/{heir.pid}/fd")) - before < 400
    while found:
        heir.apply([change for flow, span in found for change in settled(flow, [span])])
        found = heir.inherit()
    assert heir.take_unreadable() == 0
    heir.kill()
    assert not list(folder.iterdir())


# -- memory, forks -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_hundred_mebibytes_of_backlog(folder: Path, start: Start):
    """An heir's memory grows by less than 20 MiB while it delivers 100 MiB, and the folder is empty then."""
    writer = start(max_bytes=256 << 20)
    count = (100 << 20) // len(BODY)
    for number in range(0, count, 2000):
        writer.apply(added("shop", spans(2000, number)))
    writer.kill()
    grown, delivered = Writer(lambda: Spool(spool(folder)._folder, spool(folder)._target, True, 1000)).run(
        drain
    )
    assert delivered >= count
    assert grown < 20 << 20
    assert not list(folder.iterdir())


def drain(store: Store) -> tuple[int, int]:
    """Inherits and settles all; returns by how many bytes this process has grown, and how many spans it were."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    delivered = 0
    while store.next_look() == float("-inf"):
        for left in store.inherit(0.0):
            delivered += len(left.spans)
            store.apply(settled(left.flow, left.spans))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10, delivered


@pytest.mark.parametrize("told", [True, False], ids=["hooks", "no hooks"])
def test_a_fork_in_the_middle_of_a_transaction(start: Start, told: bool):
    """Children forked while rows are written, that end or are killed, cost the parent nothing."""
    writer = start()
    count = writer.run(write_and_fork, told)
    writer.kill()
    assert len(start().inherit()) == count


def write_and_fork(store: Spool, told: bool) -> int:
    """Writes on one thread, forks on the other; returns how many spans were kept."""
    kept_spans, over = [0], threading.Event()

    def write() -> None:
        while not over.is_set() or kept_spans[0] < 200:
            store.apply(added("shop", spans(10, kept_spans[0], b"{}")))
            kept_spans[0] += 10

    thread, fork = threading.Thread(target=write), os.fork
    if not told:
        fork = ctypes.PyDLL(None).fork
        # Before the thread runs: a child would wait for one that has asked for its turn, and is not there.
        sys.setswitchinterval(1000)
    thread.start()
    for number in range(25):
        while kept_spans[0] < 4 * number:
            time.sleep(0.001)
        pid = fork()
        if not pid:
            if number % 2:
                os.kill(os.getpid(), signal.SIGKILL)
            ends_as_a_program_does(store)
        assert os.waitpid(pid, 0)[0] == pid
    over.set()
    thread.join()
    return kept_spans[0]


def ends_as_a_program_does(store: Spool) -> None:
    """What is left of the store is thrown away, as at the end of the interpreter."""
    store._own.__dict__.clear()
    store._heritage.__dict__.clear()
    gc.collect()
    os._exit(0)


@pytest.mark.parametrize("uses", [True, False])
def test_a_child_that_nobody_told_of_has_its_own_file(start: Start, folder: Path, uses: bool):
    """After a fork without hooks (uWSGI) parent and child write on, each into its own file, and end on their own."""
    writer = start()
    writer.apply(added("shop", spans(3)))
    assert writer.run(fork_untold, uses) == 0
    writer.apply(added("shop", spans(3, 10)))
    heir = start()
    assert {flow for flow, _ in heir.inherit()} == ({"child"} if uses else set())
    writer.kill()
    assert len(heir.inherit()) == 6


def fork_untold(store: Spool, uses: bool) -> int:
    pid = ctypes.PyDLL(None).fork()
    if not pid:
        if uses:
            assert not store.keeps("shop", spans(1)[0].key)
            store.apply(added("child", spans(2, 20)))
            assert store.keeps("child", spans(1, 20)[0].key)
        ends_as_a_program_does(store)
    return os.waitpid(pid, 0)[1]


def test_the_default_store_touches_the_disk_at_its_end_only(start: Start, folder: Path):
    """Without a folder of the user's nothing is written before it is left; then another process inherits it."""
    writer = start(durable=False)
    writer.apply(added("shop", spans(3)))
    assert not folder.exists()
    assert writer.leave(added("shop", spans(3)))
    assert writer.take_back()
    writer.apply(settled("shop", spans(1)))
    assert writer.leave([])
    assert [span for _, span in start(durable=False).inherit()] == spans(3)[1:]
