"""The table of settings: here, and nowhere else, stands what a setting is called, takes, means and is without it."""

# Annotations are evaluated: as texts, each field of a NamedTuple takes 10 us more to define.
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast

from . import key, readers
from . import store as store_url

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.trace import ReadableSpan

_T = TypeVar("_T")


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        read: From a raw value to the checked one.
        meaning: One sentence for people, units included.
        default: The text that is read where nothing is given; None: there is none.
        unset: What it means that nothing is given, where the default doesn't say it.
        variable: The name of the environment variable; None where there is none.
        keyword: The name of the keyword argument, and of the field of `Settings`.
    """

    read: Callable[[Any], object]
    meaning: str
    default: str | None
    unset: str | None
    variable: str | None
    keyword: str = ""

    @property
    def required(self) -> bool:
        """Whether it must be given, whatever else is."""
        return self.unset == "required"

    @property
    def documented_default(self) -> str:
        """The default as the README's table shows it."""
        return self.unset or ("unset" if self.default is None else f"`{self.default}`")

    def problem(self, what: str) -> str:
        """A problem's text, which begins with the setting's names."""
        return f"{self.variable or self.keyword} (keyword {self.keyword}) {what}"


def _row(
    read: Callable[[Any], _T],
    meaning: str,
    default: str | None = None,
    unset: str | None = None,
    prefix: str | None = "VERSORI_FLOW_",
) -> _T:
    """A row in the place of what its reader returns, so that the types of both are checked to be one."""
    return cast("_T", Setting(read, meaning, default, unset, prefix))


def _seconds(at_least: float, bound: str) -> Callable[[object], float]:
    # Longer waits are a mistaken unit, and some platforms' waits overflow on them.
    return readers.number(float, at_least, f"seconds, {bound} and at most 86400", 86_400)


class Settings(NamedTuple):
    """What was configured, checked: made by `load_settings` alone, as a field's default is its row.

    None where nothing is given and there is no default. No secret is in its repr.
    """

    api_key: readers.Secret | None = _row(
        key.key, "The API key, without a scheme.", None, "required, unless `api_key_file` is set", "VERSORI_"
    )
    api_key_file: str | None = _row(
        key.key_file,
        "A file with the key alone; read again when it changes, and when the platform refuses the key.",
        prefix="VERSORI_",
    )
    auth_scheme: str | None = _row(
        readers.token,
        "The word before the key in the Authorization header.",
        unset="by the key's form: `JWT` where it is one, else `Bearer`",
        prefix="VERSORI_",
    )
    organisation_id: str = _row(readers.ulid, "The organisation's ULID.", None, "required", "VERSORI_")
    project_id: str = _row(readers.ulid, "The project's ULID.", None, "required", "VERSORI_")
    base_url: str = _row(
        readers.base_url, "Where the API is.", "https://platform.versori.com/api/v2", prefix="VERSORI_API_"
    )
    allow_insecure: bool = _row(
        readers.boolean,
        "`true` lets an http URL name another host than this one: the key travels in the clear.",
        "false",
        prefix="VERSORI_",
    )
    flow_name: "str | Callable[[ReadableSpan], str]" = _row(
        readers.flow_name,
        "A template over resource attributes (`{{`, `}}`: braces); in code also a callable given the span.",
        "{service.name}",
        prefix="VERSORI_",
    )
    flow_description: str | None = _row(
        readers.text, "The description that the flow gets.", None, "unset: the stored one is kept", "VERSORI_"
    )
    write_mode: Literal["merge", "replace"] = _row(
        readers.choice("merge", "replace"),
        "`merge` reads the stored flow and keeps what it has; `replace` reads nothing and overwrites it.",
        "merge",
    )
    store: store_url.StoreUrl = _row(
        store_url.store,
        "Where spans wait for their delivery: `memory:`; `sqlite:///folder` (by its whole path), where they "
        "survive a crash and a restart, with `?sync=full` a power cut too; `redis://user:password@host:6379/0` "
        "or another form of it, where all processes of a fleet share them (extra `redis`).",
        "memory:",
    )
    max_store_bytes: int = _row(
        readers.number(int, 1 << 20, "1048576 or more"),
        "Bytes of a store's folder, all its files together, or of a project in Redis; at least 1048576.",
        "268435456",
    )
    max_spans: int = _row(
        readers.number(int, 1, "1 or more"), "Spans kept per flow; older traces leave first.", "1000"
    )
    max_bytes: int = _row(
        readers.number(int, 1024, "1024 or more"),  # less has no room for one ordinary span
        "Bytes of body per flow, at least 1024; older traces leave first.",
        "4194304",
    )
    max_flows: int = _row(
        readers.number(int, 1, "1 or more"),
        "Flows held in memory at once; those with undelivered spans stay beyond it.",
        "100",
    )
    min_interval: float = _row(
        _seconds(0, "0 or more"), "Seconds between two writes of one flow; `0` turns pacing off.", "1.0"
    )
    timeout: float = _row(
        _seconds(math.ulp(0), "more than 0"),
        "Seconds, more than 0, for one attempt at a flow: read, merge and write, first connect to last byte.",
        "10",
    )
    export_wait: float = _row(
        _seconds(0, "0 or more"),
        "Seconds that `export` waits for its spans to be delivered; `0`: it never waits.",
        "1",
    )
    headers: Mapping[str, readers.Secret] = _row(
        key.headers,
        "More request headers, `k=v,k=v` with percent-encoded values; in code also a mapping.",
        "",
        "none",
    )
    compression: Literal["none", "gzip"] = _row(
        readers.choice("none", "gzip"),
        "`gzip` compresses request bodies; the platform does not document that it takes them.",
        "none",
    )
    certificate: str | None = _row(
        key.pem_file, "A PEM file with the authorities to trust.", unset="the system's trust"
    )
    client_certificate: str | None = _row(
        key.pem_file,
        "A PEM file with the client's certificate, and its key unless `client_key` is set.",
        unset="none",
    )
    client_key: str | None = _row(key.pem_file, "A PEM file with the client's key.", unset="none")
    resource_attributes: tuple[str, ...] = _row(
        readers.names,
        "Resource attributes that every span carries; `,` alone (in code an empty list): none.",
        "service.name,service.version,service.instance.id,deployment.environment.name",
    )
    meter_provider: "MeterProvider | None" = _row(
        readers.meter_provider,
        "Where the exporter's own metrics go, in code only.",
        unset="the global one",
        prefix=None,
    )

    @property
    def target(self) -> tuple[str, str, str]:
        """Where flows go: those of one name in two projects are two flows."""
        return self.base_url, self.organisation_id, self.project_id


SETTINGS: tuple[Setting, ...] = tuple(
    row._replace(variable=row.variable and row.variable + name.upper(), keyword=name)
    for name, row in Settings._field_defaults.items()
)


def arguments() -> str:
    """The settings as the `Args` of a docstring, for a `__doc__` that is made from the table."""
    return "\n".join(
        f"        {row.keyword}: {', '.join(filter(None, (row.variable, row.documented_default)))}. {row.meaning}"
        for row in SETTINGS
    )
