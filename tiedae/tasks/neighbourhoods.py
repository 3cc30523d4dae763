"""How well codes keep the neighbours of their samples: trustworthiness, continuity and k-NN accuracy, and PCA to compare.

Distances are Euclidean. Everything runs in blocks of rows, so that memory grows with n and not with its square; time does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from tiedae.base.errors import InputError

BLOCK_BYTES = 64 << 20
"""Size of a block of distances, float64."""


def trustworthiness(x: np.ndarray, codes: np.ndarray, neighbours: int = 10) -> float:
    """Whether the neighbours of a code are neighbours in x: 1 if all are, lower by how far away those that are not lie.

    The mean of `trustworthiness_of_each`, which has the arguments and errors.
    """
    return float(trustworthiness_of_each(x, codes, neighbours).mean())


def trustworthiness_of_each(x: np.ndarray, codes: np.ndarray, neighbours: int = 10) -> np.ndarray:
    """What each sample adds to the trustworthiness, which is their mean: float64 [n].

    The mean is 1 − 2 / (nk(2n − 3k − 1)) · Σᵢ Σⱼ (r(i, j) − k), over the k nearest codes j of i that are not among its k
    nearest samples; r(i, j) is j's rank by distance from i in x (Venna & Kaski 2001). Of equal distances each has the lowest
    rank.

    `x`: [n, inputs], `codes`: [n, units], real numbers in the units that distances are to be taken in. Raises InputError unless
    1 ≤ `neighbours` < n / 2, which the formula needs.
    """
    _require_pairs(x, codes)
    n, k = len(x), neighbours
    if not 1 <= k < n / 2:
        raise InputError(f"neighbours: got {k}, must lie in 1…{(n - 1) // 2} for {n} samples: fewer than half of them")
    excess = np.zeros(n, np.int64)
    for (rows, near), (_, far) in zip(_distances(codes, codes), _distances(x, x), strict=True):
        own = np.arange(len(near)), rows
        near[own] = far[own] = np.inf
        chosen = np.take_along_axis(far, nearest(near, k), axis=1)
        for j in range(k):
            ranks = 1 + np.count_nonzero(far < chosen[:, j : j + 1], axis=1)
            excess[rows] += np.maximum(ranks - k, 0)
    return 1 - 2 * excess / (k * (2 * n - 3 * k - 1))


def continuity(x: np.ndarray, codes: np.ndarray, neighbours: int = 10) -> float:
    """Whether neighbours in x stay neighbours as codes: `trustworthiness` with the two exchanged (Venna & Kaski 2001)."""
    return trustworthiness(codes, x, neighbours)


def knn_accuracy(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, neighbours: int = 5
) -> float:
    """The fraction of test samples whose label most of their `neighbours` nearest training samples have.

    `train`: [n, units], `test`: [m, units], labels [n] and [m]. Of labels with equal votes the first in sorted order counts.
    Raises InputError for more neighbours than training samples, and for labels of another length.
    """
    for name, rows, labels in (("train", train, train_labels), ("test", test, test_labels)):
        if labels.shape != (len(rows),):
            raise InputError(f"{name}: got labels of shape {list(labels.shape)}, must be [{len(rows)}], one per sample")
    if not 1 <= neighbours <= len(train):
        raise InputError(f"neighbours: got {neighbours}, must lie in 1…{len(train)}, the number of training samples")
    names, numbers = np.unique(train_labels, return_inverse=True)
    correct = 0
    for rows, distances in _distances(test, train):
        votes = numbers[nearest(distances, neighbours)]
        counts = np.stack([np.count_nonzero(votes == each, axis=1) for each in range(len(names))])
        correct += int(np.count_nonzero(names[counts.argmax(axis=0)] == test_labels[rows]))
    return correct / len(test)


@dataclass(frozen=True, eq=False)
class Pca:
    """Principal components: codes = (x − mean) · components, float64 [inputs, units], the largest variance first."""

    mean: np.ndarray
    components: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, units: int) -> Self:
        """The components of x [n, inputs]; each has the sign that makes its largest weight positive.

        Raises InputError for more units than inputs.
        """
        if not 1 <= units <= x.shape[1]:
            raise InputError(f"units: got {units}, must lie in 1…{x.shape[1]}, the number of inputs")
        mean = x.mean(axis=0, dtype=np.float64)
        rows = max(1, BLOCK_BYTES // (8 * x.shape[1]))
        moments = np.zeros((x.shape[1], x.shape[1]))
        for start in range(0, len(x), rows):
            centred = x[start : start + rows] - mean
            moments += centred.T @ centred
        components = np.linalg.eigh(moments)[1][:, ::-1][:, :units]
        largest = np.take_along_axis(components, np.abs(components).argmax(axis=0)[None], axis=0)
        return cls(mean, components * np.where(largest < 0, -1.0, 1.0))

    def first(self, units: int) -> Pca:
        return Pca(self.mean, self.components[:, :units])

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Codes of x [n, inputs], float64 [n, units]."""
        return (x - self.mean) @ self.components

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """What codes [n, units] stand for, float64 [n, inputs]."""
        return self.mean + codes @ self.components.T


def nearest(distances: np.ndarray, count: int) -> np.ndarray:
    """The columns of the `count` smallest distances of each row [n, m], int64 [n, count], in no order."""
    if count == distances.shape[1]:
        return np.tile(np.arange(count), (len(distances), 1))
    return np.argpartition(distances, count, axis=1)[:, :count]


def _distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(indices of rows of `a`, squared distances to each row of `b`, float64 [rows, len(b)]) in blocks."""
    middle = b.mean(axis=0, dtype=np.float64)
    a, b = a - middle, b - middle
    squares = np.square(b).sum(axis=1)
    rows = max(1, BLOCK_BYTES // (8 * len(b)))
    for start in range(0, len(a), rows):
        part = a[start : start + rows]
        found = np.square(part).sum(axis=1)[:, None] + squares - 2 * (part @ b.T)
        yield np.arange(start, start + len(part)), np.maximum(found, 0.0, out=found)


def _require_pairs(x: np.ndarray, codes: np.ndarray) -> None:
    if x.ndim != 2 or codes.ndim != 2 or len(x) != len(codes):
        raise InputError(f"got samples {list(x.shape)} and codes {list(codes.shape)}, must be [n, inputs] and [n, units]")
