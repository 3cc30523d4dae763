"""What quantization-aware training kept: the model that it started from, or the one that it ended with."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from tiedae.base.records import Record

Cost = Annotated[float, Meta(ge=0)]
BEYOND_NOISE = 1.96
"""Standard errors of a mean that chance explains: 95 % of a normal distribution lie within."""
LEAST_CLUSTERS = 4
"""Clusters whose means tell how much a mean varies, at least."""
CORRELATED = 2.0
"""Standard errors of correlated samples, in those of independent ones, where too few clusters tell; also of samples that were
trained on."""
Split = Literal["validation", "training"]
LEAST_FITTED = 0.04
"""The fraction by which the error of samples that were trained on has to fall too: they fit better than others."""


def standard_error(differences: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """That of the mean of differences, sample by sample, float64 [n].

    `clusters`: int [n], equal for samples that are one observation, such as duplicates (Liang & Zeger, Biometrika 73, 1986).
    """
    centred = differences - differences.mean()
    sums = centred if clusters is None else np.bincount(clusters, centred)
    return math.sqrt(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)) / len(differences)


def noise_of_mean(differences: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """The standard error by clusters of correlated samples; below `LEAST_CLUSTERS` `CORRELATED` times that of samples."""
    if clusters is None or clusters.max() + 1 >= LEAST_CLUSTERS:
        return standard_error(differences, clusters)
    return CORRELATED * standard_error(differences)


class Change(Record, frozen=True):
    """A mean over samples before and after training, and the standard error of the difference."""

    start: Cost
    end: Cost
    noise: Cost

    @classmethod
    def of(cls, start: np.ndarray, end: np.ndarray, clusters: np.ndarray | None = None) -> Change:
        """That of values of the same samples before and after training, float64 [n]; `clusters` as of `noise_of_mean`."""
        return cls(float(start.mean()), float(end.mean()), noise_of_mean(start - end, clusters))

    @property
    def gain(self) -> float:
        """By how much the mean fell."""
        return self.start - self.end

    @property
    def chance(self) -> float:
        """The largest change that chance explains."""
        return BEYOND_NOISE * self.noise


class StartOrEnd(Record, frozen=True):
    """How `HeldOut` changed over samples of `split`: the squared error, and the cost with the bits of a code.

    The start is that of post-training quantization. The end is kept where the error falls by more than `least_gain` and the
    cost, at the rate of float training, does not rise beyond chance: another trade of error for bits is not what quantization
    is for.
    """

    error: Change
    cost: Change
    split: Split

    @property
    def is_start(self) -> bool:
        """Whether the start was kept: training gained nothing, or no more than chance or fitting explains."""
        return self.error.gain <= self.least_gain or -self.cost.gain > self.cost.chance

    @property
    def least_gain(self) -> float:
        """By how much the error has to fall: more than chance explains, or fitting."""
        if self.split == "training":
            return max(CORRELATED * self.error.chance, LEAST_FITTED * self.error.start)
        return self.error.chance

    @property
    def text(self) -> str:
        """One line: what was kept, and why."""
        kept = "post-training quantization" if self.is_start else "quantization-aware training"
        text = f"kept the model of {kept}: squared error on {self.split} samples {self.error.start:.5g} before training, "
        text += f"{self.error.end:.5g} after, must fall by more than {self.least_gain:.2g}"
        if self.cost != self.error:
            text += f"; with the bits of its code {self.cost.start:.5g} before, {self.cost.end:.5g} after, "
            text += f"must not rise by more than {self.cost.chance:.2g}"
        return text if self.split == "validation" else f"{text}; samples that were trained on: there are no validation samples"
