"""How much a code keeps and how many units carry it: what every row of `choices` reads.

A Gaussian component of variance v costs ½ log₂(v / θ) bits at a squared error θ, and nothing where v is below θ ("reverse
water-filling", Cover & Thomas 2006, 10.3.3). The θ at which a stated fraction of the variance is kept gives the rate of
training, 2 ln 2 · θ, and the bits. The units are the least whose PCA keeps that fraction: of a linear code in bits, whose
components are rounded, those with v above θ.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.base.keys import Positive
from tiedae.base.numbers import number
from tiedae.base.records import Record
from tiedae.compress.start_or_end import Change
from tiedae.config.config import DataConfig, VerifyConfig
from tiedae.config.layer_kinds import Activation

from .facts import Facts

KEPT: Mapping[str, float] = {"compression": 0.95, "anomaly": 0.8, "denoising": 0.95, "reduction": 0.8}
"""Fraction of the variance that the code keeps by default, by the kind of task."""
SIGNALS_KEPT = 0.97
"""The same for compression of signals, at most: a PRDN of 17 %. A few components of smooth signals keep 0.9, in 1 to 3 bits a
window."""
LEAST_UNITS = 4
"""Units of a code for compression, at least: one component keeps 0.9 of 8 × 8 patches of photographs, their brightness."""
REDUCED = 8
"""Units of a code that replaces samples in plots and other models, at most."""
HIDDEN = (32, 512)
"""Units of a hidden layer by the number of samples, at least and at most; twice those of the code at least."""
LEAST_GAIN = 1e-3
"""Fraction by which a hidden layer has to lower the error of a trial: smaller changes may be rounding in float32."""
PER_INPUT = 16
"""Units of a hidden layer for each value of a sample, at most."""
SAMPLES_PER_UNIT = 4
"""Training samples for each unit of a hidden layer."""
LEARNING_RATE, TRIAL_RATE = 5e-3, 5e-3 / 3
SMALL = 500
"""Training samples below which a batch has half as many."""
ROUNDINGS = 6
"""Roundings to bytes that reach the output: of x, of the hidden layer on both sides, of the products of the decoder, of y."""
PCA_GAIN = 0.5
"""Our squared error as a fraction of that of PCA, about:
docs/decisions/pipeline.md#recipes-for-data-follow-facts-not-a-search."""
MOST_LSB = 200
"""LSBs that a unit of a code may span, of 255, by the estimate before training."""


class HiddenTrial(Record, frozen=True):
    """A short training of a net with one hidden layer, beside PCA with as many components as its code has units.

    `layers`: units of the hidden layer and of the code. `output`: its output activation. `steps` of the optimizer. `samples`:
    training samples that both were measured on, and neither was fitted to. `error`: squared error of a sample in scaled
    values, of PCA at the start and of the net at the end.
    """

    layers: tuple[Positive, Positive]
    output: Activation
    steps: Positive
    samples: Positive
    error: Change

    @property
    def gains(self) -> bool:
        """Whether the hidden layer lowers the error beyond noise."""
        return self.error.gain > max(self.error.chance, LEAST_GAIN * self.error.start)

    @property
    def text(self) -> str:
        """In words: both errors and how much of their difference chance explains."""
        how = f"after {self.steps:,} steps of a trial, on {self.samples:,} training samples held out of it"
        what = f"squared error {number(self.error.end)} with a hidden layer of {self.layers[0]:,} units"
        return f"{what}, {number(self.error.start)} by PCA, {how}; chance explains {self.error.chance:.2g}"


@dataclass(frozen=True)
class RecipePlan:
    """What a row chooses by: the kind of task, `[data]`, the labels of normal samples, the fraction of the variance that the
    code keeps, the facts, and the units of the code of the trained model that the run starts from (0: there is none).

    `trials`: of nets with a hidden layer, of which the last one decides. Where there are none: `untried`, why a hidden layer is
    taken without one, or `unjudged`, why none can be judged, so that there is no hidden layer. `coded`: components of the PCA
    that has the least error at the plan's bits; 0: none was looked for.
    """

    task: str
    data: DataConfig
    normal: tuple[int | str, ...]
    kept: float
    facts: Facts
    given_units: int = 0
    trials: tuple[HiddenTrial, ...] = ()
    untried: str = ""
    unjudged: str = ""
    coded: int = 0

    @property
    def for_rate(self) -> bool:
        """Whether the code is trained for its bits: not with tails so heavy that a unit needs more than 8 bits."""
        return self.task == "compression" and self.level > 0 and self.most_lsb < MOST_LSB and not self.given_units

    @property
    def most_lsb(self) -> float:
        """LSBs that the widest column of a table spans at most, estimated by its reach; 0 for other data, of one scale."""
        reach = self.facts.reach if self.facts.kind == "table" else 0.0
        return 2 * reach / (math.sqrt(12 * self.level) / 2)

    @cached_property
    def variances(self) -> np.ndarray:
        return np.array(self.facts.variances)

    @cached_property
    def level(self) -> float:
        """θ, in scaled values."""
        return water_level(self.variances, self.kept)

    @property
    def bits(self) -> float:
        """Bits of a sample at that level, were its components Gaussian."""
        above = self.variances[self.variances > self.level]
        return float(np.log2(above / self.level).sum() / 2) if self.level > 0 else 0.0

    @cached_property
    def components(self) -> int:
        """The least number of principal components that keep the fraction, in bits or as real numbers."""
        if self.linear and self.for_rate:
            return max(1, self.coded, int(np.count_nonzero(self.variances > self.level)))
        return leading(self.variances, self.kept)

    @property
    def units(self) -> int:
        """Units of the code: one for each of these components, within the bounds of the task."""
        if self.given_units:
            return self.given_units
        bounds = {"compression": (LEAST_UNITS, self.facts.inputs), "reduction": (2, REDUCED)}
        least, most = bounds.get(self.task, (1, self.facts.inputs))
        return min(max(self.components, least), most, self.facts.inputs)

    @property
    def hidden(self) -> int:
        """Units of the hidden layer; of relu, two for each component that it passes on to the code."""
        wide = min(self.facts.training / SAMPLES_PER_UNIT, PER_INPUT * self.facts.inputs)
        return max(power_of_two(wide, *HIDDEN), 1 << (2 * self.units - 1).bit_length())

    @property
    def linear(self) -> bool:
        """Whether the net has no hidden layer, since none of the trials gained by one, or nothing could tell."""
        return bool(self.unjudged) or (bool(self.trials) and not self.trials[-1].gains)

    @property
    def gain(self) -> float | None:
        """The net's squared error as a fraction of that of PCA, by the last trial; None where neither a trial nor PCA tells."""
        if self.linear:
            return 1.0
        if not self.trials:
            return None
        error = self.trials[-1].error
        return error.end / error.start

    @property
    def batch(self) -> int:
        return 32 if self.facts.training < SMALL else 64

    @property
    def epoch_steps(self) -> int:
        return math.ceil(self.facts.training / self.batch)


def water_level(variances: np.ndarray, kept: float) -> float:
    """θ with Σ min(v, θ) = (1 − kept) · Σ v, for variances v, descending, at least one above 0."""
    rest = np.append(np.cumsum(variances[::-1])[::-1][1:], 0.0)
    levels = ((1 - kept) * variances.sum() - rest) / np.arange(1, len(variances) + 1)
    return float(levels[int((levels >= np.append(variances[1:], 0.0)).argmax())])


def leading(variances: np.ndarray, kept: float) -> int:
    """The least number of leading components that keep a fraction of the variance, 1 or more."""
    sums = np.cumsum(variances)
    return min(len(variances), 1 + int(np.searchsorted(sums, kept * sums[-1])))


def kept_by_default(task: str, facts: Facts) -> float:
    """The fraction of the variance that the code keeps where the user states none.

    Of signals not more than leaves an error beside which rounding to bytes is within `max_quality_loss`.
    """
    if task != "compression" or facts.kind != "record":
        return KEPT[task]
    lost = rounding_error(facts) / (PCA_GAIN * VerifyConfig().max_quality_loss * sum(facts.variances))
    return float(np.clip(round(1 - lost, 3), KEPT[task], SIGNALS_KEPT))


def rounding_error(facts: Facts) -> float:
    """The squared error of a sample that rounding to bytes adds, in scaled values."""
    return ROUNDINGS * facts.inputs * (2 * facts.reach / 255) ** 2 / 12


def power_of_two(value: float, least: int, most: int) -> int:
    """The power of two at or below a value, within bounds that are powers of two."""
    return int(np.clip(1 << int(math.log2(max(1.0, value))), least, most))
