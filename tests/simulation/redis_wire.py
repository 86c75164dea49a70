"""Between the processes and Redis: sockets on a network with latency and losses, and threads that wait for them.

redis-py is the real one, down to the socket: `install_sockets` puts `Socket` where it would open one. What waits for
an answer is a greenlet, so that the rest of the world goes on meanwhile.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from greenlet import getcurrent, greenlet

from .machine import Killed, alive, here
from .redis_server import Server

KINDS = ("lost request", "lost answer", "late request", "late answer", "cut before", "cut after")
"""What may go wrong with a command, each by chance; late is often after whoever sent it has given up."""


class Strand(greenlet):
    """A thread of a process: it may wait."""

    def __init__(self, process: Any, run: Callable[[], None]) -> None:
        hub = getcurrent()
        super().__init__(run, hub.parent if isinstance(hub, Strand) else hub)
        self.process = process
        self._number = 0

    def wait(self, seconds: float) -> None:
        """Lets the world go on until it is woken, so many seconds at most."""
        self._number += 1
        process = self.process
        process.waiting[self] = None
        process.world.after(seconds, partial(self.wake, self._number))
        self.parent.switch()

    def wake(self, number: int | None = None) -> None:
        """Ends a wait: whichever there is, or the one of that number."""
        if self in self.process.waiting and number in (None, self._number):
            del self.process.waiting[self]
            self.process.resume(self)

    def kill(self) -> None:
        """The process is gone."""
        self.process.waiting.pop(self, None)
        before, here.process = here.process, self.process
        try:
            self.throw(Killed)
        except Killed:
            pass
        finally:
            here.process = before


class Socket:
    """Stands where redis-py has a socket."""

    def __init__(self, wire: Wire, timeout: float) -> None:
        self.wire = wire
        self.process = here.process
        self.ended = self.lost = False
        self._timeout = timeout
        self._sent = bytearray()
        self._inbox = bytearray()
        self._reader: Strand | None = None

    def fileno(self) -> int:
        return -1  # it has no descriptor

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def sendall(self, data: bytes) -> None:
        alive()
        if self.ended:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        self._sent += data
        while (words := self._command()) is not None:
            self.wire.send(self, words)

    def _command(self) -> list[bytes] | None:
        """The next command, if all of it is there."""
        data, words = self._sent, list[bytes]()
        end = data.find(b"\r\n")
        if end < 0:
            return None
        count, at = int(data[1:end]), end + 2
        for _ in range(count):
            end = data.find(b"\r\n", at)
            if end < 0:
                return None
            at, size = end + 2, int(data[at + 1 : end])
            if at + size + 2 > len(data):
                return None
            words.append(bytes(data[at : at + size]))
            at += size + 2
        del data[:at]
        return words

    def recv(self, most: int) -> bytes:
        until = self.process.world.now + (self._timeout or 0.0)
        while not self._inbox:
            alive()
            if self.ended:
                return b""
            if not self._timeout:
                raise BlockingIOError(errno.EWOULDBLOCK, "Resource temporarily unavailable")
            if self.process.world.now >= until - 1e-9:
                raise TimeoutError("timed out")
            self._reader = strand = running()
            strand.wait(until - self.process.world.now)
        alive()
        data = bytes(self._inbox[:most])
        del self._inbox[:most]
        return data

    def hear(self, data: bytes, told_at: float) -> None:
        """An answer has come; that of a script, told at a time, says which Redis it was."""
        self.process.heard_at = max(self.process.heard_at, told_at)
        self._inbox += data
        self._wake()

    def end(self) -> None:
        """The other side has closed it."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.wake()

    def shutdown(self, how: int) -> None: ...

    def close(self) -> None:
        self.ended = True
        self.wire.sockets.pop(self, None)


def running() -> Strand:
    """The thread that runs."""
    strand = getcurrent()
    assert isinstance(strand, Strand)
    return strand


class Wire:
    """Carries commands to Redis, and answers back.

    Args:
        world: Whose network it is.
        server: The Redis.

    Attributes:
        sockets: Those that are open.
        listens: Whether anybody takes connections.
        stopped: Whether Redis is stopped: it takes connections, and answers later.
        cut_off: Numbers of hosts that can't reach it, nor hear from it.
        was_late: Whether a command was carried out for which nobody may have waited any more.
    """

    def __init__(self, world: Any, server: Server) -> None:
        self.sockets: dict[Socket, None] = {}
        self.listens = True
        self.stopped = self.was_late = False
        self.cut_off: set[int] = set()
        self._world = world
        self._server = server
        self._under_way: list[tuple[Socket, Callable[[], None]]] = []
        self._unread: list[Callable[[], None]] = []

    def connect(self, connect_within: float, answer_within: float) -> Socket:
        """Opens a socket, for whoever runs."""
        alive()
        process = here.process
        if process.host.number in self.cut_off:
            running().wait(connect_within)
            raise TimeoutError("timed out")
        running().wait(self._way(process))
        if not self.listens:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        socket = Socket(self, answer_within)
        self.sockets[socket] = None
        return socket

    def send(self, socket: Socket, words: list[bytes]) -> None:
        """A command goes to Redis, in the order of its socket."""
        process, fault = socket.process, self._fault(socket.process, words)
        socket.lost |= fault == "lost request" or process.host.number in self.cut_off
        if socket.lost:
            return
        if fault == "cut before":
            self._world.after(self._way(process), socket.end)
            return
        way, back = self._way(process), self._way(process)
        if fault == "late request":
            self.was_late = True
            way += process.random.choice((0.2, 0.7, 2.0, 6.0))
        if fault == "late answer":
            back += process.random.choice((0.2, 0.7, 2.0))

        def arrive() -> None:
            if entry not in self._under_way:
                return  # its process was killed, and it was decided then
            if self.stopped:
                self.was_late = True
                self._unread.append(arrive)
                return
            self._under_way.remove(entry)
            if not self.listens:
                return
            answer = self._server.answer(words)
            ran = words[0].startswith(b"EVAL") and not answer.startswith(b"-")
            told_at = self._world.now if ran else 0.0
            if fault == "cut after":
                self._world.after(back, socket.end)
            elif fault != "lost answer" and process.host.number not in self.cut_off:
                self._world.after(back, partial(socket.hear, answer, told_at))

        entry = socket, arrive
        self._under_way.append(entry)
        self._world.after(way, arrive)

    def cut(self, process: Any) -> None:
        """A process is killed: what it has sent arrives now, or never."""
        for entry in [entry for entry in self._under_way if entry[0].process is process]:
            if process.random.random() < 0.5 and self.listens and not self.stopped:
                entry[1]()
            else:
                self._under_way.remove(entry)

    def hang_up(self) -> None:
        """Every connection ends."""
        self._under_way.clear()
        for socket in list(self.sockets):
            socket.end()
        self.sockets.clear()

    def go_on(self) -> None:
        """Redis is not stopped any more: what has come meanwhile is read."""
        self.stopped = False
        unread, self._unread = self._unread, []
        for arrive in unread:
            arrive()

    def _way(self, process: Any) -> float:
        return float(self._world.plan.redis.latency * process.random.uniform(0.5, 1.5))

    def _fault(self, process: Any, words: list[bytes]) -> str:
        plan = self._world.plan.redis
        if self._world.resting or not plan.faults or process.random.random() >= plan.fault_rate:
            return ""
        fault: str = process.random.choice(plan.faults)
        self._world.tell(f"{process}: {fault} for {words[0].decode()} to Redis")
        return fault


def install_sockets() -> None:
    """Gives redis-py modelled sockets, for the rest of this interpreter."""

    def connect(connection: Any) -> Socket:
        wire: Wire = here.process.world.redis.wire
        return wire.connect(connection.socket_connect_timeout, connection.socket_timeout)

    redis.connection.Connection._connect = connect  # type: ignore[method-assign, assignment]
