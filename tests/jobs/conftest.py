"""Whole jobs at real size. Some take real data, from the folder that TIEDAE_DATA names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the data sets; where none is named the test that takes this is skipped."""
    if not (data := os.environ.get("TIEDAE_DATA")):
        pytest.skip("TIEDAE_DATA, the folder of the data sets, is not set")
    return Path(data)


@pytest.fixture(scope="session")
def installing() -> None:
    """Without TIEDAE_INSTALL=1 the test that takes this, which installs PyTorch, is skipped; the nightly run has it."""
    if os.environ.get("TIEDAE_INSTALL") != "1":
        pytest.skip("installs PyTorch: TIEDAE_INSTALL=1 runs it")


@pytest.fixture(scope="module")
def benchmark_module() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of benchmarks/ by its name, for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield import_module
