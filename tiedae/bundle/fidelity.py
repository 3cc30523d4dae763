"""Reconstruction quality in the data's unit of measure, comparable across scalings.

images   PSNR = 10 · log₁₀(peak² / MSE) in dB; peak is 255 for uint8, else the range of the training data (ITU-T J.340)
table    R² = 1 − Σ (x − x̂)² / Σ (x − mean x)² of each column, and its mean over the columns that change (coefficient of
         determination, Draper & Smith, Applied Regression Analysis)
record   PRDN = 100 · √(Σ (x − x̂)² / Σ (x − mean x)²) in %, the mean of each channel removed (Blanco-Velasco et al., "On the use
         of PRD and CR parameters for ECG compression", Medical Engineering & Physics 27, 2005)

MSE, the mean of (x − x̂)² over all values, is reported with each. Everything is computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tiedae.compress.blocks import blocks
from tiedae.config.config import VerifyConfig
from tiedae.config.sample_spec import Kind, SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.data.dataset import Dataset

from .manifest import Data
from .results import Column, ColumnWarning, Fit, Quality, Source, Stage
from .task_results import Measure

MEASURES: Mapping[Kind, tuple[Measure, str]] = {"image": ("PSNR", "dB"), "table": ("R²", ""), "record": ("PRDN", "%")}
"""(measure, unit) of each kind of data."""

LOWER_IS_BETTER: tuple[Measure, ...] = ("PRDN",)
"""Of the others, a higher value is better."""

LARGE = 70.0
"""PRDN of a channel, in %, from which on it is a warning: half of its power is lost."""

MEANINGS: Mapping[str, str] = {
    "PSNR": "10 · log₁₀(peak² / MSE), peak 255 for bytes, else the range of the training data",
    "R²": "1 − squared error / squared distance from the column's mean, averaged over columns; below 0 the mean is closer",
    "PRDN": "100 · √(squared error / squared distance from the mean)",
}
"""Definition of each measure in words."""


def meaning(measure: str, samples: Source | None) -> str:
    """A measure in words, and over how many samples it is."""
    return MEANINGS[measure] + (f"; over {samples.text}" if samples is not None and samples.samples else "")


@dataclass(frozen=True)
class Fidelity:
    """Measures reconstruction quality. `scaling` of the data, `columns` of a table, or channels of a record, by name, `peak` of
    images, not scaled, `channels` of a record, whose means are removed one by one."""

    kind: Kind
    scaling: Scaling
    columns: tuple[str, ...] = ()
    peak: float | None = None
    channels: int = 1

    @classmethod
    def of_splits(cls, splits: Dataset) -> Fidelity:
        """Create it for samples; the peak is the range of the training data."""
        peak = None
        if splits.kind == "image":
            low, high = (0, 255) if splits.train.dtype == np.uint8 else splits.train.extent
            peak = float(np.max(high)) - float(np.min(low))
        return cls(splits.kind, splits.scaling, value_names(splits.spec), peak, splits.spec.channels)

    @classmethod
    def of_data(cls, data: Data) -> Fidelity:
        """That of a manifest's data."""
        return cls(data.kind, data.scaling, value_names(data.spec), data.peak, data.spec.channels)

    def measure(self, x: np.ndarray, y: np.ndarray) -> Fit:
        """Measure `y`, [n, inputs] in scaled values, against `x`, [n, inputs] in the data's unit of measure."""
        error = np.zeros(x.shape[1])
        for rows in blocks(x):
            error += np.square(self.scaling.invert(y[rows], np.float64) - x[rows].astype(np.float64)).sum(axis=0)
        mse = float(error.sum() / max(x.size, 1))
        name, unit = MEASURES[self.kind]
        if self.kind == "image":
            return Fit(name, unit, mse, 10 * math.log10(self.peak**2 / mse) if self.peak and mse > 0 else None)
        if self.kind == "record":
            steps, error = x.reshape(-1, self.channels), error.reshape(-1, self.channels).sum(axis=0)
            power = column_power(steps)
            value = 100 * math.sqrt(error.sum() / power.sum()) if power.sum() > 0 else None
            return Fit(name, unit, mse, value, channels=self._columns(error, power, len(steps)))
        columns = self._columns(error, column_power(x), len(x))
        known = [column.r2 for column in columns if column.r2 is not None]
        return Fit(name, unit, mse, float(np.mean(known)) if known else None, columns)

    def _columns(self, error: np.ndarray, power: np.ndarray, count: int) -> tuple[Column, ...]:
        """R² and error of each column, of its summed squared error and its power, [k] each; none without a value."""
        if not count:
            return ()
        names = self.columns or tuple(map(str, range(len(error))))
        r2 = [float(1 - e / p) if p > 0 else None for e, p in zip(error, power, strict=True)]
        return tuple(Column(*each) for each in zip(names, r2, np.sqrt(error / count).tolist(), strict=True))


@dataclass(frozen=True)
class ErrorLimit:
    """How the test error of the int8 files is held to Keras float's; each task names its row, or none.

    `lost(error, reference)`: what squared errors say of the loss, positive for a worse file. `text`: its format.

    `most`: the limit of [verify] on it. `unit`: behind the limit.
    """

    lost: Callable[[float, float], float]
    text: str
    most: Callable[[VerifyConfig], float]
    unit: str = ""


def _fraction(error: float, reference: float) -> float:
    return error / reference - 1 if reference > 0 else float(error > 0)


def _decibels(error: float, reference: float) -> float:
    """PSNR lost; an exact reference loses all of it."""
    if error <= 0 or reference <= 0:
        return 0.0 if error <= reference else math.inf
    return 10 * math.log10(error / reference)


FRACTION = ErrorLimit(_fraction, "{:+.2%}", lambda limits: limits.max_quality_loss)
DECIBELS = ErrorLimit(_decibels, "{:.2f} dB of PSNR lost", lambda limits: limits.max_decibels_lost, " dB")


def squared_error(x: np.ndarray, y: np.ndarray) -> float:
    """The mean of `squared_errors`."""
    return float(squared_errors(x, y).mean())


def squared_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Σ (y − x)² over the values of each sample, float64 [n]; `x` and `y` [n, inputs] in scaled values."""
    if x.shape != y.shape:  # blocks of the longer one would be cut off
        raise ValueError(f"got outputs of shape {list(y.shape)}, must be {list(x.shape)}")
    errors = np.empty(len(x))
    for rows in blocks(x):
        errors[rows] = np.sum(np.square(y[rows].astype(np.float64) - x[rows]), axis=1)
    return errors


def fit_value(fit: Fit | None) -> str:
    """A fit as text: `PSNR 23.4 dB`, `R² 0.914`, `PRDN 12.6 %`; empty without one."""
    if fit is None:
        return ""
    if fit.value is None:
        return f"{fit.measure}: exact" if fit.mse == 0 else f"{fit.measure} not defined"
    return f"{fit.measure} {fit.value:.4g} {fit.unit}".rstrip()


def fit_text(fit: Fit | None) -> str:
    """A fit with details: `PSNR 23.4 dB, MSE 297.2`, `R² 0.914, worst -0.02 (humidity)`, `PRDN 12.6 %`."""
    if fit is None:
        return ""
    mse = f", MSE {fit.mse:.4g}" if fit.measure == MEASURES["image"][0] else ""
    worst = "".join(f", worst {r2:.3g} ({name})" for r2, name in fit.worst_columns[:1])
    return fit_value(fit) + mse + worst


def most_lost(fit: Fit | None, reference: Fit | None) -> str:
    """The column of a table that loses most, in its unit of measure: `; most of it in proline: RMSE 102 instead of 98.1`."""
    lost = fit.lost(reference) if fit is not None and reference is not None and fit.columns and reference.columns else []
    if not lost or lost[0][0] <= 0:
        return ""
    _, ours, theirs = lost[0]
    return f"; most of it in {ours.name}: RMSE {ours.rmse:.4g} instead of {theirs.rmse:.4g}"


def column_power(x: np.ndarray) -> np.ndarray:
    """Σ (x − mean x)² of each column of `x`, [n, k], float64 [k]; 0 of a constant column."""
    if not len(x):
        return np.zeros(x.shape[1])
    mean, power = x.mean(axis=0, dtype=np.float64), np.zeros(x.shape[1])
    for rows in blocks(x):
        power += np.square(x[rows] - mean).sum(axis=0)
    return np.where(x.max(axis=0) > x.min(axis=0), power, 0.0)


def column_names(names: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The names, or by default the indices: `value 7`."""
    return tuple(names) if names else tuple(f"value {i}" for i in range(count))


def value_names(spec: SampleSpec) -> tuple[str, ...]:
    """The names of the columns of a table, of the channels of a record, or of the values of other samples."""
    if spec.kind != "record":
        return column_names(spec.columns, spec.inputs)
    return spec.signal.channel_names or tuple(map(str, range(spec.channels)))


def warnings_of(quality: Iterable[Quality], scaling: Scaling) -> tuple[ColumnWarning, ...]:
    """Columns with negative R², worst first, and constant columns; channels of a record whose PRDN is `LARGE` or more.

    Taken from the worst of our exported files, or if none was measured from the last measured stage.
    """
    rows = [row for row in quality if row.fidelity is not None and (row.fidelity.columns or row.fidelity.channels)]
    rows = [row for row in rows if row.stage is Stage.EXPORT] or [row for row in rows if row.stage is not Stage.STOCK][-1:]
    worst: dict[str, tuple[float, str]] = {}
    constant: dict[str, None] = {}
    for row in rows:
        where = row.title + (f" in {row.runtime}" if row.runtime else "")
        for column in (row.fidelity.columns or row.fidelity.channels) if row.fidelity else ():
            if column.r2 is None:
                constant |= {} if row.fidelity and row.fidelity.channels else {column.name: None}
            elif column.r2 < worst.get(column.name, (math.inf, ""))[0]:
                worst[column.name] = column.r2, where
    of_channels = any(row.fidelity.channels for row in rows if row.fidelity)
    most = 1 - (LARGE / 100) ** 2 if of_channels else 0.0
    found = sorted((r2, name, where) for name, (r2, where) in worst.items() if r2 <= most and (of_channels or r2 < 0))
    each = isinstance(scaling.scale, tuple)
    prdn = (lambda r2: 100 * math.sqrt(1 - r2)) if of_channels else (lambda _: None)
    return (
        *(ColumnWarning(name, r2, where, prdn(r2), each) for r2, name, where in found),
        *(ColumnWarning(name, None) for name in constant),
    )
