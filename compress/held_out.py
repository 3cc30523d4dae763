"""Which samples judge quantization-aware training: validation samples, or some of those to train on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .data import Dataset, choose, split
from .samples import Samples
from .splitting import LEAST_GROUPS
from .start_or_end import Split
from .train import CODE_SAMPLES

ENOUGH = 1000
"""Training samples, as `Samples.independent` counts them, from which on a part of them speaks for all others."""
FRACTION = 1 / 20
"""Fraction of the training samples that are held out."""
FEWEST, MOST = 200, 5000
"""Held-out samples, at least and at most; of groups as many as come nearest."""


@dataclass(frozen=True, eq=False)
class Judges:
    """What quantization-aware training trains on, `splits`, and the `samples` by which its end is kept or its start.

    `split`: whose samples these are. `clusters`: int64 [n], equal for samples that are correlated; None where none are.
    """

    splits: Dataset
    samples: Samples
    split: Split
    clusters: np.ndarray | None

    @classmethod
    def of(cls, splits: Dataset, seed: int) -> Judges:
        """The validation samples, else a twentieth of the training samples, which are left out then: whole groups where there
        are groups, the last windows of a record, others drawn by the data's seed.

        Below `ENOUGH` training samples, and below `LEAST_GROUPS` groups, training samples that `seed` draws.
        """
        if splits.validation is not None:
            return cls._apart(splits, splits.validation, "validation")
        train = splits.train
        few_groups = train.groups is not None and len(np.unique(train.groups)) < LEAST_GROUPS
        if train.independent < ENOUGH or few_groups:
            return cls(splits, train.select(choose(train, CODE_SAMPLES, seed)), "training", None)
        rest, samples = held_out(splits)
        return cls._apart(replace(splits, train=rest, validation=samples), samples, "held-out")

    @classmethod
    def _apart(cls, splits: Dataset, samples: Samples, split: Split) -> Judges:
        return cls(splits, samples, split, clusters_of(samples, windows=splits.windows))


def held_out(splits: Dataset) -> tuple[Samples, Samples]:
    """The training samples without `FRACTION` of them, and these."""
    train = splits.train
    count = min(max(round(FRACTION * train.independent), FEWEST), MOST)
    if splits.windows and train.groups is None:
        return _last_windows(train, count)
    rest, samples = split(train, (count / len(train),), splits.config.source, seed=splits.config.seed)
    assert rest is not None
    assert samples is not None
    return rest, samples


def _last_windows(samples: Samples, count: int) -> tuple[Samples, Samples]:
    """The windows of a record before the last `count` disjoint ones, without those that share values with them; and these."""
    disjoint = samples.disjoint
    held = disjoint.select(np.arange(len(disjoint) - count, len(disjoint)))
    first = held.places(np.arange(1)) * samples.overlap
    before = samples.places(np.arange(len(samples))) + samples.overlap <= first
    return samples.select(np.flatnonzero(before)), held


def clusters_of(samples: Samples, *, windows: bool) -> np.ndarray | None:
    """Which samples are correlated, int64 [n], equal for those of a group or of a record; None where all are independent.

    `windows`: the samples are windows of records.
    """
    members = samples.groups if samples.groups is not None else samples.records
    if members is None:
        return np.zeros(len(samples), np.int64) if windows else None
    return np.unique(members, return_inverse=True)[1].reshape(-1)
