"""Which samples judge quantization-aware training: validation samples, or some that a run holds out of all of its training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tiedae.data.dataset import Dataset, choose, split
from tiedae.data.samples import Samples
from tiedae.data.splitting import LEAST_GROUPS

from .start_or_end import Split

ENOUGH = 1000
"""Training samples, as `Samples.independent` counts them, from which on a part of them speaks for all others."""
FRACTION = 1 / 20
"""Fraction of the training samples that are held out."""
FEWEST, MOST = 200, 5000
"""Held-out samples, at least and at most; of groups as many as come nearest."""


def with_held_out(splits: Dataset, *, enough: int = ENOUGH, fraction: float = FRACTION, fewest: int = FEWEST) -> Dataset:
    """The data with validation samples: its own, else a `fraction` of the training samples, which are left out of these.

    Whole groups where there are groups, the last windows of a record, others drawn by the data's seed. Without changes below
    `enough` training samples and below `LEAST_GROUPS` groups. No stage may train on them: a model that was trained on the
    judges remembers them, and forgets them while it is trained on others.
    """
    train = splits.train
    few_groups = train.groups is not None and len(np.unique(train.groups)) < LEAST_GROUPS
    if splits.validation is not None or train.independent < enough or few_groups:
        return splits
    count = min(max(round(fraction * train.independent), fewest), MOST)
    if splits.windows and train.groups is None:
        rest, judges = _last_windows(train, count)
    else:
        rest, judges = split(train, (count / train.independent,), splits.config.source, seed=splits.config.seed)
    assert rest is not None
    assert judges is not None
    return replace(splits, train=rest, validation=judges.disjoint)


@dataclass(frozen=True, eq=False)
class Judges:
    """The `samples` by which the end of quantization-aware training is kept or its start, and whose they are, `split`.

    `clusters`: int64 [n], equal for samples that are correlated; None where none are, and of training samples.
    """

    samples: Samples
    split: Split
    clusters: np.ndarray | None

    @classmethod
    def of(cls, splits: Dataset, count: int, seed: int) -> Judges:
        """The validation samples; without any, `count` training samples that `seed` draws."""
        if splits.validation is None:
            return cls(splits.train.select(choose(splits.train, count, seed)), "training", None)
        return cls(splits.validation, "validation", clusters_of(splits.validation, windows=splits.windows))


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
