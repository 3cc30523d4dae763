"""Intervals of a record, such as faults: which of them its windows overlap, and values of an interval from its windows'."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

NORMAL_WINDOW = "normal"
"""The label of a window that overlaps no interval."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """`ranges`: int64 [n, 2], window i overlaps the intervals ranges[i, 0] up to ranges[i, 1]. `kinds`: str [k], one each.

    Intervals are numbered in the order of their time and do not overlap each other.
    """

    ranges: np.ndarray
    kinds: np.ndarray

    def __getitem__(self, indices: np.ndarray) -> Intervals:
        """Those of the windows at `indices`."""
        return replace(self, ranges=self.ranges[indices])

    @property
    def overlapped(self) -> np.ndarray:
        """Which windows overlap an interval, bool [n]."""
        return self.ranges[:, 0] < self.ranges[:, 1]

    @property
    def labels(self) -> np.ndarray:
        """Of each window the kind of the first interval that it overlaps, or `NORMAL_WINDOW`; str [n]."""
        kinds = np.append(self.kinds, NORMAL_WINDOW)
        return kinds[np.where(self.overlapped, self.ranges[:, 0], len(self.kinds))]

    @property
    def members(self) -> tuple[np.ndarray, np.ndarray]:
        """(interval, window) of each overlap, int64 [m] each, in the order of the windows."""
        counts = self.ranges[:, 1] - self.ranges[:, 0]
        windows = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(windows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.ranges[windows, 0] + within, windows

    @property
    def present(self) -> np.ndarray:
        """The intervals that a window overlaps, int64 [p] ascending."""
        return np.unique(self.members[0])

    def largest(self, values: np.ndarray) -> np.ndarray:
        """The largest value of the windows [n] of each interval of `present`, NaN above all others; [p]."""
        numbers, windows = self.members
        order = np.argsort(numbers, kind="stable")
        firsts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        return np.maximum.reduceat(values[windows[order]], firsts) if len(order) else values[:0]

    def pooled(self, values: np.ndarray) -> np.ndarray:
        """`largest`, then the values of the windows that overlap no interval."""
        return np.concatenate([self.largest(values), values[~self.overlapped]])

    @property
    def pooled_labels(self) -> np.ndarray:
        """The labels of what `pooled` gives: kinds, then `NORMAL_WINDOW`; str."""
        return np.concatenate([self.kinds[self.present], self.labels[~self.overlapped]])
