"""The two-sample Kolmogorov–Smirnov test: whether two samples of a number come from one distribution."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..compress.errors import DataError

TERMS = 100
"""Terms of the series of the p-value; from 0.2 on it converges within them, below it is 1."""


class KolmogorovSmirnov(NamedTuple):
    """`distance`: the largest difference of the two distribution functions, 0…1. `p_value`: asymptotic, two-sided."""

    distance: float
    p_value: float


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> KolmogorovSmirnov:
    """Compare two samples, [n] and [m] finite numbers; ties are allowed, which make the p-value too large.

    D = sup |F₁ − F₂|; p = 2 Σ (−1)ᵏ⁻¹ exp(−2 k² λ²) with λ = D √(n m / (n + m)) (Kolmogorov 1933, Smirnov 1948; Hodges, "The
    significance probability of the Smirnov two-sample test", Arkiv för Matematik 3, 1958). At n m / (n + m) above 20 it is
    within some thousandths of the exact one.

    Raises DataError for an empty sample, more than one axis, or a number that is not finite.
    """
    first, second = (_sorted(values) for values in (first, second))
    points = np.concatenate([first, second])
    shares = (np.searchsorted(each, points, side="right") / len(each) for each in (first, second))
    distance = float(np.abs(np.subtract(*shares)).max())
    effective = len(first) * len(second) / (len(first) + len(second))
    return KolmogorovSmirnov(distance, kolmogorov_survival(math.sqrt(effective) * distance))


def kolmogorov_survival(x: float) -> float:
    """1 − K(x), K the limit distribution of √n · D."""
    if x < 0.2:  # 1 − K(0.2) = 1 − 5·10⁻¹³
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * (k * x) ** 2) for k in range(1, TERMS + 1))
    return min(1.0, max(0.0, 2 * math.fsum(terms)))


def _sorted(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise DataError(f"two samples: got shape {list(values.shape)}, must be [n], one or more finite numbers")
    return np.sort(values)
