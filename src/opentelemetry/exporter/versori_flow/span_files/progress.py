"""How far a file was pushed, kept beside no file of the user's: a push that was ended goes on where it stopped.

What is noted was delivered. What was delivered after the last note is pushed once more: a span is known by its
ids, so that it is not there twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

_HEAD = 4096
"""Bytes at a file's beginning that tell whether it is the same file, grown perhaps."""


class Progress:
    """How far one file was pushed to one target.

    Args:
        folder: Where the state is kept.
        path: The file.
        target: What its spans are pushed to, as texts.

    Attributes:
        pieces: Pieces of the file that were delivered.
        kept: Whether the state can be kept.
    """

    def __init__(self, folder: Path, path: Path, *target: str) -> None:
        key = "\0".join([str(path.resolve()), *target])
        self._file = folder / f"push-{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        self._path = path
        self.kept = True
        self.pieces = self._read()

    def note(self, pieces: int) -> None:
        """So many pieces are delivered."""
        self.pieces = pieces
        with self._path.open("rb") as file:
            head = file.read(_HEAD)
        state = {"pieces": pieces, "length": len(head), "digest": hashlib.sha256(head).hexdigest()}
        written = self._file.with_suffix(".new")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            written.write_text(json.dumps(state))
            written.replace(self._file)
        except OSError:
            self.kept = False

    def forget(self) -> None:
        """Begins anew."""
        self.pieces = 0
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def _read(self) -> int:
        try:
            state = json.loads(self._file.read_text())
            length, digest, pieces = int(state["length"]), str(state["digest"]), int(state["pieces"])
            with self._path.open("rb") as file:
                head = file.read(length)
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return max(0, pieces) if hashlib.sha256(head).hexdigest() == digest and length > 0 else 0
