"""The README's commands say in one line what keeps them from working."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.processes.running import PATIENCE, clean_environment

ROOT = Path(__file__).parents[2]


def test_a_demo_that_nobody_reads():
    """`./scripts/demo | head` ends in one line, its services with it."""
    program = [sys.executable, "scripts/demo.py", "--once"]
    with subprocess.Popen(
        program, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        assert demo.stdout.readline().startswith("The shop answers")
        demo.stdout.close()
        said = demo.stderr.read()
        assert demo.wait(PATIENCE) == 1
    assert said == "scripts/demo: nobody reads what it prints, so it has ended\n"


def test_no_network(tmp_path):
    """Where nothing can be installed, one line says so, and where pip's own words are."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    done = subprocess.run(
        ["./scripts/demo", "--once"],
        cwd=tmp_path,
        env={**clean_environment(), "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    begins, says = done.stderr.splitlines()
    assert begins.startswith("Installing what the demo takes")
    assert "is there a network?" in says
    assert ".venv/install.log" in says
