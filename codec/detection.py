"""Errors of samples as a detector takes them: against the sample as given, in the integers of `scoring`."""

from __future__ import annotations

import numpy as np
from tiedae.program.scoring import Scoring

from .backends import Backend


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
