"""Float samples as integers: steps of a grid around a base, within a bound. docs/reference/format.md, "Grid".

    sample = base + k · (2E · 2⁻ʰ)

in binary64, product and sum rounded once each, then rounded to the samples' dtype. E is the bound; h, the halvings, is 0 unless
that last rounding would break the bound.
"""

from __future__ import annotations

import numpy as np

LARGEST = np.iinfo(np.int16).max
"""The largest number of steps from the base, either way."""
HALVINGS = 32
"""The most often that a step is halved."""


def steps_of(samples: np.ndarray, base: np.ndarray, bound: float) -> tuple[int, np.ndarray] | None:
    """(h, k): float samples of any shape in steps from their base, float64, as int16 of the same shape.

    `restored` gives every sample back within `bound`, which is checked here. None where a sample is more than `LARGEST` steps
    away, or no step is fine enough.
    """
    wanted = samples.astype(np.float64)
    for halvings in range(HALVINGS + 1):
        step = _step(bound, halvings)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            steps = np.rint((wanted - base) / step)
            if not (np.abs(steps) <= LARGEST).all():
                return None
            found = restored(steps, base, bound, halvings, samples.dtype)
            if (np.abs(found.astype(np.float64) - wanted) <= bound).all():
                return halvings, steps.astype(np.int16)
    return None


def restored(steps: np.ndarray, base: np.ndarray, bound: float, halvings: int, dtype: np.dtype | str) -> np.ndarray:
    """The samples, in `dtype`, that lie this many multiples of the grid from their base."""
    return (base + steps.astype(np.float64) * _step(bound, halvings)).astype(dtype)


def _step(bound: float, halvings: int) -> float:
    return 2.0 * bound * 2.0**-halvings
