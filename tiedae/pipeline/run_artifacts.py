"""What a bundle was made from, as far as a call names it: its recipe, a source's test set, the Keras models of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tiedae.base.archive import FORMAT, SUFFIX, archive_path, unpack
from tiedae.base.errors import DataError, InputError
from tiedae.base.records import decode
from tiedae.bundle.manifest import Manifest
from tiedae.compress.lineage import STAGES
from tiedae.config.config import DataConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import Scaling
from tiedae.data.arrays import Arrays, Stretch
from tiedae.data.csv_files import read_headings
from tiedae.data.data_sets import DATA_SETS
from tiedae.data.dataset import Dataset
from tiedae.data.image_folders import is_picture
from tiedae.data.labels import without_labels
from tiedae.data.noise import noise_of, noisy_test
from tiedae.data.normal import normal_of, normal_only, require_detectable
from tiedae.data.readers import keys_of
from tiedae.data.samples import Samples
from tiedae.verify.collecting import MAX_SAMPLES

from .sources import all_of, divide, judged, load_arrays, load_dataset, with_dtype

NONE = "none"
SPLITS = ("train", "validation", "test", NONE)
"""What a sample of a source was used for when a bundle was trained; none: for nothing."""
FLOAT_STAGES = STAGES[: STAGES.index("quantize")]
"""The float models of a run, in order; the float files come from the last that is there."""


def load_test(path: Path, manifest: Manifest, source: str) -> tuple[Samples, int]:
    """The test samples of a source, split as the bundle's recipe says, and how many there are; DataError for another size.

    Of a .csv file they are the bundle's columns, by their names. With the noise of the recipe's training, drawn by its seed,
    they are the first `MAX_SAMPLES`.
    """
    splits = load_measured(path, manifest, source)
    return tested(manifest, splits), len(splits.test)


def tested(manifest: Manifest, splits: Dataset) -> Samples:
    """What files are tested with: the test samples; with the noise of the recipe's training the first `MAX_SAMPLES`."""
    recipe = manifest.recipe
    noise = noise_of(recipe.train.noise, splits.train)
    return splits.test if noise is None else noisy_test(splits.test, noise, recipe.data.seed, MAX_SAMPLES)


def load_measured(path: Path, manifest: Manifest, source: str) -> Dataset:
    """As `load_splits`, in the bundle's scaling, with the labels of a source that has them, and the training samples that the
    bundle's task trains on."""
    normal = normal_of(manifest.recipe.task)
    splits = load_splits(path, manifest, source, label=own_label(source, manifest.data.label))
    splits = normal_only(splits, () if splits.train.labels is None else normal, source)
    return splits.with_scaling(manifest.data.scaling)


def own_label(source: str, label: str | None) -> str | None:
    """The label column of the bundle's data where a .csv source has it too."""
    path = Path(source)
    known = label is not None and path.suffix.lower() == ".csv" and path.is_file() and label in read_headings(path)
    return label if known else None


def load_training(path: Path, manifest: Manifest, source: str) -> Dataset:
    """As `load_splits`, with the training and validation samples that the bundle's task trains on; they need its labels."""
    task = manifest.recipe.task
    normal = normal_of(task)
    splits = load_splits(path, manifest, source, label=manifest.data.label if normal else None, normal=normal)
    require_detectable(splits, task, source)
    return splits


def load_splits(
    path: Path, manifest: Manifest, source: str, *, label: str | None = None, normal: Sequence[int | str] = ()
) -> Dataset:
    """The samples of a source, split as the bundle's recipe says, with a scaling of their own; DataError as `load_test`.

    `source`: that of the recipe, its test file, or other data. A file is the recipe's if it has the same name; the recipe's
    other files are then looked for next to it. Where the recipe names a test file, a tenth of other data is the test set.
    `label`: the column of labels, of a .csv file. `normal`: see `load_data`.
    """
    stated = manifest.recipe.data
    whole = source
    if stated.test_source is not None and Path(source).name == Path(stated.test_source).name:
        whole = _beside(stated.source, stated.test_source, source) or source
    config = _config_of(manifest, whole, label if whole == source else own_label(whole, label))
    if whole != source:
        config = replace(config, test=source)
    other = Path(whole).name != Path(stated.source).name
    splits = load_dataset(config, manifest.recipe.model.output_activation, normal=normal, other=other)
    splits = judged(splits, manifest.recipe)
    if splits.inputs != manifest.data.inputs:
        raise DataError(f"{source}: has {splits.inputs} values per sample, must be {manifest.data.inputs} as in {path}")
    return splits


def load_source(manifest: Manifest, source: str, label: str | None = None) -> Samples:
    """Every sample of a source, as `source_arrays` reads it."""
    return all_of(source_arrays(manifest, source, label))


def source_of_clean(manifest: Manifest, source: str) -> str | None:
    """The source of the clean samples behind those of the recipe's source; None of other data, and without pairs."""
    return _config_of(manifest, source).clean


def source_arrays(manifest: Manifest, source: str, label: str | None = None, *, short: bool = False) -> Arrays:
    """A source, read and cut into windows as the bundle's recipe says; its values are not checked.

    `label`: the column of labels, of a .csv file. `short`: a record may be shorter than a window, which is a rest alone.
    """
    return load_arrays(replace(_config_of(manifest, source, label), intervals=""), short=short)[0]


def load_scored(
    manifest: Manifest, source: str, label: str | None = None, intervals: str | None = None
) -> tuple[Samples, np.ndarray, Sequence[Stretch]]:
    """As `load_source`, the split of each sample when the bundle was trained, of `SPLITS`, and the stretches of a record.

    `intervals`: a file of them, which may have some of other files; by default the recipe's, for the recipe's source.

    The recipe's split is made again: it is that of the training where the sha256 of the training samples is the manifest's.
    Otherwise every sample is of no split: the source is other data, or the same in another order.
    """
    stated = own_label(source, manifest.data.label)
    config, own = _config_of(manifest, source, label or stated), _config_of(manifest, source, stated)
    config = replace(config, intervals=intervals or own.intervals)
    arrays, window = load_arrays(config, others=True)
    named = arrays if config == own else load_arrays(own, others=True)[0]
    splits = _splits_of(manifest, replace(config, test=manifest.recipe.data.test), named, window)
    return all_of(arrays), splits, arrays.stretches


def _splits_of(manifest: Manifest, config: DataConfig, arrays: Arrays, window: int) -> np.ndarray:
    whole, own_test = arrays.samples, arrays.test_values is not None
    splits = np.full(len(all_of(arrays)), NONE, f"U{max(map(len, SPLITS))}")
    if whole.labels is not None and whole.labels.shape != (len(whole),):
        return splits
    try:
        train, validation, test = divide(whole, config, window, normal_of(manifest.recipe.task), own_test=own_test)
    except DataError:  # too few samples, or none of a label: these cannot be what the bundle was trained on
        return splits
    data = Dataset(train, validation, test or train, Scaling(), bool(arrays.stretches), config=config)
    data = judged(data, manifest.recipe)
    train, parts = data.train, (data.train, data.validation, test)
    if (len(train), train.inputs) != (manifest.data.train, manifest.data.inputs) or train.sha256 != manifest.data.sha256:
        return splits
    for name, part in zip(SPLITS, parts, strict=False):
        if part is not None:
            splits[part.disjoint.places(np.arange(len(part.disjoint)))] = name
    if arrays.test_values is not None:
        test = without_labels(Samples(arrays.test_values, arrays.test_labels), config.drop_labels, config.source)
        splits[len(whole) + test.places(np.arange(len(test)))] = "test"
    return splits


def _config_of(manifest: Manifest, source: str, label: str | None = None) -> DataConfig:
    """How the recipe's data are read, for another source, with this column of labels if it is a .csv file."""
    recipe, data = manifest.recipe, manifest.data
    table = Path(source).suffix.lower() == ".csv"
    clean, test = (_beside(other, recipe.data.source, source) for other in (recipe.data.clean, recipe.data.test_source))
    intervals = _beside(recipe.data.intervals or None, recipe.data.source, source) or ""
    chosen = replace(recipe.data, source=source, clean=clean, intervals=intervals, test=test or _fraction(recipe.data))
    if data.kind == "record":  # windows or a long record; other data may lack the groups and times
        rate, names = recipe.data.rate or data.signal.rate, data.signal.channel_names
        chosen = replace(chosen, kind="record", window=data.shape[0], rate=rate, columns=names, drop=())
    if Path(source).name != Path(recipe.data.source).name or (chosen.columns and not table):
        chosen = keys_of(chosen, Path(source))
    chosen = with_dtype(chosen, Path(source), data.dtype)
    if not (Path(source).is_dir() or is_picture(Path(source), chosen)):
        chosen = replace(chosen, resize=(), convert="none", patch=None)
    if data.columns:
        unlabelled = "auto" if chosen.test_source and recipe.data.label == "auto" else ""
        columns, named = (data.columns, label or unlabelled) if table else ((), "auto")
        chosen = replace(chosen, columns=columns, drop=(), label=named)
    elif table and label:
        chosen = replace(chosen, label=label)
    return chosen


def _fraction(config: DataConfig) -> float:
    """The fraction for the test set of other data: the recipe's, or the default where it names a file."""
    return DataConfig("x").test if isinstance(config.test, str) else config.test  # pyright: ignore[reportReturnType]


def _beside(other: str | None, stated: str, given: str) -> str | None:
    """Where a source of the recipe lies, seen from `given`, a path of its source `stated`; None for other data."""
    if other is None or Path(given).name != Path(stated).name:
        return None
    if given == stated or other in DATA_SETS or Path(other).is_absolute() or Path(stated).is_absolute():
        return other
    return str(Path(given).parent / os.path.relpath(other, Path(stated).parent))


def float_archives(folder: Path) -> list[Path]:
    """The float models in OUT/model of a run, in the order of its stages; InputError where there is none."""
    archives = [path for path in (archive_path(folder, name) for name in FLOAT_STAGES) if path.is_file()]
    if not archives:
        names = ", ".join(f"{name}{SUFFIX}" for name in FLOAT_STAGES)
        raise InputError(f"{folder}: holds no model (none of {names}); must be the folder OUT/model of a run")
    return archives


def find_archives(folder: Path, widths: Sequence[int]) -> list[Path]:
    """The float models in OUT/model of a run, in the order of its stages.

    Raises InputError where there is none, or the last is of other widths than the bundle's, FormatError for a damaged one.
    Those before it may be wider: pruning can take units out.
    """
    archives = float_archives(folder)
    for archive in archives:
        found = _widths(archive)
        same = found == list(widths)
        wider = len(found) == len(widths) and found[0] == widths[0] and all(a >= b for a, b in zip(found, widths, strict=True))
        if not (same or (wider and archive != archives[-1])):
            raise InputError(f"{archive}: a model of widths {found}, must be {list(widths)} as in the bundle")
    return archives


def _widths(archive: Path) -> list[int]:
    header, _ = unpack(archive, FORMAT)
    return list(decode(ModelConfig, header.get("model"), archive).widths)
