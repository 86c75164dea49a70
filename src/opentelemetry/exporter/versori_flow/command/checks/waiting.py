"""The store: whether it can be written, and what waits in it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator

from rich.filesize import decimal

from ...settings.redis_url import FleetUrl
from ...settings.table import Settings
from ...stores.connection import StoreError
from ...stores.folder import Folder
from ...stores.spool_file import Target
from ...stores.survey import survey
from ..tree import count
from .finding import Finding, ok, warning, wrong

_VARIABLE = "VERSORI_FLOW_STORE"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def look(settings: Settings) -> Iterator[Finding]:
    """What can be said of the store that the settings name."""
    target = Target(*settings.target)
    if settings.store.redis is not None:
        yield _fleet(settings, settings.store.redis, target)
    elif settings.store.folder is not None:
        yield from _folder(settings, settings.store.folder, target)
    else:
        yield ok("store", "memory: what is pending ends with the process")


def _folder(settings: Settings, path: str, target: Target) -> Iterator[Finding]:
    folder = Folder(path, settings.store.full_sync, settings.max_store_bytes)
    trouble = _unwritable(path)
    if trouble is not None:
        yield trouble
        return
    if not folder.room(None):
        yield wrong(
            "store",
            "store-full",
            f"the files in {path} take all of max_store_bytes ({decimal(settings.max_store_bytes)})",
            "`versori-flow store drain`, or raise VERSORI_FLOW_MAX_STORE_BYTES",
        )
    free = shutil.disk_usage(path).free
    if free < settings.max_store_bytes:
        text = f"the disk of {path} has {decimal(free)} left, less than max_store_bytes"
        yield warning("store", "store-disk", text, "make room, or lower VERSORI_FLOW_MAX_STORE_BYTES")
    found = survey(folder)
    for each in found:
        if each.trouble:
            text = f"{each.path} can't be read: {each.trouble}"
            yield warning("store", "store-damaged", text, f"keep a copy of {each.path}, then remove it")
    mine = sum(each.spans for each in found if each.target == target)
    alive = sum(each.spans for each in found if each.alive)
    other = sum(each.spans for each in found if each.target not in (None, target))
    parts = [f"{count(mine, 'span')} of processes that are gone"]
    parts += [f"{count(alive, 'span')} of running ones"] if alive else []
    parts += [f"{count(other, 'span')} for other projects"] if other else []
    text = f"{path} can be written; there wait {', '.join(parts)}"
    if mine:
        change = "`versori-flow store drain`, or start the program again"
        yield warning("store", "spans-wait", text, change)
    else:
        yield ok("store", text)


def _unwritable(path: str) -> Finding | None:
    try:
        with tempfile.NamedTemporaryFile(dir=path, prefix="doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FULL:
            return wrong("store", "store-full", f"the disk of {path} is full ({reason})", "make room on it")
        change = f"let this user write there, or name another folder by {_VARIABLE}"
        return wrong("store", "store-unwritable", f"{path} can't be written ({reason})", change)
    return None


def _fleet(settings: Settings, url: FleetUrl, target: Target) -> Finding:
    from ...stores.fleet import Fleet

    bounds = settings.max_spans, settings.max_bytes, settings.max_store_bytes
    try:
        flows = Fleet(url, target, *bounds).flows()
    except StoreError as error:
        return wrong(
            "store", "store-unreachable", f"{url}: {error}", f"check {_VARIABLE}, and that Redis runs there"
        )
    spans = sum(each.pending for each in flows)
    return ok("store", f"{url} answers; {count(spans, 'span')} wait there")
