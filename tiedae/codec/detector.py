"""A detector of anomalies for an integer program: how it scores, and thresholds from held-out normal samples.

Errors are taken against the sample as given, in the integers of `scoring`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tiedae.base.errors import DataError
from tiedae.config.tasks import Anomaly, Task
from tiedae.data.dataset import Dataset, choose
from tiedae.data.samples import Samples
from tiedae.export.targets import Programs
from tiedae.program.drift import TrainingScores, squared_errors
from tiedae.program.scoring import Detector, Scoring, Thresholds, scoring_of, threshold_of

from .backends import BATCH, Backend, ProgramBackend

SAMPLES = 20_000
"""Training and held-out samples that are scored at most."""


def integer_errors(scoring: Scoring, backend: Backend, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D, int64 [n, inputs], which samples have no score, bool [n]) of samples [n, inputs] in the data's unit of measure.

    A sample with a value that is NaN or infinite, in float32 and scaled values, has no score; the model sees 0 in its place.
    """
    missing: np.ndarray = np.zeros(len(x), bool)
    scaled = np.empty(0, np.float32)
    if not scoring.multiplier:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = backend.spec.scaling.apply(backend.io.samples(x))
        gaps = ~np.isfinite(scaled)
        missing = np.asarray(gaps.any(axis=1))
        if missing.any():
            x, scaled = (np.where(gaps, values.dtype.type(0), values) for values in (x, scaled))
    with np.errstate(over="ignore"):
        y = backend.integers(backend.reconstruct(np.ascontiguousarray(x))[1])
    return scoring.errors(scoring.units(x, scaled), y), missing


def fit_detector(programs: Programs, backend: ProgramBackend, data: Dataset, task: Task, seed: int) -> Detector | None:
    """The detector of an anomaly task, None for another. `backend`: that of the fused program; `data`: normal samples.

    Thresholds come from the validation samples in each layout, feature errors from the training samples in the fused one.
    Raises DataError without enough validation samples for the quantile, ExportError as `scoring_of`.
    """
    if not isinstance(task, Anomaly):
        return None
    if data.validation is None:
        raise DataError("threshold: got no validation samples, must be held-out normal ones; raise `validation` in [data]")
    errors = feature_errors(backend, data.train, seed) if task.score == "standardized" else ()
    scoring = scoring_of(task.score, backend.spec, backend.program.quantization("y"), errors)
    split = dataclasses.replace(backend, program=programs.split)
    held = {name: totals(scoring, each, data.validation, seed) for name, each in {"split": split, "fused": backend}.items()}
    thresholds = Thresholds(**{name: threshold_of(found, task.quantile) for name, found in held.items()})
    training = TrainingScores.of(totals(scoring, backend, data.train, seed) * scoring.factor)
    return Detector(scoring, thresholds, task.quantile, len(held["fused"]), training)


def feature_errors(backend: ProgramBackend, train: Samples, seed: int) -> np.ndarray:
    """Root mean squared error of each feature in scaled values, float64 [inputs]."""
    total, count = np.zeros(backend.spec.inputs), 0
    for x in _drawn(train, seed):
        total += squared_errors(backend.spec.scaling, x, backend.scaled_values(backend.reconstruct(x)[1])).sum(axis=0)
        count += len(x)
    return np.sqrt(total / count)


def totals(scoring: Scoring, backend: ProgramBackend, samples: Samples, seed: int) -> np.ndarray:
    """S of at most `SAMPLES` samples, int64."""
    return np.concatenate([scoring.totals(integer_errors(scoring, backend, x)[0]) for x in _drawn(samples, seed)])


def _drawn(samples: Samples, seed: int) -> Iterator[np.ndarray]:
    """At most `SAMPLES` samples, drawn by the seed, in the data's unit of measure, in batches [n, inputs]."""
    chosen = choose(samples, SAMPLES, seed)
    for start in range(0, len(chosen), BATCH):
        yield samples.take(chosen[start : start + BATCH])
