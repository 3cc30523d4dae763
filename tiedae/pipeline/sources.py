"""Data sources: data sets by name, files and folders, and their splits."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace as replace_arrays
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError, listed
from tiedae.base.files import expanded
from tiedae.base.numbers import counted
from tiedae.base.records import checked, native, plain, require
from tiedae.compress.held_out import with_held_out
from tiedae.config.config import DataConfig, Recipe
from tiedae.config.layer_kinds import Activation
from tiedae.config.sample_spec import Signal
from tiedae.config.scaling import Scaling
from tiedae.data.arrays import Arrays, Interval
from tiedae.data.csv_dtypes import stated
from tiedae.data.csv_files import read_headings
from tiedae.data.data_sets import DATA_SETS
from tiedae.data.dataset import Dataset, check_samples, check_varies, overlapping, split, with_clean
from tiedae.data.image_folders import require_large, require_pictures
from tiedae.data.interval_files import file_names, read_intervals, require_files, with_intervals
from tiedae.data.intervals import NORMAL_WINDOW
from tiedae.data.labels import is_among, label_text, require_occurring, without_labels
from tiedae.data.normal import normal_of, normal_only, require_detectable
from tiedae.data.readers import is_recordings, is_text, keys_of, read, require_keys
from tiedae.data.recordings import FILE, cut, is_long, is_rate, place_in, shortest, with_channels
from tiedae.data.samples import Samples

from .importing import start_of


def provenance(source: str) -> dict[str, str]:
    """Licence and origin of a named data set, for manifest and model card; empty for other sources."""
    known = DATA_SETS.get(source)
    return {} if known is None else {"licence": known.licence, "origin": known.origin}


def load_data(
    source: str | Path | DataConfig,
    *,
    output_activation: str = "sigmoid",
    normal: Sequence[int | str] = (),
    **keys: Any,
) -> Dataset:
    """Read, check, split and scale the samples of a known data set (`tiedae data`), a file, or a folder of images or records.

    `keys`: those of `[data]` in a recipe (docs/reference/keys.md), such as `test` or `window`; beside a `DataConfig` they
    replace its own. `output_activation`: the model's; `scaling = "auto"` scales to its range. `normal`: labels of the training
    and validation samples, all where it is empty; the test samples keep every label.

    Raises DataError or FormatError, naming the source, RecipeError for a key that is unknown or out of its range.
    """
    stated = {name: str(value) if isinstance(value, Path) else native(value) for name, value in keys.items()}
    table = plain(source) if isinstance(source, DataConfig) else {"source": str(source)}
    config = checked(DataConfig, {**table, **stated})
    return load_dataset(config, checked(Activation, output_activation, "output_activation"), normal=normal)


def recipe_data(recipe: Recipe, base: Path) -> Dataset:
    """The data of a recipe, as its task trains on them; raises as `load_dataset`, and where a task needs more of them.

    Where the recipe has quantization-aware training, some samples judge it that nothing is trained on, see `judged`. They are
    scaled as the model of `model.source` takes them, if the recipe starts from one.
    """
    splits = load_dataset(recipe.data, recipe.model.output_activation, base=base, normal=normal_of(recipe.task))
    if (start := start_of(recipe, base)) is not None:
        splits = start.scaled(splits)
    splits = judged(splits, recipe)
    require_detectable(splits, recipe.task, recipe.data.source)
    return splits


def judged(splits: Dataset, recipe: Recipe) -> Dataset:
    """With samples that judge quantization-aware training, where the recipe has it: see `with_held_out`."""
    return with_held_out(splits) if recipe.quantize.method == "qat" else splits


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
    config, source = settled(config, base), config.source
    if config.test_source is not None and config.intervals:
        _require_file_column(config, base)
    arrays, window = load_arrays(config, base, others=config.test_source is not None)
    require_large(arrays, config, source)
    whole = _checked(arrays, source)
    is_record = bool(arrays.stretches)
    if is_record and whole.labels is None and config.label not in ("auto", "") and not other:
        right = "must be one per file or group; `intervals` are parts of a record"
        raise DataError(f"{source}: the label {config.label!r} changes within a record, {right}")
    own, test_source = _own_test(config, arrays, whole, base)
    if own is not None:
        require_large(own, config, test_source)
    test = None if own is None else _checked(own, test_source).whole
    if test is not None:
        require_like(test, whole, test_source)
        if own is not None and config.intervals:
            names, others = file_names(arrays, source), file_names(own, test_source)
            marks = _intervals_of(config, base)
            require_files(marks, [*names, *others], f"{source} and {test_source}")
            for each in marks:
                if each.file in names and each.file in others:
                    got = f"the file is {each.file!r}, of which {source} and {test_source} have one each"
                    raise DataError(f"{each.place}: {got}; rename one")
        _require_apart(test, whole, config, test_source)
    if config.clean is not None:
        if window and config.groups not in ("", FILE):
            right = "must be left out beside `groups` of a long record; save noisy and clean samples as windows"
            raise DataError(f"{config.clean}: `clean` in [data] {right}")
        clean = load_arrays(_clean_config(config, whole, base), base)[0]
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
    signal = signal_of(config, arrays) if is_record else Signal()
    columns = None if is_record else arrays.columns
    splits = Dataset(train, validation, test, Scaling(), is_record, columns, arrays.label, config, signal)
    _require_kind(config, splits)
    return splits.with_scaling(splits.fitted(config.scaling, config.per_feature, output_activation))


def signal_of(config: DataConfig, arrays: Arrays) -> Signal:
    """The channels' names, rate and unit of measure of a record; DataError where [data] and the source state other rates."""
    if config.rate and arrays.rate and not is_rate(config.rate, arrays.rate):
        right = f"`rate` in [data] is {config.rate:g}; must be the same, or left out"
        raise DataError(f"{config.source}: has a rate of {arrays.rate:g} Hz, {right}")
    return Signal(arrays.columns or (), config.rate or arrays.rate, config.unit_of_measure)


def _require_kind(config: DataConfig, splits: Dataset) -> None:
    """Raise DataError for samples that are no table, and for keys of a record beside other samples."""
    for key in ("rate", "unit_of_measure", "intervals"):
        if splits.kind != "record" and (got := getattr(config, key)):
            right = 'must be left out, or kind = "record" stated'
            raise DataError(f"{config.source}: `{key}` in [data] is for records; got {got!r}, {right}")
    shape = splits.train.shape
    if splits.kind == "table" and len(shape) > 1:
        raise DataError(f'{config.source}: a sample has shape {list(shape)}, must have one axis with kind "table" in [data]')


def _require_apart(test: Samples, train: Samples, config: DataConfig, source: str) -> None:
    """Raise DataError where a group of a test set is to train on too; files of two folders are not the same."""
    if train.groups is None or config.groups == FILE:
        return
    if test.groups is None:
        raise DataError(f"{source}: has no groups {config.groups!r}, must have them as {config.source} has")
    both = np.intersect1d(test.groups, train.groups).tolist()
    if both:
        raise DataError(f"{source}: {config.groups} {listed(both)} is to train on too; no group may be in both")


def divide(
    whole: Samples, config: DataConfig, window: int, normal: Sequence[int | str], *, own_test: bool
) -> tuple[Samples, Samples | None, Samples | None]:
    """The training, validation and test samples of a source, without `drop_labels`; `own_test`: its test set is elsewhere.

    No two of them share a group. Training windows overlap by `stride`; patches at the end of a picture that reach beyond it are
    in none. Raises DataError where no sample is left to train on,
    and for fewer than `LEAST_GROUPS` groups or, but for pictures, one without normal samples.
    """
    kept = without_labels(whole.whole, config.drop_labels, config.source)
    normal = normal or (() if kept.intervals is None else (NORMAL_WINDOW,))
    tail = config.split == "tail" or (config.split == "auto" and window > 0 and not config.groups)
    if config.stride:
        _require_stride(config, window, tail or bool(config.groups))
    fraction = 0.0 if own_test or isinstance(config.test, str) else config.test
    seed = None if tail else config.seed
    if kept.groups is not None and kept.patches is None and normal:
        _require_normal_groups(kept, config, normal)
    train, validation, test = split(kept, (config.validation, fraction), config.source, seed=seed)
    assert train is not None
    chosen = normal_only(Dataset(train, validation, train, Scaling()), normal, config.source)
    return overlapping(chosen.train, config.stride) if config.stride else chosen.train, chosen.validation, test


def _require_normal_groups(samples: Samples, config: DataConfig, normal: Sequence[int | str]) -> None:
    """Raise DataError for groups without a sample of the labels of `task.normal`."""
    if samples.labels is None:
        return
    groups = np.asarray(samples.groups)
    without = np.setdiff1d(groups, groups[is_among(samples.labels, normal)])
    if len(without):
        names = listed([label_text(group) for group in without.tolist()])
        right = f"must have some of task.normal: {listed(normal)}; leave it out of the source"
        raise DataError(f"{config.source}: {config.groups} {names} has no normal samples, {right}")


def all_of(arrays: Arrays) -> Samples:
    """Every sample, unscaled; those of the test set last."""
    train, test = arrays.samples, arrays.test
    if test is None:
        return train
    pairs = ((train.labels, test.labels), (train.groups, test.groups))
    labels, groups = (None if a is None or b is None else np.concatenate([a, b]) for a, b in pairs)
    return Samples(np.concatenate([arrays.values, test.values]), labels, groups=groups)


def source_size(config: DataConfig, *, base: Path = Path()) -> tuple[int, int, int, bool]:
    """Rows of a source, the time steps of its shortest stretch if it is a long record (else 0), its default window (0: none),
    and whether it has a test set of its own.

    Raises DataError or FormatError, naming the source, for what cannot be read.
    """
    config = settled(config, base)
    arrays, window = read_source(config, base)
    rows, shape = len(arrays.values), arrays.values.shape
    in_time = (
        config.kind == "record" or arrays.rate > 0 or config.window > 0 or (rows > 0 and shape[:1] == (arrays.values.size,))
    )
    is_record = in_time and is_long(arrays, config.window or window)
    return rows, shortest(arrays) if is_record else 0, window, arrays.test_values is not None


def data_text(config: DataConfig, splits: Dataset) -> str:
    """The features, label and scaling of a source, in one line."""
    scaling, what = splits.scaling, f"{splits.inputs:,} {'columns' if splits.kind == 'table' else 'values'}"
    names = f" ({listed(splits.columns)})" if splits.columns else ""
    rows = ""
    if splits.kind == "record":
        what, names = splits.spec.text, ""
        if not config.window and config.source not in DATA_SETS and len(splits.spec.shape) == 1:
            steps = counted(splits.inputs, "time step")
            rows = f"; rows are taken for windows of {steps}, `window` cuts a record"
    label = f"; label: {splits.label}, not trained on" if splits.label else ""
    several = "per channel" if splits.spec.channels > 1 and config.per_feature == "auto" else "per feature"
    by = several if isinstance(scaling.scale, tuple) else "with one scale"
    scaled = "unscaled" if scaling.rule == "none" else f"scaled {by} ({scaling.rule})"
    test = f"; test samples: {config.test_source}" if config.test_source else ""
    dropped = f"; without labels {listed(config.drop_labels)}" if config.drop_labels else ""
    return f"{config.source}: {what}{names}, {scaled}{label}{dropped}{test}{rows}"


def split_text(config: DataConfig, splits: Dataset) -> str:
    """How the samples are split, in one line: which groups are where, or how many samples."""
    parts = {"training": splits.train.disjoint, "validation": splits.validation, "test": splits.test}
    texts = []
    for name, part in parts.items():
        if part is not None:
            groups = [] if part.groups is None else [label_text(group) for group in np.unique(part.groups).tolist()]
            texts.append(f"{name} {len(part):,}" + (f" ({listed(groups)})" if groups else ""))
    by = "" if splits.train.groups is None else f" by {config.groups}"
    return f"split{by}: {', '.join(texts)}"


def with_absolute_paths(config: DataConfig, base: Path) -> DataConfig:
    """The same sources by absolute paths; those that are known by name stay."""
    stated = {"source": config.source, "test": config.test_source, "clean": config.clean, "intervals": config.intervals}
    paths = {key: source for key, source in stated.items() if source and source not in DATA_SETS}
    return replace(config, **{key: str((base / expanded(path)).resolve()) for key, path in paths.items()})


def require_like(test: Samples, train: Samples, source: str) -> None:
    """Raise DataError, naming the source, unless test samples have shape and dtype of the training samples."""
    if (test.dtype, test.shape) != (train.dtype, train.shape):
        got = f"a test sample is {test.dtype} {list(test.shape)}"
        raise DataError(f"{source}: {got}, must be {train.dtype} {list(train.shape)} as those to train on")


def _checked(arrays: Arrays, source: str) -> Samples:
    samples = arrays.samples
    check_samples(samples, source, partial(place_in, arrays) if arrays.stretches else None, arrays.columns or ())
    return samples


def _own_test(config: DataConfig, arrays: Arrays, train: Samples, base: Path) -> tuple[Arrays | None, str]:
    """The test set that a source has, or that `test` names, or None for a fraction; and where it comes from."""
    if config.test_source is None:
        return arrays.test, f"{config.source}, test set"
    if arrays.test_values is not None:
        got = f"has a test set of its own beside `test` = {config.test!r} in [data]"
        raise DataError(f"{config.source}: {got}; leave `test` out, or save the training samples alone")
    full = with_absolute_paths(config, base)
    source, held_out = Path(full.source), Path(str(full.test))
    if source.is_relative_to(held_out) or held_out.is_relative_to(source):
        got = "is `source` and `test`" if source == held_out else f"as `test` shares files with {config.source}, the `source`"
        raise DataError(f"{config.test}: {got} in [data], must be other samples than those to train on")
    test = load_arrays(_test_config(config, arrays, train, base), base, others=True)[0]
    if test.test_values is not None:
        right = "as `test` in [data] it must be test samples alone"
        raise DataError(f"{config.test}: has training samples and a test set of its own; {right}")
    if arrays.rate and test.rate and not is_rate(test.rate, arrays.rate):
        raise DataError(f"{config.test}: has a rate of {test.rate:g} Hz, must be {arrays.rate:g} as of {config.source}")
    return test, config.test_source


def _require_file_column(config: DataConfig, base: Path) -> None:
    """Raise DataError for an interval that does not say whether it is of the source or of the test source."""
    for each in _intervals_of(config, base):
        if not each.file:
            names = " or ".join(Path(str(name)).name for name in (config.source, config.test_source))
            right = f"must have one beside `test` in [data]: the file that each interval is of, such as {names}"
            raise DataError(f"{each.place}: has no column `file`, {right}")


def _clean_config(config: DataConfig, noisy: Samples, base: Path) -> DataConfig:
    """How the clean samples are read: as the noisy ones, in their dtype."""
    assert config.clean is not None
    return replace(with_dtype(config, base / config.clean, noisy.dtype.name), source=config.clean, groups="")


def with_dtype(config: DataConfig, path: Path, dtype: str) -> DataConfig:
    """The configuration with the dtype of the training samples where a path is of .csv files."""
    return replace(config, dtype=stated(dtype) if is_text(path, config) else "auto")


def _test_config(config: DataConfig, arrays: Arrays, train: Samples, base: Path) -> DataConfig:
    """How the source of `test` is read: with the columns of a .csv file by name, in the windows of a record and its dtype."""
    assert config.test_source is not None
    path, window = base / Path(config.test_source), train.shape[0] if arrays.stretches else 0
    chosen = replace(keys_of(config, path), source=config.test_source, test=DataConfig("x").test, window=window, stride=0)
    chosen = with_dtype(chosen, path, train.dtype.name)
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


def load_arrays(config: DataConfig, base: Path = Path(), *, others: bool = False, short: bool = False) -> tuple[Arrays, int]:
    """The arrays of a source, a record cut into windows, and the window (0: none was cut).

    `others`: `intervals` may have some of other files. `short`: a record may be shorter than a window.
    """
    config = settled(config, base)
    arrays, window = read_source(config, base)
    window = config.window or (window if config.kind in ("auto", "record") else 0)
    if not (window or arrays.rate or config.kind == "record"):
        return arrays, 0
    rate, arrays = signal_of(config, arrays).rate, with_channels(arrays, config, window)
    whole, was_cut = cut(arrays, window, config.source, short=short)
    marks = _intervals_of(config, base) or arrays.marks
    if marks:
        if not was_cut:
            got, right = "its windows are cut already", "must be left out: intervals are of a long record"
            raise DataError(f"{config.source}: {got}, `intervals` in [data] {right}")
        if arrays.test is not None:
            right = "save it as a file of its own, for `test`"
            raise DataError(f"{config.source}: has a test set of its own beside `intervals` in [data]; {right}")
        whole = with_intervals(whole, arrays, marks, rate, config.source, others=others)
    if arrays.test is not None:
        test, _ = cut(arrays.test, window, f"{config.source}, test set")
        behind = tuple(rest._replace(windows=len(whole.values) + rest.windows) for rest in test.rests)
        tested = {"test_values": test.values, "test_labels": test.labels, "test_groups": test.groups}
        whole = replace_arrays(whole, **tested, rests=(*whole.rests, *behind))
    return whole, whole.values.shape[1] if was_cut else 0


def _intervals_of(config: DataConfig, base: Path) -> tuple[Interval, ...]:
    return read_intervals(base / expanded(config.intervals)) if config.intervals else ()


def settled(config: DataConfig, base: Path) -> DataConfig:
    """The configuration with the kind of a folder of recordings, or of windows whose channels are stated; with the pictures of
    patches as groups."""
    if config.patch is not None:
        require_pictures(config, base)
        return replace(config, kind="image", groups=FILE)
    known = config.source in DATA_SETS or config.kind != "auto"
    in_time = config.channels > 0 or (not known and is_recordings(base / config.source, config))
    return replace(config, kind="record") if in_time else config


def read_source(config: DataConfig, base: Path) -> tuple[Arrays, int]:
    """The arrays of a source and its default window."""
    source = config.source
    known = DATA_SETS.get(source)
    if known is None:
        path = base / expanded(source)
        if not path.exists():
            close = difflib.get_close_matches(source, DATA_SETS, 1)
            names = f"did you mean {close[0]}?" if close else "known data sets: " + ", ".join(DATA_SETS)
            where = "" if str(path) == source else f" ({path})"
            raise DataError(f"{source}: no such file or folder{where}, nor a data set known by name; {names}")
        return read(path, config), 0
    require_keys(config, source, ())
    folder = known.located()
    return known.load([folder / file for file in known.files]), known.window


def _require_stride(config: DataConfig, window: int, tail: bool) -> None:
    """Raise RecipeError where windows cannot overlap."""
    right = f"a divisor of the window of {window} time steps" if window else "0 unless `window` cuts a record"
    require(window > 0 and window % config.stride == 0, "data.stride", config.stride, right)
    require(tail, "data.split", config.split, "tail or auto beside stride, else training windows overlap test windows")
    require(config.clean is None, "data.clean", config.clean, "left out beside stride")
