"""Number formats of pages and tables; each function is also a template filter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np


def number(value: float | np.number) -> str:
    """Four significant digits: 6.904, 0.00871, 1.2e-07."""
    return f"{value:.4g}"


def exact(value: float | int | str) -> str:
    """A value to compare with a limit: six digits, or all if six would round it to an integer."""
    if not isinstance(value, float):
        return str(value)
    short = f"{value:.6g}"
    return repr(value) if float(short).is_integer() and not value.is_integer() else short


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 epoch, 1,200 epochs."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(count: int) -> str:
    """Bytes in full: 552,352 B."""
    return f"{count:,} B"


def three_digits(value: float) -> str:
    """Three significant digits, without exponent from 0.001: 0.953, 15.2, 486, 12,345."""
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"


def human_size(count: float, write: Callable[[float], str] = three_digits) -> str:
    """Bytes in a decimal unit: 549 kB, 2.17 MB."""
    return _in_unit(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1)), write)


def duration(microseconds: float) -> str:
    """A time in µs, ms or s: 15.2 µs, 1.25 ms, 2.62 s."""
    return _in_unit(microseconds, (("s", 1e6), ("ms", 1e3), ("µs", 1)), three_digits)


def _in_unit(value: float, units: Sequence[tuple[str, float]], write: Callable[[float], str]) -> str:
    """The value in the largest unit in which it rounds to 1 or more, else in the smallest."""
    unit, factor = next((each for each in units if value >= 0.9995 * each[1]), units[-1])
    return f"{write(value / factor)} {unit}"


def fraction(part: int, whole: int) -> str:
    """A fraction in percent; 100 % and 0 % only if exact."""
    if part in (0, whole) or whole == 0:
        return "100 %" if part == whole else "0 %"
    return f"{min(max(math.floor(1e5 * part / whole), 1), 99_999) / 1e3:g} %"


FILTERS = {each.__name__: each for each in (number, exact, counted, size, human_size, duration, three_digits, fraction)}
