"""The body of the next PUT: bytes that exist already, joined. Pure."""

import json
from collections.abc import Sequence
from typing import NamedTuple


class Body(NamedTuple):
    """The body of a PUT, not joined yet: whoever sends it joins it, outside of any lock."""

    head: bytes
    spans: Sequence[bytes]

    @property
    def size(self) -> int:
        """Bytes of the joined body."""
        return len(self.head) + sum(map(len, self.spans)) + max(0, len(self.spans) - 1) + len("]}")

    def join(self) -> bytes:
        """The body as one piece of JSON."""
        if not self.spans:
            return self.head + b"]}"
        # The ends are glued to the first and the last span, so that all the bytes are copied once.
        first, *others = self.spans
        pieces = [self.head + first, *others]
        pieces[-1] += b"]}"
        return b",".join(pieces)


def head(name: str, description: bytes, members: Sequence[bytes]) -> bytes:
    """The body up to its spans; description and members, each with its name, are JSON text."""
    start = b'{"name":' + text(name) + b',"description":' + description
    return b",".join([start, *members, b'"spans":['])


def text(value: str) -> bytes:
    """A text as JSON; a lone surrogate, which no UTF-8 can hold, is replaced."""
    return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=False).encode()
