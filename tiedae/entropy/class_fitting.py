"""Fits classes and their tables to training codes: clusters first, then rounds of two exact choices.

A round chooses mean and table of each unit in each class by what its codes cost, fits the tables to the codes that chose them,
and moves each sample to its cheapest class: the descent of entropy-constrained vector quantization (Chou, Lookabaugh, Gray
1989), with classes for its cells.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tiedae.base.errors import InputError

from .classes import MOST_CLASSES, ClassTables
from .tables import FrequencyTables, allot, fit_counts, require_training

TABLES = 16
"""Tables of a family at most: 32 and 64 save less than 0.1 % more, chosen on validation samples."""
OTHERS = 4.0
"""Samples of all classes that each class counts beside its own: a class of few samples stays near the whole."""
ROUNDS = 12
_ENOUGH = 5e-4
"""A round that saves a smaller fraction is the last."""
_REACH = np.arange(-3, 4)
"""Means that are tried, from the rounded mean of the codes."""
_SEEDED = 20_000
"""Samples that clusters are seeded from."""


def require_classes(classes: int, samples: int) -> None:
    """Raise InputError for fewer than 1 or more than 256 classes, or more than there are training samples."""
    most = min(MOST_CLASSES, samples)
    if not 1 <= classes <= most:
        raise InputError(f"classes: got {classes}, must lie in 1…{most}: 256 at most, and no more than training samples")


def fit_classes(codes: np.ndarray, classes: int, bits: int = 8, seed: int = 0) -> ClassTables:
    """Tables of 2 or more classes for codes like these training codes, uint8 [samples, units] of `bits` bits.

    Raises DataError as `tables.fit`, InputError as `require_classes`.
    """
    require_training(codes, bits)
    require_classes(classes, len(codes))
    chosen = _clusters(codes, classes, np.random.default_rng(seed))
    best, least = None, np.inf
    for _ in range(ROUNDS):
        means, scales = _by_spread(codes, chosen, classes, bits) if best is None else _by_cost(best, codes, chosen)
        tables = _fitted(codes, chosen, means, scales, bits)
        chosen, costs = tables.cheapest(codes)
        cost = float(costs.sum(dtype=np.int64))
        if cost < least:
            best = tables
        if cost > least * (1 - _ENOUGH):
            break
        least = cost
    assert best is not None
    return best


def _clusters(codes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The nearest of `count` codes for each, int64 [samples].

    They are drawn in proportion to the squared distance from those before (k-means++: Arthur, Vassilvitskii 2007).
    """
    some = codes[rng.permutation(len(codes))[:_SEEDED]].astype(np.float32)
    chance, seeds = np.ones(len(some)), []
    for _ in range(count):
        seeds.append(some[rng.choice(len(some), p=chance / chance.sum())])
        distance = np.square(some - seeds[-1]).sum(axis=1, dtype=np.float64)
        chance = distance if len(seeds) == 1 else np.minimum(chance, distance)
        chance = chance if chance.any() else np.ones(len(some))
    centres = np.stack(seeds)
    norms = np.square(centres).sum(axis=1)
    parts = np.array_split(codes, -(-len(codes) // _SEEDED))
    return np.concatenate([(norms - 2 * part.astype(np.float32) @ centres.T).argmin(axis=1) for part in parts])


def _histograms(codes: np.ndarray, chosen: np.ndarray, classes: int, bits: int) -> Iterator[np.ndarray]:
    """Of each class, int64 [units, 2**bits]."""
    places = np.arange(codes.shape[1]) << bits
    order = np.argsort(chosen, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(chosen, minlength=classes))[:-1]):
        found = np.bincount((codes[members] + places).ravel(), minlength=codes.shape[1] << bits)
        yield found.reshape(-1, 1 << bits)


def _with_others(codes: np.ndarray, chosen: np.ndarray, classes: int, bits: int) -> Iterator[np.ndarray]:
    """The same with `OTHERS` samples of all, float64."""
    (whole,) = _histograms(codes, np.zeros(len(codes), np.int64), 1, bits)
    for histogram in _histograms(codes, chosen, classes, bits):
        yield histogram + whole * (OTHERS / len(codes))


def _by_spread(codes: np.ndarray, chosen: np.ndarray, classes: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rounded means, and tables by the rank of the standard deviation, uint8 [classes, units] each."""
    values, means, spreads = np.arange(1 << bits), [], []
    for weights in _with_others(codes, chosen, classes, bits):
        total = weights.sum(axis=1)
        means.append(weights @ values / total)
        spreads.append(weights @ np.square(values) / total - np.square(means[-1]))
    spread = np.stack(spreads)
    ranks = np.argsort(np.argsort(spread, axis=None, kind="stable"), kind="stable").reshape(spread.shape)
    return np.rint(means).astype(np.uint8), (ranks * min(TABLES, ranks.size) // ranks.size).astype(np.uint8)


def _by_cost(tables: ClassTables, codes: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean near that of the codes, and the table, under which the codes of a class and unit cost least."""
    bits, count = tables.bits, 1 << tables.bits
    values = np.arange(count)
    moved = tables.family.information[:, (values - _REACH[:, None]) % count].reshape(-1, count).T
    means, scales = [], []
    for weights in _with_others(codes, chosen, tables.classes, bits):
        mean = np.rint(weights @ values / weights.sum(axis=1)).astype(np.int64)
        best = (_moved(weights, mean) @ moved).argmin(axis=1)
        means.append((mean + _REACH[best % len(_REACH)]) % count)
        scales.append(best // len(_REACH))
    return np.stack(means).astype(np.uint8), np.stack(scales).astype(np.uint8)


def _moved(histograms: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Histograms [units, codes] with the means in the middle."""
    count = histograms.shape[1]
    return np.take_along_axis(histograms, (means[:, None].astype(np.int64) + np.arange(count) - count // 2) % count, 1)


def _fitted(codes: np.ndarray, chosen: np.ndarray, means: np.ndarray, scales: np.ndarray, bits: int) -> ClassTables:
    """The tables of these means and scales, fitted to the codes that use them: those in use alone, from narrow to wide."""
    pooled = np.zeros((int(scales.max()) + 1, 1 << bits), np.int64)
    for i, histogram in enumerate(_histograms(codes, chosen, len(means), bits)):
        np.add.at(pooled, scales[i], _moved(histogram, means[i]))
    used = np.flatnonzero(pooled.any(axis=1))
    family = fit_counts(pooled[used], bits)
    order = np.argsort((pooled[used] * family.information).sum(axis=1) / pooled[used].sum(axis=1), kind="stable")
    place = np.zeros(len(pooled), np.uint8)
    place[used[order]] = np.arange(len(used))
    weights = np.bincount(chosen, minlength=len(means)) + 1.0
    return ClassTables(FrequencyTables(bits, family.frequencies[order]), allot(weights[None]).ravel(), means, place[scales])
