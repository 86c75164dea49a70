"""A client of redis-py for each process, and its troubles as the reader of a log line understands them."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import logging
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..descriptors import Identity, identity
from ..interruption import is_from_a_handler
from ..native import get_ident, owner_of_sockets, tell_end
from ..settings.redis_url import FleetUrl
from ..untraced import untraced
from .redis_errors import told
from .remarks import Remarks

_EXTRA = "takes an extra: pip install 'opentelemetry-exporter-versori-flow[redis]'"
_TIMEOUT = 0.5
"""Seconds for a connection, and for an answer: so long waits whoever has something else to do."""

_PATIENT_TIMEOUT = 2.0
"""Likewise, where nobody waits."""

_RETRIES = 1


class Script:
    """A Lua script, by its digest."""

    __slots__ = ("digest", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@cache
def load() -> Any:
    """Imports redis-py, and what it imports for its first client; once, though each probe has a client of its own.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import redis
    except ImportError:
        raise ValueError(_EXTRA) from None
    with contextlib.suppress(Exception):  # who uses it says what is wrong
        redis.Redis().close()
    return redis


class RedisClient:
    """Connected when it is used first; a forked child has a connection of its own.

    Args:
        url: Where the Redis is.
        remarks: What there is to say.
        timeout: Seconds for a connection, and for an answer.

    Attributes:
        connections: How often a connection was made: what was written before may be lost since.

    Raises:
        ValueError: redis-py is not installed.
    """

    def __init__(self, url: FleetUrl, remarks: Remarks, timeout: float = _TIMEOUT) -> None:
        self.connections = 0
        self._redis = load()
        self._url = url
        self._remarks = remarks
        self._timeout = timeout
        self._clients: dict[int, Any] = {}  # by whose its socket is
        self._pid = 0
        self._inherited: list[Any] = []
        self._sockets: list[tuple[Any, Identity | None]] = []
        self._policy_seen = False

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes | int | str]) -> Any:
        """Runs a script, which is sent where Redis has it no longer.

        Raises:
            StoreError: It can't be done, or it is not known whether it was; the text says what to do.
        """
        return self._told(self._run, script, keys, arguments)

    def ping(self) -> None:
        """Asks for a word, with more patience, and over a connection of its own.

        Raises:
            StoreError: There is none.
        """
        other = RedisClient(self._url, Remarks(), _PATIENT_TIMEOUT)
        try:
            self._told(other._ping)
        finally:
            other.close()

    def _ping(self) -> None:
        _command(self._connected(), "PING")

    def _run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes | int | str]) -> Any:
        client = self._connected()
        try:
            return _command(client, "EVALSHA", script.digest, len(keys), *keys, *arguments)
        except self._redis.exceptions.NoScriptError:
            return _command(client, "EVAL", script.text, len(keys), *keys, *arguments)

    def _told(self, command: Callable[..., Any], *arguments: Any) -> Any:
        """Does something, and tells its trouble as `StoreError`."""
        try:
            with untraced():
                return command(*arguments)
        except Exception as error:
            if isinstance(error, MemoryError) or is_from_a_handler(error):
                raise
            trouble = told(error, self._redis.exceptions, self._url)
        raise trouble  # not from an error whose frames may have the password

    def close(self) -> None:
        """Closes the connection; the next use opens another. Those of other threads end with them."""
        self._let_go_of_others()
        for owner in {0, owner_of_sockets()}:
            self._close(owner)

    def leave_thread(self) -> None:
        """Closes that of the thread that calls: it ends."""
        self._close(get_ident())

    def _close(self, owner: int) -> None:
        client = self._clients.pop(owner, None)
        if client is not None and self._pid == os.getpid():
            with contextlib.suppress(Exception):
                client.close()

    def _connected(self) -> Any:
        if self._pid != os.getpid():
            # The parent's: its locks may be held, and closing it would take them.
            self._inherited += self._clients.values()
            self._clients, self._pid, self._sockets = {}, os.getpid(), []
        self._let_go_of_others()
        owner = owner_of_sockets()
        if (client := self._clients.get(owner)) is None:
            client = self._clients[owner] = self._open()
            tell_end(self)
        if not self._policy_seen:
            self._look_at_policy(client)
        return client

    def _open(self) -> Any:
        url, redis = self._url, self._redis
        errors = redis.exceptions
        # A second trial mends a connection that was closed while it was idle; waiting twice mends nothing.
        retry = redis.retry.Retry(redis.backoff.NoBackoff(), _RETRIES, (errors.ConnectionError,))
        common: dict[str, Any] = {
            # Not as an argument of its own: no frame of ours has the password among its locals.
            "credential_provider": _credentials(redis, url),
            "socket_timeout": self._timeout,
            "socket_connect_timeout": self._timeout,
            "retry": retry,
            "retry_on_error": [errors.ConnectionError],  # before 6.0 it is asked for twice
            "protocol": 2,
            "redis_connect_func": self._on_connect,
        }
        if url.tls:
            common |= {"ssl": True, "ssl_check_hostname": True, **dict(url.options)}
        if url.form == "unix":
            return redis.Redis(unix_socket_path=url.path, db=url.db, **common)
        if url.form == "server":
            return redis.Redis(*url.hosts[0], db=url.db, **common)
        if url.form == "cluster":
            nodes = [redis.cluster.ClusterNode(*host) for host in url.hosts]
            # Given whole, its own retries: it counts those that follow a slot to another node.
            return redis.cluster.RedisCluster(startup_nodes=nodes, **common)
        quick = {
            key: common[key] for key in ("socket_timeout", "socket_connect_timeout", "protocol", "retry")
        }
        sentinel = redis.sentinel.Sentinel(
            url.hosts, sentinel_kwargs={**quick, "ssl": url.tls, **dict(url.options)}, **common
        )
        return sentinel.master_for(url.path, db=url.db)

    def _on_connect(self, connection: Any) -> None:
        if self._url.form != "cluster":  # there it was done before
            connection.on_connect()
        self.connections += 1
        # Its socket is a private name; without it, all but what `_let_go_of_others` does still holds.
        sockets = [*self._sockets, (getattr(connection, "_sock", None), None)]
        self._sockets = [
            (sock, known or identity(sock.fileno()))
            for sock, known in sockets
            if sock is not None and sock.fileno() >= 0
        ]

    def _let_go_of_others(self) -> None:
        """Drops connections that the program has closed: it may have others under their numbers by now."""
        if self._pid != os.getpid():
            return
        for sock, known in self._sockets:
            if sock.fileno() >= 0 and identity(sock.fileno()) != known:
                sock.detach()
                self._clients = {}

    def _look_at_policy(self, client: Any) -> None:
        """Warns once where Redis would throw away what waits there."""
        try:
            self._policy_seen = True
            policy = str(_command(client, "INFO", "memory").get("maxmemory_policy", ""))
        except self._redis.exceptions.ResponseError:
            return  # not allowed to this user
        except BaseException:
            self._policy_seen = False
            raise
        if policy.startswith("allkeys-"):
            self._remarks.say(
                logging.WARNING,
                f"{self._url} throws away any key when it is full (maxmemory-policy {policy}), "
                "spans that wait for their delivery too: set it to noeviction",
            )


def _command(client: Any, *arguments: Any) -> Any:
    """Without what instrumentations have put around the method: until 2025 that of Redis traced whatever it met."""
    return inspect.unwrap(type(client).execute_command)(client, *arguments)


def _credentials(redis: Any, url: FleetUrl) -> Any:
    if url.password is None:
        return None
    return redis.credentials.UsernamePasswordCredentialProvider(url.user, url.password.reveal())
