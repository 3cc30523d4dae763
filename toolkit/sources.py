"""Where samples come from: the data sets that tiedae knows by name, files and folders; and how they are split."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiedae.compress.config import DataConfig
from tiedae.compress.data import Samples, Scaling, Splits, check_samples
from tiedae.compress.errors import DataError

from .readers import Arrays, read, read_idx, read_npy

ASSETS = Path(__file__).parent / "assets"
VARIABLE = "TIEDAE_DATA"
"""Environment variable: the folder with data sets that do not ship with the package."""


@dataclass(frozen=True)
class DataSet:
    """A data set that a recipe can name. `files` lie in `folder`; `window` cuts a record where the recipe does not say how."""

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

    def find(self) -> Path | None:
        """The folder that holds all files, or None."""
        data = os.environ.get(VARIABLE)
        places = [ASSETS / self.folder] if self.ships else [Path(data) / self.folder, Path(data)] if data else []
        return next((place for place in places if all((place / file).is_file() for file in self.files)), None)


_TRAIN = ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")
_TEST = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")


def _fashion_mnist(paths: list[Path]) -> Arrays:
    train, test = read_idx(paths[0]), read_idx(paths[1])
    return Arrays(train.values, train.labels, test.values, test.labels)


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
            lambda paths: read_npy(paths[0]),
            ships=True,
            window=256,
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


def provenance(source: str) -> dict[str, str]:
    """Licence and origin of a data set that is known by name, for manifest and model card; empty for the user's own data."""
    known = DATA_SETS.get(source)
    return {} if known is None else {"licence": known.licence, "origin": known.origin}


def load_splits(config: DataConfig, output_activation: str, *, base: Path = Path()) -> Splits:
    """Read, check, split and scale the samples of a source; `base` is the folder that a relative path starts from.

    Raises DataError or FormatError, naming the source, for anything that cannot be trained on.
    """
    arrays, window = _load(config.source, base)
    window = config.window or window
    if window:
        test_record = arrays.test_values
        test_values = None if test_record is None else _cut(test_record, window, config.source)
        arrays = Arrays(_cut(arrays.values, window, config.source), test_values=test_values)
    whole = Samples(arrays.values, _labels(arrays.values, arrays.labels, config.source))
    check_samples(whole, config.source)
    tail = config.split == "tail" or (config.split == "auto" and window > 0)
    if arrays.test_values is None:
        train, validation, test = _split(whole, (config.validation, config.test), tail, config)
    else:
        train, validation = _split(whole, (config.validation,), tail, config)
        test = Samples(arrays.test_values, _labels(arrays.test_values, arrays.test_labels, config.source))
        check_samples(test, f"{config.source}, test set")
        if test.shape != whole.shape:
            got = f"a training sample has shape {list(whole.shape)}, a test sample {list(test.shape)}"
            raise DataError(f"{config.source}: {got}; must be the same")
    assert train is not None and test is not None
    scaling = Scaling.fit(config.scaling, train, per_feature=config.per_feature, output_activation=output_activation)

    def scaled(samples: Samples) -> Samples:
        return dataclasses.replace(samples, scaling=scaling)

    return Splits(scaled(train), None if validation is None else scaled(validation), scaled(test), scaling)


def _load(source: str, base: Path) -> tuple[Arrays, int]:
    """The arrays of a source and the window that it is cut with by default."""
    known = DATA_SETS.get(source)
    if known is None:
        path = base / Path(source).expanduser()
        if not path.exists():
            close = difflib.get_close_matches(source, DATA_SETS, 1)
            names = f"did you mean {close[0]}?" if close else "known data sets: " + ", ".join(DATA_SETS)
            raise DataError(f"{source}: no such file or folder ({path}), nor a data set known by name; {names}")
        return read(path), 0
    folder = known.find()
    if folder is None:
        where = f"set {VARIABLE} to the folder that holds {known.folder}/ with {', '.join(known.files)}"
        raise DataError(f"{source}: not found; {where}, from {known.origin} (licence {known.licence})")
    return known.load([folder / file for file in known.files]), known.window


def _cut(record: np.ndarray, window: int, source: str) -> np.ndarray:
    """A record, shape [n] or [n, 1], as samples of `window` neighbouring values; a rest shorter than that is left out."""
    if record.size != len(record):
        raise DataError(f"{source}: has shape {list(record.shape)}; `window` in [data] is for one long record, shape [n]")
    count = len(record) // window
    return record[: count * window].reshape(count, window)


def _labels(values: np.ndarray, labels: np.ndarray | None, source: str) -> np.ndarray | None:
    if labels is not None and labels.shape != (len(values),):
        raise DataError(f"{source}: has labels of shape {list(labels.shape)}, must be [{len(values)}], one per sample")
    return labels


def _split(whole: Samples, shares: tuple[float, ...], tail: bool, config: DataConfig) -> list[Samples | None]:
    """The samples to train on, then one part per share: drawn by the seed, or the last ones in their order."""
    n = len(whole)
    counts = [max(1, round(n * share)) if share else 0 for share in shares]
    bounds = np.cumsum([0, n - sum(counts), *counts])
    if bounds[1] < 1:
        raise DataError(f"{config.source}: holds {n} samples; with {sum(counts)} split off none is left to train on")
    if bounds[1] == n:
        return [whole, *(None for _ in shares)]
    order = np.arange(n) if tail else np.random.default_rng(config.seed).permutation(n)
    parts: list[Samples | None] = []
    for first, end in itertools.pairwise(bounds):
        rows = np.sort(order[first:end])
        labels = None if whole.labels is None else whole.labels[rows]
        parts.append(Samples(whole.values, labels, rows=rows) if len(rows) else None)
    return parts
