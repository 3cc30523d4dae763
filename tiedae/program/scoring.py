"""The anomaly score of a sample: how far the program's reconstruction is from the sample as it was given.

In integers, so that every device has the same scores and flags. Errors are taken before `x` is quantized and clipped: a sensor
stuck beyond the range of the training data would look normal behind it. With u = scale of y / 2¹⁶ and y's integers q:

    X = (v · multiplier + addend) >> shift    the sample in units of u, from integers v; of floats see below
    D = X − q · 2¹⁶                            limited to ±(2³¹ − 1)
    S = Σ D² ≫ 16         mse                  S = Σ (D² ≫ 16) · w ≫ 16       standardized, weights w of 16 bits
    S = Σ |D|             mae                  S = max |D|                    max

The score is S · factor, scaled. `>>` rounds down; a ≫ 16 = (a + 2¹⁵) >> 16 to the nearest, as rounding each square down
would bias scores of errors below a step of y by more than 10⁻⁵. S fits in 64 bits for up to 2¹⁶ inputs.

Of a float, ±m · 2^(E − 150) in scaled values as binary32 holds it, with m of 24 bits and the biased exponent E:

    P = (m · M) >> 24                                                 1 / u = M · 2^(126 − K), M of 32 bits rounded down
    X = zero point of y · 2¹⁶ ± (((P >> (K − E − 1)) + 1) >> 1)       that is P · 2^(E − K), to the nearest

exact to a relative 2⁻²⁹ beside that rounding. From 2³² on X is any number as large, as D is limited. A float below 2⁻¹²⁶ counts
as 0, which it is in these units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta

from tiedae.base.errors import DataError, ExportError
from tiedae.base.keys import Sha256OrNone
from tiedae.base.records import Record, require
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.config.tasks import MOST_INPUTS, ScoreKind, held_out_samples

from .drift import TrainingScores

FRACTION_BITS = 16
LARGEST = (1 << 31) - 1
"""The largest error of a value, in units of u."""
WEIGHT_TOP = (1 << 16) - 1
MOST_SHIFT = 24
"""Bits behind the point of an integer sample's multiplier, at most."""
LARGEST_SUM = 2.0**62
FARTHEST = 1 << 7
"""The largest size of a sample's integer that every dtype has."""
LEAST_SCALE = 2.0**-108
"""Of y, at least: a float below 2⁻¹²⁶ is then less than half of u. `affine_parameters` makes none below 1e-30 / 255."""

Weights = tuple[Annotated[int, Meta(ge=1, le=WEIGHT_TOP)], ...]
Numbers = tuple[Annotated[int, Meta(gt=-(1 << 62), lt=1 << 62)], ...]


class Scoring(Record, frozen=True):
    """How samples are scored, see the module. `inputs`: values per sample.

    `multiplier`, `addend`, `shift`: of integer samples, one for all features or one each; empty for floats. `scale`,
    `zero_point`: those of the program's `y`. `weights`: of `standardized`, one per feature; `unit_weight` is what a weight of 1
    multiplies squared errors by.
    """

    kind: ScoreKind
    inputs: int
    scale: float
    zero_point: Annotated[int, Meta(ge=-128, le=255)]
    multiplier: Numbers = ()
    addend: Numbers = ()
    shift: Annotated[int, Meta(ge=0, le=MOST_SHIFT)] = 0
    weights: Weights = ()
    unit_weight: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.inputs <= MOST_INPUTS, "inputs", self.inputs, f"in 1…{MOST_INPUTS:,}")
        sizes = [len(self.multiplier), len(self.addend)]
        require(sizes in ([0, 0], [1, 1], [self.inputs] * 2), "multiplier, addend", sizes, f"none, one, or {self.inputs} each")
        within = all(abs(m) * FARTHEST + abs(a) < LARGEST_SUM for m, a in zip(self.multiplier, self.addend, strict=True))
        require(within, "multiplier, addend", [self.multiplier, self.addend], "such that no sum reaches 2⁶²")
        right = self.inputs if self.kind == "standardized" else 0
        require(len(self.weights) == right, "weights", len(self.weights), f"{right}")
        require(LEAST_SCALE <= self.scale < math.inf, "scale", self.scale, "finite and at least 2⁻¹⁰⁸")
        require(0 < self.unit_weight < math.inf, "unit_weight", self.unit_weight, "positive and finite")

    @property
    def value_factor(self) -> float:
        """What multiplies a term to give an error of scaled values; the score is their mean over the values, or the maximum."""
        return self.factor * (1 if self.kind == "max" else self.inputs)

    @property
    def factor(self) -> float:
        """The score of S = 1."""
        unit = self.scale / (1 << FRACTION_BITS)
        return {
            "mse": unit * self.scale / self.inputs,
            "standardized": unit * self.scale * (1 << FRACTION_BITS) * self.unit_weight / self.inputs,
            "mae": unit / self.inputs,
            "max": unit,
        }[self.kind]

    def units(self, samples: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """X of samples [n, inputs], int64; of floats from `scaled`, the same in scaled values, float32, finite."""
        if self.multiplier:
            values = samples.astype(np.int64) * np.array(self.multiplier, np.int64) + np.array(self.addend, np.int64)
            return values >> self.shift
        return self.real_units(scaled)

    def real_units(self, scaled: np.ndarray) -> np.ndarray:
        """X of float32 samples in scaled values, finite, int64."""
        multiplier, point = fixed_point((1 << FRACTION_BITS) / self.scale)
        bits = scaled.view(np.int32).astype(np.int64)
        product = ((bits & 0x7FFFFF | 0x800000) * multiplier) >> 24
        shift = point - (bits >> 23 & 0xFF)
        rounded = ((product >> (np.clip(shift, 1, 33) - 1)) + 1) >> 1
        size = np.where(shift > 0, rounded, product << np.clip(-shift, 0, 2))
        return np.where(bits < 0, -size, size) + (self.zero_point << FRACTION_BITS)

    def errors(self, units: np.ndarray, y: np.ndarray) -> np.ndarray:
        """D, int64 [n, inputs], of X and the program's `y`, uint8."""
        return np.clip(units - (y.astype(np.int64) << FRACTION_BITS), -LARGEST, LARGEST)

    def totals(self, errors: np.ndarray) -> np.ndarray:
        """S, int64 [n]."""
        if self.kind == "max":
            return np.abs(errors).max(axis=1)
        return self.terms(errors).sum(axis=1)

    def terms(self, errors: np.ndarray) -> np.ndarray:
        """What each value adds to S, int64 [n, inputs]; for `max`, |D|."""
        if self.kind in ("mae", "max"):
            return np.abs(errors)
        squares = _shifted(errors * errors)
        return _shifted(squares * np.array(self.weights, np.int64)) if self.weights else squares


def fixed_point(factor: float) -> tuple[int, int]:
    """(M of 32 bits, K) with factor = M · 2^(126 − K), rounded down: what multiplies floats in integers, see the module."""
    fraction, exponent = math.frexp(factor)
    return int(math.ldexp(fraction, 32)), 158 - exponent


def _shifted(values: np.ndarray) -> np.ndarray:
    """values / 2¹⁶, int64, to the nearest."""
    return (values + (1 << FRACTION_BITS - 1)) >> FRACTION_BITS


def scoring_of(
    kind: ScoreKind, spec: SampleSpec, y: Quantization, feature_errors: Sequence[float] | np.ndarray = ()
) -> Scoring:
    """The scoring for a program's `y`. `feature_errors`: root mean squared error of each feature on training samples, in model
    units, of `standardized`; at least a step of `y`, or constant features would leave 16-bit weights of 1 to all others.

    Raises ExportError for more inputs than 64 bits take, and integers whose scaling does not fit in 64 bits.
    """
    if spec.inputs > MOST_INPUTS:
        raise ExportError(f"score: got {spec.inputs:,} inputs, must be at most {MOST_INPUTS:,}")
    units = _integer_units(spec, y) if spec.dtype in INTEGERS else ((), (), 0)
    weights, unit_weight = (), 1.0
    if kind == "standardized":
        errors = np.maximum(np.asarray(feature_errors, np.float64), y.scale)
        if errors.shape != (spec.inputs,) or not np.isfinite(errors).all():
            raise DataError(
                f"score: got errors of shape {list(errors.shape)}, must be {spec.inputs} finite ones, one per feature"
            )
        precision = 1 / np.square(errors)
        weights = tuple(np.maximum(1, np.rint(precision / precision.max() * WEIGHT_TOP)).astype(int).tolist())
        unit_weight = float(precision.max() / WEIGHT_TOP)
    return Scoring(kind, spec.inputs, y.scale, y.zero_point, *units, weights, unit_weight)


def _integer_units(spec: SampleSpec, y: Quantization) -> tuple[Numbers, Numbers, int]:
    """((x − offset) / scale / scale of y + zero point) · 2¹⁶, rounded, as (v · multiplier + addend) >> shift."""
    offset, scale = (np.atleast_1d(each).astype(np.float64) for each in spec.scaling.float32)
    limits = np.iinfo(spec.dtype)
    farthest = max(abs(int(limits.min)), int(limits.max))
    for shift in range(MOST_SHIFT, -1, -1):
        one = float(1 << FRACTION_BITS + shift)
        multiplier = np.rint(one / (scale * y.scale))
        addend = np.rint(one * (y.zero_point - offset / scale / y.scale) + (1 << shift) / 2)
        if (np.abs(multiplier) * farthest + np.abs(addend) < LARGEST_SUM).all():
            return tuple(map(int, multiplier)), tuple(map(int, addend)), shift
    raise ExportError("score: a step of the data is so large beside the scale of y that 64 bits do not hold it")


class Thresholds(Record, frozen=True):
    """The largest S of a sample that is normal, of the program in each layout of its decoder."""

    split: Annotated[int, Meta(ge=0)]
    fused: Annotated[int, Meta(ge=0)]


class Detector(Record, frozen=True):
    """Flags anomalies: samples whose S is above a threshold, and samples with NaN or infinity.

    The thresholds are the `quantile` of the S of `samples` held-out normal samples. `training`: scores of training samples, in
    the fused layout. `program`: the sha256 of the program that it was fitted to, "" where a manifest states none.
    """

    scoring: Scoring
    thresholds: Thresholds
    quantile: Annotated[float, Meta(gt=0, lt=1)]
    samples: Annotated[int, Meta(ge=1)]
    training: TrainingScores | None = None
    program: Sha256OrNone = ""

    def threshold(self, layout: str) -> float:
        """The largest score of a normal sample in a layout, `split` or `fused`."""
        return getattr(self.thresholds, layout) * self.scoring.factor


def threshold_of(totals: np.ndarray, quantile: float) -> int:
    """The least S of these, int64 [n], that at least the fraction `quantile` of them does not exceed.

    Raises DataError for fewer than 1 / (1 − quantile) samples, which do not say where that quantile is.
    """
    least = held_out_samples(quantile)
    if len(totals) < least:
        raise DataError(
            f"threshold: got {len(totals)} held-out normal samples, must be {least} or more for quantile {quantile:g}"
        )
    place = max(0, math.ceil(round(quantile * len(totals), 6)) - 1)
    return int(np.partition(totals, place)[place])
