"""The setting `store`: which URLs name one, and what is said of those that don't."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.settings.readers import BadValueError
from opentelemetry.exporter.versori_flow.settings.store import MEMORY, StoreUrl, store


@pytest.mark.parametrize("text", ["memory:", "memory://", " memory: ", "MEMORY:"])
def test_memory(text: str) -> None:
    """Nothing is kept elsewhere."""
    assert store(text) == MEMORY


@pytest.mark.parametrize("slashes", ["sqlite://", "sqlite:///", "SQLite://"])
def test_a_folder(slashes: str, tmp_path: Path) -> None:
    """Its path is absolute, with three slashes or four; it is made, for its owner alone."""
    url = store(f"{slashes}{tmp_path}/a%20b/spans/?sync=full")
    assert url == StoreUrl(f"sqlite://{tmp_path}/a b/spans", f"{tmp_path}/a b/spans", True)
    assert stat.S_IMODE((tmp_path / "a b" / "spans").stat().st_mode) == 0o700
    assert not store(f"sqlite://{tmp_path}").full_sync


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("memory:x", "leave it out"),
        ("redis", "is no store"),
        ("sqlite:spans", "by its whole path"),
        ("sqlite://host/spans", "by its whole path"),
        ("sqlite:///", "by its whole path"),
        ("sqlite:///spans?sync=never", "leave out all but"),
        ("sqlite:///spans?mode=ro", "leave out all but"),
        ("sqlite:///proc/spans", "/proc/spans (No such file or directory): name another one"),
        (f"sqlite://{os.devnull}/spans", "(Not a directory): name another one"),
        (f"sqlite://{os.devnull}", "(File exists): name another one"),
    ],
)
def test_what_is_none(text: str, said: str) -> None:
    """One problem that says what to write instead."""
    with pytest.raises(BadValueError, match=r".*") as raised:
        store(text)
    assert said in str(raised.value)
