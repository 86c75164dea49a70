"""The troubles of a Redis, as the reader of a log line understands them."""

from __future__ import annotations

from typing import Any

from ..flow.window import Key
from ..settings.redis_url import FleetUrl
from .connection import StoreError

_SETTING = "VERSORI_FLOW_STORE"
_ADVICE = {
    "LOADING": "it is loading its data after a start: spans wait in memory until it is done",
    "READONLY": f"it is a replica that takes no writes: let {_SETTING} name the primary, or its Sentinels",
    "MASTERDOWN": f"it is a replica that has lost its primary: let {_SETTING} name the primary, or its Sentinels",
    "OOM": "it is full (maxmemory, noeviction): give it more memory, or lower VERSORI_FLOW_MAX_STORE_BYTES",
    "MISCONF": "it can't save to its disk and takes no writes: free space there",
    "NOAUTH": f"access is denied, it wants a password: write it into {_SETTING}",
    "WRONGPASS": f"access is denied, it knows no such user or password: correct {_SETTING}",
    "NOPERM": "access is denied to this user: let its ACL have ~versori:* +@all -@admin -@dangerous",
    "CROSSSLOT": f"it is a cluster's node: write redis+cluster:// in {_SETTING}",
    "MOVED": f"it is a cluster's node: write redis+cluster:// in {_SETTING}",
    "CLUSTERDOWN": "its cluster is down: spans wait in memory until it is back",
    "BUSY": "it is busy with somebody's script: spans wait in memory until it is done",
}


class FullError(StoreError):
    """Redis is full: nothing can be added, but what is there can be removed, or have a newer text.

    Attributes:
        there: Of the spans that it was told, those that it has, by flow.
    """

    there: frozenset[tuple[str, Key]] = frozenset()


class AwayError(StoreError):
    """Redis gives no answer."""


def told(error: Exception, errors: Any, url: FleetUrl) -> StoreError:
    """What an exception is to who keeps spans there.

    Args:
        error: What redis-py has raised.
        errors: `redis.exceptions`.
        url: Where the Redis is.
    """
    said = str(error).replace("\n", " ")
    # A name that no host can have, which a Sentinel or a cluster may give too, is a UnicodeError.
    unreachable = (errors.TimeoutError, errors.ConnectionError, OSError, UnicodeError)
    kind: type[StoreError] = FullError if isinstance(error, errors.OutOfMemoryError) else StoreError
    advice = _ADVICE.get(_code(error, errors, said))
    if isinstance(error, unreachable):
        advice = advice or (
            f"it can't be reached ({said or type(error).__name__}): spans wait in memory until it can"
        )
        # Those that say what is wrong are an answer.
        if not isinstance(error, (errors.AuthenticationError, errors.BusyLoadingError)):
            kind = AwayError
    elif not isinstance(error, (errors.RedisError, errors.RedisClusterException)):
        # As where the program was forked while another thread imported it.
        advice = f"redis-py fails by itself ({type(error).__name__}: {said}): spans wait in memory meanwhile"
    text = f"{url}: {advice or said}"
    return kind(text if url.password is None else text.replace(url.password.reveal(), "***"))


def _code(error: Exception, errors: Any, said: str) -> str:
    if isinstance(error, errors.AuthenticationError):
        return "NOAUTH" if "required" in said or said.startswith("NOAUTH") else "WRONGPASS"
    if "unauthenticated" in said:  # of a command that is long, which it does not even read
        return "NOAUTH"
    if "executing the script can't" in said:  # as Redis 7 says it of a command within one
        return "NOPERM"
    kinds = {
        errors.BusyLoadingError: "LOADING",
        errors.ReadOnlyError: "READONLY",
        errors.MasterDownError: "MASTERDOWN",
        errors.ClusterDownError: "CLUSTERDOWN",
        errors.OutOfMemoryError: "OOM",
        errors.NoPermissionError: "NOPERM",
        errors.AskError: "MOVED",
    }
    return next((code for kind, code in kinds.items() if isinstance(error, kind)), said.split(" ", 1)[0])
