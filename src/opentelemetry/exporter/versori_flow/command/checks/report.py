"""All checks, in the order in which to mend what they find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from . import configured, installed, network, variables, waiting
from .configured import Shown
from .finding import Finding, skipped
from .permission import Permission


class Report(NamedTuple):
    """What was found.

    Attributes:
        settings: Each setting, as people may see it.
        findings: What each check found, in the order in which to mend it.
    """

    settings: list[Shown]
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.state == "wrong" for each in self.findings)

    @property
    def first(self) -> Finding | None:
        """What to change first; None where there is nothing."""
        for state in ("wrong", "warning"):
            for each in self.findings:
                if each.state == state:
                    return each
        return None


def examine(given: Mapping[str, object], *, write: bool = False) -> Report:
    """Looks at everything. Nothing is changed, but a flow of its own written and removed where `write` says so.

    Args:
        given: Settings that were given on the command line, by their keywords.
        write: Whether to try writing.
    """
    by_environment = variables.by_environment()
    found = configured.look(given)
    findings = [*found.findings, *installed.look(by_environment), *variables.look()]
    flow = None
    if found.settings is not None:
        flow, remarks = variables.flow_of(found.settings)
        findings += remarks
    if found.reachable is None:
        findings.append(skipped("connection", "the settings come first"))
    else:
        way = list(network.look(found.reachable))
        findings += way
        settings = found.settings
        if settings is None or any(each.state == "wrong" and each.check != "clock" for each in way):
            first = "the settings come" if settings is None else "the connection comes"
            findings.append(skipped("read", f"{first} first"))
        else:
            source = next(each.source for each in found.shown if each.name == "api_key")
            findings += Permission(settings, source).look(flow, write=write)
    if found.settings is not None:
        findings += waiting.look(found.settings)
    return Report(found.shown, findings)
