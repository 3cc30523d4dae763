"""Errors of samples as a detector takes them: against the sample as given, in the integers of `scoring`."""

from __future__ import annotations

import numpy as np

from ..scoring import Scoring
from .backends import Backend

LARGEST = float(np.finfo(np.float32).max)


def integer_errors(scoring: Scoring, backend: Backend, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D, int64 [n, inputs], which samples hold NaN, bool [n]) of samples [n, inputs] in the data's unit.

    The model sees 0 in place of NaN; a sample with NaN has no score.
    """
    missing: np.ndarray = np.zeros(len(x), bool)
    if x.dtype.kind == "f":
        gaps = np.isnan(x)
        missing = np.asarray(gaps.any(axis=1))
        if missing.any():
            x = np.where(gaps, x.dtype.type(0), x)
    with np.errstate(over="ignore", invalid="ignore"):
        y = backend.integers(backend.reconstruct(np.ascontiguousarray(x))[1])
        scaled = backend.spec.scaling.apply(backend.io.samples(x)) if not scoring.multiplier else np.empty(0, np.float32)
    return scoring.errors(scoring.units(x, np.clip(scaled, -LARGEST, LARGEST)), y), missing
