"""Representative data: which samples calibration sees, chosen by seed and recorded by hash."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from ..compress.data import Samples


@dataclass(frozen=True, eq=False)
class Representative:
    """Chosen samples: `indices` int64 ascending into the training samples, `inputs` float32 [n, inputs] in model units.

    `sha256` is the digest of `inputs`, by which a calibration is recognized.
    """

    indices: np.ndarray = field(repr=False)
    inputs: np.ndarray = field(repr=False)
    seed: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.inputs, "<f4").tobytes()).hexdigest()


def representative(samples: Samples, count: int, *, seed: int = 0) -> Representative:
    """`count` samples, or all where there are fewer; with labels each class in proportion, so that none is left out."""
    rng = np.random.default_rng(seed)
    count = min(count, len(samples))
    indices = rng.permutation(len(samples)) if samples.labels is None else _stratified_order(samples.labels, rng)
    indices = np.sort(indices[:count])
    return Representative(indices, next(samples.batches(indices, count)), seed)


def _stratified_order(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All indices in an order whose every prefix holds the classes in proportion, to within one sample each."""
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + rng.uniform()) / len(members)
    return np.argsort(position, kind="stable")
