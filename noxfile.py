"""The core tests on every Python that this machine has, and with the oldest dependencies that are supported.

    ./scripts/versions                    all of it, three sessions at a time
    ./scripts/versions -s tests-3.12      one Python; `-l` lists them
    ./scripts/versions -s oldest -- -k encoding

The core tests are those of the exporter's rooms. Those of the command, of the local platform and of whole
programs run on one Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
PYPROJECT = nox.project.load_toml("pyproject.toml")
# The command, the local platform and whole programs run on one Python.
CORE = [f"tests/{room}" for room in ("delivery", "encoding", "flow", "http", "routing", "settings", "stores")]
ALONE = ("delivery", "flags", "interruption", "lifecycle", "own_metrics", "secrets")
CORE += [f"tests/test_{name}.py" for name in ALONE]
# For CI, where a Python may differ from both its neighbours: values, threads, forks, signals.
BETWEEN = [path for path in CORE if path.removeprefix("tests/") not in ("flow", "http", "routing", "stores")]

nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.reuse_venv = "yes"

# The one that runs this counts too, under whatever name.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
if shutil.which("pyenv") and "PYENV_VERSION" not in os.environ:
    # Without it pyenv's python3.12 says "command not found" where 3.12 is not the chosen one.
    installed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False)
    os.environ["PYENV_VERSION"] = ":".join(reversed(re.findall(r"^3\.1\d\.\d+$", installed.stdout, re.M)))


def _runs(version: str) -> bool:
    """Whether this machine has that Python: a name on the path alone proves nothing."""
    try:
        done = subprocess.run([f"python{version}", "-c", ""], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


HERE = [version for version in PYTHONS if _runs(version)]
if missing := [version for version in PYTHONS if version not in HERE]:
    print(f"Not on this machine, and skipped: Python {', '.join(missing)}", file=sys.stderr)


def _test(session: nox.Session, *pins: str, paths: Sequence[str] = CORE) -> None:
    session.install(
        "--quiet", *pins, "--editable", ".[server]", *nox.project.dependency_groups(PYPROJECT, "core")
    )
    versions = "import importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in ('opentelemetry-sdk', 'httpx')))"
    session.run("python", "-c", versions)
    quick = {"HYPOTHESIS_PROFILE": "quick", "HISTORIES": "10"}
    cache = f"cache_dir={session.create_tmp()}/pytest"
    # Two at a time beside two other sessions, for most of them mostly wait.
    command = ("python", "-m", "pytest", "-q", "-n", "2", "-o", cache, "-m", "not slow", *session.posargs)
    try:
        session.run(*command, *paths, env=quick)
    except nox.command.CommandFailed:
        # Beside another session: how busy a machine is is not what is tested.
        session.run(*command, "-n", "0", "--last-failed", *paths, env=quick)


@nox.session(python=HERE)
def tests(session: nox.Session) -> None:
    """The core tests with the newest dependencies."""
    if tested := os.environ.get("TESTED_PYTHON"):
        if session.python == tested:
            session.skip("every test has run on this one")
        if session.python == HERE[0]:
            session.skip("the oldest dependencies run on this one, and every test has run with the newest")
    _test(session, paths=BETWEEN if tested and session.python != HERE[-1] else CORE)


@nox.session(python=HERE[:1])
def oldest(session: nox.Session) -> None:
    """The core tests with the oldest dependencies that pyproject.toml allows, on the oldest Python here."""
    floors = [*PYPROJECT["project"]["dependencies"], *nox.project.dependency_groups(PYPROJECT, "core")]
    ours = [line for line in floors if line.startswith(("opentelemetry", "httpx", "tenacity"))]
    pins = [re.sub(r" *>= *([^, ]+).*", r"==\1", line) for line in ours]
    # The instrumentation of that time imports pkg_resources, and says of setuptools only that it needs one.
    _test(session, *pins, "setuptools < 81")
