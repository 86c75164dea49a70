"""What is installed: this exporter's entry point, the SDK, the distribution, instrumentations, and whether they fit."""

from __future__ import annotations

import contextlib
import importlib.util
import platform
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions, entry_points
from typing import NamedTuple

from ...version import __version__
from .finding import Finding, ok, skipped, warning, wrong

ENTRY_POINT = "versori_flow"
_EXPORTER = "opentelemetry-exporter-versori-flow"
_GROUP = "opentelemetry_traces_exporter"
_SHOWN = ("opentelemetry-sdk", "opentelemetry-instrumentation", "opentelemetry-distro")


def look(by_environment: bool) -> Iterator[Finding]:
    """What is installed, and what is missing between it.

    Args:
        by_environment: Whether OTEL_TRACES_EXPORTER names this exporter: auto-instrumentation is meant then.
    """
    installed = _installed()
    versions = [f"versori-flow {__version__}", f"Python {platform.python_version()}"]
    versions += [f"{name} {installed[name].version}" for name in _SHOWN if name in installed]
    yield ok("versions", ", ".join(versions))
    yield _entry_point()
    yield from _misfits(installed)
    yield from _distribution(by_environment)
    yield from _instrumentations(installed)


class _Package(NamedTuple):
    version: str
    distribution: Distribution


def _installed() -> dict[str, _Package]:
    """Packages by their names: of two of one name the one that an import finds, which comes first."""
    found: dict[str, _Package] = {}
    for each in distributions():
        about = each.metadata
        found.setdefault(_name(about["Name"] or ""), _Package(about["Version"], each))
    return found


def _entry_point() -> Finding:
    found = list(entry_points(group=_GROUP, name=ENTRY_POINT))
    if not found:
        return wrong(
            "entry point",
            "entry-point-missing",
            f"no entry point {ENTRY_POINT} of {_GROUP}: OTEL_TRACES_EXPORTER={ENTRY_POINT} would find nothing",
            f"pip install --force-reinstall --no-deps {_EXPORTER}",
        )
    try:
        found[0].load()
    except Exception as error:  # noqa: BLE001 - whatever an import raises
        return wrong(
            "entry point",
            "entry-point-broken",
            f"{found[0].value} can't be imported ({type(error).__name__})",
            f"pip install --force-reinstall {_EXPORTER}",
        )
    return ok("entry point", f"OTEL_TRACES_EXPORTER={ENTRY_POINT} finds it")


def _misfits(installed: dict[str, _Package]) -> Iterator[Finding]:
    """Packages of OpenTelemetry, and this one, that need others than are here."""
    try:
        from packaging.requirements import InvalidRequirement, Requirement
    except ImportError:
        yield skipped("fit", "the package packaging is not installed, which compares versions")
        return
    fits = True
    for name, each in sorted(installed.items()):
        if not name.startswith("opentelemetry-"):
            continue
        for text in each.distribution.requires or ():
            with contextlib.suppress(InvalidRequirement):
                needed = Requirement(text)
                if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                    continue
                other = installed.get(_name(needed.name))
                if other is not None and needed.specifier.contains(other.version, prereleases=True):
                    continue
                fits = False
                here = f"{other.version} is installed" if other is not None else "it is not installed"
                yield wrong(
                    "fit",
                    "version-mismatch",
                    f"{name} {each.version} needs {needed.name}{needed.specifier}, and {here}",
                    f"pip install --upgrade {name} '{needed.name}{needed.specifier}'",
                )
    if fits:
        yield ok("fit", "the packages of OpenTelemetry fit each other")


def _distribution(by_environment: bool) -> Iterator[Finding]:
    if importlib.util.find_spec("opentelemetry.distro") is not None:
        return
    yield (wrong if by_environment else warning)(
        "distribution",
        "distribution-missing",
        "opentelemetry-distro is not installed: opentelemetry-instrument traces nothing, and says nothing",
        f"pip install '{_EXPORTER}[cli]'",
    )


def _instrumentations(installed: dict[str, _Package]) -> Iterator[Finding]:
    """Which libraries are traced by themselves, and which could be."""
    try:
        from opentelemetry.instrumentation.bootstrap_gen import libraries
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
    except ImportError:
        yield skipped("instrumentation", "opentelemetry-instrumentation is not installed")
        return
    good: list[str] = []
    for point in entry_points(group="opentelemetry_instrumentor"):
        conflict = get_dist_dependency_conflicts(point.dist) if point.dist is not None else None
        if conflict is None:
            good.append(point.name)
        elif conflict.found is not None:
            yield warning(
                "instrumentation",
                "instrumentation-mismatch",
                f"the instrumentation of {point.name} does nothing: {conflict}",
                f"install what it takes: pip install '{conflict.required}'",
            )
    missing = {
        library
        for each in libraries
        if (library := _name(each["library"])) in installed
        and _name(each["instrumentation"]) not in installed
    }
    more = f"; installed without instrumentation: {', '.join(sorted(missing))}" if missing else ""
    if good:
        yield ok("instrumentation", f"traced by themselves: {', '.join(sorted(good))}{more}")
    else:
        yield warning(
            "instrumentation",
            "instrumentation-missing",
            f"no library is traced by itself, only spans that the program makes{more}",
            "opentelemetry-bootstrap -a install",
        )


def _name(requirement: str) -> str:
    name = requirement
    for end in "<>=!~ [;":
        name = name.partition(end)[0]
    return name.lower().replace("_", "-")
