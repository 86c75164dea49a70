"""How far a file was pushed, kept beside no file of the user's: a push that was ended goes on where it stopped.

What is noted was delivered, and the file is known by every byte that was read for it. What was delivered after the
last note is pushed once more: a span is known by its ids, so that it is not there twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

_CHUNK = 1 << 20


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

    def note(self, pieces: int, length: int, digest: str) -> None:
        """So many pieces are delivered, which were read from so many bytes with that SHA-256."""
        self.pieces = pieces
        state = {"pieces": pieces, "length": length, "digest": digest}
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
            found = hashlib.sha256()
            with self._path.open("rb") as file:
                while length > 0 and (read := file.read(min(length, _CHUNK))):
                    found.update(read)
                    length -= len(read)
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return max(0, pieces) if found.hexdigest() == digest else 0
