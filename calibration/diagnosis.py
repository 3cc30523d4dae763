"""Diagnosis of a calibration: the effect of more samples, dead units and clipping."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tiedae.base.keys import NonNegative, ProperFraction
from tiedae.base.records import Checked
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.quantizers import ActivationQuantizers, QuantizationSpec, fixed_ranges
from tiedae.config.layer_kinds import OF_WEIGHTS

from .calibration_file import Calibration, Fingerprint
from .histogram import Histogram, Range
from .ranges import BATCH, calibrate, tensors_by_batch
from .representative import MINIMUM, Representative

LISTED_UNITS = 8
"""Maximum number of dead units that a finding lists."""


class DiagnosisLimits(Checked, frozen=True):
    """Reporting thresholds. `clipping`: fraction of a tensor's values clipped; `worse`: relative increase of an error."""

    clipping: ProperFraction = 0.01
    worse: NonNegative = 0.01


@dataclass(frozen=True)
class CalibrationFinding:
    """A finding; `kind`: `more samples`, `dead units` or `clipping`; `tensor`: empty for the whole model."""

    kind: str
    tensor: str
    text: str


@dataclass(frozen=True)
class Halves:
    """Errors on `held_out` samples after calibrating on `half` and on `whole`, all other samples; all three are counts.

    Pairs for (half, whole): `error`, squared errors per sample of the simulated reconstruction; `tensors`, mean squared
    errors of each tensor's grid; `ranges`.
    """

    held_out: int
    half: int
    whole: int
    error: tuple[float, float]
    tensors: Mapping[str, tuple[float, float]]
    ranges: Mapping[str, tuple[Range, Range]] = field(repr=False)

    @property
    def text(self) -> str:
        """The effect of more samples in one sentence."""
        before, after = self.error
        verdict = "no better and no worse" if after == before else "better" if after < before else "worse"
        change = f", {100 * (after / before - 1):+.2f} %".replace("-", "−") if before else ""
        return (
            f"More samples were {verdict}: an error of {after:.4g} with ranges of {self.whole} samples, {before:.4g} with "
            f"those of {self.half}{change} (squared error per sample, simulated on {self.held_out} held-out samples)"
        )


@dataclass(frozen=True)
class Diagnosis:
    """Findings, worst kind first; `fixed`: tensors whose range is no choice; `skipped`: the reason for missing halves."""

    findings: tuple[CalibrationFinding, ...]
    fixed: tuple[str, ...]
    halves: Halves | None
    skipped: str = ""

    @property
    def lines(self) -> list[tuple[str, str]]:
        """(kind, text) for all findings of a kind: the text of the first, how many there are, and the tensors of the others."""
        kinds: dict[tuple[str, bool], list[CalibrationFinding]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.kind, finding.tensor != ""), []).append(finding)
        return [(kind, _line(findings)) for (kind, _), findings in kinds.items()]


def _line(findings: list[CalibrationFinding]) -> str:
    first, *others = findings
    names = ", ".join(finding.tensor for finding in others)
    return f"{len(findings)} tensors, the first {first.text}; the others: {names}" if others else first.text


def diagnose(
    model: TiedAutoencoder,
    data: Representative,
    calibration: Calibration,
    spec: QuantizationSpec,
    limits: DiagnosisLimits | None = None,
) -> Diagnosis:
    """Diagnose the calibration of `model`, with quantized kernels, on `data`.

    Compares ranges from half and from all of three quarters of the samples on the held-out quarter, drawn by the data's seed.
    Raises InputError for a calibration of another model.
    """
    limits = limits or DiagnosisLimits()
    calibration.require_model(Fingerprint.of(model), spec)
    of_model = fixed_ranges(model.config, spec)
    fixed = tuple(name for name in calibration.tensors if name in of_model or spec.fixes(name))
    count = len(data.inputs)
    held_out = count // 4
    half = (count - held_out) // 2
    findings = (*_dead(calibration), *_clipping(calibration, fixed, limits))
    if half < MINIMUM:
        reason = f"{count} samples are too few to compare halves, must be {MINIMUM * 8 // 3} or more"
        return Diagnosis(findings, fixed, None, reason)
    halves = compare_halves(model, data, calibration, spec, held_out, half)
    return Diagnosis((*_worse(halves, fixed, limits), *findings), fixed, halves)


def compare_halves(
    model: TiedAutoencoder, data: Representative, calibration: Calibration, spec: QuantizationSpec, held_out: int, half: int
) -> Halves:
    """Calibrate with the observer of `calibration` on `half` and on all samples but `held_out`; measure both on those."""
    order = np.random.default_rng(data.seed).permutation(len(data.inputs))
    test = data.take(np.sort(order[:held_out])).inputs
    parts = [data.take(np.sort(order[held_out : held_out + half])), data.take(np.sort(order[held_out:]))]
    bits = {name: tensor.bits for name, tensor in calibration.tensors.items()}
    ranges = [calibrate(model, part, calibration.observer, bits=bits).ranges for part in parts]
    histograms: dict[str, Histogram] = {}
    for batch in tensors_by_batch(model, test):
        for name, values in batch.items():
            histograms[name] = histograms.get(name, Histogram.empty()).merged(Histogram.of(values))
    few, many = ranges
    spans = {name: (few[name], many[name]) for name in histograms if not name.endswith(OF_WEIGHTS)}
    error = simulated_error(model, test, few, spec), simulated_error(model, test, many, spec)
    tensors: dict[str, tuple[float, float]] = {}
    for name, (first, second) in spans.items():
        grid = calibration.tensors[name].grid
        tensors[name] = grid.error(histograms[name], first), grid.error(histograms[name], second)
    return Halves(held_out, half, len(parts[1].inputs), error, tensors, spans)


def simulated_error(
    model: TiedAutoencoder,
    inputs: np.ndarray,
    ranges: Mapping[str, Range],
    spec: QuantizationSpec,
    wanted: np.ndarray | None = None,
) -> float:
    """`reconstruction_error` with fake-quantized activations; `model` is not changed."""
    with model.tapped(ActivationQuantizers(model.config, spec, ranges)):
        return reconstruction_error(model, inputs, wanted)


def reconstruction_error(model: TiedAutoencoder, inputs: np.ndarray, wanted: np.ndarray | None = None) -> float:
    """The squared error per sample, summed over its values, in scaled values; `inputs` float32 [n, inputs].

    `wanted`: what the model shall give for them, the inputs themselves by default.
    """
    total = 0.0
    for start in range(0, len(inputs), BATCH):
        y = model(inputs[start : start + BATCH]).numpy().astype(np.float64)
        total += float(np.square(y - (inputs if wanted is None else wanted)[start : start + BATCH]).sum())
    return total / len(inputs)


def _worse(halves: Halves, fixed: tuple[str, ...], limits: DiagnosisLimits) -> Iterator[CalibrationFinding]:
    counts = f"all {halves.whole} samples than with half of them, on {halves.held_out} held-out samples"
    before, after = halves.error
    if after > before * (1 + limits.worse):
        text = f"worse: the error is {_more(before, after)} with {counts} ({after:.4g} instead of {before:.4g})"
        yield CalibrationFinding("more samples", "", f"{text}; try another observer, or fewer outliers in the data")
    for name, (before, after) in halves.tensors.items():
        if name not in fixed and after > before * (1 + limits.worse):
            few, many = (f"{low:.4g}…{high:.4g}" for low, high in halves.ranges[name])
            text = f"{name}: worse, its quantization error is {_more(before, after)} with {counts} (range {many}, not {few})"
            yield CalibrationFinding("more samples", name, text)


def _more(before: float, after: float) -> str:
    return f"{100 * (after / before - 1):.1f} % higher" if before else "no longer 0"


def _dead(calibration: Calibration) -> Iterator[CalibrationFinding]:
    """Units of a layer with one value for all samples; x and y have features, not units."""
    for name, tensor in calibration.tensors.items():
        if not tensor.dead or name in ("x", "y") or "." in name:
            continue
        listed = ", ".join(map(str, tensor.dead[:LISTED_UNITS])) + (", …" if len(tensor.dead) > LISTED_UNITS else "")
        units = f"{len(tensor.dead)} of {_units(calibration, name)} units"
        text = f"{name}: {units} have one value for all {calibration.samples} samples ({listed}); they could be pruned"
        yield CalibrationFinding("dead units", name, text)


def _units(calibration: Calibration, tensor: str) -> int:
    """Those of the output of a layer, by tensor name."""
    side, _, index = tensor.partition("_")
    width = calibration.model.widths[int(index) + (side == "encoder") if index else -1]
    return width if isinstance(width, int) else width[-1]


def _clipping(calibration: Calibration, fixed: tuple[str, ...], limits: DiagnosisLimits) -> Iterator[CalibrationFinding]:
    for name, tensor in calibration.tensors.items():
        if name not in fixed and tensor.clipped > limits.clipping:
            low, high = tensor.range
            observed = f"{tensor.histogram.low:.4g}…{tensor.histogram.high:.4g}"
            text = f"{name}: {100 * tensor.clipped:.2g} % of its values are clipped, more than {100 * limits.clipping:g} %"
            yield CalibrationFinding("clipping", name, f"{text} (range {low:.4g}…{high:.4g}, observed {observed})")
