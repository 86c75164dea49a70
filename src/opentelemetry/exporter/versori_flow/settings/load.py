"""What was configured, checked. Nothing else in this package reads the environment.

All settings are one table, `SETTINGS` in `settings_table.py`; everything here goes by its rows.

Sources, nearest first: the keyword argument, the variable, the default. None as a keyword and blank text
anywhere mean "not given". The values come from Python, from variables' text or, by OpenTelemetry's
declarative configuration, as raw YAML.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from . import readers as setting_values
from .flow_name import flow_name_template
from .key import Secret
from .table import SETTINGS, Setting

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = [
    "SETTINGS",
    "ConfigurationError",
    "Secret",
    "Setting",
    "Settings",
    "flow_name_template",
    "load_settings",
    "unknown_variables",
]


class ConfigurationError(ValueError):
    """Settings are missing or wrong.

    Args:
        *problems: One text per problem: the variable and the keyword, what is wrong, what to write instead.
            None of them holds the value of a setting.
    """

    @property
    def problems(self) -> tuple[str, ...]:
        """Every problem that was found."""
        return self.args

    def __str__(self) -> str:
        return "\n- ".join(("the Versori flow exporter is not configured:", *self.problems))


class Settings(NamedTuple):
    """What was configured, checked. No secret is in its repr.

    Attributes:
        api_key: The key; None where `api_key_file` holds it. Exactly one of the two is given.
        api_key_file: A file that held a usable key when it was checked.
        auth_scheme: `Bearer`, `JWT` or another token; None: by the key's form.
        organisation_id: A ULID, as it was written.
        project_id: A ULID, as it was written.
        base_url: http or https, without a slash at its end.
        allow_insecure: Whether http may name another host than this one.
        flow_name: A template for `flow_name_template`, or a callable.
        flow_description: None: the stored description is kept.
        write_mode: `merge` or `replace`.
        store: The store's address.
        max_spans: Spans per flow, at least 1.
        max_bytes: Bytes of body per flow, at least 1024.
        max_flows: Flows held at once, at least 1.
        min_interval: Seconds between two writes of one flow; 0: no pacing.
        timeout: Seconds for one attempt at a flow, more than 0.
        export_wait: Seconds that an export waits for delivery; 0: not at all.
        headers: Names and secret values of further headers. Their text is Latin-1, as is the key's.
        compression: `none` or `gzip`.
        certificate: PEM file of authorities; None: the system's.
        client_certificate: PEM file; None: no client certificate.
        client_key: PEM file; None: the key is in `client_certificate`, if that is given.
        resource_attributes: Names of the resource attributes that spans carry; empty: none.
        meter_provider: None: the global one.
    """

    api_key: Secret | None
    api_key_file: str | None
    auth_scheme: str | None
    organisation_id: str
    project_id: str
    base_url: str
    allow_insecure: bool
    flow_name: str | Callable[[ReadableSpan], str]
    flow_description: str | None
    write_mode: Literal["merge", "replace"]
    store: str
    max_spans: int
    max_bytes: int
    max_flows: int
    min_interval: float
    timeout: float
    export_wait: float
    headers: Mapping[str, str]
    compression: Literal["none", "gzip"]
    certificate: str | None
    client_certificate: str | None
    client_key: str | None
    resource_attributes: tuple[str, ...]
    meter_provider: MeterProvider | None

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._asdict().items() if name != "headers")
        return f"{type(self).__name__}({', '.join(shown)})"


def load_settings(**keywords: object) -> Settings:
    """Read, check and join all settings.

    Args:
        **keywords: Settings by the names in `SETTINGS`. None and blank text count as not given. A keyword
            wins over its variable, and `api_key` or `api_key_file` as a keyword over the variables of both.

    Returns:
        The settings, all of them checked.

    Raises:
        ConfigurationError: Something is missing or wrong; it lists every problem.
    """
    problems: list[str] = []
    given = _given(keywords, problems)
    read: dict[str, Any] = {"headers": {}}
    for setting in SETTINGS:
        raw = given.get(setting.keyword, setting.default)
        if raw is None:
            read.setdefault(setting.keyword, None)
            if setting.required is not None:
                problems.append(
                    setting.problem(f"is not set: {setting.required}{_lookalike(setting.variable)}")
                )
            continue
        try:
            read[setting.keyword] = setting.read(raw)
        except setting_values.BadValueError as problem:
            problems += (setting.problem(what) for what in problem.args)
    problems += _contradictions(given, read)
    problems += _strangers(keywords)
    if problems:
        raise ConfigurationError(*problems)
    return Settings(**read)


def internal_metrics_enabled() -> bool:
    """Whether SDK components emit metrics, as OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED says; default: no."""
    return os.environ.get("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "").strip().lower() == "true"


def unknown_variables() -> dict[str, str | None]:
    """Variables in the environment that look like settings and are none.

    Returns:
        Their names, sorted, each with the name that was probably meant, or None. All of `VERSORI_FLOW_*`
        is looked at; another `VERSORI_*` may be some other program's, and counts only where it is almost
        one of ours.
    """
    known = [setting.variable for setting in SETTINGS if setting.variable]
    found: dict[str, str | None] = {}
    for name in sorted(os.environ):
        if name.startswith("VERSORI_") and name not in known:
            from difflib import get_close_matches  # not for those who spell well: it is slow to import

            ours = name.startswith("VERSORI_FLOW_")
            closest = get_close_matches(name, known, n=1, cutoff=0.6 if ours else 0.85)
            if ours or closest:
                found[name] = closest[0] if closest else None
    return found


def _given(keywords: Mapping[str, object], problems: list[str]) -> dict[str, object]:
    """The raw values that were given, each from its nearest source, and one key alone."""
    by_keyword = {
        setting.keyword: keywords[setting.keyword]
        for setting in SETTINGS
        if not _is_blank(keywords.get(setting.keyword))
    }
    by_variable = {
        setting.keyword: os.environ[setting.variable]
        for setting in SETTINGS
        if setting.variable and not _is_blank(os.environ.get(setting.variable))
    }
    both = {"api_key", "api_key_file"}
    if by_keyword.keys() & both:
        by_variable = {keyword: raw for keyword, raw in by_variable.items() if keyword not in both}
    given = {**by_variable, **by_keyword}
    if not given.keys() & both:
        problems.append(
            "VERSORI_API_KEY (keyword api_key) is not set: write the API key, "
            "or the path of a file that holds it as VERSORI_API_KEY_FILE (keyword api_key_file)"
            + _lookalike("VERSORI_API_KEY", "VERSORI_API_KEY_FILE")
        )
    elif both <= given.keys():  # guessing could send the older of the two for ever
        problems.append(
            "VERSORI_API_KEY (keyword api_key) and VERSORI_API_KEY_FILE (keyword api_key_file) are both set: "
            "leave one out"
        )
    return given


def _contradictions(given: Mapping[str, object], read: Mapping[str, Any]) -> Iterator[str]:
    """Problems of settings that are right each on its own."""
    rows = {setting.keyword: setting for setting in SETTINGS}
    url = read.get("base_url", "")
    if (
        url[:5].lower() == "http:"
        and not read.get("allow_insecure", True)
        and not setting_values.is_loopback(url)
    ):
        yield rows["base_url"].problem(
            "is an http URL of another host, where the key would travel in the clear: write https, "
            "or allow it by VERSORI_ALLOW_INSECURE=true (keyword allow_insecure)"
        )
    if "client_key" in given and "client_certificate" not in given:
        yield rows["client_key"].problem(
            "is set without its certificate: "
            "set VERSORI_FLOW_CLIENT_CERTIFICATE (keyword client_certificate) too"
        )


def _strangers(keywords: Mapping[str, object]) -> Iterator[str]:
    """Problems of keywords that are no settings."""
    known = [setting.keyword for setting in SETTINGS]
    for name in keywords:
        if name not in known:
            from difflib import get_close_matches

            closest = get_close_matches(name, known, n=1)
            advice = f"write {closest[0]}" if closest else f"leave it out, or write one of {', '.join(known)}"
            yield f"keyword {name!r} is not a setting: {advice}"


def _lookalike(*variables: str | None) -> str:
    """A hint at a variable that was probably meant to be one of these."""
    names = [name for name, meant in unknown_variables().items() if meant in variables]
    return f" ({names[0]} is set, but is not a setting)" if names else ""


def _is_blank(raw: object) -> bool:
    return raw is None or (isinstance(raw, str) and not raw.strip())
