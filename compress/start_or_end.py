"""What quantization-aware training kept: the model that it started from, or the one that it ended with."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from .records import Record

Cost = Annotated[float, Meta(ge=0)]
BEYOND_NOISE = 1.96
"""Standard errors of the mean gain that the end must exceed: 95 % of a normal distribution lie within."""
TRAINED = 0.02
"""Fraction of the cost that it must exceed too on samples that were trained on: they fit better than others."""


def standard_error(differences: np.ndarray, groups: np.ndarray | None = None) -> float:
    """That of the mean of differences, sample by sample, float64 [n].

    `groups`: int [n], equal for samples that are one observation, such as duplicates (Liang & Zeger, Biometrika 73, 1986).
    """
    centred = differences - differences.mean()
    sums = centred if groups is None else np.bincount(groups, centred)
    return math.sqrt(np.square(sums).sum() * len(sums) / max(1, len(sums) - 1)) / len(differences)


class StartOrEnd(Record, frozen=True):
    """The mean cost of both, by `train.held_out_costs` over samples of `split`, and the standard error of their difference.

    The start is that of post-training quantization.
    """

    start: Cost
    end: Cost
    noise: Cost
    split: Literal["validation", "training"]

    @classmethod
    def of(cls, start: np.ndarray, end: np.ndarray, split: Literal["validation", "training"]) -> StartOrEnd:
        """That of the costs of the same samples before and after training, float64 [n]."""
        return cls(float(start.mean()), float(end.mean()), standard_error(start - end), split)

    @property
    def is_start(self) -> bool:
        """Whether the start was kept: training gained nothing, or no more than chance or fitting explains."""
        return not self.start - self.end > self.least

    @property
    def least(self) -> float:
        """By how much the cost has to fall."""
        return max(BEYOND_NOISE * self.noise, TRAINED * self.start if self.split == "training" else 0.0)

    @property
    def text(self) -> str:
        """One line: what was kept, and why."""
        kept = "post-training quantization" if self.is_start else "quantization-aware training"
        text = f"kept the model of {kept}: loss on {self.split} samples {self.start:.5g} before training, {self.end:.5g} after"
        text += f", must fall by more than {self.least:.2g}"
        return text if self.split == "validation" else f"{text}; samples that were trained on, since [data] validation is 0"
