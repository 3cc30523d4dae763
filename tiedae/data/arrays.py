"""Sample files of arrays: .npy, .npz and idx, and what every reader gives.

What a packed file would take in memory is bounded before it is unpacked.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tiedae.base import npy
from tiedae.base.errors import DataError, FormatError, listed
from tiedae.base.files import open_regular
from tiedae.base.limits import require_unpackable

from .intervals import Intervals
from .labels import label_text
from .patches import PictureSize, Places
from .samples import Samples
from .windows import Rest

MAPPED_FROM = 256 << 20
"""Minimum size in bytes of a memory-mapped file; smaller ones are loaded."""


@dataclass(frozen=True)
class Arrays:
    """The contents of a source: samples [n, ...], labels and groups [n] or None, and its own test set or None.

    `columns`: names of the features or channels, `label`: name of the labels, if the source has names. `rate`: of a record, in
    time steps per second (0: unknown). `begin`: the time of its first row, in seconds. `stretches`: those of a record in order
    (none: it is one); they share no window.
    `marks`: intervals of a record; `intervals`: those that its windows overlap. `rests`: what no
    window holds, of each stretch, those of the test set last. `pictures`: those that the samples are patches of, in order, if
    they are.
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    test_values: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None
    groups: np.ndarray | None = None
    test_groups: np.ndarray | None = None
    rate: float = 0.0
    begin: float = 0.0
    stretches: tuple[Stretch, ...] = ()
    marks: tuple[Interval, ...] = ()
    intervals: Intervals | None = None
    rests: tuple[Rest, ...] = ()
    pictures: tuple[PictureSize, ...] = ()

    @property
    def test(self) -> Arrays | None:
        """The test set as arrays."""
        if self.test_values is None:
            return None
        return Arrays(self.test_values, self.test_labels, columns=self.columns, groups=self.test_groups, rate=self.rate)

    @property
    def parts(self) -> tuple[Stretch, ...]:
        """Its stretches; one of all rows where it states none."""
        return self.stretches or (Stretch("", len(self.values), begin=self.begin),)

    @property
    def steps(self) -> int:
        """Time steps of a window."""
        return self.values.shape[1]

    @property
    def samples(self) -> Samples:
        """The samples to train on, unscaled."""
        numbers = np.repeat(np.arange(len(self.stretches)), [each.rows for each in self.stretches])
        records = numbers if self.stretches else None
        patches = Places.of(self.pictures, self.values.shape[1]) if self.pictures else None
        marks = {"records": records, "intervals": self.intervals, "patches": patches}
        return Samples(self.values, self.labels, groups=self.groups, **marks)


@dataclass(frozen=True)
class Stretch:
    """A part of a record without gaps: the file's name (empty: the source), its rows, time steps or windows, its first time
    step in the file, and the time of the file's first one in seconds."""

    file: str
    rows: int
    first: int = 0
    begin: float = 0.0


ANOMALY = "anomaly"
"""The kind of intervals that have none of their own."""


@dataclass(frozen=True)
class Interval:
    """From `start` up to `end`, in seconds by the times of a file, or from its first time step. `file`: its name, or empty
    where there is one alone. `place`: where this is stated."""

    start: float
    end: float
    kind: str = ANOMALY
    file: str = ""
    place: str = ""


def read_npy(path: Path) -> Arrays:
    """One array, memory-mapped from `MAPPED_FROM` bytes."""
    return Arrays(npy.read_npy(path, mapped_from=MAPPED_FROM))


LABEL_KEYS = ("labels", "label", "y")
"""Names of an array of labels; with `_train` and `_test` beside `x_train` and `x_test`."""
PARTS = {"": ("",), "_train": ("_train", "_test"), "_test": ("_test",)}
"""What `x` ends in, and the parts that may then be there: all samples; a training and a test set; a test set alone."""


GROUPS = "groups"
"""Name of an array of groups where [data] names no other."""


def read_npz(path: Path, groups: str = "") -> Arrays:
    """One array of any name, or `x`, or `x_train` and `x_test`, each with one of `LABEL_KEYS`, in any case.

    `groups`: the name of an array of groups, one per sample, with `_train` and `_test` as x has them. Groups that are not asked
    for are not read.

    Labels without `_train` and `_test` beside `x_train` and `x_test` are of those that are as many. Labels [n, 1], as Keras
    stores them, are [n]. Raises DataError for an array of another name beside these.
    """
    arrays = npy.read_npz(path)
    if len(arrays) == 1 and not groups:
        return Arrays(next(iter(arrays.values())))
    names = {name.lower(): name for name in arrays}
    if len(names) < len(arrays):
        raise DataError(f"{path}: holds {listed(list(arrays))}; must be of different names in lower case")
    first = next((part for part in PARTS if f"x{part}" in names), None)
    if first is None:
        held = ", ".join(arrays) or "none"
        raise DataError(f"{path}: holds the arrays {held}; must be one array, or x (and labels), or x_train and x_test")
    values = {part: arrays[names[f"x{part}"]] for part in PARTS[first] if f"x{part}" in names}
    group_key = groups.lower() or GROUPS
    known = [f"x{part}" for part in PARTS[first]] + [f"{key}{part}" for part in {**values, "": None} for key in LABEL_KEYS]
    known += [f"{group_key}{part}" for part in values]
    unknown = [name for lower, name in names.items() if lower not in known]
    if unknown:
        right = f"must be of {', '.join(known)}, or left out"
        raise DataError(f"{path}: holds {listed(unknown)} beside {names[f'x{first}']}; {right}")
    members = {part: arrays[names[key]] for part in values if groups and (key := f"{group_key}{part}") in names}
    _require_groups(path, groups, members, values)
    members = {part: group_names(path, f"{groups}{part}", array) for part, array in members.items()}
    rest = [f"x{part}" for part in values] + [f"{group_key}{part}" for part in values]
    labels = _labels(path, {lower: arrays[name] for lower, name in names.items() if lower not in rest}, values)
    if len(values) == 1:
        return Arrays(values[first], labels.get(first), groups=members.get(first))
    train, test = (Arrays(values[part], labels.get(part), groups=members.get(part)) for part in PARTS["_train"])
    return replace(train, test_values=test.values, test_labels=test.labels, test_groups=test.groups)


def group_names(path: Path, name: str, groups: np.ndarray) -> np.ndarray:
    """Groups [n], numbers or text, as text: the same for 3, 3.0 and "3"; DataError for nan."""
    found, members = np.unique(groups, return_inverse=True)
    texts = np.array([label_text(group) for group in found.tolist()], str)[members.reshape(-1)]
    missing = np.flatnonzero(texts == "nan")
    if len(missing):
        raise DataError(f"{path}: row {missing[0] + 1} of {name} is nan, must be a group, a number or text")
    return texts


def _require_groups(path: Path, key: str, groups: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> None:
    """Raise DataError unless each part of `values` has groups [n], numbers or text, where a key asks for them."""
    for part, x in values.items() if key else ():
        if part not in groups:
            raise DataError(f"{path}: has no array {key}{part}, which `groups` in [data] names")
        if groups[part].shape != x.shape[:1] or groups[part].dtype.kind not in "biufU":
            got = f"{key}{part} is {groups[part].dtype} {list(groups[part].shape)}"
            raise DataError(f"{path}: {got}, must be numbers or text [{len(np.atleast_1d(x))}], one per row of x{part}")


def _labels(path: Path, arrays: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The labels of each part of `values`, of arrays by their name in lower case; DataError where that is not clear."""
    flat = {name: array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array for name, array in arrays.items()}
    labels: dict[str, np.ndarray] = {}
    for part in values:
        names = [name for name in (f"{key}{part}" for key in LABEL_KEYS) if name in flat]
        if len(names) > 1:
            raise DataError(f"{path}: holds {' and '.join(names)}; must be one array of labels")
        if names:
            labels[part] = flat[names[0]]
    whole = [] if "" in values else [name for name in LABEL_KEYS if name in flat]
    if not whole:
        return labels
    if len(whole) > 1 or labels:
        raise DataError(f"{path}: holds {listed(list(arrays))}; must be one array of labels, or one with each x")
    got, counts = len(np.atleast_1d(flat[whole[0]])), {part: len(np.atleast_1d(array)) for part, array in values.items()}
    matches = [part for part, count in counts.items() if count == got]
    if len(matches) == 1:
        return {matches[0]: flat[whole[0]]}
    if not matches and got == sum(counts.values()):
        first, *_ = counts.values()
        return dict(zip(counts, np.split(flat[whole[0]], [first]), strict=True))
    held = " and ".join(f"{count:,} in x{part}" for part, count in counts.items())
    right = "; name them labels_train or labels_test" if matches else ", or as many as both" if len(counts) > 1 else ""
    raise DataError(f"{path}: holds {got:,} {whole[0]} beside {held}; must be as many as one of these{right}")


def npz_names(path: Path) -> list[str]:
    """The names of the arrays of a .npz file in lower case, without _train and _test; none of a damaged one."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as members:
            names = [Path(name).stem.lower() for name in members.namelist()]
    except npy.DAMAGE:
        return []
    return [name.removesuffix("_train").removesuffix("_test") for name in names]


IDX_TYPES: Mapping[int, str] = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Arrays:
    """An idx file of MNIST's format, optionally gzip; labels from the file beside it that follows MNIST's names."""
    labels = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    return Arrays(_idx(path), _idx(labels) if labels != path and labels.exists() else None)


def _idx(path: Path) -> np.ndarray:
    packed = path.name.endswith(".gz")
    try:
        with open_regular(path) as raw, gzip.GzipFile(fileobj=raw) if packed else raw as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or magic[3] == 0:
                raise FormatError(f"{path}: is not an idx file")
            dtype, axes = np.dtype(IDX_TYPES[magic[2]]), magic[3]
            shape = tuple(int(n) for n in np.frombuffer(file.read(4 * axes), ">u4"))
            start, needed = 4 + 4 * axes, math.prod(shape) * dtype.itemsize
            if packed:
                require_unpackable(path, needed, path.stat().st_size)
            data = file.read(needed + 1) if packed else b""
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise FormatError(f"{path}: is damaged or truncated ({error})") from None
    size = len(data) if packed else path.stat().st_size - start
    if len(shape) < axes or size != needed:
        got = f"more than {needed}" if packed and size > needed else max(size, 0)
        raise FormatError(f"{path}: holds {got} bytes of data, must be {needed} for shape {list(shape)}; damaged")
    if packed:
        return np.frombuffer(data, dtype).reshape(shape)
    if needed >= MAPPED_FROM:
        return np.memmap(path, dtype, "r", start, shape)
    return np.fromfile(path, dtype, offset=start).reshape(shape)
