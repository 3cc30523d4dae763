"""Data sources: data sets by name, files and folders, and their splits."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec.structs import replace
from tiedae.compress.config import Activation, DataConfig, Recipe
from tiedae.compress.data import (
    Dataset,
    Samples,
    check_samples,
    check_varies,
    fit_scaling,
    kind_of,
    scales_per_feature,
    split,
    with_clean,
)
from tiedae.compress.errors import DataError, listed
from tiedae.compress.normal import normal_of, normal_only, require_detectable
from tiedae.compress.records import checked, require
from tiedae.compress.scaling import Scaling

from .arrays import Arrays, read_idx, read_npy
from .readers import read, require_keys

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

    def located(self) -> Path:
        """The folder that holds all files; DataError, with where they come from, where none does."""
        folder = self.find()
        if folder is None:
            where = f"set {VARIABLE} to the folder that holds {self.folder}/ with {', '.join(self.files)}"
            raise DataError(f"{self.name}: not found; {where}, from {self.origin} (licence {self.licence})")
        return folder


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
            lambda paths: read_npy(paths[0]),
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


def provenance(source: str) -> dict[str, str]:
    """Licence and origin of a named data set, for manifest and model card; empty for other sources."""
    known = DATA_SETS.get(source)
    return {} if known is None else {"licence": known.licence, "origin": known.origin}


def load_data(
    source: str | Path,
    *,
    clean: str | Path | None = None,
    output_activation: Activation = "sigmoid",
    scaling: Literal["auto", "none", "byte", "minmax", "standard"] = "auto",
    per_feature: bool | Literal["auto"] = "auto",
    test: float = 0.1,
    validation: float = 0.0,
    split: Literal["auto", "random", "tail"] = "auto",
    seed: int = 0,
    window: int = 0,
    stride: int = 0,
    columns: Sequence[str] = (),
    drop: Sequence[str] = (),
    label: str = "auto",
    resize: Sequence[int] = (),
    grayscale: bool = False,
    normal: Sequence[int | str] = (),
) -> Dataset:
    """Read, check, split and scale the samples of a known data set (`tiedae data`), a file or a folder of images.

    `clean`: clean samples, one for each of the source's. `output_activation`: the model's; `auto` scales to its range.
    `normal`: labels of the training and validation samples, all where it is empty; the test samples keep every label. The other
    options are the keys of `[data]` in a recipe (docs/recipe.md).

    Raises DataError or FormatError, naming the source, RecipeError for an option out of its range.
    """
    config = DataConfig(
        str(source),
        window,
        stride,
        tuple(columns),
        tuple(drop),
        label,
        tuple(resize),
        grayscale,
        scaling,
        per_feature,
        test,
        validation,
        split,
        seed,
        None if clean is None else str(clean),
    )
    return load_dataset(config, checked(Activation, output_activation, "output_activation"), normal=normal)


def recipe_data(recipe: Recipe, base: Path) -> Dataset:
    """The data of a recipe, as its task trains on them; raises as `load_dataset`, and where a task needs more of them."""
    splits = load_dataset(recipe.data, recipe.model.output_activation, base=base, normal=normal_of(recipe.task))
    require_detectable(splits, recipe.task, recipe.data.source)
    return splits


def load_dataset(
    config: DataConfig, output_activation: str, *, base: Path = Path(), normal: Sequence[int | str] = ()
) -> Dataset:
    """Read, validate, split and scale the samples of a source; `base`: folder of a relative path. `normal`: see `load_data`.

    Raises DataError or FormatError, naming the source, for data that cannot be used for training.
    """
    source = config.source
    arrays, window = _load(config, base)
    columns, label = None if window else arrays.columns, arrays.label
    whole = Samples(arrays.values, arrays.labels)
    check_samples(whole, source)
    clean = None if config.clean is None else _load(replace(config, source=config.clean), base)[0]
    if clean is not None:
        whole = with_clean(whole, clean.values, str(config.clean))
    tail = config.split == "tail" or (config.split == "auto" and window > 0)
    seed = None if tail else config.seed
    if config.stride:
        _require_stride(config, window, tail)
    if arrays.test_values is None:
        train, validation, test = split(whole, (config.validation, config.test), source, seed=seed)
    else:
        train, validation = split(whole, (config.validation,), source, seed=seed)
        test = Samples(arrays.test_values, arrays.test_labels)
        check_samples(test, f"{source}, test set")
        if test.shape != whole.shape:
            got = f"a training sample has shape {list(whole.shape)}, a test sample {list(test.shape)}"
            raise DataError(f"{source}: {got}; must be the same")
        if clean is not None:
            if clean.test_values is None:
                raise DataError(f"{config.clean}: has no test set, must have one as {source} does")
            test = with_clean(test, clean.test_values, f"{config.clean}, test set")
    assert train is not None and test is not None
    if config.stride:
        train = _overlapping(train, window, config.stride)
    chosen = normal_only(Dataset(train, validation, test, Scaling()), normal, source)
    train, validation = chosen.train, chosen.validation
    check_varies(train.wanted, source)
    each = scales_per_feature(config.per_feature, kind_of(train, windows=window > 0))
    fitted = fit_scaling(config.scaling, train.wanted, per_feature=each, output_activation=output_activation, source=source)
    splits = Dataset(train, validation, test, fitted, window > 0, columns, label, config)
    return splits.with_scaling(fitted)


def load_all(config: DataConfig, *, base: Path = Path()) -> Samples:
    """Every sample of a source, unscaled; their values are not checked. A test set of its own comes last.

    Raises DataError or FormatError, naming the source, for what cannot be read.
    """
    arrays, _ = _load(config, base)
    if arrays.test_values is None:
        return Samples(arrays.values, arrays.labels)
    labels = None if arrays.labels is None or arrays.test_labels is None else (arrays.labels, arrays.test_labels)
    both = None if labels is None else np.concatenate(labels)
    return Samples(np.concatenate([arrays.values, arrays.test_values]), both)


def source_shape(config: DataConfig, *, base: Path = Path()) -> tuple[tuple[int, ...], int]:
    """The shape of a source's array, a test set of its own left out, and its default window (0: none).

    Raises DataError or FormatError, naming the source, for what cannot be read.
    """
    arrays, window = _read(config, base)
    return arrays.values.shape, window


def data_text(config: DataConfig, splits: Dataset) -> str:
    """The features, label and scaling of a source, in one line."""
    scaling, what = splits.scaling, {"images": "values", "table": "columns", "record": "neighbouring values"}[splits.kind]
    names = f" ({listed(splits.columns)})" if splits.columns else ""
    label = f"; label: {splits.label}, not trained on" if splits.label else ""
    by = "per feature" if isinstance(scaling.scale, tuple) else "with one scale"
    scaled = "unscaled" if scaling.rule == "none" else f"scaled {by} ({scaling.rule})"
    return f"{config.source}: {splits.inputs:,} {what}{names}, {scaled}{label}"


def _load(config: DataConfig, base: Path) -> tuple[Arrays, int]:
    """The arrays of a source, a record cut into windows, and the window (0: none)."""
    arrays, window = _read(config, base)
    window = config.window or window
    if window:
        test = arrays.test_values
        tests = None if test is None else _windows(test, window, f"{config.source}, test set")
        arrays = Arrays(_windows(arrays.values, window, config.source), test_values=tests, label=arrays.label)
    return arrays, window


def _read(config: DataConfig, base: Path) -> tuple[Arrays, int]:
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
    folder = known.located()
    return known.load([folder / file for file in known.files]), known.window


def _require_stride(config: DataConfig, window: int, tail: bool) -> None:
    """Raise RecipeError where windows cannot overlap."""
    right = f"a divisor of the window of {window} values" if window else "0 without window"
    require(window > 0 and window % config.stride == 0, "data.stride", config.stride, right)
    require(tail, "data.split", config.split, "tail or auto beside stride, else training windows overlap test windows")
    require(config.clean is None, "data.clean", config.clean, "left out beside stride")


def _overlapping(train: Samples, window: int, stride: int) -> Samples:
    """The windows of the same values, `stride` apart: a view."""
    values = train.values[: len(train)].reshape(-1)
    return Samples(np.lib.stride_tricks.sliding_window_view(values, window)[::stride], overlap=window // stride)


def _windows(record: np.ndarray, window: int, source: str) -> np.ndarray:
    """Reshape a record, [n] or [n, 1], to [n // window, window]; drops an incomplete last window."""
    if record.shape[:1] != (record.size,):
        raise DataError(f"{source}: has shape {list(record.shape)}; `window` in [data] is for one long record, shape [n]")
    if window > len(record):
        got = f"`window` in [data] is {window}, longer than the record of {len(record)} values"
        raise DataError(f"{source}: {got}; must be at most half of it, for two samples")
    count = len(record) // window
    return record[: count * window].reshape(count, window)
