"""The rooms and their arrows: each imports later ones only, and the heavy libraries come late."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import opentelemetry.exporter.versori_flow as package

ROOT = Path(package.__file__).parent
PACKAGE = package.__name__

ORDER = [
    "cli",
    "processor",
    "exporter",
    "children",
    "encoding",
    "tidied",
    "attribute_values",
    "routing",
    "flows",
    "flow",
    "policy",
    "known",
    "steps",
    "search",
    "document",
    "window",
    "courier",
    "turns",
    "telemetry",
    "counts",
    "notices",
    "losses",
    "retry",
    "api",
]
"""The way of a span."""

SERVANTS = {
    *("settings", "settings_table", "setting_values", "flow_names", "keys", "credentials", "span", "version"),
    *("transport", "deadline", "proxies", "payload", "refusal"),
}
"""They serve the rooms above, and know none of them."""


def imports_of(path: Path) -> set[str]:
    """The rooms of this package that a file imports, also for types only, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.level == 1:
                names = [node.module] if node.module else [alias.name for alias in node.names]
            elif node.module == PACKAGE:
                names = [alias.name for alias in node.names]
            elif node.module and node.module.startswith(PACKAGE + "."):
                names = [node.module.removeprefix(PACKAGE + ".")]
            else:
                continue
        elif isinstance(node, ast.Import):
            names = [
                alias.name.removeprefix(PACKAGE + ".")
                for alias in node.names
                if alias.name.startswith(PACKAGE + ".")
            ]
        else:
            continue
        found.update(name.split(".")[0] for name in names)
    return found


def test_no_arrow_runs_back():
    """A room never imports one that a span passes earlier."""
    wrong = []
    for path in ROOT.glob("*.py"):
        room = path.stem
        for imported in imports_of(path):
            if room in ORDER and imported in ORDER and ORDER.index(imported) <= ORDER.index(room):
                wrong.append(f"{room} -> {imported}")
            if room in SERVANTS and imported in ORDER:
                wrong.append(f"{room} -> {imported}")
    assert wrong == []


def test_every_room_has_its_place():
    """A new room is put into the order, or among those that serve."""
    faces = {"__init__", "__main__", "_launch", "_tree"}
    assert {path.stem for path in ROOT.glob("*.py")} == {*ORDER, *SERVANTS, *faces}


def test_there_is_no_circle():
    """Following the arrows never leads back."""
    arrows = {
        path.stem: imports_of(path) - {path.stem} for path in ROOT.glob("*.py") if path.stem != "__init__"
    }
    done: set[str] = set()

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, " -> ".join([*way, room])
        if room not in done:
            for imported in arrows.get(room, ()):
                visit(imported, (*way, room))
            done.add(room)

    for room in arrows:
        visit(room, ())


def test_the_namespace_is_shared():
    """The folders above the package hold no `__init__.py`: other exporters live beside it."""
    assert not (ROOT.parent / "__init__.py").exists()
    assert not (ROOT.parent.parent / "__init__.py").exists()


def test_importing_and_constructing_is_light():
    """Neither httpx nor tenacity, nor anything of an extra, is imported with the package."""
    program = (
        # Older SDKs import asyncio.
        "import sys, opentelemetry.sdk.trace.export; before = set(sys.modules);"
        "import opentelemetry.exporter.versori_flow as v;"
        "u='01ARZ3NDEKTSV4RRFFQ69G5FAV';"
        "v.VersoriFlowSpanExporter(api_key='k', organisation_id=u, project_id=u);"
        "heavy = {'httpx', 'httpcore', 'tenacity', 'typer', 'rich', 'starlette', 'asyncio'};"
        "print(*sorted(heavy & set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_public_names():
    """What is public is a decision."""
    assert sorted(package.__all__) == [
        "ConfigurationError",
        "DropReason",
        "FlowStatus",
        "VersoriFlowSpanExporter",
        "VersoriFlowSpanProcessor",
        "__version__",
    ]
