"""The error that coders and denoisers are compared by.

Values of one unit are summed as they are, as in PSNR and PRDN. Columns of a table have units of their own, in which a sum would
be the error of the one with the largest numbers: each is divided by its variance, as in R².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from tiedae.bundle.fidelity import column_power
from tiedae.bundle.verdict import Criterion
from tiedae.config.sample_spec import Kind


@dataclass(frozen=True, eq=False)
class SampleError:
    """A `criterion`, and the factor of each value's squared error in it, float64 [inputs]."""

    criterion: Criterion
    factors: np.ndarray

    @classmethod
    def of(cls, kind: Kind, samples: np.ndarray) -> Self:
        """That of a kind, for `samples`, [n, inputs]: of a table 1 − R², where a column of them changes at all."""
        power = column_power(samples) if kind == "table" else np.zeros(samples.shape[1])
        changing = power > 0
        if not changing.any():
            return cls(Criterion.MSE, np.ones(len(power)))
        most = len(samples) * len(power) / changing.sum()
        return cls(Criterion.UNEXPLAINED, np.divide(most, power, out=np.zeros_like(power), where=changing))

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The error of each sample, float64 [n], of [n, inputs] each in the data's unit of measure."""
        return (np.square(x.astype(np.float64) - y) * self.factors).mean(axis=1)
