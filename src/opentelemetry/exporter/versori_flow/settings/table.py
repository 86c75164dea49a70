"""The table of settings: names, defaults, how each is read, and the sentence that the README has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import flow_name as flow_names
from . import key as keys
from . import readers as setting_values


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        keyword: The name of the keyword argument.
        variable: The name of the environment variable; None where there is none.
        default: The text that is read where nothing is given; None: there is none.
        read: From a raw value to the checked one.
        meaning: One sentence for the README, units included.
        unset: What it means that nothing is given, where there is no default.
        required: What to write, for a setting that must be given.
    """

    keyword: str
    variable: str | None
    default: str | None
    read: Callable[[Any], object]
    meaning: str
    unset: str = "unset"
    required: str | None = None

    @property
    def documented_default(self) -> str:
        """The default as the README's table shows it."""
        return self.unset if self.default is None else f"`{self.default}`"

    def problem(self, what: str) -> str:
        """A problem's text, which begins with the setting's names."""
        return f"{self.variable or self.keyword} (keyword {self.keyword}) {what}"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "api_key",
        "VERSORI_API_KEY",
        None,
        keys.key,
        "The API key, without a scheme.",
        unset="required, unless `api_key_file` is set",
    ),
    Setting(
        "api_key_file",
        "VERSORI_API_KEY_FILE",
        None,
        keys.key_file,
        "A file with the key alone; read again when it changes, and when the platform refuses the key.",
    ),
    Setting(
        "auth_scheme",
        "VERSORI_AUTH_SCHEME",
        None,
        setting_values.token,
        "The word before the key in the Authorization header.",
        unset="by the key's form: `JWT` where it is one, else `Bearer`",
    ),
    Setting(
        "organisation_id",
        "VERSORI_ORGANISATION_ID",
        None,
        setting_values.ulid,
        "The organisation's ULID.",
        unset="required",
        required="write the organisation's ULID",
    ),
    Setting(
        "project_id",
        "VERSORI_PROJECT_ID",
        None,
        setting_values.ulid,
        "The project's ULID.",
        unset="required",
        required="write the project's ULID",
    ),
    Setting(
        "base_url",
        "VERSORI_API_BASE_URL",
        "https://platform.versori.com/api/v2",
        setting_values.base_url,
        "Where the API is.",
    ),
    Setting(
        "allow_insecure",
        "VERSORI_ALLOW_INSECURE",
        "false",
        setting_values.boolean,
        "`true` lets an http URL name another host than this one: the key travels in the clear.",
    ),
    Setting(
        "flow_name",
        "VERSORI_FLOW_NAME",
        "{service.name}",
        flow_names.flow_name,
        "A template over resource attributes (`{{`, `}}`: braces); in code also a callable given the span.",
    ),
    Setting(
        "flow_description",
        "VERSORI_FLOW_DESCRIPTION",
        None,
        setting_values.text,
        "The description that the flow gets.",
        unset="unset: the stored one is kept",
    ),
    Setting(
        "write_mode",
        "VERSORI_FLOW_WRITE_MODE",
        "merge",
        setting_values.choice("merge", "replace"),
        "`merge` reads the stored flow and keeps what it has; `replace` reads nothing and overwrites it.",
    ),
    Setting(
        "store", "VERSORI_FLOW_STORE", "memory:", setting_values.store, "Where spans wait for their delivery."
    ),
    Setting(
        "max_spans",
        "VERSORI_FLOW_MAX_SPANS",
        "1000",
        setting_values.whole(1),
        "Spans kept per flow; older traces leave first.",
    ),
    Setting(
        "max_bytes",
        "VERSORI_FLOW_MAX_BYTES",
        "4194304",
        # Less than this has no room for one ordinary span.
        setting_values.whole(1024),
        "Bytes of body per flow, at least 1024; older traces leave first.",
    ),
    Setting(
        "max_flows",
        "VERSORI_FLOW_MAX_FLOWS",
        "100",
        setting_values.whole(1),
        "Flows held in memory at once; those with undelivered spans stay beyond it.",
    ),
    Setting(
        "min_interval",
        "VERSORI_FLOW_MIN_INTERVAL",
        "1.0",
        setting_values.seconds(zero=True),
        "Seconds between two writes of one flow; `0` turns pacing off.",
    ),
    Setting(
        "timeout",
        "VERSORI_FLOW_TIMEOUT",
        "10",
        setting_values.seconds(zero=False),
        "Seconds, more than 0, for one attempt at a flow: read, merge and write, first connect to last byte.",
    ),
    Setting(
        "export_wait",
        "VERSORI_FLOW_EXPORT_WAIT",
        "1",
        setting_values.seconds(zero=True),
        "Seconds that `export` waits for its spans to be delivered; `0`: it never waits.",
    ),
    Setting(
        "headers",
        "VERSORI_FLOW_HEADERS",
        None,
        setting_values.headers,
        "More request headers, `k=v,k=v` with percent-encoded values; in code also a mapping.",
        unset="none",
    ),
    Setting(
        "compression",
        "VERSORI_FLOW_COMPRESSION",
        "none",
        setting_values.choice("none", "gzip"),
        "`gzip` compresses request bodies; the platform does not document that it takes them.",
    ),
    Setting(
        "certificate",
        "VERSORI_FLOW_CERTIFICATE",
        None,
        setting_values.pem_file,
        "A PEM file with the authorities to trust.",
        unset="the system's trust",
    ),
    Setting(
        "client_certificate",
        "VERSORI_FLOW_CLIENT_CERTIFICATE",
        None,
        setting_values.pem_file,
        "A PEM file with the client's certificate, and its key unless `client_key` is set.",
        unset="none",
    ),
    Setting(
        "client_key",
        "VERSORI_FLOW_CLIENT_KEY",
        None,
        setting_values.pem_file,
        "A PEM file with the client's key.",
        unset="none",
    ),
    Setting(
        "resource_attributes",
        "VERSORI_FLOW_RESOURCE_ATTRIBUTES",
        "service.name,service.version,service.instance.id,deployment.environment.name",
        setting_values.names,
        "Resource attributes that every span carries; `,` alone (in code an empty list): none.",
    ),
    Setting(
        "meter_provider",
        None,
        None,
        setting_values.meter_provider,
        "Where the exporter's own metrics go, in code only.",
        unset="the global one",
    ),
)
