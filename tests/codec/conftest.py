"""Bundles of two small runs with the tables in golden/, and their samples: bytes and a table of floats."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE, with_files
from tiedae.codec.frames import FileModel
from tiedae.export.file_info import FileInfo

from ..conftest import RUNS

GOLDEN = Path(__file__).parent / "golden"
NAMES = ("bytes", "table")


@pytest.fixture(scope="session")
def coded_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each of `NAMES` with `bundle` and its tables."""
    return extract_runs(tmp_path_factory.mktemp("runs"))


def extract_runs(folder: Path) -> Path:
    with zipfile.ZipFile(RUNS) as archive:
        archive.extractall(folder)
    for name in NAMES:
        bundle = folder / name / "bundle"
        files = {path.name: path.read_bytes() for path in GOLDEN.glob(f"{name}.[cr]*")}
        write_files(bundle, files)
        write_files(bundle, {FILE: with_files(bundle, {file: FileInfo.of(data) for file, data in files.items()})})
    return folder


INTEGER_FILES: dict[str, dict[str, Any]] = {"lossless": {"lossless": True}, "bounded": {"max_error": 3}}
"""Golden files of the bundle of bytes, and the options that wrote them."""


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.tae").read_bytes()


@pytest.fixture(scope="session")
def models(coded_runs: Path) -> dict[str, FileModel]:
    found = {name: FileModel.of(Bundle.open(coded_runs / name / "bundle")) for name in NAMES}
    return found | dict.fromkeys(INTEGER_FILES, found["bytes"])


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def bundle(coded_runs: Path, name: str) -> Path:
    return coded_runs / name / "bundle"


@pytest.fixture
def samples(coded_runs: Path, name: str) -> np.ndarray:
    """400 samples of a bundle, [n, inputs] in the data's dtype."""
    if name == "bytes":
        return np.load(coded_runs / "bytes" / "bytes.npy")
    return np.loadtxt(coded_runs / "table" / "table.csv", delimiter=",", skiprows=1, usecols=range(10))
