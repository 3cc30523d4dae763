"""Which rows of a source each split has, and the order of samples in an epoch: indices alone, no samples."""

from __future__ import annotations

import itertools

import numpy as np

from tiedae.base.errors import DataError, listed
from tiedae.base.numbers import counted

WINDOW_BLOCKS = 64
"""Blocks per shuffle window."""
LEAST_GROUPS = 4
"""Groups that are split, at least."""


def split_rows(n: int, fractions: tuple[float, ...], source: str, *, seed: int | None) -> list[np.ndarray]:
    """The rows to train on, then those of one part per fraction, int64 ascending: drawn by the seed, or the last rows without.

    A fraction above 0 gets at least one row, 0 none. Raises DataError, naming the source, if no row is left to train on.
    """
    counts = [max(1, round(n * fraction)) if fraction else 0 for fraction in fractions]
    bounds = np.cumsum([0, n - sum(counts), *counts])
    if bounds[1] < 1:
        raise DataError(f"{source}: holds {n} samples; with {sum(counts)} split off none is left to train on")
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    return [np.sort(order[first:end]) for first, end in itertools.pairwise(bounds)]


def split_groups(groups: np.ndarray, fractions: tuple[float, ...], source: str, *, seed: int | None) -> list[np.ndarray]:
    """As `split_rows`, of whole groups [n]: a part has as many groups as come nearest to its fraction, at least one.

    The groups of a part follow each other in an order drawn by the seed, or in that of the rows without. Raises DataError,
    naming the source, for fewer than `LEAST_GROUPS` groups.
    """
    names, firsts, members, counts = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    if len(names) < LEAST_GROUPS:
        right = f"must be {LEAST_GROUPS} or more, so that training, validation and test samples share none"
        raise DataError(f"{source}: holds {counted(len(names), 'group')} ({listed(names.tolist())}), {right}")
    order = np.argsort(firsts) if seed is None else np.random.default_rng(seed).permutation(len(names))
    parts, left = [], list(order)
    for i, fraction in reversed(list(enumerate(fractions))):
        spare = len(left) - 1 - sum(each > 0 for each in fractions[:i])
        sums = np.cumsum(counts[left[::-1]])[:spare]
        taken = 1 + int(np.abs(sums - fraction * len(groups)).argmin()) if fraction else 0
        parts.append(left[len(left) - taken :])
        left = left[: len(left) - taken]
    return [np.flatnonzero(np.isin(members.reshape(-1), part)) for part in (left, *reversed(parts))]


def stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All indices in an order whose every prefix holds the classes in proportion, to within one sample each."""
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + rng.uniform()) / len(members)
    return np.argsort(position, kind="stable")


def epoch_order(n: int, seed: int, epoch: int, block: int = 0) -> np.ndarray:
    """The order of n samples in one epoch, int64; deterministic in seed and epoch on every machine.

    `block` 0: a permutation of all samples. Otherwise blocks of `block` neighbours are permuted and samples are shuffled
    within each window of `WINDOW_BLOCKS` blocks, so that disk reads stay local.
    """
    rng = np.random.default_rng([seed, epoch])
    if block == 0:
        return rng.permutation(n)
    starts = rng.permutation(np.arange(0, n, block))
    order = np.empty(n, np.int64)
    filled = 0
    for first in range(0, len(starts), WINDOW_BLOCKS):
        window = np.concatenate([np.arange(s, min(s + block, n)) for s in starts[first : first + WINDOW_BLOCKS]])
        order[filled : filled + len(window)] = rng.permutation(window)
        filled += len(window)
    return order
