"""Checks the body of a flow against the project's own copy of the API description.

The verdict is openapi-schema-validator's. Two memories make it affordable, for it takes a third of a second
for a thousand spans: spans that were found valid before are known by a digest of their content, and a
``oneOf`` of bare types has one verdict per type.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections.abc import Iterable, Iterator
from importlib import resources
from itertools import islice
from typing import Any

import yaml
from jsonschema.validators import extend  # type: ignore[import-untyped]
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from .json_text import JsonText
from .replies import ApiError

# An answer that names every fault of a thousand spans helps nobody.
_MOST_FIELDS = 20
_MOST_MESSAGE = 200
# Some fifty windows of a thousand spans, in about 8 MB.
_MOST_KNOWN = 50_000


class FlowValidator:
    """The schema of a flow, ready to check bodies; safe to use from several threads."""

    def __init__(self) -> None:
        text = resources.files(__package__).joinpath("versori-flows.openapi.yaml").read_text(encoding="utf-8")
        components = yaml.safe_load(text)["components"]
        kind: Any = extend(OAS30Validator, {"oneOf": _remembering_one_of()})
        self._flow = kind(_schema("IntegrationFlow", components), format_checker=oas30_format_checker)
        self._span = kind(_schema("OTelSpan", components), format_checker=oas30_format_checker)
        self._known: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def check(self, body: JsonText) -> None:
        """Checks a body.

        Raises:
            ApiError: 422, with the paths of what is wrong, 20 at most; 400 where it is nested too deeply.
        """
        try:
            fields = self._problems(body.document)
        except RecursionError:
            raise ApiError(400, "invalid_json", "the body is nested too deeply") from None
        if fields:
            path, text = fields[0]
            message = (
                f"the body is not a valid flow: {path}: {text}" if path else f"the body is not a flow: {text}"
            )
            raise ApiError(422, "validation_failed", message, fields)

    def _problems(self, document: Any) -> list[tuple[str, str]]:
        spans: list[Any] = []
        if isinstance(document, dict) and isinstance(document.get("spans"), list):
            spans = document["spans"]
            document = {**document, "spans": []}
        fields = _fields("", self._flow.iter_errors(document))
        for index, span in enumerate(spans):
            if len(fields) >= _MOST_FIELDS:
                break
            digest = _digest(span)
            if digest in self._known:
                continue
            errors = _fields(f"spans[{index}]", self._span.iter_errors(span))
            fields += errors
            if digest is not None and not errors:
                self._remember(digest)
        return fields[:_MOST_FIELDS]

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._known[digest] = None
            while len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]


def _schema(name: str, components: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": components}


def _digest(span: Any) -> bytes | None:
    try:
        # Version 2 of the format writes equal values as equal bytes; later ones refer back to shared objects.
        return hashlib.blake2b(marshal.dumps(span, 2), digest_size=16).digest()
    except ValueError:
        return None  # nested more deeply than marshal goes


def _fields(prefix: str, errors: Iterable[Any]) -> list[tuple[str, str]]:
    # Not all are looked for: one span may have a million.
    return [_field(prefix, error) for error in islice(errors, _MOST_FIELDS)]


def _field(prefix: str, error: Any) -> tuple[str, str]:
    message = str(error.message)
    if len(message) > _MOST_MESSAGE:
        message = message[:_MOST_MESSAGE] + "..."
    path = _path(prefix, error.absolute_path)
    if error.validator == "required":
        # One error for each missing member, which is named at the beginning of the message only.
        missing = [name for name in error.validator_value if message.startswith(repr(name))]
        path = _path(path, missing[:1])
    return path, message


def _path(prefix: str, steps: Iterable[str | int]) -> str:
    path = prefix
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.lstrip(".")


def _remembering_one_of() -> Any:
    """The library's ``oneOf``, asked once per type where all it chooses among is bare types."""
    original: Any = OAS30Validator.VALIDATORS["oneOf"]
    valid: set[tuple[int, type]] = set()

    def one_of(validator: Any, schemas: list[Any], instance: Any, schema: Any) -> Iterator[Any]:
        # Floats are left out: whether one counts as an integer depends on its value.
        key = (id(schemas), type(instance)) if type(instance) in (str, bool, int) else None
        if key in valid:
            return
        errors = list(original(validator, schemas, instance, schema))
        if key is not None and not errors and all(choice.keys() == {"type"} for choice in schemas):
            valid.add(key)
        yield from errors

    return one_of
