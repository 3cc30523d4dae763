"""The figures of metrics that a baseline is compared by: one table of measures, and what metrics hold of them.

A measure says which values are better and what an allowed fraction a means for it. `loss` of a value is smaller where the
value is better; it may grow to `bound`:

AMOUNT     0 or more, less is better: bytes, squared errors, bits. It may grow by a of itself
FRACTION   at most 1, more is better: areas, F1, accuracy, SSIM. It may fall by a, and by a of what it lacks to 1
DIFFERENT  a fraction of values that differ, less is better. It may grow by a, and by a of itself
DECIBEL    of a squared error, more is better: PSNR, gain. It may fall by 10 · log₁₀(1 + a), as the error may grow by a
EXPLAINED  1 − squared error / variance: R². What it lacks to 1 may grow by a of itself
RATE       a rate that should be 1. Its distance from 1, as a factor, may grow by a
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tiedae.bundle.results import REFERENCES, Metrics, Parity
from tiedae.bundle.task_results import (
    PROGRAM,
    TIED,
    AnomalyResult,
    CompressionResult,
    DenoisingResult,
    ReductionResult,
)
from tiedae.export.kinds import Kind, Lost, Maker, Precision
from tiedae.runtimes.table import rounds_as_program

Key = tuple[str, ...]
FLOAT_FLOOR = 1e-6
"""Allowed growth of float differences, as a fraction of full scale; engines were measured to differ by 8e-7."""
PARITY, FORMATS = "parity", "formats"
"""Kinds of groups: differences from the program or a float model, and those between runtimes, whose layouts may differ."""
DEVIATIONS = 2.0
"""Standard deviations of a count of false alarms that are noise."""


@dataclass(frozen=True)
class Scale:
    """What an allowed fraction means; see the module. `values`: those of a loss, the least and the largest that are allowed,
    None where there is no limit."""

    loss: Callable[[float], float]
    bound: Callable[[float, float], float]
    values: Callable[[float], tuple[float | None, float | None]]


AMOUNT = Scale(lambda value: value, lambda loss, allow: loss * (1 + allow), lambda loss: (None, loss))
DIFFERENT = Scale(lambda value: value, lambda loss, allow: loss * (1 + allow) + allow, lambda loss: (None, loss))
FRACTION = Scale(lambda value: 1 - value, lambda loss, allow: loss * (1 + allow) + allow, lambda loss: (1 - loss, None))
DECIBEL = Scale(lambda value: -value, lambda loss, allow: loss + 10 * math.log10(1 + allow), lambda loss: (-loss, None))
EXPLAINED = Scale(lambda value: 1 - value, lambda loss, allow: loss * (1 + allow), lambda loss: (1 - loss, None))
RATE = Scale(
    lambda value: abs(math.log(value)),
    lambda loss, allow: loss + math.log1p(allow),
    lambda loss: (math.exp(-loss), math.exp(loss)),
)


@dataclass(frozen=True)
class Measure:
    """A row of the table: how its figures compare, how one reads, and the name of several for `--allow`."""

    scale: Scale
    text: str
    group: str


MEASURES: Mapping[str, Measure] = {
    "bytes": Measure(AMOUNT, "{:,.0f} bytes", "bytes"),
    "error": Measure(AMOUNT, "error {:.6g}", "error"),
    "RMS": Measure(AMOUNT, "{:.6g} RMS", "error"),
    "largest LSB": Measure(AMOUNT, "{:g} LSB", "parity"),
    "largest float": Measure(AMOUNT, "{:.3g}", "parity"),
    "fraction that differs": Measure(DIFFERENT, "{:.3%}", "parity"),
    "MSE": Measure(AMOUNT, "{:.6g}", "error"),
    "bits per value": Measure(AMOUNT, "{:.5g}", "bytes"),
    "PSNR": Measure(DECIBEL, "{:.2f} dB", "error"),
    "gain": Measure(DECIBEL, "{:+.2f} dB", "error"),
    "R²": Measure(EXPLAINED, "{:.4f}", "error"),
    "PRDN": Measure(AMOUNT, "{:.4g} %", "error"),
    "SSIM": Measure(FRACTION, "{:.4f}", "error"),
    "ROC-AUC": Measure(FRACTION, "{:.4f}", "detection"),
    "PR-AUC": Measure(FRACTION, "{:.4f}", "detection"),
    "F1": Measure(FRACTION, "{:.4f}", "detection"),
    "alarm rate": Measure(RATE, "{:.3g} × the expected one", "detection"),
    "trustworthiness": Measure(FRACTION, "{:.4f}", "neighbours"),
    "continuity": Measure(FRACTION, "{:.4f}", "neighbours"),
    "k-NN accuracy": Measure(FRACTION, "{:.4f}", "neighbours"),
}

BEST: Mapping[str, float] = {"PSNR": math.inf, "R²": 1.0, "PRDN": 0.0}
"""The value of each fit without any error."""


@dataclass(frozen=True)
class Figure:
    """One number of some metrics, of a row of `MEASURES`; `value` is None where it is not defined.

    `floor`: what its loss may grow by in any case. `over`: the number of values or samples that it is of, 0 if that does not
    matter.
    """

    measure: str
    value: float | None
    floor: float = 0.0
    over: int = 0

    @property
    def loss(self) -> float:
        """Smaller for a better value; NaN where it is not defined."""
        return math.nan if self.value is None else MEASURES[self.measure].scale.loss(self.value)

    def bound(self, allow: float) -> float:
        """The largest loss that is not worse."""
        return MEASURES[self.measure].scale.bound(self.loss, allow) + self.floor

    def limit(self, allow: float) -> str:
        """What a figure that is not worse has: `at most 1,010 bytes`."""
        measure, bound = MEASURES[self.measure], self.bound(allow)
        if not math.isfinite(bound):
            return "defined" if math.isnan(bound) else measure.text.format(self.value)
        least, most = measure.scale.values(bound)
        parts = (
            (f"at {which} {measure.text.format(end)}") for which, end in (("least", least), ("most", most)) if end is not None
        )
        return " and ".join(parts)

    @property
    def text(self) -> str:
        return "not defined" if self.value is None else MEASURES[self.measure].text.format(self.value)


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one check: their kind, file (or layout of the program, or kind of task), runtime, and the runtime that it
    is compared with or whose codes it decodes."""

    kind: str
    file: str
    runtime: str = ""
    peer: str = ""
    floating: bool = False

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.kind, self.file, self.runtime, self.peer)))

    @property
    def needs_samples(self) -> bool:
        """Whether only test samples give these figures."""
        return self.kind in (Kind.QUALITY, Kind.TASK)

    @property
    def of_rounding(self) -> bool:
        """Whether the figures tell how this very program is rounded, and another one's are others without being worse."""
        if self.kind == PARITY:
            return self.floating or not rounds_as_program(self.runtime)
        return self.kind in (Lost.QUANTIZATION, FORMATS)


def figures_of(metrics: Metrics) -> dict[FigureGroup, dict[Key, Figure]]:
    """Every comparable number of our files, by group and by its key within the group."""
    found: dict[FigureGroup, dict[Key, Figure]] = {}
    for group, key, figure in _figures(metrics):
        found.setdefault(group, {})[key] = figure
    return found


def _figures(metrics: Metrics) -> Iterator[tuple[FigureGroup, Key, Figure]]:
    stock = {file.file for file in metrics.files if file.maker is Maker.STOCK}
    for file in metrics.files:
        if file.file not in stock:
            yield FigureGroup("bytes", file.file), (), Figure("bytes", file.bytes)
    for row in metrics.quality:
        if row.file and row.file not in stock:
            group = FigureGroup(Kind.QUALITY, row.file, row.runtime)
            yield group, (), Figure("error", row.error)
            if row.fidelity is not None:
                fit = row.fidelity
                yield group, (fit.measure,), fit_figure(fit.measure, fit.value, fit.mse)
    for row in metrics.errors:
        if row.error is Lost.QUANTIZATION and row.layer == "y":
            yield FigureGroup(row.error, row.layout), ("y",), Figure("RMS", row.rms, over=row.count)
    for row in metrics.parity:
        if not row.problem and row.file not in stock:
            for key, figure in _parity_figures(row):
                kind, other = (PARITY, "") if row.reference in REFERENCES else (FORMATS, row.reference)
                peer = row.encoder or (other if other != row.runtime else "")
                yield FigureGroup(kind, row.file, row.runtime, peer, row.precision is Precision.F32), key, figure
    for row in metrics.alarms:
        group = FigureGroup(Kind.TASK, row.file, row.runtime)
        yield group, _quantile(row.quantile), alarm_figure(row.false_alarms, row.normal, row.quantile)
    if metrics.task is not None:
        kind, figures = TASK_FIGURES[type(metrics.task)]
        yield from ((FigureGroup(Kind.TASK, kind), key, figure) for key, figure in figures(metrics.task))


def fit_figure(measure: str, value: float | None, mse: float) -> Figure:
    """The figure of a fit, the best there is where there is no error; not defined for an unknown measure."""
    return Figure(measure, BEST[measure] if mse == 0 else value) if measure in BEST else Figure(measure, None)


def alarm_figure(false_alarms: int, normal: int, quantile: float) -> Figure:
    """The flagged normal samples / the expected ones, each count with half a sample more, so that none is a rate too."""
    expected = normal * max(0.0, 1 - quantile) + 0.5
    return Figure("alarm rate", (false_alarms + 0.5) / expected, floor=DEVIATIONS / math.sqrt(expected), over=normal)


def _quantile(quantile: float) -> Key:
    return (f"alarm rate at quantile {quantile:g}",)


def _parity_figures(row: Parity) -> Iterator[tuple[Key, Figure]]:
    own = row.kind is Kind.CROSSING and row.reference == row.runtime
    label = row.label + (" against its own" if own else "")
    if row.precision is Precision.INT8:
        yield (label, "fraction that differs"), Figure("fraction that differs", 1 - row.equal_fraction, over=row.count)
        yield (label, "largest difference"), Figure("largest LSB", row.max_lsb, over=row.count)
    else:
        floor = FLOAT_FLOOR * max(1.0, row.full_scale)
        yield (label, "largest difference"), Figure("largest float", row.max_abs, floor=floor)


def _anomaly(result: AnomalyResult) -> Iterator[tuple[Key, Figure]]:
    score = f"score {result.score}"
    if (ours := result.method(PROGRAM)) is not None:
        for measure, estimate in (("ROC-AUC", ours.roc_auc), ("PR-AUC", ours.pr_auc)):
            yield (score, measure), Figure(measure, estimate.value, over=result.samples)
        yield (score, f"quantile {result.quantile:g}", "F1"), Figure("F1", ours.f1.value, over=result.samples)
    for label in result.labels:
        if (area := label.roc_auc) is not None:
            figure = Figure("ROC-AUC", area.value, floor=area.value - area.low, over=label.samples)
            yield (score, f"label {label.label}", "ROC-AUC"), figure
    normal, alarms = result.normal, result.false_alarms
    if normal is None or alarms is None:
        normal, alarms = result.samples, result.alarms
    yield (score, *_quantile(result.quantile)), alarm_figure(alarms, normal, result.quantile)


def _compression(result: CompressionResult) -> Iterator[tuple[Key, Figure]]:
    yield ("code",), Figure("bytes", result.code_bytes)
    for point in result.points:
        if point.coder == TIED:
            over = result.samples
            yield ("file",), Figure("bytes", point.bytes, over=over)
            yield ("bits per value",), Figure("bits per value", point.bits, over=over)
            yield from _errors((), point.mse, result.measure, point.value, point.ssim, over)


def _denoising(result: DenoisingResult) -> Iterator[tuple[Key, Figure]]:
    for row in result.rows:
        if row.method != PROGRAM:
            continue
        key = ("own noise",) if row.level is None else (f"{result.noise} noise of level {row.level:g}",)
        yield from _errors(key, row.mse, row.measure, row.value, row.ssim, result.samples)
        if row.gain_db is not None:
            yield (*key, "gain"), Figure("gain", row.gain_db, over=result.samples)


def _errors(
    key: Key, mse: float, measure: str, value: float | None, ssim: float | None, over: int
) -> Iterator[tuple[Key, Figure]]:
    yield (*key, "MSE"), Figure("MSE", mse, over=over)
    figure = fit_figure(measure, value, mse)
    yield (*key, measure), Figure(figure.measure, figure.value, over=over)
    if ssim is not None:
        yield (*key, "SSIM"), Figure("SSIM", ssim, over=over)


def _reduction(result: ReductionResult) -> Iterator[tuple[Key, Figure]]:
    neighbours = f"{result.neighbours} neighbours"
    for row in result.methods:
        if row.method == PROGRAM:
            yield (neighbours, "trustworthiness"), Figure("trustworthiness", row.trustworthiness, over=result.samples)
            yield (neighbours, "continuity"), Figure("continuity", row.continuity, over=result.samples)
            if row.knn_accuracy is not None:
                key = (f"{result.votes} of {result.train} training samples", "k-NN accuracy")
                yield key, Figure("k-NN accuracy", row.knn_accuracy, over=result.samples)


TASK_FIGURES: Mapping[type, tuple[str, Callable[..., Iterator[tuple[Key, Figure]]]]] = {
    AnomalyResult: ("anomaly", _anomaly),
    CompressionResult: ("compression", _compression),
    DenoisingResult: ("denoising", _denoising),
    ReductionResult: ("reduction", _reduction),
}
"""The figures of our own method in each kind of result; keys hold the settings that they depend on."""
