"""The error that coders and denoisers are compared by, for each kind of samples: that on which the kind's measure rests.

Values of one unit are summed as they are, as in PSNR and PRDN. Columns of a table have units of their own, in which a sum would
be the error of the one with the largest numbers: each counts by its variance, as in R².
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from tiedae.bundle.verdict import Criterion
from tiedae.compress.sample_spec import Kind


def squared_errors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean squared error of each sample, float64 [n], of [n, inputs] each in the data's unit of measure."""
    return np.square(x.astype(np.float64) - y).mean(axis=1)


def unexplained(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """What each sample adds to 1 − R², float64 [n]: R² of each column of `x`, and its mean over the columns that change.

    `x`, `y`: [n, inputs] in the data's unit of measure. The mean squared error where no column changes.
    """
    variance = x.var(axis=0, dtype=np.float64)
    changes = variance > 0
    if not changes.any():
        return squared_errors(x, y)
    return (np.square(x.astype(np.float64) - y)[:, changes] / variance[changes]).mean(axis=1)


@dataclass(frozen=True)
class SampleError:
    """`of`: samples and what a coder gives for them → the error of each sample, whose mean is the criterion."""

    criterion: Criterion
    of: Callable[[np.ndarray, np.ndarray], np.ndarray]


_SUMMED = SampleError(Criterion.MSE, squared_errors)

SAMPLE_ERRORS: Mapping[Kind, SampleError] = {
    "image": _SUMMED,
    "record": _SUMMED,
    "table": SampleError(Criterion.UNEXPLAINED, unexplained),
}
"""The error of each kind of samples."""
