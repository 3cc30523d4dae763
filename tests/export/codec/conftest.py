"""Bundles of schema 1 with the tables in golden/, and their samples: bytes and a table of floats."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tiedae.export.bundle import write_files
from tiedae.export.file_info import FileInfo
from tiedae.export.manifest import FILE, with_files

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("bytes", "table")


@pytest.fixture(scope="session")
def old_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each of `NAMES` with `bundle`, as it was written in 2026, and its tables."""
    return extract_old_runs(tmp_path_factory.mktemp("schema1"))


def extract_old_runs(folder: Path) -> Path:
    with zipfile.ZipFile(Path(__file__).parents[2] / "schema1.zip") as archive:
        archive.extractall(folder)
    for name in NAMES:
        bundle = folder / name / "bundle"
        files = {path.name: path.read_bytes() for path in GOLDEN.glob(f"{name}.[cr]*")}
        write_files(bundle, files)
        write_files(bundle, {FILE: with_files(bundle, {file: FileInfo.of(data) for file, data in files.items()})})
    return folder


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def bundle(old_runs: Path, name: str) -> Path:
    return old_runs / name / "bundle"


@pytest.fixture
def samples(old_runs: Path, name: str) -> np.ndarray:
    """400 samples of a bundle, [n, inputs] in the data's dtype."""
    if name == "bytes":
        return np.load(old_runs / "bytes" / "bytes.npy")
    return np.loadtxt(old_runs / "table" / "table.csv", delimiter=",", skiprows=1, usecols=range(10))
