"""Intervals of a record, such as faults: a .csv file of their start and end, and the windows that overlap them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, listed

from .arrays import ANOMALY, Arrays, Interval
from .csv_files import read_csv, read_headings
from .intervals import NORMAL_WINDOW, Intervals
from .labels import is_among, label_text
from .normal import NORMAL

START, END, KIND, FILE = "start", "end", "kind", "file"
DIGITS = 6
"""Decimals of a time step that count: 1.2 s at 360 Hz is step 432, not 432.00000000000006."""


def read_intervals(path: Path) -> tuple[Interval, ...]:
    """The rows of a .csv file with the columns start and end, in seconds, and, as it has them, kind and file.

    Raises DataError, naming file and row, for a column or a number that is missing, an end that is not behind its start, and a
    kind that is the label of normal windows.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, which `intervals` names; must be a .csv file with the columns start and end")
    headings = read_headings(path)
    missing = [name for name in (START, END) if name not in headings]
    if missing:
        got = f"has no column {listed(missing)}"
        raise DataError(f"{path}: {got}; must have the columns start and end in seconds, and may have kind and file")
    kind, file = (name if name in headings else "" for name in (KIND, FILE))
    table = read_csv(path, (START, END), label=kind, groups=file)
    kinds = np.full(len(table.values), ANOMALY) if table.labels is None else table.labels
    files = np.full(len(table.values), "") if table.groups is None else table.groups
    rows = zip(table.values.tolist(), kinds.tolist(), files.tolist(), strict=True)
    found = [
        Interval(start, end, label_text(kind), str(file), f"{path}, row {number}")
        for number, ((start, end), kind, file) in enumerate(rows, 1)
    ]
    for each in found:
        if not each.end > each.start:
            raise DataError(f"{each.place}: ends at {each.end:g} s, must be after its start at {each.start:g} s")
        if is_among(np.array([each.kind]), NORMAL)[0]:
            right = f"must be another: windows that overlap no interval are {NORMAL_WINDOW}"
            raise DataError(f"{each.place}: the kind is {each.kind}, {right}")
    return tuple(found)


def with_intervals(
    windows: Arrays, record: Arrays, intervals: Sequence[Interval], rate: float, source: str, *, others: bool = False
) -> Arrays:
    """Windows cut of a record, with the intervals that they overlap; their labels are the kinds.

    An interval without a file is of a source that is one file. `others`: intervals of other files are left out, else they are
    an error. Raises DataError without a rate, and for an interval that lies outside its file, overlaps another or no window.
    """
    if not rate:
        right = "must be stated as `rate` in [data]: intervals are in seconds (with rate = 1 in time steps)"
        raise DataError(f"{source}: the rate is not known, {right}")
    files = {each.file: each for each in record.parts}
    names = file_names(windows, source)
    kept = [each for each in intervals if not others or each.file in ("", *names)]
    require_files(kept, names, source)
    ranges, ordered = [], []
    for name, parts in itertools.groupby(windows.stretches, key=lambda stretch: stretch.file):
        own = sorted((each for each in kept if each.file in ("", name or Path(source).name)), key=lambda each: each.start)
        starts = np.concatenate([each.first + windows.steps * np.arange(each.rows) for each in parts])
        begin = files[name].begin
        overlaps = _overlaps(
            [replace(each, start=each.start - begin, end=each.end - begin) for each in own], starts, windows.steps, rate
        )
        last, end = (begin + steps / rate for steps in (starts[-1] + windows.steps, files[name].rows))
        _require_usable(own, overlaps, last, begin, end)
        ranges.append(len(ordered) + overlaps)
        ordered += own
    found = Intervals(np.concatenate(ranges), np.array([each.kind for each in ordered], str))
    return replace(windows, labels=found.labels, intervals=found, label=None)


def file_names(windows: Arrays, source: str) -> list[str]:
    """The files of a source of windows, as `file` of an interval names them: by their paths in a folder, else by the name."""
    return list(dict.fromkeys(each.file or Path(source).name for each in windows.stretches))


def require_files(intervals: Sequence[Interval], names: Sequence[str], source: str) -> None:
    """Raise DataError for an interval of a file that is not among these, or of none where there are several."""
    for each in intervals:
        if each.file not in names and (each.file or len(names) > 1):
            got = f"the file is {each.file!r}" if each.file else "has no column `file`"
            raise DataError(f"{each.place}: {got}, must be one of {source}: {listed(names)}")


def _overlaps(intervals: Sequence[Interval], starts: np.ndarray, window: int, rate: float) -> np.ndarray:
    """Of windows that start at these time steps, the range of the intervals, in order, that each overlaps; int64 [n, 2]."""
    steps = np.array([(each.start, each.end) for each in intervals]).reshape(-1, 2) * rate
    begins, ends = np.floor(steps[:, 0].round(DIGITS)), np.ceil(steps[:, 1].round(DIGITS))
    return np.stack([np.searchsorted(ends, starts, "right"), np.searchsorted(begins, starts + window, "left")], axis=1)


def _require_usable(intervals: Sequence[Interval], overlaps: np.ndarray, last: float, begin: float, end: float) -> None:
    """Raise DataError for the first interval outside a file, from `begin` to `end` in seconds, in another interval, or after
    the last window, which ends at `last`."""
    for number, (before, each) in enumerate(zip((None, *intervals), intervals, strict=False)):
        what = f"{each.place}: {each.start:g} to {each.end:g} s"
        if each.start < begin - 10.0**-DIGITS or each.end > end + 10.0**-DIGITS:
            raise DataError(f"{what} lies outside the record, must lie within {begin:g} to {end:g} s")
        if before is not None and each.start < before.end:
            raise DataError(f"{what} overlaps {before.place}, {before.start:g} to {before.end:g} s; must be apart, or one")
        if not ((overlaps[:, 0] <= number) & (number < overlaps[:, 1])).any():
            raise DataError(f"{what} overlaps no window, must overlap one: the last of its file ends at {last:g} s")
