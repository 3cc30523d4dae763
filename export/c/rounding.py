"""Requantization in integers: what replaces the program's two binary32 roundings in C.

The program's rounding (`arithmetic.requantize`) never decreases as the accumulator grows. So it is a step function
with at most 255 thresholds, and integers M, R and S with (a · M + R) >> S are it if they are right at each threshold over the
reachable accumulators: a linear problem in M and R. Where there are none, the accumulators that come out wrong are listed;
where those are many, C computes both roundings in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from tiedae.base.errors import ExportError
from tiedae.program.arithmetic import EXACT, requantize

Form = Literal["shift", "exceptions", "emulation"]
FORMS: tuple[Form, ...] = get_args(Form)
LARGEST_SHIFT = 46
LARGEST_MULTIPLIER = 1 << 31
MOST_EXCEPTIONS = 8
"""Listed accumulators per requantization with one multiplier, or per unit on average divided by 16."""
OFFSETS = np.array([0, 1, -1, 2, -2])
"""Multipliers that are tried, by their distance from the nearest to the slope."""
MANTISSA_BITS = 24
INT32 = 1 << 31


@dataclass(frozen=True, eq=False)
class Steps:
    """The requantization of accumulators `least`…`most` to `low`…`high`: int64 [n] each, float32 [n] multipliers.

    n is 1, or one per unit.
    """

    least: np.ndarray
    most: np.ndarray
    multiplier: np.ndarray
    zero_point: int
    low: int
    high: int

    def values(self, accumulators: np.ndarray) -> np.ndarray:
        """The program's output, uint8 [n, k], for integers [n, k]."""
        return requantize(accumulators.astype(np.float64).T, self.multiplier, self.zero_point, self.low, self.high).T

    @cached_property
    def thresholds(self) -> np.ndarray:
        """The least accumulator with an output of low + k, k = 1…high − low, int64 [n, k]; most + 1 where there is none."""
        wanted = np.arange(self.low + 1, self.high + 1)
        below = np.broadcast_to(self.least[:, None] - 1, (len(self.least), len(wanted))).copy()
        above = np.broadcast_to(self.most[:, None] + 1, below.shape).copy()
        while (above - below > 1).any():
            middle = (below + above) >> 1
            reached = self.values(middle) >= wanted
            below, above = np.where(reached, below, middle), np.where(reached, middle, above)
        return above


@dataclass(frozen=True, eq=False)
class IntegerRounding:
    """low + min(max(a · M + R, 0) >> S, high − low), with M, R int64 [n]; `exceptions`: (unit, accumulator, output).

    With `form` emulation C uses `Steps` alone.
    """

    steps: Steps
    form: Form
    multiplier: np.ndarray
    addend: np.ndarray
    shift: int
    exceptions: tuple[tuple[int, int, int], ...] = ()

    @property
    def bits(self) -> int:
        """Bits of a signed integer that holds a · M + R for each reachable a, 32 or 64."""
        ends = [np.abs(a.astype(object) * self.multiplier + self.addend).max() for a in (self.steps.least, self.steps.most)]
        small = max(ends) < INT32 and self.multiplier.max() < INT32 and np.abs(self.addend).max() < INT32
        return 32 if small else 64

    @property
    def shifted_bits(self) -> int:
        """Bits of a signed integer that holds (a · M + R) >> S for each reachable a, 32 or 64."""
        most = (self.steps.most.astype(object) * self.multiplier + self.addend).max()
        return 32 if most >> self.shift < INT32 else 64


def fit_rounding(steps: Steps, forms: Sequence[Form] = FORMS) -> IntegerRounding:
    """The first of these forms that is exact over the reachable accumulators.

    Raises ExportError where none is.
    """
    lower, upper = _constraints(steps)
    slope = _slope(lower, upper, steps)
    if "shift" in forms:
        for shift in _possible_shifts(lower, upper, slope):
            if (found := _exact(lower, upper, slope, shift)) is not None:
                return IntegerRounding(steps, "shift", *found, shift)
    if "exceptions" in forms and (found := _with_exceptions(steps, lower, upper, slope)) is not None:
        return found
    if "emulation" not in forms:
        raise ExportError(f"rounding: got forms {', '.join(forms)}, none of them is exact; must have emulation too")
    nothing = np.zeros(len(steps.least), np.int64)
    return IntegerRounding(steps, "emulation", nothing, nothing, 0)


Constraint = tuple[np.ndarray, np.ndarray, np.ndarray]
"""(accumulator, step k, whether it holds), [n, constraints] each."""


def _constraints(steps: Steps) -> tuple[Constraint, Constraint]:
    """`lower`: a · M + R ≥ k · 2ˢ. `upper`: a · M + R < k · 2ˢ."""
    thresholds, count = steps.thresholds, steps.high - steps.low
    k = np.broadcast_to(np.arange(1, count + 1), thresholds.shape)
    reached = thresholds <= steps.most[:, None]
    lower = (thresholds, k, reached)
    last = reached.sum(axis=1, keepdims=True) + 1
    upper = (
        np.concatenate([thresholds - 1, steps.most[:, None]], axis=1),
        np.concatenate([k, last], axis=1),
        np.concatenate([reached & (thresholds > steps.least[:, None]), last <= count], axis=1),
    )
    return lower, upper


def _slope(lower: Constraint, upper: Constraint, steps: Steps) -> np.ndarray:
    """M / 2ˢ, float64 [n], that leaves R the largest interval: the maximum of a concave function, by golden sections."""
    start = np.minimum(steps.multiplier, np.float32(EXACT)).astype(np.float64)
    low, high = start * 0.98, start * 1.02
    ratio = (np.sqrt(5) - 1) / 2
    for _ in range(80):
        width = (high - low) * ratio
        left, right = high - width, low + width
        better = np.less(*_intervals(lower, upper, np.stack([left, right])))
        low, high = np.where(better, left, low), np.where(better, high, right)
    return (low + high) / 2


def _intervals(lower: Constraint, upper: Constraint, slopes: np.ndarray) -> np.ndarray:
    """The length of the interval of R / 2ˢ for slopes [..., n]; negative where there is none."""
    ends = []
    for (a, k, holds), empty in ((upper, np.inf), (lower, -np.inf)):
        ends.append(np.where(holds, k - slopes[..., None] * a, empty))
    return np.minimum(ends[0].min(axis=-1), 1e9) - np.maximum(ends[1].max(axis=-1, initial=-np.inf), -1e9)


def _possible_shifts(lower: Constraint, upper: Constraint, slope: np.ndarray) -> list[int]:
    """The shifts at which the unit of the shortest interval has an exact formula; at any other no formula fits all units."""
    unit = [int(np.argmin(_intervals(lower, upper, slope)))]
    one_lower, one_upper = ((a[unit], k[unit], holds[unit]) for a, k, holds in (lower, upper))
    shifts = np.arange(LARGEST_SHIFT + 1)[:, None]
    tried = np.minimum(np.rint(slope[unit] * 2.0**shifts), LARGEST_MULTIPLIER).astype(np.int64) + OFFSETS
    least, most = _addends(one_lower, one_upper, np.maximum(tried, 0)[..., None], shifts[..., None])
    return np.flatnonzero((least <= most).any(axis=(1, 2))).tolist()


def _exact(lower: Constraint, upper: Constraint, slope: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray] | None:
    """(M, R), int64 [n] each, that are right at all thresholds; None where there are none."""
    nearest = np.rint(slope * float(1 << shift))
    if nearest.max() + 2 >= LARGEST_MULTIPLIER:
        return None
    tried = np.maximum(nearest.astype(np.int64) + OFFSETS[:, None], 0)
    least, most = _addends(lower, upper, tried, shift)
    right = least <= most
    first = np.argmax(right, axis=0), np.arange(len(slope))
    return (tried[first], _rounded(least[first], most[first], shift)) if right.any(axis=0).all() else None


_FAR = np.int64(1) << 61


def _addends(lower: Constraint, upper: Constraint, multiplier: np.ndarray, shift: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest R, int64 [..., n], for multipliers and shifts [..., n]."""
    ends = [
        np.where(holds, (k.astype(np.int64) << np.asarray(shift)[..., None]) - multiplier[..., None] * a, empty)
        for (a, k, holds), empty in ((lower, -_FAR), (upper, _FAR))
    ]
    return ends[0].max(axis=-1, initial=-_FAR), ends[1].min(axis=-1) - 1


def _rounded(least: np.ndarray, most: np.ndarray, shift: int) -> np.ndarray:
    """A number of the interval near its middle and near to 0 where one side is free."""
    low, high = np.where(least <= -_FAR, np.minimum(most, 0), least), np.where(most >= _FAR - 1, np.maximum(least, 0), most)
    return low + (high - low) // 2


def _with_exceptions(steps: Steps, lower: Constraint, upper: Constraint, slope: np.ndarray) -> IntegerRounding | None:
    """The formula that takes the fewest bytes with a list of its wrong accumulators; None where they are too many.

    Beside the addends that fit each unit best, one is tried for all units: that of the exact product, rounded to nearest.
    """
    shift = min(LARGEST_SHIFT, int(np.floor(np.log2((LARGEST_MULTIPLIER - 1) / slope.max()))))
    if shift < 1:
        return None
    multiplier = np.rint(slope * float(1 << shift)).astype(np.int64)
    if (multiplier == 0).any():
        return None
    least, most = _addends(lower, upper, multiplier, shift)
    tried = [(multiplier, least + ((most - least) * part).astype(np.int64)) for part in np.linspace(0, 1, 17)]
    if len(slope) > 1:
        exact = np.maximum(np.rint(steps.multiplier.astype(np.float64) * float(1 << shift)).astype(np.int64), 1)
        tried.append((exact, np.full(len(exact), (2 * (steps.zero_point - steps.low) + 1) << (shift - 1), np.int64)))
    listed = ((*each, _wrong(steps, *each, shift)) for each in tried)
    found = [IntegerRounding(steps, "exceptions", m, addend, shift, wrong) for m, addend, wrong in listed if wrong is not None]
    return min(found, key=_bytes, default=None)


def _bytes(rounding: IntegerRounding) -> int:
    """Of the addends and the list in C, about."""
    return 6 * len(rounding.exceptions) + (4 * len(rounding.addend) if np.ptp(rounding.addend) else 0)


def _wrong(steps: Steps, multiplier: np.ndarray, addend: np.ndarray, shift: int) -> tuple[tuple[int, int, int], ...] | None:
    """The accumulators whose output is not the program's; None where they are too many."""
    k = np.arange(1, steps.high - steps.low + 1, dtype=np.int64)
    got = -((addend[:, None] - (k << shift)) // multiplier[:, None])
    ends = steps.most[:, None] + 1
    first, last = (np.clip(f(got, steps.thresholds), steps.least[:, None], ends) for f in (np.minimum, np.maximum))
    allowed = MOST_EXCEPTIONS if len(multiplier) == 1 else len(multiplier)
    if (last - first).sum() > allowed:
        return None
    wrong = {
        (int(unit), a): None
        for unit, step in np.argwhere(last > first)
        for a in range(int(first[unit, step]), int(last[unit, step]))
    }
    return tuple((unit, a, int(steps.values(np.full((len(steps.least), 1), a))[unit, 0])) for unit, a in wrong)
