"""The house: folders, the arrows between them, and what may not be imported early."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import opentelemetry.exporter.versori_flow as package

ROOT = Path(package.__file__).parent
PACKAGE = package.__name__

ORDER = [
    *("__main__", "command", "gateway", "server", "span_files", "otlp", "set_up", "processor"),
    *("flow_context", "exporter", "wiring", "lifecycle"),
    *(
        "delivery",
        "stores",
        "own_metrics",
        "intake",
        "encoding",
        "routing",
        "flow",
        "http",
        "settings",
        "encoded_span",
        "interruption",
        "surrogates",
        "untraced",
        "descriptors",
        "native",
        "greenlets",
        "uwsgi_fork",
        "version",
    ),
]
"""Each room imports later ones only; `flow` and what is above it know of `http` its answers alone."""


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package."""
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}


def imports_of(module: str, path: Path) -> set[str]:
    """The modules of this package that a module imports, also for types only, also inside functions."""
    known, found = modules(), set()
    home = module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith(PACKAGE), f"{module}: an absolute import"
            if node.level:
                base = [*home[: len(home) - node.level + 1], *(node.module or "").split(".")]
                base = [part for part in base if part]
                for alias in node.names:
                    inner = ".".join([*base, alias.name])
                    found.add(inner if inner in known else ".".join(base))
    return {name for name in found if name}


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_no_arrow_runs_back():
    """A room never imports one that comes before it."""
    wrong = [
        f"{module} -> {imported}"
        for module, path in modules().items()
        if module != "__init__"
        for imported in imports_of(module, path)
        if room(imported) != room(module) and ORDER.index(room(imported)) < ORDER.index(room(module))
    ]
    assert wrong == []


def test_there_is_no_circle():
    """Following the arrows between modules never leads back."""
    arrows = {
        module: imports_of(module, path) - {module}
        for module, path in modules().items()
        if not module.endswith("__init__")
    }
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for imported in arrows.get(module, ()):
                visit(imported, (*way, module))
            done.add(module)

    for module in arrows:
        visit(module, ())


def test_the_namespace_is_shared():
    """The folders above the package hold no `__init__.py`: other exporters live beside it."""
    assert not (ROOT.parent / "__init__.py").exists()
    assert not (ROOT.parent.parent / "__init__.py").exists()


def test_importing_and_constructing_is_light():
    """Neither httpx nor tenacity, nothing of an extra, and nothing that delivers is imported with the package."""
    program = (
        # Older SDKs import asyncio.
        "import sys, opentelemetry.sdk.trace.export; before = set(sys.modules);"
        "import opentelemetry.exporter.versori_flow as v;"
        "u='01ARZ3NDEKTSV4RRFFQ69G5FAV';"
        "v.VersoriFlowSpanExporter(api_key='k', organisation_id=u, project_id=u);"
        "heavy = {'httpx', 'httpcore', 'tenacity', 'redis', 'typer', 'rich', 'starlette', 'asyncio'};"
        "heavy |= {f'{v.__name__}.{room}' for room in ('wiring', 'flow.flows', 'http.api', 'stores')};"
        "print(*sorted(heavy & set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_public_names():
    """What is public is a decision."""
    assert sorted(package.__all__) == [
        "ConfigurationError",
        "DropReason",
        "FlowNameProcessor",
        "FlowStatus",
        "VersoriFlowSpanExporter",
        "VersoriFlowSpanProcessor",
        "__version__",
        "configure",
        "flow",
    ]


@pytest.mark.parametrize("module", modules())
def test_a_module_can_be_taken_in(module: str):
    """No module has over 300 lines, and no class over 12 attributes."""
    source = modules()[module].read_text()
    assert len(source.splitlines()) <= 300
    for made in [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]:
        attributes = {
            node.attr
            for node in ast.walk(made)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        }
        assert len(attributes) <= 12, f"{made.name}: {sorted(attributes)}"


def test_the_engine_is_reached_by_its_public_face():
    """httpx alone, by its public names: neither httpcore nor a private name of httpx, in tests neither."""
    for folder in (ROOT, Path(__file__).parent):
        for path in folder.rglob("*.py"):
            text = path.read_text()
            assert "import httpcore" not in text or path == Path(__file__), path
            assert re.search(r"\bhttpx\._", text) is None or path == Path(__file__), path
