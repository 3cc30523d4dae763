"""Data sources: data sets by name, files and folders, and their splits."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from msgspec.structs import replace
from tiedae.compress.config import DataConfig, Recipe
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
from tiedae.compress.labels import require_occurring, without_labels
from tiedae.compress.layer_kinds import Activation
from tiedae.compress.normal import normal_of, normal_only, require_detectable
from tiedae.compress.records import checked, require
from tiedae.compress.scaling import Rule, Scaling

from .arrays import Arrays
from .csv_files import read_headings
from .data_sets import DATA_SETS
from .readers import keys_of, read, require_keys


def provenance(source: str) -> dict[str, str]:
    """Licence and origin of a named data set, for manifest and model card; empty for other sources."""
    known = DATA_SETS.get(source)
    return {} if known is None else {"licence": known.licence, "origin": known.origin}


def load_data(
    source: str | Path,
    *,
    clean: str | Path | None = None,
    output_activation: Activation = "sigmoid",
    scaling: Literal["auto", Rule] = "auto",
    per_feature: bool | Literal["auto"] = "auto",
    test: float | str | Path = 0.1,
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
    drop_labels: Sequence[int | str] = (),
) -> Dataset:
    """Read, check, split and scale the samples of a known data set (`tiedae data`), a file or a folder of images.

    `clean`: clean samples, one for each of the source's. `output_activation`: the model's; `auto` scales to its range.
    `test`: a fraction, or the source of a test set. `normal`: labels of the training and validation samples, all where it is
    empty; the test samples keep every label. The other options are the keys of `[data]` in a recipe (docs/recipe.md).

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
        str(test) if isinstance(test, Path) else test,
        validation,
        split,
        seed,
        None if clean is None else str(clean),
        tuple(drop_labels),
    )
    return load_dataset(config, checked(Activation, output_activation, "output_activation"), normal=normal)


def recipe_data(recipe: Recipe, base: Path) -> Dataset:
    """The data of a recipe, as its task trains on them; raises as `load_dataset`, and where a task needs more of them."""
    splits = load_dataset(recipe.data, recipe.model.output_activation, base=base, normal=normal_of(recipe.task))
    require_detectable(splits, recipe.task, recipe.data.source)
    return splits


def load_dataset(
    config: DataConfig,
    output_activation: str,
    *,
    base: Path = Path(),
    normal: Sequence[int | str] = (),
    other: bool = False,
) -> Dataset:
    """Read, validate, split and scale the samples of a source; `base`: folder of a relative path. `normal`: see `load_data`.

    `other`: this is another source than the recipe's, in which the labels of `drop_labels` need not occur.

    Raises DataError or FormatError, naming the source, for data that cannot be used for training.
    """
    source = config.source
    arrays, window = load_arrays(config, base)
    whole = _checked(arrays.values, arrays.labels, source)
    test, test_source = _own_test(config, arrays, window, base)
    if test is not None:
        require_like(test, whole, test_source)
    if config.clean is not None:
        clean = load_arrays(replace(config, source=config.clean), base)[0]
        whole = with_clean(whole, clean.values, config.clean)
        if test is not None:
            if clean.test_values is None:
                raise DataError(f"{config.clean}: has no test set, must have one: the clean samples of {test_source}")
            test = with_clean(test, clean.test_values, f"{config.clean}, test set")
    if config.drop_labels and not other:
        _require_dropped(config, whole, test)
    train, validation, part = divide(whole, config, window, normal, own_test=test is not None)
    test = part if test is None else without_labels(test, config.drop_labels, test_source)
    assert test is not None
    check_varies(train.wanted, source)
    each = scales_per_feature(config.per_feature, kind_of(train, windows=window > 0))
    fitted = fit_scaling(config.scaling, train.wanted, per_feature=each, output_activation=output_activation, source=source)
    columns = None if window else arrays.columns
    return Dataset(train, validation, test, fitted, window > 0, columns, arrays.label, config).with_scaling(fitted)


def divide(
    whole: Samples, config: DataConfig, window: int, normal: Sequence[int | str], *, own_test: bool
) -> tuple[Samples, Samples | None, Samples | None]:
    """The training, validation and test samples of a source, without `drop_labels`; `own_test`: its test set is elsewhere.

    Training windows overlap by `stride`. Raises DataError where no sample is left to train on.
    """
    kept = without_labels(whole, config.drop_labels, config.source)
    tail = config.split == "tail" or (config.split == "auto" and window > 0)
    if config.stride:
        _require_stride(config, window, tail)
    fraction = 0.0 if own_test or isinstance(config.test, str) else config.test
    seed = None if tail else config.seed
    train, validation, test = split(kept, (config.validation, fraction), config.source, seed=seed)
    assert train is not None
    train = _overlapping(train, window, config.stride) if config.stride else train
    chosen = normal_only(Dataset(train, validation, train, Scaling()), normal, config.source)
    return chosen.train, chosen.validation, test


def all_of(arrays: Arrays) -> Samples:
    """Every sample, unscaled; those of the test set last."""
    if arrays.test_values is None:
        return Samples(arrays.values, arrays.labels)
    labels = None if arrays.labels is None or arrays.test_labels is None else (arrays.labels, arrays.test_labels)
    both = None if labels is None else np.concatenate(labels)
    return Samples(np.concatenate([arrays.values, arrays.test_values]), both)


def source_shape(config: DataConfig, *, base: Path = Path()) -> tuple[tuple[int, ...], int, bool]:
    """The shape of a source's array, its default window (0: none), and whether it has a test set of its own.

    Raises DataError or FormatError, naming the source, for what cannot be read.
    """
    arrays, window = _read(config, base)
    return arrays.values.shape, window, arrays.test_values is not None


def data_text(config: DataConfig, splits: Dataset) -> str:
    """The features, label and scaling of a source, in one line."""
    scaling, what = splits.scaling, {"images": "values", "table": "columns", "record": "neighbouring values"}[splits.kind]
    names = f" ({listed(splits.columns)})" if splits.columns else ""
    label = f"; label: {splits.label}, not trained on" if splits.label else ""
    by = "per feature" if isinstance(scaling.scale, tuple) else "with one scale"
    scaled = "unscaled" if scaling.rule == "none" else f"scaled {by} ({scaling.rule})"
    test = f"; test samples: {config.test_source}" if config.test_source else ""
    dropped = f"; without labels {listed(config.drop_labels)}" if config.drop_labels else ""
    return f"{config.source}: {splits.inputs:,} {what}{names}, {scaled}{label}{dropped}{test}"


def with_absolute_paths(config: DataConfig, base: Path) -> DataConfig:
    """The same sources by absolute paths; those that are known by name stay."""
    stated = {"source": config.source, "test": config.test_source, "clean": config.clean}
    paths = {key: source for key, source in stated.items() if source is not None and source not in DATA_SETS}
    return replace(config, **{key: str((base / Path(path).expanduser()).resolve()) for key, path in paths.items()})


def require_like(test: Samples, train: Samples, source: str) -> None:
    """Raise DataError, naming the source, unless test samples have shape and dtype of the training samples."""
    if (test.dtype, test.shape) != (train.dtype, train.shape):
        got = f"a test sample is {test.dtype} {list(test.shape)}"
        raise DataError(f"{source}: {got}, must be {train.dtype} {list(train.shape)} as those to train on")


def _checked(values: np.ndarray, labels: np.ndarray | None, source: str) -> Samples:
    samples = Samples(values, labels)
    check_samples(samples, source)
    return samples


def _own_test(config: DataConfig, arrays: Arrays, window: int, base: Path) -> tuple[Samples | None, str]:
    """The test set that a source has, or that `test` names, or None for a fraction; and where it comes from."""
    if config.test_source is None:
        source = f"{config.source}, test set"
        return (None if arrays.test_values is None else _checked(arrays.test_values, arrays.test_labels, source)), source
    if arrays.test_values is not None:
        got = f"has a test set of its own beside `test` = {config.test!r} in [data]"
        raise DataError(f"{config.source}: {got}; leave `test` out, or save the training samples alone")
    if with_absolute_paths(config, base).source == with_absolute_paths(config, base).test:
        raise DataError(f"{config.test}: is `source` and `test` in [data], must be other samples than those to train on")
    test = load_arrays(_test_config(config, arrays, window, base), base)[0]
    if test.test_values is not None:
        right = "as `test` in [data] it must be test samples alone"
        raise DataError(f"{config.test}: has training samples and a test set of its own; {right}")
    return _checked(test.values, test.labels, config.test_source), config.test_source


def _test_config(config: DataConfig, arrays: Arrays, window: int, base: Path) -> DataConfig:
    """How the source of `test` is read: with the columns of a .csv file by name, in the windows of a record."""
    assert config.test_source is not None
    path = base / Path(config.test_source)
    chosen = replace(keys_of(config, path), source=config.test_source, test=DataConfig("x").test, window=window, stride=0)
    if path.suffix.lower() != ".csv" or not path.is_file() or arrays.columns is None:
        return chosen
    headings = read_headings(path)
    missing = [name for name in arrays.columns if name not in headings]
    if missing:
        right = f"must have those of {config.source}: {listed(arrays.columns)}"
        raise DataError(f"{config.test}: has no column {listed(missing)}; {right}")
    label = arrays.label if config.label == "auto" and arrays.label in headings else config.label
    return replace(chosen, columns=arrays.columns, drop=(), label=label)


def _require_dropped(config: DataConfig, whole: Samples, test: Samples | None) -> None:
    """Raise DataError unless each label of `drop_labels` occurs."""
    parts = [part.labels for part in (whole, test) if part is not None and part.labels is not None]
    labels = np.concatenate([part.astype(str) for part in parts]) if parts else None
    require_occurring(labels, config.drop_labels, "data.drop_labels", config.source)


def load_arrays(config: DataConfig, base: Path = Path()) -> tuple[Arrays, int]:
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
