"""The keys of a suggested recipe: one row per key, which chooses a value by the facts about the data and says why."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiedae.base.numbers import number
from tiedae.compress.held_out import ENOUGH
from tiedae.config.config import VerifyConfig
from tiedae.config.tasks import LARGEST_DEVIATION, Reduction, held_out_samples
from tiedae.data.labels import label_text
from tiedae.data.normal import NORMAL

from .facts import Facts
from .plan import LEARNING_RATE, LEAST_UNITS, PCA_GAIN, REDUCED, TRIAL_RATE, RecipePlan, power_of_two, rounding_error

STEPS = 4_000
"""Steps of float training: fewer leave small sets undertrained, whatever their number of epochs."""
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


def _per_feature(plan: RecipePlan) -> Chosen | None:
    if not one_scale(plan.task, plan.facts):
        return None
    least, most = map(number, plan.facts.channels)
    return Chosen(
        False, f"channels of standard deviations from {least} to {most}: taken to have one unit, in which PRDN adds errors up"
    )


def one_scale(task: str, facts: Facts) -> bool:
    """Whether channels have one scale: those of one unit of measure, where PRDN, in which their errors add up, is compared."""
    fitted = facts.scaling not in ("none", "byte") and facts.dtype != "uint8"
    return task == "compression" and facts.kind == "record" and fitted and facts.one_unit


def _layers(plan: RecipePlan) -> Chosen:
    units, count = plan.units, len(plan.variances)
    text = f"code: {plan.components:,} of {count:,} principal components keep {100 * plan.kept:.3g}% of the variance"
    if plan.coded == plan.components:
        text += f" in {plan.bits:.3g} bits, with the least error on samples that they were not fitted to"
    if plan.task == "reduction":
        text += f"; {REDUCED} units at most, for plots and other models"
    elif units > plan.components:
        text += f"; {LEAST_UNITS} units at least"
    if plan.linear:
        why = f"nothing could judge: {plan.unjudged}"
        gained = f"gained nothing beyond noise: {plan.trials[-1].text}" if plan.trials else why
        return Chosen([units], f"{text}. No hidden layer, which {gained}")
    why = plan.trials[-1].text if plan.trials else f"no trial without it: {plan.untried}"
    return Chosen([plan.hidden, units], f"{text}. Hidden: by {plan.facts.training:,} training samples; {why}")


def _output(plan: RecipePlan) -> Chosen:
    facts = plan.facts
    if plan.linear:
        return Chosen("linear", "a linear net with it begins at PCA, which is its optimum")
    if len(plan.trials) > 1:
        first = plan.trials[0]
        return Chosen(facts.output, f"with {first.output} the trial gained nothing beyond noise: {first.text}")
    if facts.output == "sigmoid":
        return Chosen("sigmoid", f"pixels fill their range: their standard deviation is {facts.deviation:.3g}")
    if facts.kind == "image":
        return Chosen(facts.output, f"most pixels are near their mean: their standard deviation is {facts.deviation:.3g}")
    return Chosen(facts.output, "values have no limits of their own")


def _start(plan: RecipePlan) -> Chosen | None:
    if not plan.linear:
        return None
    return Chosen("pca", "the optimum of a linear net without rounding: training is for the bits and the roundings")


def _epochs(plan: RecipePlan) -> Chosen:
    count = int(np.clip(math.ceil(STEPS / plan.epoch_steps), *EPOCHS))
    return Chosen(count, f"{count * plan.epoch_steps:,} steps, {plan.epoch_steps:,} an epoch")


def _learning_rate(plan: RecipePlan) -> Chosen:
    judged = plan.facts.held_out or (_method(plan).value == "qat" and plan.facts.apart >= ENOUGH)
    if plan.trials and not plan.linear and not judged:
        return Chosen(rounded(TRIAL_RATE), "of Adam; that of the trial, since no held-out samples choose one in training")
    return Chosen(LEARNING_RATE, "of Adam; it decays to zero, so that few steps go far")


def _rate(plan: RecipePlan) -> Chosen | None:
    if not plan.for_rate:
        return None
    kept = f"PCA keeps {100 * plan.kept:.3g}% of the variance in {plan.bits:.3g} bits a sample"
    text = f"the squared error that a bit has to save; at it, {kept}. docs/explanation/rate.md"
    return Chosen(rounded(2 * math.log(2) * plan.level), text)


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
    "data.per_feature": _per_feature,
    "model.layers": _layers,
    "model.output_activation": _output,
    "train.start": _start,
    "train.epochs": _epochs,
    "train.batch_size": lambda plan: Chosen(plan.batch, f"{plan.facts.training:,} training samples"),
    "train.learning_rate": _learning_rate,
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


OF_TRAINING = ("data.scaling", "data.per_feature", "model.layers", "model.output_activation", "train.epochs")
OF_TRAINING += ("train.learning_rate", "train.weight_decay")
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
