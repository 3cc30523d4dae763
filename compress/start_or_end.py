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


class Change(Record, frozen=True):
    """A mean over samples before and after training, and the standard error of the difference."""

    start: Cost
    end: Cost
    noise: Cost

    @classmethod
    def of(cls, start: np.ndarray, end: np.ndarray) -> Change:
        """That of values of the same samples before and after training, float64 [n]."""
        return cls(float(start.mean()), float(end.mean()), standard_error(start - end))

    def least(self, fraction: float) -> float:
        """By how much the mean has to fall: more than chance explains, and than a fraction of it."""
        return max(BEYOND_NOISE * self.noise, fraction * self.start)

    def fell(self, fraction: float) -> bool:
        return self.start - self.end > self.least(fraction)

    def text(self, fraction: float) -> str:
        return f"{self.start:.5g} before training, {self.end:.5g} after, must fall by more than {self.least(fraction):.2g}"


class StartOrEnd(Record, frozen=True):
    """How `train.HeldOut` changed over samples of `split`: the squared error, and the cost with the bits of a code.

    The start is that of post-training quantization. The end is kept where the error falls beyond noise, and not for more bits
    than it saves: another trade of error for bits is not what quantization is for.
    """

    error: Change
    cost: Change
    split: Literal["validation", "training"]

    @property
    def is_start(self) -> bool:
        """Whether the start was kept: training gained nothing, or no more than chance or fitting explains."""
        return not (self.error.fell(self.fraction) and self.cost.end < (1 - self.fraction) * self.cost.start)

    @property
    def fraction(self) -> float:
        return TRAINED if self.split == "training" else 0.0

    @property
    def text(self) -> str:
        """One line: what was kept, and why."""
        kept = "post-training quantization" if self.is_start else "quantization-aware training"
        text = f"kept the model of {kept}: squared error on {self.split} samples {self.error.text(self.fraction)}"
        if self.cost != self.error:
            least = f" by more than {self.fraction * self.cost.start:.2g}" if self.fraction else ""
            text += f"; with the bits of its code {self.cost.start:.5g} before, {self.cost.end:.5g} after, must fall{least}"
        return text if self.split == "validation" else f"{text}; samples that were trained on, since [data] validation is 0"
