"""Data sets known by name: those that ship, and those in the folder that `TIEDAE_DATA` names."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, listed

from .arrays import Arrays, read_idx, read_npy
from .injections import injected
from .interval_files import read_intervals

ASSETS = Path(__file__).parents[1] / "assets"
VARIABLE = "TIEDAE_DATA"
"""Environment variable with the folder of data sets that do not ship with the package."""


@dataclass(frozen=True)
class DataSet:
    """A data set that a recipe can name. `files` are in `folder`; `window`: default values per sample of a record."""

    name: str
    description: str
    shape: str
    licence: str
    origin: str
    files: tuple[str, ...]
    folder: str
    load: Callable[[list[Path]], Arrays]
    ships: bool = False
    window: int = 0

    @property
    def places(self) -> list[Path]:
        """The folders that are looked for, in order; none where the variable is not set."""
        data = os.environ.get(VARIABLE)
        return [ASSETS / self.folder] if self.ships else [Path(data) / self.folder, Path(data)] if data else []

    def missing(self, place: Path) -> list[str]:
        """The files that a folder lacks."""
        return [file for file in self.files if not (place / file).is_file()]

    def find(self) -> Path | None:
        """The folder that holds all files, or None."""
        return next((place for place in self.places if not self.missing(place)), None)

    def looked(self) -> str:
        """Where the files were looked for, and which were not there."""
        if not self.places:
            return f"{VARIABLE} is not set"
        texts = []
        for place in self.places:
            missing = self.missing(place)
            lacking = "none of its files" if len(missing) == len(self.files) else f"no {listed(missing)}"
            texts.append(f"{place} {f'holds {lacking}' if place.is_dir() else 'is no folder'}")
        return "; ".join(texts)

    def located(self) -> Path:
        """The folder that holds all files; DataError, with where they come from, where none does."""
        folder = self.find()
        if folder is None:
            where = f"set {VARIABLE} to the folder that holds {self.folder}/ with {', '.join(self.files)}"
            come = f"from {self.origin} (licence {self.licence})"
            raise DataError(f"{self.name}: not found ({self.looked()}); {where}, {come}")
        return folder


ECG_RATE, ECG_ZERO, ECG_GAIN = 360.0, 1024, 200
"""Hz, of the record."""


def _ecg_anomaly(paths: list[Path]) -> Arrays:
    """The record with the faults of faults.csv, which lie in its last two minutes. 200 counts are 1 mV, 1024 are 0 mV."""
    faults = read_intervals(paths[1])
    return Arrays(injected(read_npy(paths[0]).values, faults, ECG_RATE, ECG_ZERO, ECG_GAIN), rate=ECG_RATE, marks=faults)


_TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def _fashion_mnist(paths: list[Path]) -> Arrays:
    train, test = read_idx(paths[0]), read_idx(paths[1])
    return Arrays(train.values, train.labels, test.values, test.labels)


def _ecg_table(paths: list[Path]) -> Arrays:
    """A row for each half second of the record: what its 180 values are like."""
    windows = read_npy(paths[0]).values.reshape(-1, 180).astype(np.float32)
    slopes = np.diff(windows, axis=1)
    columns = {
        "mean": windows.mean(1),
        "deviation": windows.std(1),
        "lowest": windows.min(1),
        "highest": windows.max(1),
        "steepest_fall": slopes.min(1),
        "steepest_rise": slopes.max(1),
        "mean_slope": np.abs(slopes).mean(1),
        "time_of_highest": windows.argmax(1) / 360,
    }
    return Arrays(np.stack([*columns.values()], 1).astype(np.float32), columns=tuple(columns))


DATA_SETS: Mapping[str, DataSet] = {
    known.name: known
    for known in (
        DataSet(
            "fashion",
            "Fashion-MNIST, its test file: gray pictures of clothes in ten classes",
            "10,000 × 28×28 uint8",
            "MIT",
            "zalandoresearch/fashion-mnist, © 2017 Zalando SE",
            _TEST,
            "fashion-mnist",
            lambda paths: read_idx(paths[0]),
            ships=True,
        ),
        DataSet(
            "ecg",
            "MIT-BIH Arrhythmia Database, record 208: one lead, 360 Hz, counts; millivolt = (x − 1024) / 200",
            "108,000 int16, windows of 256",
            "ODC-By 1.0",
            "PhysioNet; Moody & Mark 2001, Goldberger et al. 2000",
            ("mitbih208.npy",),
            "ecg",
            lambda paths: replace(read_npy(paths[0]), rate=ECG_RATE),
            ships=True,
            window=256,
        ),
        DataSet(
            "ecg-anomaly",
            "the same record with 30 faults as intervals: half and 1.5 times the amplitude, hum, dropouts, steps",
            "108,000 int16, windows of 256",
            "ODC-By 1.0",
            "PhysioNet; Moody & Mark 2001, Goldberger et al. 2000",
            ("mitbih208.npy", "faults.csv"),
            "ecg",
            _ecg_anomaly,
            ships=True,
            window=256,
        ),
        DataSet(
            "ecg-table",
            "the same record as a table: level, spread, slopes and time of the peak of each half second",
            "600 × 8 float32",
            "ODC-By 1.0",
            "PhysioNet; Moody & Mark 2001, Goldberger et al. 2000",
            ("mitbih208.npy",),
            "ecg",
            _ecg_table,
            ships=True,
        ),
        DataSet(
            "fashion-mnist",
            "Fashion-MNIST, all of it, with the test set of its authors",
            "60,000 + 10,000 × 28×28 uint8",
            "MIT",
            "zalandoresearch/fashion-mnist, © 2017 Zalando SE",
            (_TRAIN[0], _TEST[0], _TRAIN[1], _TEST[1]),
            "fashion-mnist",
            _fashion_mnist,
        ),
    )
}
