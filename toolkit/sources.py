"""Data sources: data sets by name, files and folders, and their splits."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiedae.compress.config import DataConfig
from tiedae.compress.data import Samples, Scaling, Splits, check_samples, check_varies, kind_of, scales_per_feature, split
from tiedae.compress.errors import DataError

from .readers import MAX_LISTED, Arrays, read, read_idx, read_npy, require_keys

ASSETS = Path(__file__).parent / "assets"
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
    """Licence and origin of a named data set, for manifest and model card; empty for other sources."""
    known = DATA_SETS.get(source)
    return {} if known is None else {"licence": known.licence, "origin": known.origin}


def load_splits(config: DataConfig, output_activation: str, *, base: Path = Path()) -> Splits:
    """Read, validate, split and scale the samples of a source; `base`: folder of a relative path.

    Raises DataError or FormatError, naming the source, for data that cannot be used for training.
    """
    source = config.source
    arrays, window = _load(config, base)
    window = config.window or window
    columns, label = None if window else arrays.columns, arrays.label
    if window:
        test_record = arrays.test_values
        test_values = None if test_record is None else _windows(test_record, window, f"{source}, test set")
        arrays = Arrays(_windows(arrays.values, window, source), test_values=test_values)
    whole = Samples(arrays.values, arrays.labels)
    check_samples(whole, source)
    tail = config.split == "tail" or (config.split == "auto" and window > 0)
    seed = None if tail else config.seed
    if arrays.test_values is None:
        train, validation, test = split(whole, (config.validation, config.test), source, seed=seed)
    else:
        train, validation = split(whole, (config.validation,), source, seed=seed)
        test = Samples(arrays.test_values, arrays.test_labels)
        check_samples(test, f"{source}, test set")
        if test.shape != whole.shape:
            got = f"a training sample has shape {list(whole.shape)}, a test sample {list(test.shape)}"
            raise DataError(f"{source}: {got}; must be the same")
    assert train is not None and test is not None
    check_varies(train, source)
    each = scales_per_feature(config.per_feature, kind_of(train, windows=window > 0))
    fitted = Scaling.fit(config.scaling, train, per_feature=each, output_activation=output_activation, source=source)
    splits = Splits.scaled(train, validation, test, fitted)
    return dataclasses.replace(splits, windows=window > 0, columns=columns, label=label)


def data_text(config: DataConfig, splits: Splits) -> str:
    """The features, label and scaling of a source, in one line."""
    scaling, what = splits.scaling, {"images": "values", "table": "columns", "record": "neighbouring values"}[splits.kind]
    columns = splits.columns or ()
    listed = ", ".join([*columns[:MAX_LISTED], *["…"] * (len(columns) > MAX_LISTED)])
    names = f" ({listed})" if listed else ""
    label = f"; label: {splits.label}, not trained on" if splits.label else ""
    by = "per feature" if isinstance(scaling.scale, tuple) else "with one scale"
    scaled = "unscaled" if scaling.rule == "none" else f"scaled {by} ({scaling.rule})"
    return f"{config.source}: {splits.inputs:,} {what}{names}, {scaled}{label}"


def _load(config: DataConfig, base: Path) -> tuple[Arrays, int]:
    """The arrays of a source and its default window."""
    source = config.source
    known = DATA_SETS.get(source)
    if known is None:
        try:
            path = base / Path(source).expanduser()
        except RuntimeError:
            raise DataError(f"{source}: no home folder is known for {Path(source).parts[0]}; write the path in full") from None
        if not path.exists():
            close = difflib.get_close_matches(source, DATA_SETS, 1)
            names = f"did you mean {close[0]}?" if close else "known data sets: " + ", ".join(DATA_SETS)
            raise DataError(f"{source}: no such file or folder ({path}), nor a data set known by name; {names}")
        return read(path, config), 0
    require_keys(config, source, ())
    folder = known.find()
    if folder is None:
        where = f"set {VARIABLE} to the folder that holds {known.folder}/ with {', '.join(known.files)}"
        raise DataError(f"{source}: not found; {where}, from {known.origin} (licence {known.licence})")
    return known.load([folder / file for file in known.files]), known.window


def _windows(record: np.ndarray, window: int, source: str) -> np.ndarray:
    """Reshape a record, [n] or [n, 1], to [n // window, window]; drops an incomplete last window."""
    if record.shape[:1] != (record.size,):
        raise DataError(f"{source}: has shape {list(record.shape)}; `window` in [data] is for one long record, shape [n]")
    if window > len(record):
        got = f"`window` in [data] is {window}, longer than the record of {len(record)} values"
        raise DataError(f"{source}: {got}; must be at most half of it, for two samples")
    count = len(record) // window
    return record[: count * window].reshape(count, window)
