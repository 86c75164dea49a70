"""The contract of every store, for each of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from opentelemetry.exporter.versori_flow.stores.folder import Folder
from opentelemetry.exporter.versori_flow.stores.seam import Store
from opentelemetry.exporter.versori_flow.stores.spool import Spool
from opentelemetry.exporter.versori_flow.stores.spool_file import Target

from .contract import Contract, Make

TARGET = Target("http://localhost/api", "organisation", "project")


def spool(path: Path, max_bytes: int = 64 << 20, durable: bool = True) -> Spool:
    """A spool of this process."""
    return Spool(Folder(str(path), False, max_bytes), TARGET, durable, 100_000)


class TestSpool(Contract):
    """`sqlite:///folder`."""

    @pytest.fixture
    def make(self, tmp_path: Path) -> Make:
        def make() -> Store:
            return spool(tmp_path / "spool")

        return make

    @pytest.fixture
    def make_anew(self, tmp_path: Path) -> Callable[[], Make]:
        numbers = itertools.count()

        def make_anew() -> Make:
            path = tmp_path / f"spool{next(numbers)}"
            return lambda: spool(path)

        return make_anew
