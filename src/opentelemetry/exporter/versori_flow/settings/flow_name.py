"""The form of a flow name template, which is checked where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .readers import BadValueError, text


def flow_name(value: object) -> str | Callable[[Any], str]:
    """A callable, or a template whose form is right."""
    if callable(value):
        return value  # what it returns is looked at per span
    template = text(value)
    template_parts(template)
    return template


def template_parts(template: str) -> list[tuple[str, bool]]:
    """What a flow name template is made of.

    Args:
        template: Text with placeholders such as `{service.name}`: names of resource attributes. `{{` and `}}`
            stand for the braces themselves.

    Returns:
        In order: literal text with False, or the name of an attribute with True.

    Raises:
        BadValueError: A brace has no partner, or a placeholder names nothing.
    """
    parts: list[tuple[str, bool]] = []
    for part in re.findall(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]", template):
        if part in ("{", "}"):
            raise BadValueError(
                f"has a `{part}` without its partner: close the placeholder, or write `{part * 2}`"
            )
        if part[0] == "{" != part[1]:
            attribute = part[1:-1].strip()
            if not attribute:
                raise BadValueError(
                    "has an empty placeholder: name an attribute of the resource, as in {service.name}"
                )
            parts.append((attribute, True))
        else:
            parts.append((part[0] if part in ("{{", "}}") else part, False))
    return parts
