"""A Redis, modelled: scripts run in the Lua that Redis has, on modelled data; it may be full, loading, or a replica."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from struct import calcsize, unpack_from
from typing import Any

from lupa import lua51

from .redis_data import COMMANDS, Data, Refused

_ENGINE = """
local call, unpacked, shown = ...
redis = {call = call}
struct = {unpack = unpacked}
local function told(reply)
  local kind = type(reply)
  if kind == 'string' then return '$' .. #reply .. '\\r\\n' .. reply .. '\\r\\n' end
  if kind == 'number' then return string.format(':%d\\r\\n', reply) end
  if kind == 'boolean' then return reply and ':1\\r\\n' or '$-1\\r\\n' end
  if reply.ok then return '+' .. reply.ok .. '\\r\\n' end
  local parts, size = {''}, 0
  while reply[size + 1] ~= nil do
    size = size + 1
    parts[size + 1] = told(reply[size])
  end
  parts[1] = '*' .. size .. '\\r\\n'
  return table.concat(parts)
end
return function(script, keys, arguments)
  KEYS, ARGV = keys, arguments
  return told(script())
end
"""


class Engine:
    """Lua, with what it calls; one for all worlds, since a script takes longer to be read than to be run."""

    def __init__(self) -> None:
        self.server: Any = None
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._table = self._lua.table_from
        self._run = self._lua.execute(_ENGINE.encode(), self._call, _unpacked, None)
        self._scripts: dict[bytes, Any] = {}

    def run(self, server: Server, text: bytes, keys: Sequence[bytes], arguments: Sequence[bytes]) -> bytes:
        """Runs a script; returns what goes over the wire."""
        script = self._scripts.get(text)
        if script is None:
            script = self._scripts[text] = self._lua.eval(b"function() " + text + b"\nend")
        self.server = server
        reply: bytes = self._run(script, self._table(keys), self._table(arguments))
        return reply

    def _call(self, name: bytes, *arguments: Any) -> Any:
        texts = [part if type(part) is bytes else b"%.17g" % part for part in arguments]
        answer = self.server.call(name, texts)
        return self._table(answer) if isinstance(answer, (list, dict)) else answer


def _unpacked(form: bytes, packed: bytes, at: int) -> tuple[Any, ...]:
    """`struct.unpack` of the Lua library that Redis has, for big-endian forms: values, and the place after them."""
    place, values = at - 1, list[Any]()
    parts = form[1:].decode().replace("c0", "c")
    for part in parts:
        if part == "c":
            size = int(values.pop())
            values.append(packed[place : place + size])
            place += size
        else:
            values.append(unpack_from(">" + part, packed, place)[0])
            place += calcsize(">" + part)
    return (*values, place + 1)


_engine = Engine()


class Server:
    """What one Redis is, and what it says to a command.

    Args:
        now: The server's wall clock, in seconds.

    Attributes:
        data: What it holds.
        refusal: What it says to every command that works on data; empty: nothing is wrong.
        full: Whether it takes nothing more (`maxmemory`, `noeviction`).
        replica: Whether it takes no writes.
        scripts: Those that it knows, by their digests.
        count: How many commands it was sent, by name.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.data = Data(lambda: now() * 1000)
        self.refusal = ""
        self.full = self.replica = False
        self.count: dict[str, int] = {}
        self.scripts: dict[bytes, bytes] = {}
        self._changed = False

    def answer(self, words: Sequence[bytes]) -> bytes:
        """What goes back over the wire."""
        name = words[0].upper()
        self.count[name.decode()] = self.count.get(name.decode(), 0) + 1
        try:
            return self._answer(name, words)
        except Refused as error:
            return b"-%b\r\n" % str(error).encode()

    def _answer(self, name: bytes, words: Sequence[bytes]) -> bytes:
        if name in (b"CLIENT", b"SELECT"):
            return b"+OK\r\n"
        if self.refusal:
            raise Refused(self.refusal)
        if name == b"PING":
            return b"+PONG\r\n"
        if name == b"INFO":
            text = b"# Memory\r\nmaxmemory_policy:noeviction\r\n"
            return b"$%d\r\n%b\r\n" % (len(text), text)
        text = words[1]
        if name == b"EVALSHA":
            if text not in self.scripts:
                raise Refused("NOSCRIPT No matching script. Please use EVAL.")
            text = self.scripts[text]
        else:
            self.scripts[hashlib.sha1(text).hexdigest().encode()] = text
        keys = int(words[2])
        self._changed = False
        return _engine.run(self, text, words[3 : 3 + keys], words[3 + keys :])

    def call(self, name: bytes, arguments: Sequence[bytes]) -> Any:
        """A command of a script.

        A full Redis refuses what grows until the script has changed something: to go on is better than to stop
        in the middle.
        """
        if name == b"TIME":
            now = self._now()
            return [b"%d" % int(now), b"%d" % int(now % 1 * 1e6)]
        command = COMMANDS[name]
        if command.writes:
            if self.replica:
                raise Refused("READONLY You can't write against a read only replica.")
            if self.full and command.grows and not self._changed:
                raise Refused("OOM command not allowed when used memory > 'maxmemory'.")
            self._changed = True
        return command.run(self.data, *arguments)
