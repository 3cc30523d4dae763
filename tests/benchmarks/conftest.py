"""The modules of benchmarks/, importable by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder is on the path for a test alone, and what it imported from there is forgotten."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    path, modules = list(sys.path), set(sys.modules)
    yield BENCHMARKS
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if (file := getattr(sys.modules[name], "__file__", None)) and Path(file).parent == BENCHMARKS:
            del sys.modules[name]
