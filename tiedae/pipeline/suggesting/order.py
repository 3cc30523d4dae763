"""Whether neighbouring values follow each other in time: how much they differ, beside the same values in another order.

A column whose rows are in no order has differences of neighbours as large as those of any two of its rows. Compared are ranks,
which heavy tails do not decide, within blocks of rows, so that a table that is sorted is not one in time. Only neighbours that
differ count: rows that repeat the values of a person or a machine are no signal.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BLOCK = 32
"""Neighbouring rows that are compared with each other alone."""
BLOCKS = 512
"""Blocks that are looked at, at most, spread evenly."""
MOST_VALUES = 1 << 22
"""Their values at most."""
LAGS = (1, 2, 3, 4)
"""Distances of the rows that are compared: a vibration of a quarter of the rate differs at 2, not at 1."""
ORDERED = 0.5
"""Rows are in an order in time where a difference is another than that of rows in no order by this fraction, or more."""
CHANNELS = range(2, 17)
"""Channels that flattened windows are tried with."""
LEAST_STEPS = 16
"""Time steps of a window that it is recognized by, at least."""
MOST_CHANNELS = 64
LEAST_ROWS = 512
"""Rows of a record, at least: 16 windows of 32."""
SHUFFLES = 5
SMOOTHER = 0.6
"""Time steps of a window are smoother than the same ones in other orders, the mean of `SHUFFLES`, by this factor at least: the
19 channels of an EEG, similar in any order, have 0.69 and more, windows of a watch 0.49."""
LIKE = 10
"""Standard deviations of the time steps of a signal differ by this factor at most."""
ISOTROPIC = 3
"""Roughness of the two axes of a picture differs by this factor at most."""


class Order(NamedTuple):
    """Squared differences of neighbours over those of the same values shuffled, the median of the columns, at the lag of
    `LAGS` where it is furthest from 1; 1: in no order."""

    ratio: float
    lag: int = 1

    @property
    def in_time(self) -> bool:
        return abs(1 - self.ratio) >= ORDERED

    @property
    def text(self) -> str:
        """`neighbouring rows differ by 0.12 of what shuffled ones do`."""
        what = "neighbouring rows" if self.lag == 1 else f"rows {self.lag} apart"
        return f"{what} differ by {self.ratio:.2g} of what shuffled ones do"


UNORDERED = Order(1.0)


def order_of_rows(values: np.ndarray) -> Order:
    """The order of the rows of an array, any real dtype [n, ...]; columns that only rise or fall do not count."""
    count = len(values) // BLOCK
    if not count or not values.size:
        return UNORDERED
    columns = values[:BLOCK].size // BLOCK
    most = max(1, min(BLOCKS, MOST_VALUES // (BLOCK * columns)))
    chosen = np.unique(np.linspace(0, count - 1, most).astype(np.int64))
    whole = values[: count * BLOCK].reshape(count, BLOCK, -1)
    blocks = whole[chosen].astype(np.float64)
    return order_of_blocks(blocks[..., ~is_monotonic(blocks.reshape(-1, columns))])


def is_monotonic(columns: np.ndarray) -> np.ndarray:
    """Which columns [n, k] never fall, or never rise, bool [k]; constant ones among them."""
    steps = np.diff(columns, axis=0)
    return np.asarray((steps >= 0).all(axis=0) | (steps <= 0).all(axis=0))


def order_of_blocks(blocks: np.ndarray) -> Order:
    """The order of the rows of each block, float64 [blocks, rows, columns]."""
    if not blocks.size:
        return UNORDERED
    ranked = ranks(blocks.reshape(-1, blocks.shape[-1])).reshape(blocks.shape)
    places = np.random.default_rng(0).random(blocks.shape[:2]).argsort(axis=1)
    shuffled = np.take_along_axis(ranked, places[..., None], axis=1)
    lags = [lag for lag in LAGS if lag < blocks.shape[1]]
    ratios = [_median(differences(ranked, lag), differences(shuffled, lag)) for lag in lags]
    furthest = int(np.argmax(np.abs(1 - np.array(ratios))))
    return Order(ratios[furthest], lags[furthest])


def ranks(columns: np.ndarray) -> np.ndarray:
    """The mean rank of each value in its column, float64 [n, k]."""
    ranked = np.empty(columns.shape)
    for column in range(columns.shape[1]):
        _, members, counts = np.unique(columns[:, column], return_inverse=True, return_counts=True)
        ranked[:, column] = (np.cumsum(counts) - counts / 2)[members.reshape(-1)]
    return ranked


def differences(blocks: np.ndarray, lag: int) -> np.ndarray:
    """Mean squared difference, other than 0, of rows that are `lag` apart, float64 [columns]; nan without one."""
    steps = np.square(blocks[:, lag:] - blocks[:, :-lag])
    counts = np.count_nonzero(steps, axis=(0, 1))
    return np.where(counts > 0, steps.sum(axis=(0, 1)) / np.maximum(counts, 1), np.nan)


def _median(steps: np.ndarray, shuffled: np.ndarray) -> float:
    ratios = steps / shuffled
    known = ratios[np.isfinite(ratios)]
    return float(np.median(known)) if len(known) else 1.0


def roughness(x: np.ndarray, axis: int) -> float:
    """Mean squared difference of neighbours along an axis over twice the variance (von Neumann 1941), 1 for noise; x: [n,
    steps, channels], from each channel its mean is taken."""
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=(0, 1))
    variance = wide.var()
    return float(np.square(np.diff(wide, axis=axis)).mean() / (2 * variance)) if variance > 0 and x.shape[axis] > 1 else 1.0


def channels_of_rows(x: np.ndarray) -> int:
    """Channels of samples [n, k] that are windows, flattened time step by time step; 0: their values are in no order in time.

    The fewest channels beside which no other number is much smoother.
    """
    k = x.shape[1]
    counts = [count for count in (1, *CHANNELS) if k % count == 0 and k // count >= LEAST_STEPS]
    found = {count: roughness(windows, 1) for count in counts if _is_signal(windows := x.reshape(len(x), -1, count))}
    return min(found, key=lambda count: (round(found[count] / (2 * min(found.values()))), count)) if found else 0


def _is_signal(windows: np.ndarray) -> bool:
    """Whether time steps of windows [n, steps, channels] are smooth, beside the same ones shuffled too, and vary as much."""
    along = roughness(windows, 1)
    deviations = windows.std(axis=0, dtype=np.float64)
    if along >= ORDERED or (deviations.min(axis=0) * LIKE < deviations.max(axis=0)).any():
        return False
    rng, steps = np.random.default_rng(0), windows.shape[1]
    shuffled = [roughness(windows[:, rng.permutation(steps)], 1) for _ in range(SHUFFLES)]
    return along < SMOOTHER * float(np.mean(shuffled))


def are_windows(x: np.ndarray) -> bool:
    """Whether samples [n, steps, channels] are windows of a record, not pictures: smooth along time, less along channels."""
    along = roughness(x, 1)
    steps, channels = x.shape[1:]
    apart = channels == 1 or roughness(x, 2) > ISOTROPIC * along
    return steps >= LEAST_STEPS and channels <= MOST_CHANNELS and along < ORDERED and apart
