"""Records, values in time of one or more channels: folders of their files, and the windows that they are cut into."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from msgspec.structs import replace as replace_record

from tiedae.base.errors import DataError, listed
from tiedae.base.numbers import counted
from tiedae.config.config import DataConfig

from .arrays import Arrays, Stretch
from .windows import Rest

FILE = "file"
"""`groups` of a folder: each file is one."""
RATES_DIFFER = 5e-3
"""Rates that differ by a larger fraction are not the same; those from times that are rounded do by less."""


def is_rate(rate: float, right: float) -> bool:
    """Whether a rate in Hz is `right`, but for the rounding of times."""
    return abs(rate - right) <= RATES_DIFFER * right


def record_files(folder: Path, suffixes: Sequence[str]) -> Sequence[Path]:
    """The files of a folder and its subfolders with these suffixes, in order of their paths; DataError without one."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if not paths:
        raise DataError(f"{folder}: holds no file of a record ({', '.join(suffixes)})")
    return paths


def read_folder(
    folder: Path, config: DataConfig, suffixes: Sequence[str], read: Callable[[Path, DataConfig], Arrays]
) -> Arrays:
    """The record's files of a folder and its subfolders in order of their paths, one behind the other, each a stretch.

    With several subfolders, the label of a file is the path of its subfolder. `groups` "file": the path of each file.
    Raises DataError, naming both files, where dtype, channels or rates differ.
    """
    paths = record_files(folder, suffixes)
    inner = replace_record(config, groups="" if config.groups == FILE else config.groups)
    parts = [read(path, inner) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        _require_like(path, part, paths[0], parts[0])
    names = [path.relative_to(folder).as_posix() for path in paths]
    rows = [len(part.values) for part in parts]
    folders = [path.parent.relative_to(folder).as_posix() for path in paths]
    groups = names if config.groups == FILE else None
    return replace(
        parts[0],
        values=np.concatenate([part.values for part in parts]),
        labels=np.repeat(folders, rows) if len(set(folders)) > 1 else _joined([part.labels for part in parts]),
        groups=_joined([part.groups for part in parts]) if groups is None else np.repeat(groups, rows),
        stretches=tuple(Stretch(name, count, begin=part.begin) for name, count, part in zip(names, rows, parts, strict=True)),
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if len(arrays) == len(parts) else None


def _require_like(path: Path, part: Arrays, first: Path, like: Arrays) -> None:
    """Raise DataError unless a file has the channels, the rate and the dtype of the first one."""
    if part.test_values is not None:
        raise DataError(f"{path}: has a test set of its own, must be one record in a folder of them")
    if part.values.ndim != like.values.ndim or part.values.shape[1:] != like.values.shape[1:]:
        got, right = (_shape_text(each) for each in (part, like))
        raise DataError(f"{path}: has {got}, but {first} has {right}; must be the same in all files")
    if part.columns != like.columns:
        got, right = (listed(each.columns or ("none",)) for each in (part, like))
        raise DataError(f"{path}: has the channels {got}, but {first} has {right}; must be the same, or stated as `columns`")
    if not is_rate(part.rate, like.rate):
        raise DataError(f"{path}: has a rate of {part.rate:g} Hz, but {first} has {like.rate:g}; must be the same in all files")
    if part.values.dtype != like.values.dtype:
        raise DataError(f"{path}: is {part.values.dtype}, but {first} is {like.values.dtype}; must be the same in all files")


def _shape_text(part: Arrays) -> str:
    shape = part.values.shape
    if len(shape) == 3:
        return f"windows of {counted(shape[1], 'time step')} and {counted(shape[2], 'channel')}"
    if len(shape) == 2 and not (part.columns or part.rate):
        return f"rows of {counted(shape[1], 'value')}"
    return counted(shape[1] if len(shape) == 2 else 1, "channel")


def cut(arrays: Arrays, window: int, source: str, *, short: bool = False) -> tuple[Arrays, bool]:
    """Windows [N, t] or [N, t, channels] of a record [n] or [n, channels], and whether they were cut here.

    `short`: stretches may be shorter than a window, which are rests alone.

    No window holds values of two files or two groups; what is left of a stretch is a rest. Windows that are cut already stay.
    Labels stay where each file, or each group in it, has one.
    Raises DataError, naming the source or its file, for a record shorter than a window.
    """
    values = arrays.values
    if not is_long(arrays, window):
        if values.shape[1] != (window or values.shape[1]):
            right = f"`window` in [data] is {window}; must be left out, or of one long record, shape [n] or [n, channels]"
            raise DataError(f"{source}: has shape {list(values.shape)}, windows of {values.shape[1]} time steps; {right}")
        return replace(arrays, values=values[..., 0] if values.shape[2:] == (1,) else values, stretches=arrays.parts), False
    if values.ndim > 2 or values.ndim < 1 or (values.ndim == 2 and values.shape[1] > len(values) and not short):
        right = "`window` in [data] is for a long record, shape [n] or [n, channels]"
        raise DataError(f"{source}: has shape {list(values.shape)}; {right}")
    if not window:
        raise DataError(f"{source}: is a record of {len(values):,} time steps; `window` in [data] cuts it into samples")
    stretches, starts, stops, at = [], [], [], 0
    for file in arrays.parts:
        part = slice(at, at + file.rows)
        for begin, end in _runs(None if arrays.groups is None else arrays.groups[part], file.rows):
            _require_longer(end - begin + window * short, window, source, file.file, begin if arrays.groups is not None else 0)
            stretches.append(Stretch(file.file, (end - begin) // window, begin))
            starts.append(at + begin)
            stops.append(at + end)
        at += file.rows
    rows = [each.rows for each in stretches]
    first = np.repeat(starts, rows)
    shape = (window, *values.shape[1:]) if values.shape[1:] != (1,) else (window,)
    parts = [values[start : start + count * window].reshape(count, *shape) for start, count in zip(starts, rows, strict=True)]
    lasts = zip(starts, stops, rows, np.cumsum(rows).tolist(), strict=True)
    rests = [
        Rest(number, values[start + count * window : stop].reshape(-1, *shape[1:])) for start, stop, count, number in lasts
    ]
    labels = arrays.labels
    if labels is not None:
        labels = (
            _labels_of_windows(labels, zip(starts, rows, strict=True), window) if labels.shape == values.shape[:1] else None
        )
    return replace(
        arrays,
        values=parts[0] if len(parts) == 1 else np.concatenate(parts),
        labels=labels,
        groups=None if arrays.groups is None else arrays.groups[first],
        stretches=tuple(stretches),
        rests=tuple(rests),
    ), True


def _labels_of_windows(labels: np.ndarray, stretches: Iterable[tuple[int, int]], window: int) -> np.ndarray | None:
    """The label of each window of stretches, (first time step, windows) each: that of the stretch, or of marks of 0 and 1 the
    largest of its time steps; None where other labels change within a stretch."""
    windows = [labels[start : start + count * window].reshape(count, window) for start, count in stretches]
    if all(len(np.unique(each)) == 1 for each in windows):
        return np.concatenate([each[:, 0] for each in windows])
    marks = labels.dtype.kind in "biuf" and bool(np.isin(labels, (0, 1)).all())
    return np.concatenate([each.max(axis=1) for each in windows]) if marks else None


def with_channels(arrays: Arrays, config: DataConfig, window: int) -> Arrays:
    """Windows [n, k] that are flattened, as [n, k / channels, channels], the test set's too; others as they are.

    Raises DataError, naming the source, where `channels` in [data] does not divide k.
    """
    width = arrays.values.shape[1] if arrays.values.ndim == 2 else 0
    if not (config.channels and width) or (window and width != window * config.channels):
        return arrays
    if width % config.channels:
        right = f"windows [n, k] with a k that {config.channels} divides, as `channels` in [data] says"
        raise DataError(f"{config.source}: has shape {list(arrays.values.shape)}, must be {right}")
    shape = (width // config.channels, config.channels)
    tested = None if arrays.test_values is None else arrays.test_values.reshape(-1, *shape)
    return replace(arrays, values=arrays.values.reshape(-1, *shape), test_values=tested, columns=None)


def is_long(arrays: Arrays, window: int) -> bool:
    """Whether the rows of a record are time steps, not windows: with one axis, channels by name, a rate, or another length."""
    values, timed = arrays.values, bool(arrays.columns or arrays.rate)
    return values.ndim == 1 or (values.ndim == 2 and (timed or values.shape[1] != (window or values.shape[1])))


def shortest(arrays: Arrays) -> int:
    """Time steps of the shortest stretch of one file and one group of a long record."""
    files = np.cumsum([0, *(each.rows for each in arrays.stretches), len(arrays.values)])
    runs = _runs(arrays.groups, len(arrays.values))
    return int(np.diff(np.unique([*files, *(first for first, _ in runs)])).min(initial=len(arrays.values)))


def _runs(groups: np.ndarray | None, rows: int) -> list[tuple[int, int]]:
    """(first, stop) of each run of rows of one group."""
    changes = [] if groups is None else (np.flatnonzero(groups[1:] != groups[:-1]) + 1).tolist()
    return list(itertools.pairwise([0, *changes, rows]))


def _require_longer(steps: int, window: int, source: str, file: str, first: int) -> None:
    if steps < window:
        what = f"{source}, {file}" if file else source
        where = f", from time step {first} on" if first else ""
        got = f"`window` in [data] is {window}, longer than the record of {steps} time steps{where}"
        raise DataError(f"{what}: {got}; must be at most that of the shortest, and two samples in all")


def place_in(arrays: Arrays, sample: int, value: int) -> str:
    """The position of a value of a window: the file, the time step in it, and the channel."""
    channels = int(np.prod(arrays.values.shape[2:]))
    stretch, first = _stretch_of(arrays.stretches, sample)
    file = f"{stretch.file}, " if stretch.file else ""
    step = stretch.first + (sample - first) * arrays.values.shape[1] + value // channels
    names = arrays.columns or ()
    channel = f", channel {names[value % channels] if names else value % channels}" if channels > 1 or names else ""
    return f"{file}time step {step}{channel}"


def _stretch_of(stretches: Sequence[Stretch], sample: int) -> tuple[Stretch, int]:
    first = 0
    for stretch in stretches:
        if sample < first + stretch.rows:
            return stretch, first
        first += stretch.rows
    raise IndexError(sample)
