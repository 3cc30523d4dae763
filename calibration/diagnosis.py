"""What a calibration says about itself: whether more samples helped, which units are dead, where values are clipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..compress.autoencoder import TiedAutoencoder
from ..compress.config import require
from ..compress.quantizers import ActivationQuantizers, QuantizationSpec, fixed_ranges
from .calibration_file import Calibration, Fingerprint
from .histogram import Histogram, Range
from .ranges import BATCH, calibrate, tensors_by_batch
from .representative import MINIMUM, Representative

SHOWN_UNITS = 8
"""How many dead units a line names."""


@dataclass(frozen=True)
class DiagnosisLimits:
    """Reporting thresholds. `clipping`: fraction of a tensor's values clipped; `worse`: relative increase of an error."""

    clipping: float = 0.01
    worse: float = 0.01

    def __post_init__(self) -> None:
        require(0 <= self.clipping < 1, "clipping", self.clipping, "a fraction in [0, 1)")
        require(self.worse >= 0, "worse", self.worse, "a fraction from 0")


@dataclass(frozen=True)
class CalibrationFinding:
    """One thing to look at: `kind` is `more samples`, `dead units` or `clipping`; `tensor` is empty for the whole model."""

    kind: str
    tensor: str
    text: str


@dataclass(frozen=True)
class Halves:
    """Errors on `held_out` samples with ranges of `half` and of `whole` the others, counted in samples.

    `error` is the pair of squared errors per sample of the simulated reconstruction, `tensors` the pair of mean squared errors
    of each tensor's grid, `ranges` the pair of its ranges.
    """

    held_out: int
    half: int
    whole: int
    error: tuple[float, float]
    tensors: Mapping[str, tuple[float, float]]
    ranges: Mapping[str, tuple[Range, Range]] = field(repr=False)

    @property
    def text(self) -> str:
        """Whether more samples were better or worse, and by how much."""
        before, after = self.error
        verdict = "no better and no worse" if after == before else "better" if after < before else "worse"
        change = f", {100 * (after / before - 1):+.2f} %".replace("-", "−") if before else ""
        return (
            f"More samples were {verdict}: an error of {after:.4g} with ranges of {self.whole} samples, {before:.4g} with "
            f"those of {self.half}{change} (squared, per sample, simulated on {self.held_out} held out)"
        )


@dataclass(frozen=True)
class Diagnosis:
    """Findings, worst kind first; `fixed` tensors have a range that the model fixes; `skipped` is why there are no halves."""

    findings: tuple[CalibrationFinding, ...]
    fixed: tuple[str, ...]
    halves: Halves | None
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


def diagnose(
    model: TiedAutoencoder,
    data: Representative,
    calibration: Calibration,
    spec: QuantizationSpec,
    limits: DiagnosisLimits | None = None,
) -> Diagnosis:
    """Look into a calibration that `calibrate` made of `model` and `data`; the kernels are quantized already.

    A quarter of the samples, drawn by the data's seed, is held out; ranges of half of the others and of all of them are
    compared on it. Raises InputError where the calibration is of another model.
    """
    limits = limits or DiagnosisLimits()
    calibration.require_model(Fingerprint.of(model), spec)
    fixed = tuple(name for name in fixed_ranges(model.config, spec) if name in calibration.tensors)
    count = len(data.inputs)
    held_out = count // 4
    half = (count - held_out) // 2
    findings = (*_dead(calibration), *_clipping(calibration, fixed, limits))
    if half < MINIMUM:
        reason = f"{count} samples are too few to halve what is not held out, must be {MINIMUM * 8 // 3} or more"
        return Diagnosis(findings, fixed, None, reason)
    halves = compare_halves(model, data, calibration, spec, held_out, half)
    return Diagnosis((*_worse(halves, fixed, limits), *findings), fixed, halves)


def compare_halves(
    model: TiedAutoencoder,
    data: Representative,
    calibration: Calibration,
    spec: QuantizationSpec,
    held_out: int,
    half: int,
) -> Halves:
    """Calibrate as `calibration` was, on `half` and on all of the samples that are not held out; measure both on the rest."""
    order = np.random.default_rng(data.seed).permutation(len(data.inputs))
    unseen = data.take(np.sort(order[:held_out])).inputs
    parts = [data.take(np.sort(order[held_out : held_out + half])), data.take(np.sort(order[held_out:]))]
    bits = {name: tensor.bits for name, tensor in calibration.tensors.items()}
    ranges = [calibrate(model, part, calibration.observer, bits=bits).ranges for part in parts]
    seen: dict[str, Histogram] = {}
    for batch in tensors_by_batch(model, unseen):
        for name, values in batch.items():
            seen[name] = seen.get(name, Histogram.empty()).merged(Histogram.of(values))
    few, many = ranges
    spans = {name: (few[name], many[name]) for name in seen if not name.endswith(".bias")}
    grids = {name: calibration.tensors[name].grid for name in spans}
    return Halves(
        held_out,
        half,
        len(parts[1].inputs),
        (simulated_error(model, unseen, few, spec), simulated_error(model, unseen, many, spec)),
        {name: (grids[name].error(seen[name], few[name]), grids[name].error(seen[name], many[name])) for name in spans},
        spans,
    )


def simulated_error(model: TiedAutoencoder, inputs: np.ndarray, ranges: Mapping[str, Range], spec: QuantizationSpec) -> float:
    """The squared error per sample of the reconstruction with fake-quantized activations; `model` stays as it is."""
    with model.tapped(ActivationQuantizers(model.config, spec, ranges)):
        return reconstruction_error(model, inputs)


def reconstruction_error(model: TiedAutoencoder, inputs: np.ndarray) -> float:
    """The squared error per sample, summed over its values, in model units; `inputs` float32 [n, inputs]."""
    total = 0.0
    for start in range(0, len(inputs), BATCH):
        x = inputs[start : start + BATCH]
        total += float(np.square(model(x).numpy().astype(np.float64) - x).sum())
    return total / len(inputs)


def _worse(halves: Halves, fixed: tuple[str, ...], limits: DiagnosisLimits) -> Iterator[CalibrationFinding]:
    counts = f"all {halves.whole} samples than with half of them, on {halves.held_out} held out"
    before, after = halves.error
    if after > before * (1 + limits.worse):
        text = f"worse: the error is {_more(before, after)} with {counts} ({after:.4g} against {before:.4g})"
        yield CalibrationFinding("more samples", "", f"{text}; another observer or fewer outliers in the data would help")
    for name, (before, after) in halves.tensors.items():
        if name not in fixed and after > before * (1 + limits.worse):
            few, many = (f"{low:.4g}…{high:.4g}" for low, high in halves.ranges[name])
            text = f"{name}: worse, the error of its grid is {_more(before, after)} with {counts} (range {many} against {few})"
            yield CalibrationFinding("more samples", name, text)


def _more(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):.1f} % higher" if before else "no longer 0"


def _dead(calibration: Calibration) -> Iterator[CalibrationFinding]:
    """Units of a layer that gave one value for every sample. Values of x and y are the data's, not units."""
    for name, tensor in calibration.tensors.items():
        if not tensor.dead or name in ("x", "y") or "." in name:
            continue
        shown = ", ".join(map(str, tensor.dead[:SHOWN_UNITS])) + (", …" if len(tensor.dead) > SHOWN_UNITS else "")
        units = f"{len(tensor.dead)} of {tensor.values // calibration.samples} units"
        text = f"{name}: {units} gave one value for all {calibration.samples} samples ({shown}); they could be pruned"
        yield CalibrationFinding("dead units", name, text)


def _clipping(calibration: Calibration, fixed: tuple[str, ...], limits: DiagnosisLimits) -> Iterator[CalibrationFinding]:
    for name, tensor in calibration.tensors.items():
        if name not in fixed and tensor.clipped > limits.clipping:
            low, high = tensor.range
            seen = f"{tensor.histogram.low:.4g}…{tensor.histogram.high:.4g}"
            text = f"{name}: {100 * tensor.clipped:.2g} % of its values are clipped, more than {100 * limits.clipping:g} %"
            yield CalibrationFinding("clipping", name, f"{text} (range {low:.4g}…{high:.4g}, seen {seen})")
