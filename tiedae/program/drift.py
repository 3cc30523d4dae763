"""Drift: how far samples lie outside the distribution of the training samples, by their reconstruction errors.

A sample's score is its mean squared error in scaled values. The scores of some samples are compared with those of the training
samples: how many exceed nearly all of these, and the Kolmogorov–Smirnov distance (Rabanser et al., "Failing Loudly", NeurIPS
2019, compare statistics for such shifts). What codes cost says less: noise has usual codes.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from tiedae.base.errors import DataError
from tiedae.base.keys import Sha256OrNone
from tiedae.base.records import Record
from tiedae.config.config import Fraction, NonNegative, Positive
from tiedae.config.scaling import Scaling

QUANTILES = 256
"""Quantiles that stand for the training samples; a distance is exact to half of 1/256."""
EXTREME = 0.999
"""Fraction of the training samples whose scores the others are beyond."""


class TrainingScores(Record, frozen=True):
    """Scores of `samples` training samples: `quantiles` at (i + ½) / 256, and the one at 0.999, `extreme`. `program`: the
    sha256 of the program that they are of, "" where a manifest states none."""

    samples: Positive
    quantiles: Annotated[tuple[NonNegative, ...], Meta(min_length=1)]
    extreme: NonNegative
    program: Sha256OrNone = ""

    @classmethod
    def of(cls, scores: np.ndarray) -> TrainingScores:
        """`scores`: float64 [samples], one or more."""
        levels = (np.arange(QUANTILES) + 0.5) / QUANTILES
        quantiles = tuple(float(f"{each:.5g}") for each in np.quantile(scores, levels))
        return cls(len(scores), quantiles, float(np.quantile(scores, EXTREME)))


class Drift(Record, frozen=True):
    """Of `samples`: `beyond`, the fraction with a score above 99.9 % of the training samples', 0.001 where nothing drifts;
    `distance`, 0…1, of the distribution of scores from that of the training samples.
    """

    samples: Positive
    beyond: Fraction
    distance: Fraction

    @classmethod
    def of(cls, scores: np.ndarray, training: TrainingScores) -> Drift:
        """`scores`: float64 [samples], one or more."""
        distance = kolmogorov_smirnov(scores, np.array(training.quantiles))
        return cls(len(scores), float(np.mean(scores > training.extreme)), distance)


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """D = sup |F₁ − F₂|, the largest difference of the distribution functions of two samples, [n] and [m], 0…1.

    Raises DataError for an empty sample, more than one axis, or a number that is not finite.
    """
    for values in (first, second):
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise DataError(f"two samples: got shape {list(values.shape)}, must be [n], one or more finite numbers")
    first, second = np.sort(first), np.sort(second)
    points = np.concatenate([first, second])
    fractions = (np.searchsorted(sample, points, side="right") / len(sample) for sample in (first, second))
    return float(np.abs(np.subtract(*fractions)).max())


def drift_text(drift: Drift | None) -> str:
    """The drift in words."""
    if drift is None:
        return "not known, the bundle holds no scores of its training samples; `tiedae rescale` writes one that does"
    worse = f"{100 * drift.beyond:.3g} % have a larger error than 99.9 % of the training samples (expected: 0.1 %)"
    return f"{worse}; distance of their errors {drift.distance:.2f} (0: as in training, 1: all apart)"


def squared_errors(scaling: Scaling, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared errors in scaled values, float64 [n, inputs]; `x` in the data's unit of measure, `y` in scaled values."""
    return np.square(scaling.apply(x) - y.astype(np.float64))
