"""What the platform can answer, as types: a small closed set. Only a 2xx is a success.

GET   Found, Absent, Unreadable           read, or not to be read
PUT   Stored, Rejected, TooLarge, Conflict, Stale
both  Unavailable (try again), Denied (the key), Misconfigured (a person must act)
"""

from typing import NamedTuple, TypeAlias


class Found(NamedTuple):
    """GET, 2xx: the stored flow as the platform's own bytes, decoded, and their digest."""

    body: bytes
    digest: bytes
    status: int


class Stored(NamedTuple):
    """PUT, 2xx. `digest` is that of the answer, as a GET would give it; None where it could not be had.

    `believed` is False where the answer is neither empty nor a flow: somebody's page, an error document.
    Then only a read can tell whether the flow was taken.
    """

    status: int
    digest: bytes | None
    believed: bool = True


class Absent(NamedTuple):
    """GET, 404: the platform has no flow of that name.

    `own_form`: the answer is the API's own error document. A proxy's page may be a stray one.
    """

    own_form: bool = True
    message: str = ""


class Rejected(NamedTuple):
    """PUT, 400 or 422: the body is wrong. `spans`: the indices that the platform names, if any."""

    status: int
    code: str
    message: str
    spans: tuple[int, ...]


class TooLarge(NamedTuple):
    """PUT, 413: a smaller body may do; with `retry_after` this one may too, then."""

    message: str
    retry_after: float | None = None


class Conflict(NamedTuple):
    """PUT, 409: read, merge, write again."""

    message: str


class Stale(NamedTuple):
    """PUT, not sent or not to its end: what it rests on is too old by now."""


_NOT_REACHED = ("connect", "proxy", "tls")


class Unavailable(NamedTuple):
    """Try again later. `kind` is a status, or what failed; `answered`: a status line was received."""

    kind: str
    message: str
    retry_after: float | None
    answered: bool

    @property
    def reached(self) -> bool:
        """Whether the platform may have seen something of the request."""
        return self.answered or self.kind not in _NOT_REACHED


def failed_by(error: BaseException) -> Unavailable:
    """What was raised where nothing should be, as an answer; of its text only what the system says is shown."""
    if not isinstance(error, Exception):
        return Unavailable("error", "interrupted", None, answered=False)
    reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return Unavailable("error", f"{type(error).__name__}{reason}", None, answered=False)


class Denied(NamedTuple):
    """401 or 403, with the key read anew."""

    status: int
    message: str
    retry_after: float | None


class Misconfigured(NamedTuple):
    """A person must act. `status` is 0 where no request could be made at all."""

    status: int
    message: str
    retry_after: float | None


class Unreadable(NamedTuple):
    """GET, 2xx, and a body that can't be had: too large, or not in an encoding that was asked for."""

    message: str


Answer: TypeAlias = (
    Found | Stored | Absent | Rejected | TooLarge | Conflict | Stale | Unavailable | Denied | Misconfigured | Unreadable
)  # fmt: skip


class BrokenError(Exception):
    """There is no whole answer: raised and caught in this room.

    Attributes:
        kind: Where it failed; "setting" where a person must change one.
        answered: After a status line.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.answered = False
