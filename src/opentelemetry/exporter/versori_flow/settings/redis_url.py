"""The forms in which a Redis is named. Imports no client.

redis://[user[:password]@]host[:port][/db]            rediss:// over TLS
unix://[user[:password]@]/path[?db=0]
redis+sentinel://[user[:password]@]host[:port],host[:port]/service[/db]      rediss+sentinel://
redis+cluster://[user[:password]@]host[:port],host[:port]                    rediss+cluster://
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .key import absolute
from .readers import Secret

_EXAMPLE = "write it as in redis://user:password@host:6379/0"
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
_OPTIONS = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_PORT, _PORT = 26379, 6379
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")


class FleetUrl(NamedTuple):
    """Where a Redis is, and as whom to speak to it. No password is in its repr or text.

    Attributes:
        form: `server`, `unix`, `sentinel` or `cluster`.
        scheme: As it was written.
        hosts: Names and ports; none for `unix`.
        path: The socket's path, or the service that the Sentinels watch.
        db: The number of the database.
        user: The name of the ACL user, or None.
        password: Its password, or None.
        options: What redis-py takes for TLS, by its names there.
    """

    form: str
    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    db: int
    user: str | None
    password: Secret | None
    options: tuple[tuple[str, str | bool], ...]

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme.startswith("rediss")

    def __str__(self) -> str:
        user = f"{self.user or ''}:***@" if self.password else f"{self.user}@" if self.user else ""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        if self.form == "unix":
            return f"unix://{user}{self.path}?db={self.db}"
        path = {"server": f"/{self.db}", "sentinel": f"/{self.path}/{self.db}"}.get(self.form, "")
        return f"{self.scheme}://{user}{hosts}{path}"

    def __repr__(self) -> str:
        return str(self)


def parse(url: str) -> FleetUrl:
    """Reads a URL.

    Raises:
        ValueError: It has none of the forms above; the text says why, and never holds the password.
    """
    if re.search(r"[\s\x00-\x1f\x7f]", url):
        raise ValueError("has a space or a control character: percent-encode it")
    try:
        split = urlsplit(url)
    except ValueError:
        raise ValueError(f"is not a URL: {_EXAMPLE}") from None
    match = re.fullmatch(r"(rediss?)(?:\+(sentinel|cluster))?|unix", split.scheme)
    if match is None:
        raise ValueError(
            "is of no known form: write redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
        )
    if split.fragment or ("@" in split.path and split.scheme != "unix"):
        raise ValueError(
            "has a character that ends its host: percent-encode it in the user's name and password"
        )
    form = "unix" if split.scheme == "unix" else match[2] or "server"
    userinfo, _, places = split.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    options = _options(split.query)
    path, db = _path(form, unquote(split.path), str(options.pop("db", "")))
    if options and not split.scheme.startswith("rediss"):
        raise ValueError(f"has the option {next(iter(options))}, which is for TLS: write rediss://")
    if form == "unix" and places:
        raise ValueError(
            "names a host before the path of a socket: write it as in unix:///run/redis.sock?db=0"
        )
    hosts = () if form == "unix" else _hosts(places, _SENTINEL_PORT if form == "sentinel" else _PORT)
    if form == "server" and len(hosts) > 1:
        raise ValueError("names several hosts: write redis+sentinel:// or redis+cluster://")
    secret = Secret(unquote(password)) if password else None
    return FleetUrl(
        form, split.scheme, hosts, path, db, unquote(user) or None, secret, tuple(options.items())
    )


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for place in text.split(","):
        match = _HOST.fullmatch(place)
        port = int(match[2] or default_port) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValueError(f"has no usable host or port: {_EXAMPLE}")
        host = match[1].strip("[]")
        try:
            host.encode("idna")  # as whoever connects does
        except UnicodeError:
            raise ValueError("has a host name with an empty part, or one of over 63 characters") from None
        hosts.append((host, port))
    return tuple(hosts)


def _path(form: str, path: str, asked: str) -> tuple[str, int]:
    """The socket's path or the service's name, and the number of the database."""
    db = asked
    if form == "unix":
        if not path.strip("/"):
            raise ValueError("names no socket: write it as in unix:///run/redis.sock?db=0")
    else:
        first, _, rest = path.strip("/").partition("/")
        service, number = (first, rest) if form == "sentinel" else ("", "/".join(filter(None, (first, rest))))
        path, db = service, number or asked
        if form == "sentinel" and not service:
            raise ValueError(
                "names no service: write it as in redis+sentinel://host:26379,host:26379/service/0"
            )
        if form == "cluster" and db not in ("", "0"):
            raise ValueError("names a database, and a cluster has none: leave it out")
    if not re.fullmatch(r"[0-9]{0,5}", db):
        raise ValueError(f"has a database that is no number: {_EXAMPLE}")
    return path, int(db or 0)


def _options(query: str) -> dict[str, str | bool]:
    options: dict[str, str | bool] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in (*_OPTIONS, "db"):
            raise ValueError(f"has an option that is not known; there are db, {', '.join(_OPTIONS)}")
        options[name] = absolute(value) if name in _FILES else value
    if options.get("ssl_cert_reqs", "required") not in ("required", "optional", "none"):
        raise ValueError("has an ssl_cert_reqs that is none of required, optional and none")
    if "ssl_check_hostname" in options:
        if options["ssl_check_hostname"] not in ("true", "false"):
            raise ValueError("has an ssl_check_hostname that is neither true nor false")
        options["ssl_check_hostname"] = options["ssl_check_hostname"] == "true"
    if options.get("ssl_cert_reqs") == "none":
        options["ssl_check_hostname"] = False
    return options
