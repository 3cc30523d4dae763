"""Columns of times: how they are named, and their cells, numbers or dates, in seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError
from tiedae.base.numbers import counted

NAMED = re.compile(r"(time|timer|timestamp|date|datetime|epoch|seconds_elapsed|t)([^a-z].*)?", re.IGNORECASE)
"""Headings of times: time, time_s, Time (ms), timestamp, date, Date Time, t."""
UNIT = re.compile(r"[^a-zµ](ms|us|µs|ns)[)\]]?", re.IGNORECASE)
UNITS = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
"""Seconds of a unit that a heading ends in, such as time_ms or Time (us)."""
EPOCHS = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
"""Numbers from the first on are nanoseconds, microseconds or milliseconds since 1970."""


def is_named_like_time(heading: str) -> bool:
    return NAMED.fullmatch(heading.strip()) is not None


def seconds_of(path: Path, name: str, cells: Sequence[str]) -> np.ndarray:
    """Times in seconds, float64 [n], of numbers or ISO 8601 dates; DataError, naming the row, for another cell.

    Numbers are seconds, or in the unit that the name ends in, or of a magnitude of `EPOCHS`.
    """
    times = np.array([_time(path, name, row, cell) for row, cell in enumerate(cells, 1)], np.float64)
    if cells and _number(cells[0]) is None:
        return times
    unit = UNIT.search(name.strip().lower())
    if unit is not None and unit.end() == len(name.strip()):
        return times * UNITS[unit[1]]
    largest = np.abs(times).max(initial=0.0)
    return times * next((seconds for least, seconds in EPOCHS if largest >= least), 1.0)


def is_clock(cells: Sequence[str]) -> bool:
    """Whether cells are dates, or numbers that never fall and are not all the same."""
    try:
        times = seconds_of(Path(), "", cells)
    except DataError:
        return False
    if cells and _number(cells[0]) is None:
        return True
    return len(times) > 1 and bool((np.diff(times) >= 0).all()) and bool(times[-1] > times[0])


def rate_of(path: Path, name: str, times: np.ndarray) -> float:
    """Rows per second of times in seconds, each of which may be rounded; DataError where they jump."""
    steps = np.diff(times)
    if not len(steps) or not np.isfinite(times).all():
        raise DataError(f"{path}: column {name} of `time` in [data] must hold two or more finite times in seconds")
    period = float(np.median(steps))
    jumps = np.flatnonzero(~((steps > 0) & (np.abs(steps - period) <= period / 2)))
    if len(jumps):
        at = int(jumps[0])
        got = f"{name} jumps at {counted(len(jumps), 'place')}"
        where = f"first behind row {at + 1}, from {times[at]:.6g} to {times[at + 1]:.6g}"
        right = (
            f"must grow by about {period:.3g} s from row to row; save each part as a file of its own"
            if period > 0
            else "must grow"
        )
        raise DataError(f"{path}: {got}, {where}; {right}")
    return float(f"{len(steps) / (times[-1] - times[0]):.6g}")


def _time(path: Path, name: str, row: int, cell: str) -> float:
    number = _number(cell)
    if number is not None and math.isfinite(number):
        return number
    try:
        date = datetime.fromisoformat(cell.strip())
    except ValueError:
        right = "must be a finite number or a date such as 2026-12-01T10:00:00"
        raise DataError(f"{path}: row {row} of column {name} of `time` in [data] is {cell!r}, {right}") from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
