"""How pages and tables write numbers. Each function is also a filter of the templates, by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def number(value: float | np.number) -> str:
    """Four significant digits: 6.904, 0.00871, 1.2e-07."""
    return f"{value:.4g}"


def exact(value: float | int | str) -> str:
    """A value beside its limit: six digits, or all where six would read as a whole number that it is not."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:.6g}"
    return repr(value) if float(short).is_integer() and not value.is_integer() else short


def size(count: int) -> str:
    """Bytes in full: 552,352 B."""
    return f"{count:,} B"


def three_digits(value: float) -> str:
    """Three significant digits, never an exponent from 0.001 on: 0.953, 15.2, 486, 12,345."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def human_size(count: float, write: Callable[[float], str] = three_digits) -> str:
    """Bytes in the decimal unit that people use: 549 kB, 2.17 MB."""
    return _in_unit(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1)), write)


def duration(microseconds: float) -> str:
    """A time in the unit that people use: 15.2 µs, 1.25 ms, 2.62 s."""
    return _in_unit(microseconds, (("s", 1e6), ("ms", 1e3), ("µs", 1)), three_digits)


def _in_unit(value: float, units: Sequence[tuple[str, float]], write: Callable[[float], str]) -> str:
    """The value in the largest unit in which it is 1 or more with three digits, else in the smallest."""
    unit, factor = next((each for each in units if value >= 0.9995 * each[1]), units[-1])
    return f"{write(value / factor)} {unit}"


def fraction(part: int, whole: int) -> str:
    """A fraction in percent that is 100 % only where nothing is missing, and 0 % only where nothing is there."""
    if part in (0, whole) or whole == 0:
        return "100 %" if part == whole else "0 %"
    return f"{min(max(math.floor(1e5 * part / whole), 1), 99_999) / 1e3:g} %"


FILTERS = {each.__name__: each for each in (number, exact, size, human_size, duration, three_digits, fraction)}
