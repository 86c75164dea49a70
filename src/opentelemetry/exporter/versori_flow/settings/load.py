"""From keywords and the environment to `Settings`: each setting by its row of the table, and what is wrong at once.

Sources, nearest first: the keyword argument, the variable, the files of Versori's own command line where they
may be looked at, the default. None as a keyword and blank text anywhere mean "not given". Nothing else in this
package reads the environment.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .readers import BadValueError, Secret, is_loopback
from .table import SETTINGS, Settings

_ROWS = {row.keyword: row for row in SETTINGS}
_KEYS = ("api_key", "api_key_file")
SAY_AT_END = "VERSORI_FLOW_SAY_AT_END"
"""The variable by which `versori-flow run` asks the program that takes its place to say what became of its spans."""

_OF_THE_COMMAND = ("VERSORI_FLOW_GATEWAY_TOKEN", SAY_AT_END, "VERSORI_FLOW_SERVE_KEY")
_SECRET = ("api_key", "headers", "store")  # their readers take the value as a `Secret`
_CREDENTIALS = (*_KEYS, "organisation_id", "project_id")


Given = tuple[Secret, str]
"""A setting's raw value, and its source: `argument`, `variable`, or for people which entry of which file."""


class ConfigurationError(ValueError):
    """Settings are missing or wrong.

    Its arguments are one text per problem: the variable and the keyword, what is wrong, what to write instead.
    None of them holds the value of a setting.
    """

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem that was found."""
        return self.args

    def __str__(self) -> str:
        return "\n- ".join(("the Versori flow exporter is not configured:", *self.problems))


def load_settings(
    given: Mapping[str, object] | Secret | None = None, home: bool = False, /, **keywords: object
) -> Settings:
    """Read, check and join all settings.

    Args:
        given: Settings by the names in `SETTINGS`, if need be in a `Secret`; as for `dict`, keywords are the
            same. What is given wins over its variable, and `api_key` or `api_key_file` over those of both.
        home: Whether what is missing may come from the user's home folder, as for a command. Without it
            only VERSORI_CONFIG and VERSORI_CONTEXT ask for that.

    Raises:
        ConfigurationError: Something is missing or wrong; it lists every problem.
    """
    given, keywords = Secret({**Secret(given or {}).reveal(), **keywords}), {}
    raw, problems = nearest(given, home)
    read: dict[str, Any] = dict.fromkeys(_ROWS)
    for row in SETTINGS:
        value, source = raw.get(row.keyword, (Secret(row.default), ""))
        if value.reveal() is not None:
            try:
                read[row.keyword] = row.read(value if row.keyword in _SECRET else value.reveal())
            except BadValueError as problem:
                named = source in ("argument", "variable", "")
                problems += [row.problem(what) if named else f"{source} {what}" for what in problem.args]
        elif row.required:
            problems.append(row.problem(f"is required and not set{_lookalike(row.variable)}. {row.meaning}"))
    problems += [*_contradictions(raw, read), *_strangers(given)]
    if problems:
        raise ConfigurationError(*problems)
    return Settings(**read)


def internal_metrics_enabled() -> bool:
    """Whether SDK components emit metrics, as OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED says; default: no."""
    return os.environ.get("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "").strip().lower() == "true"


def says_at_end() -> bool:
    """Whether an exporter that ends says on standard error how many spans went where; default: no."""
    return os.environ.get(SAY_AT_END, "").strip().lower() == "true"


def unknown_variables() -> dict[str, str | None]:
    """Variables in the environment that look like settings and are none: with what was probably meant, or None.

    All of `VERSORI_FLOW_*` is looked at; another `VERSORI_*` may be some other program's, and counts only where
    it is almost one of ours.
    """
    known = [*(row.variable for row in SETTINGS if row.variable), *_OF_THE_COMMAND]
    found: dict[str, str | None] = {}
    for name in sorted(os.environ):
        if name.startswith("VERSORI_") and name not in known:
            ours = name.startswith("VERSORI_FLOW_")
            closest = _closest(name, known, 0.6 if ours else 0.85)
            if ours or closest:
                found[name] = closest
    return found


def nearest(given: Secret, home: bool) -> tuple[dict[str, Given], list[str]]:
    """The raw values that were given, each from its nearest source, and what is wrong with a file that was asked.

    The key has one source alone. The arguments are those of `load_settings`.
    """
    raw: dict[str, Given] = {}
    variables = {row.keyword: Secret(os.environ.get(row.variable)) for row in SETTINGS if row.variable}
    arguments = {name: Secret(given.reveal().get(name)) for name in _ROWS}
    if not all(_is_blank(arguments[name]) for name in _KEYS):
        for name in _KEYS:
            del variables[name]
    for source, values in (("variable", variables), ("argument", arguments)):
        raw.update((name, (value, source)) for name, value in values.items() if not _is_blank(value))
    config, context = (os.environ.get(f"VERSORI_{name}", "").strip() for name in ("CONFIG", "CONTEXT"))
    if not (config or context or (home and sum(name in raw for name in _CREDENTIALS) < 3)):
        return raw, []
    from .versori_config import look_up  # few have these files, and all would pay for the import

    found, problems = look_up(config, context, "project_id" not in raw)
    if any(name in raw for name in _KEYS):
        found.pop("api_key", None)
        found.pop("auth_scheme", None)
    return {**found, **raw}, problems


def _contradictions(raw: Mapping[str, Given], read: Mapping[str, Any]) -> Iterator[str]:
    """Problems of settings that are right each on its own."""
    keys = sum(name in raw for name in _KEYS)
    if keys == 0:
        yield _ROWS["api_key"].problem(
            "is not set: write the API key, or the path of a file that holds it as VERSORI_API_KEY_FILE "
            f"(keyword api_key_file){_lookalike('VERSORI_API_KEY', 'VERSORI_API_KEY_FILE')}"
        )
    elif keys == 2:  # guessing could send the older of the two for ever
        yield "VERSORI_API_KEY (keyword api_key) and " + _ROWS["api_key_file"].problem(
            "are both set: leave one out"
        )
    url = read["base_url"] or ""
    if url[:5].lower() == "http:" and read["allow_insecure"] is False and not is_loopback(url):
        yield _ROWS["base_url"].problem(
            "is an http URL of another host, where the key would travel in the clear: write https, "
            "or allow it by VERSORI_ALLOW_INSECURE=true (keyword allow_insecure)"
        )
    if "client_key" in raw and "client_certificate" not in raw:
        yield _ROWS["client_key"].problem(
            "is set without its certificate: "
            "set VERSORI_FLOW_CLIENT_CERTIFICATE (keyword client_certificate) too"
        )
    if read["write_mode"] == "replace" and read["store"] is not None and read["store"].redis is not None:
        yield _ROWS["write_mode"].problem(
            "is replace, and the processes of a fleet merge what they have in Redis: leave it out"
        )


def _strangers(given: Secret) -> Iterator[str]:
    """Problems of keywords that are no settings."""
    for name in given.reveal():
        if name not in _ROWS:
            closest = _closest(name, _ROWS, 0.6)
            advice = f"write {closest}" if closest else f"leave it out, or write one of {', '.join(_ROWS)}"
            yield f"keyword {name!r} is not a setting: {advice}"


def _lookalike(*variables: str | None) -> str:
    """A hint at a variable that was probably meant to be one of these."""
    names = [name for name, meant in unknown_variables().items() if meant in variables]
    return f" ({names[0]} is set, but is not a setting)" if names else ""


def _closest(name: str, known: Iterable[str], likeness: float) -> str | None:
    from difflib import get_close_matches  # not for those who spell well: it is slow to import

    return next(iter(get_close_matches(name, list(known), n=1, cutoff=likeness)), None)


def _is_blank(value: Secret) -> bool:
    return value.reveal() is None or (isinstance(value.reveal(), str) and not value.reveal().strip())
