"""The window that all processes of a fleet share for a flow, in Redis; whoever has the lease delivers it.

    put      what was handed over, and what became of it    -> the fleet's window of the flow
    claim    the lease, and what came since the last time   -> read, merge, PUT -> settle or release
    due      flows that somebody should claim

Every time is by Redis' own clock, so that the fleet makes one PUT per interval, whoever makes it. The platform
checks no fence: a holder that was stopped between its read and its PUT can still overwrite what others wrote
meanwhile. It is then seen (`doubt`), the flow stays due until a read has shown all of the window, and since the
window holds delivered spans too, whatever is missing at the platform is written again.
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
from collections.abc import Sequence
from typing import Any

from ..flow.journal import Change, Kept
from ..flow.window import Key
from ..native import monotonic
from ..settings.redis_url import FleetUrl
from .connection import StoreError
from .fleet_answers import Claim, Held, Put, Seen, Wait
from .fleet_items import Piece, as_bytes, as_text, batches, id_of, kept_of, key_of, left_by
from .fleet_put import PUT
from .fleet_scripts import CLAIM, DROP, EXTEND, FINISH, GOODBYE, LOOK, POLL
from .fleet_window import FLOW_KEYS, PROJECT_KEYS
from .redis_client import RedisClient, Script
from .redis_errors import FullError
from .remarks import Remarks
from .spool_file import Target

_LEASE = 5.0
_REST = 3600.0
"""Seconds after which the fleet forgets what it has delivered of a flow in which nothing happens."""

_MOST_DUE = 100


class Fleet:
    """What this process says to the fleet. One thread at a time; it keeps no span.

    Every method raises `StoreError` where Redis can't be used; the text says what to do.

    Args:
        url: Where the Redis is.
        target: What the spans are for.
        max_spans: What the window of a flow may hold.
        max_bytes: Likewise, in bytes of the spans' texts.
        max_store_bytes: What all windows of the target may hold together, likewise.
        lease: Seconds for which a claim holds; it can be extended.

    Attributes:
        wants_all: Whether all that is pending here must be put again: it may be lost.
        was_emptied: Whether Redis has lost what it had, and not all was put again.
        lease: As given; it may be changed.
        astray: What the last settlement had carried, and had left the window meanwhile: it belongs elsewhere.
        remarks: What there is to say.

    Raises:
        ValueError: redis-py is not installed.
    """

    def __init__(
        self,
        url: FleetUrl,
        target: Target,
        max_spans: int,
        max_bytes: int,
        max_store_bytes: int = 256 << 20,
        lease: float = _LEASE,
    ) -> None:
        self.wants_all = self.was_emptied = False
        self.astray: list[Key] = []
        self.remarks = Remarks()
        self._client = RedisClient(url, self.remarks)
        tag = hashlib.sha256("\0".join(target).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._prefix = f"versori:{{{tag}}}:".encode()
        self._project_keys = [self._prefix + name.encode() for name in PROJECT_KEYS]
        self._bounds = (max_spans, max_bytes, max_store_bytes)
        self.lease = lease
        self._member = secrets.token_hex(8)
        self._state: tuple[int, int, str] | None = None

    def put(self, changes: Sequence[Change], everything: bool = False) -> Put:
        """Hands spans over, and tells what became of others.

        What is there with the same text stays as it is; another text is pending anew. A `settled` of spans of
        other processes is for `settle`, which knows whether a newer text came meanwhile.

        Args:
            changes: What happened.
            everything: Whether all that is pending in this process is among it, as `wants_all` asks for.
        """
        dropped: list[tuple[str, Key]] = []
        first: tuple[int, int, str] | None = None
        try:
            for batch in batches(changes):
                lost = self._put(batch)
                first = first or self._state
                dropped += [
                    (as_text(flow), key_of(span)) for flow, span in zip(lost[::2], lost[1::2], strict=True)
                ]
        except FullError as error:
            self.wants_all = True
            self.was_emptied &= not everything
            # Removing makes room, also where nothing can be added; and a newer text takes an older one's place.
            there = [named for batch in batches(changes) for named in self._put(batch, is_full=True)]
            error.there = frozenset(zip(map(as_text, there[::2]), map(key_of, there[1::2]), strict=True))
            raise
        except StoreError:
            self.wants_all = True
            raise
        if everything:
            self.wants_all = first != (self._state if first else None)
            self.was_emptied &= self.wants_all
        return Put(self._state[2] if self._state else "", dropped)

    def claim(self, flow: str, seen: Seen = Seen(), insist: bool = False, ends: bool = False) -> Claim | Wait:  # noqa: B008 - a value
        """Asks for the lease of a flow, and learns what others did.

        Args:
            flow: Its name.
            seen: How much of it is known here.
            insist: Whether it is wanted also with nothing to deliver there.
            ends: Whether this process ends: where it has to wait, and no other stays, it has said that it does.
        """
        fence, began = secrets.token_hex(8), monotonic()
        name = as_bytes(flow)
        state = (int(self.lease * 1000), *seen, int(insist), self._member if ends else "")
        answer = self._run(CLAIM, [name], name, *state, fresh=fence)
        _, number, wait, doubt, pending, gone, items, others = answer
        epoch = self._state[2] if self._state else ""
        left = left_by(gone)
        still = None if pending is None else frozenset(map(key_of, pending))
        if wait:
            seconds = wait / 1000 if wait > 0 else float("inf")
            known = seen.arrival if seen.epoch == epoch else 0
            return Wait(seconds, Seen(epoch, known, number), still, left, bool(others))
        spans = [kept_of(item) for item in items]
        seen = Seen(epoch, number, number)
        return Claim(flow, fence, began + self.lease, doubt, seen, spans, still or frozenset(), left)

    def extend(self, claim: Claim) -> float | None:
        """Lengthens the lease, if nobody else has had it since; returns its new end."""
        began, name = monotonic(), as_bytes(claim.flow)
        _, held = self._run(EXTEND, [name], name, claim.fence, int(self.lease * 1000))
        return began + self.lease if held else None

    def settle(self, claim: Claim, carried: Sequence[Key], wait: float, verified: bool) -> bool:
        """A PUT has carried spans, or a read has shown them.

        Args:
            claim: The claim that this was done under; its lease ends.
            carried: The spans; a text that came after the claim stays pending.
            wait: Seconds in which nobody may claim: the pacing interval, or what the platform asked for.
            verified: Whether the read has shown all of the window, so that there is no doubt any more.

        Returns:
            False where another has claimed it since: nothing is settled, and the flow is to be read again.
        """
        return self._finish(claim, "verified" if verified else "written", wait, carried)

    def release(self, claim: Claim, wait: float, unsure: bool = False) -> bool:
        """An attempt has failed.

        Args:
            claim: The claim that this was done under; its lease ends.
            wait: Seconds in which nobody may claim.
            unsure: Whether a PUT may still be on its way.

        Returns:
            False where another has claimed it since.
        """
        return self._finish(claim, "unsure" if unsure else "nothing", wait, ())

    def due(self) -> list[str]:
        """Some flows that may be claimed now; also tidies up what rests for long. Ask with jitter.

        Who asks each second lives: what others leave is left to it.
        """
        rest = int(_REST * 1000)
        _, due, resting = self._run(POLL, [], _MOST_DUE, str(random.random()), rest, self._member)  # noqa: S311
        for name in resting:
            self._run(DROP, [name], name, rest)
        return [as_text(name) for name in due]

    def goodbye(self) -> list[str]:
        """This process ends, and asks no more what is due; the flows in which something waits, if no other lives."""
        return [as_text(name) for name in self._run(GOODBYE, [], _MOST_DUE, self._member)[1]]

    def flows(self) -> list[Held]:
        """All flows that the fleet holds something of."""
        _, fields = self._run(LOOK, [])
        numbers = {
            as_text(name[2:]): [int(number) for number in numbers.split()]
            for name, numbers in zip(fields[::2], fields[1::2], strict=True)
            if name.startswith(b"f:")
        }
        return [
            Held(flow, spans, waiting, size) for flow, (spans, waiting, _, size) in sorted(numbers.items())
        ]

    def window(self, flow: str) -> list[tuple[Kept, bool]]:
        """All spans of a flow in the order of their arrival, each with whether it is pending."""
        _, pending, items = self._run(LOOK, [as_bytes(flow)], as_bytes(flow))
        waiting = frozenset(map(key_of, pending))
        return [(kept, kept.key in waiting) for kept in map(kept_of, items)]

    def drop(self, flow: str) -> int:
        """Forgets all of a flow; returns how many pending spans that were. Their processes count them as dropped."""
        return int(self._run(DROP, [as_bytes(flow)], as_bytes(flow), b"")[1])

    def ping(self) -> None:
        """Asks for a word; on any thread."""
        self._client.ping()

    def close(self) -> None:
        """Closes the connection; the next call opens another."""
        self._client.close()

    def _put(self, batch: Sequence[Piece], is_full: bool = False) -> list[bytes]:
        arguments: list[bytes | int | str] = [*self._bounds, int(is_full)]
        for piece in batch:
            arguments += [
                piece.flow,
                b"".join(piece.items),
                piece.settled,
                piece.gone,
                b" ".join(piece.theirs),
            ]
        answer: list[bytes] = self._run(PUT, [piece.flow for piece in batch], *arguments)[1]
        return answer

    def _finish(self, claim: Claim, outcome: str, wait: float, carried: Sequence[Key]) -> bool:
        name, ids = as_bytes(claim.flow), b" ".join(map(id_of, carried))
        state = (outcome, int(wait * 1000), claim.seen.arrival, claim.doubt)
        _, fresh, astray = self._run(FINISH, [name], name, claim.fence, *state, ids)
        self.astray = [key_of(span) for span in astray]
        return bool(fresh)

    def _run(
        self, script: Script, flows: Sequence[bytes], *arguments: bytes | int | str, fresh: str | None = None
    ) -> Any:
        keys = [self._prefix + name.encode() + b":" + flow for flow in flows for name in FLOW_KEYS]
        if self._state is not None and self._state[0] != os.getpid():
            self._state, self.wants_all, self._member = None, False, secrets.token_hex(8)
            self.was_emptied = False
        first = fresh or secrets.token_hex(8)
        reply = self._client.run(script, [*self._project_keys, *keys], [first, *arguments])
        # Where a connection is new, Redis may be another: a replica that has not got the last of it.
        state = (os.getpid(), self._client.connections, reply[0].decode())
        if self._state is not None and self._state != state:
            self.wants_all = True
            self.was_emptied |= self._state[2] != state[2]
        self._state = state
        return reply
