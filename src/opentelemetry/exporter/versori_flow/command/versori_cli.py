"""No set-up for those who have Versori's own command line: what its files say, as variables for a program."""

from __future__ import annotations

from collections.abc import Mapping

from ..settings.load import ConfigurationError, nearest
from ..settings.readers import Secret, is_loopback
from ..settings.table import SETTINGS
from .launch import BASE_URL

_ASKED_FOR = ("VERSORI_CONFIG", "VERSORI_CONTEXT")


def credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that say to a program what no variable says yet, and those files do.

    Empty where they have no key to offer, and where an address on this host means the local platform: then they are
    only looked at if VERSORI_CONFIG or VERSORI_CONTEXT is set.

    Raises:
        ConfigurationError: A file that is needed is broken.
    """
    url = environ.get(BASE_URL, "").strip()
    if url and is_loopback(url) and not any(environ.get(name, "").strip() for name in _ASKED_FOR):
        return {}
    raw, problems = nearest(Secret({}), True)
    if problems:
        raise ConfigurationError(*problems)
    if not raw.keys() & {"api_key", "api_key_file"}:
        return {}
    return {
        row.variable: str(raw[row.keyword][0].reveal())
        for row in SETTINGS
        if row.variable and row.keyword in raw and raw[row.keyword][1] != "variable"
    }
