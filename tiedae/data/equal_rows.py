"""Samples that a source holds many times, as groups: no two splits share one, so that a net that memorizes them shows."""

from __future__ import annotations

import numpy as np

from .samples import Samples

LOOKED_AT = 4096
"""Samples that are compared first, at most, drawn at random: a large source of different ones is not read for this."""
LEAST_DIFFERENT = 10
"""Different samples at least; fewer are the values of a categorical table, of which each split needs all."""


def equal_rows(samples: Samples) -> np.ndarray | None:
    """A number for each sample, int64 [n], the same for equal ones; None unless at most half of those looked at differ."""
    drawn = np.sort(np.random.default_rng(0).permutation(len(samples))[:LOOKED_AT])
    if not _repeats(_sums(samples.take(drawn))):
        return None
    sums = np.concatenate([_sums(chunk) for _, chunk in samples.chunks()])
    return np.unique(sums, return_inverse=True)[1].reshape(-1) if _repeats(sums) else None


def numbered(samples: Samples) -> np.ndarray:
    """A number for each sample, int64 [n], the same for equal ones: 0, 1, … in the order of the first of each."""
    sums = np.concatenate([_sums(chunk) for _, chunk in samples.chunks()])
    _, first, members = np.unique(sums, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[members.reshape(-1)]


def _repeats(sums: np.ndarray) -> bool:
    return LEAST_DIFFERENT <= len(np.unique(sums)) <= len(sums) // 2


def _sums(rows: np.ndarray) -> np.ndarray:
    """A sum of each row's bytes by random weights, uint64 [n]: that two different rows share one is as likely as 2⁻⁵⁶."""
    values = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    weights = np.random.default_rng(0).integers(0, 2**64, values.shape[1], np.uint64) | np.uint64(1)
    return np.einsum("ij,j->i", values, weights)
