"""The keys of a suggested recipe: one row per key, which chooses a value by the facts about the data and says why.

How much is kept, and which units carry it: a Gaussian component of variance v costs ½ log₂(v / θ) bits at a squared error θ,
and nothing where v is below θ ("reverse water-filling", Cover & Thomas 2006, 10.3.3). The θ at which a stated fraction of the
variance is kept gives the units of the code, those with v above θ, and the rate of training, 2 ln 2 · θ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from tiedae.compress.config import DataConfig, VerifyConfig
from tiedae.compress.labels import label_text
from tiedae.compress.normal import NORMAL
from tiedae.compress.tasks import LARGEST_DEVIATION, Reduction, held_out_samples

from .facts import Facts

KEPT: Mapping[str, float] = {"compression": 0.9, "anomaly": 0.8, "denoising": 0.95, "reduction": 0.8}
"""Fraction of the variance that the code keeps by default, by the kind of task."""
SIGNALS_KEPT = 0.97
"""The same for compression of signals, at most: a PRDN of 17 %. A few components of smooth signals keep 0.9, in 1 to 3 bits a
window."""
LINEAR = 16
"""Components that have a unit each in a code that is trained for rate; of those beyond, `FOLDED` share one."""
FOLDED = 3
REDUCED = 8
"""Units of a code that replaces samples in plots and other models, at most."""
HIDDEN = (32, 512)
"""Units of a hidden layer, at least and at most."""
PER_INPUT = 16
"""Units of a hidden layer for each value of a sample, at most."""
SAMPLES_PER_UNIT = 4
"""Training samples for each unit of a hidden layer."""
STEPS = 4_000
"""Steps of float training: fewer leave small sets undertrained, whatever their number of epochs."""
LEARNING_RATE = 5e-3
FINE_STEPS = 1_000
"""Steps of quantization-aware training where held-out samples judge it."""
FINE_RATE = 1e-4
"""Its learning rate there: 1e-3, the default, leaves the place that float training found."""
FEW_EPOCHS, FEW_RATE = 24, 6e-4
"""Its epochs and learning rate where none judge it: more epochs would fit the training samples alone."""
RATE_FRACTION = 0.5
"""Its rate, as a fraction of that of float training."""
EPOCHS = (5, 600)
"""Epochs, at least and at most."""
HELD_OUT = 1_250
"""Samples from which a tenth of them is held out for validation: four fifths of them are `held_out.ENOUGH`."""
SMALL = 500
"""Training samples below which a batch has half as many."""
WINDOWS = (32, 256)
"""Values of a window, at least and at most: a power of two."""
LEAST_WINDOWS = 200
"""Windows that a record is cut into, at least, where windows of 32 values allow it."""
STARTS = 8
"""Training windows per window: they overlap, so that the model sees a stretch of a record at many places."""
QUANTILES = (0.99, 0.95, 0.9, 0.8)
"""Quantiles of an anomaly score; the highest that the held-out samples can place is taken."""
PER_CLASS = 100
"""Training samples for each class of codes."""
MOST_CLASSES = 32
LEAST_LOST = 0.01
"""What rounding heavy tails may add to the error, as a fraction of it, from which the limit on quality makes room for it."""
LEAST_BITS = 24
"""Bits of a sample from which a class is worth its own bits."""
ROUNDINGS = 6
"""Roundings to bytes that reach the output: of x, of the hidden layer on both sides, of the products of the decoder, of y."""
PCA_GAIN = 0.5
"""Our squared error as a fraction of that of PCA, about, in docs/decisions/2026-11-29-recipes-for-data.md."""
MOST_LSB = 200
"""LSBs that a unit of a code may span, of 255, by the estimate before training."""
NOISE = 0.5
"""Standard deviation of the noise that a denoiser learns to remove, as a fraction of that of the values."""


@dataclass(frozen=True)
class Chosen:
    """A value of a key, why, and the other value that could be meant."""

    value: Any
    reason: str
    other: str = ""


@dataclass(frozen=True)
class SourceSize:
    """What is known of a source before its samples are split: their number, the window (0: none), and whether it has a test set
    of its own."""

    samples: int
    window: int
    own_test: bool


@dataclass(frozen=True)
class RecipePlan:
    """What a row chooses by: the kind of task, `[data]`, the labels of normal samples, the fraction of the variance that the
    code keeps, the facts, and the units of the code of the trained model that the run starts from (0: there is none)."""

    task: str
    data: DataConfig
    normal: tuple[int | str, ...]
    kept: float
    facts: Facts
    given_units: int = 0

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

    @property
    def components(self) -> int:
        """Components that keep the fraction: those that are worth bits, or the leading ones as real numbers."""
        if self.for_rate:
            return max(1, int(np.count_nonzero(self.variances > self.level)))
        return leading(self.variances, self.kept)

    @property
    def units(self) -> int:
        """Units of the code."""
        if self.given_units:
            return self.given_units
        if self.task == "reduction":
            return min(REDUCED, max(2, self.components), self.facts.inputs)
        beyond = max(0, self.components - LINEAR)
        return self.components - beyond + math.ceil(beyond / FOLDED) if self.for_rate else self.components

    @property
    def hidden(self) -> int:
        """Units of the hidden layer."""
        wide = min(self.facts.training / SAMPLES_PER_UNIT, PER_INPUT * self.facts.inputs)
        return power_of_two(max(wide, 2 * self.units), *HIDDEN)

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


def rounded(value: float) -> float:
    """A number of three digits."""
    return float(f"{value:.3g}")


def window_of(steps: int, shortest: int) -> Chosen:
    """The window of a record of `steps` time steps, whose shortest file has `shortest`."""
    window = min(power_of_two(steps / LEAST_WINDOWS, *WINDOWS), power_of_two(shortest, 1, WINDOWS[1]))
    return Chosen(window, f"{steps // window:,} windows of {window} values: a record of {steps:,} values has no samples yet")


def _stride(source: SourceSize, _: str) -> Chosen | None:
    if not source.window or source.window % STARTS:
        return None
    return Chosen(source.window // STARTS, f"training windows overlap: {STARTS} times as many, each stretch at many places")


def _test(source: SourceSize, _: str) -> Chosen | None:
    few = f"a fifth: a tenth of {source.samples:,} samples would be few to measure by"
    return Chosen(0.2, few) if source.samples < 10_000 and not source.own_test else None


def _validation(source: SourceSize, task: str) -> Chosen | None:
    if task == "anomaly":
        return Chosen(0.2, "held-out normal samples set the threshold")
    if task == "denoising":
        return Chosen(0.1, "chooses the parameters of the classic denoisers beside the model")
    if task == "compression" and source.samples >= HELD_OUT:
        return Chosen(0.1, "chooses the best epoch, and whether quantization-aware training helped")
    return None


EARLY: Mapping[str, Callable[[SourceSize, str], Chosen | None]] = {
    "data.stride": _stride,
    "data.test": _test,
    "data.validation": _validation,
}
"""Keys that decide which samples are trained on, by the source and the kind of task; None: the key is left out."""


def _scaling(plan: RecipePlan) -> Chosen | None:
    if plan.facts.scaling == "auto":
        return None
    return Chosen(plan.facts.scaling, f"bytes of {plan.facts.low:g} to {plan.facts.high:g} would fill little of 0 to 1 by 255")


def _layers(plan: RecipePlan) -> Chosen:
    units, count = plan.units, len(plan.variances)
    text = f"code: {plan.components:,} of {count:,} principal components keep {plan.kept:.0%} of the variance"
    if units < plan.components and plan.for_rate:
        text += f"; behind a hidden layer {units:,} units do"
    elif plan.task == "reduction":
        text += f"; {REDUCED} units at most, for plots and other models"
    return Chosen([plan.hidden, units], f"{text}. Hidden: by {plan.facts.training:,} training samples")


def _output(plan: RecipePlan) -> Chosen:
    facts = plan.facts
    if facts.output == "sigmoid":
        return Chosen("sigmoid", f"pixels fill their range: their standard deviation is {facts.deviation:.3g}")
    if facts.kind == "image":
        return Chosen(facts.output, f"most pixels are near their mean: their standard deviation is {facts.deviation:.3g}")
    return Chosen(facts.output, "values have no limits of their own")


def _epochs(plan: RecipePlan) -> Chosen:
    count = int(np.clip(math.ceil(STEPS / plan.epoch_steps), *EPOCHS))
    return Chosen(count, f"{count * plan.epoch_steps:,} steps, {plan.epoch_steps:,} an epoch")


def _rate(plan: RecipePlan) -> Chosen | None:
    if not plan.for_rate:
        return None
    text = f"the squared error that a bit has to save; at it, PCA keeps {plan.kept:.0%} of the variance in {plan.bits:.3g} bits"
    return Chosen(rounded(2 * math.log(2) * plan.level), f"{text} a sample. docs/rate.md")


def _noise(plan: RecipePlan) -> Chosen | None:
    if plan.task != "denoising" or plan.data.clean is not None:
        return None
    level = rounded(min(LARGEST_DEVIATION, NOISE * plan.facts.spread))
    text = f"{NOISE:g} of the standard deviation of scaled values. Choose what is like yours, or give pairs: [data] clean"
    return Chosen({"kind": "gaussian", "level": level}, text)


def _method(plan: RecipePlan) -> Chosen:
    if plan.for_rate:
        return Chosen("qat", "from the result of ptq, which is kept where training gains nothing")
    return Chosen("ptq", "from samples, without training: it loses little here")


def _fine_epochs(plan: RecipePlan) -> Chosen | None:
    if _method(plan).value == "ptq":
        return None
    if not plan.facts.held_out:
        return Chosen(FEW_EPOCHS, "few: no held-out samples judge them")
    count = math.ceil(FINE_STEPS / plan.epoch_steps)
    return Chosen(count, f"{count * plan.epoch_steps:,} steps")


def _fine_rate(plan: RecipePlan) -> Chosen | None:
    if _method(plan).value == "ptq":
        return None
    return Chosen(FINE_RATE if plan.facts.held_out else FEW_RATE, "small: float training ended at a good place")


def _rate_fraction(plan: RecipePlan) -> Chosen | None:
    if _method(plan).value == "ptq":
        return None
    return Chosen(RATE_FRACTION, "rounding raised the error, not the bits: training lowers the error, for a few bits more")


def _fine_decay(plan: RecipePlan) -> Chosen | None:
    return None if _method(plan).value == "ptq" else Chosen(0.0, "as in training")


def _most_lost(plan: RecipePlan) -> Chosen | None:
    if plan.task != "compression" or plan.facts.kind == "image":
        return None
    lost = rounding_error(plan.facts) / (PCA_GAIN * (1 - plan.kept) * float(plan.variances.sum()))
    if lost < LEAST_LOST:
        return None
    text = f"scaled values reach {plan.facts.reach:.3g}, so that a byte has steps of {2 * plan.facts.reach / 255:.2g}"
    return Chosen(round(VerifyConfig().max_quality_loss + lost, 2), f"{text}: that alone may add {lost:.0%} to the error")


def _classes(plan: RecipePlan) -> Chosen | None:
    count = power_of_two(plan.facts.apart / PER_CLASS, 1, MOST_CLASSES)
    if not plan.for_rate or count == 1 or plan.bits < LEAST_BITS:
        return None
    return Chosen(
        count, f"kinds of samples, each with its own means: smaller files. {PER_CLASS} training samples or more for each"
    )


def _scaled(plan: RecipePlan) -> Chosen | None:
    if not plan.facts.coarse:
        return None
    return Chosen(True, "files take scaled values: in the data's unit of measure float32 has too few digits here")


def _normal(plan: RecipePlan) -> Chosen | None:
    if plan.task != "anomaly" or not plan.normal:
        return None
    by = "of normal samples by convention" if set(plan.normal) <= {*NORMAL} else "of most samples, so that of normal ones"
    return Chosen(list(plan.normal), f"the label {by}; the test set keeps all labels")


def _quantile(plan: RecipePlan) -> Chosen | None:
    if plan.task != "anomaly" or held_out_samples(QUANTILES[0]) <= plan.facts.held_out:
        return None
    fitting = (quantile for quantile in QUANTILES if held_out_samples(quantile) <= plan.facts.held_out)
    return Chosen(next(fitting, 0.5), f"{plan.facts.held_out:,} held-out normal samples place no higher one")


def _neighbours(plan: RecipePlan) -> Chosen | None:
    most = max(1, (plan.facts.tested - 1) // 2)
    if plan.task != "reduction" or most >= Reduction().neighbours:
        return None
    return Chosen(most, f"less than half of {plan.facts.tested:,} test samples")


CHOICES: Mapping[str, Callable[[RecipePlan], Chosen | None]] = {
    "data.scaling": _scaling,
    "model.layers": _layers,
    "model.output_activation": _output,
    "train.epochs": _epochs,
    "train.batch_size": lambda plan: Chosen(plan.batch, f"{plan.facts.training:,} training samples"),
    "train.learning_rate": lambda _: Chosen(LEARNING_RATE, "of Adam; it decays to zero, so that few steps go far"),
    "train.weight_decay": lambda _: Chosen(0.0, "the code limits the model already"),
    "train.rate": _rate,
    "train.noise": _noise,
    "quantize.method": _method,
    "quantize.epochs": _fine_epochs,
    "quantize.learning_rate": _fine_rate,
    "quantize.weight_decay": _fine_decay,
    "quantize.rate_fraction": _rate_fraction,
    "codec.classes": _classes,
    "export.scaled": _scaled,
    "verify.max_quality_loss": _most_lost,
    "task.kind": lambda plan: Chosen(plan.task, "what is measured and reported; --task chooses another"),
    "task.normal": _normal,
    "task.quantile": _quantile,
    "task.score": lambda plan: (
        Chosen("standardized", "errors by those of training, value for value") if plan.task == "anomaly" else None
    ),
    "task.neighbours": _neighbours,
}
"""The other keys; None: the key is left out."""


OF_TRAINING = ("data.scaling", "model.layers", "model.output_activation", "train.epochs", "train.learning_rate")
OF_TRAINING += ("train.weight_decay",)
"""Keys that a trained model decides."""


def default_normal(labels: np.ndarray) -> tuple[int | str, ...]:
    """The label of normal samples, of labels [n]: normal; 0 where none is more frequent; one of more than half of them; or none
    where that is not clear."""
    counts = label_counts(labels)
    most = max(counts.values())
    conventional = [label for label in NORMAL if label_text(label) in counts]
    if "normal" in conventional:
        return ("normal",)
    if conventional and counts[label_text(conventional[0])] == most:
        return (conventional[0],)
    first = next(iter(counts))
    return (as_label(first, labels),) if 2 * most > len(labels) else ()


def label_counts(labels: np.ndarray) -> dict[str, int]:
    """How many samples have each label, as text, the most frequent first."""
    names, counts = np.unique(labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {label_text(names[place].item()): int(counts[place]) for place in order}


def as_label(text: str, labels: np.ndarray) -> int | str:
    """A label as a recipe states it."""
    return int(text) if labels.dtype.kind != "U" and text.lstrip("-").isdecimal() else text
