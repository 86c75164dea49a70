"""The template of flow names: its form is checked once, and rendered for each resource."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from .readers import BadValueError, text

_PART = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]")


def flow_name(value: object) -> str | Callable[..., str]:
    """A callable, or a template whose form is right."""
    if callable(value):
        return value  # what it returns is looked at per span
    template = text(value)
    flow_name_template(template)
    return template


def flow_name_template(template: str) -> Callable[[Mapping[str, object]], str]:
    """Compile a flow name template.

    Args:
        template: Text with placeholders such as `{service.name}`: names of resource attributes. `{{` and `}}`
            stand for the braces themselves.

    Returns:
        A function from resource attributes to the flow's name, without surrounding whitespace. An attribute
        that is missing or None, and a name that comes out empty, read `unknown`; the items of a sequence are
        joined with commas; booleans read `true` and `false`.

    Raises:
        ValueError: A brace has no partner, or a placeholder names nothing.
    """
    parts: list[tuple[str, bool]] = []
    for part in _PART.findall(template):
        if part in ("{{", "}}"):
            parts.append((part[0], False))
        elif part in ("{", "}"):
            raise BadValueError(
                f"has a `{part}` without its partner: close the placeholder, or write `{part * 2}`"
            )
        elif part[0] == "{":
            attribute = part[1:-1].strip()
            if not attribute:
                raise BadValueError(
                    "has an empty placeholder: name an attribute of the resource, as in {service.name}"
                )
            parts.append((attribute, True))
        else:
            parts.append((part, False))

    def render(attributes: Mapping[str, object]) -> str:
        rendered = (_readable(attributes.get(part)) if named else part for part, named in parts)
        return "".join(rendered).strip() or "unknown"

    return render


def _readable(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Sequence):
        return ",".join(map(_readable, value))
    return str(value)
