"""The two-sample Kolmogorov–Smirnov statistic against known values, its definition and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiedae.compress.errors import DataError
from tiedae.export.two_sample import kolmogorov_smirnov, kolmogorov_survival

NUMBERS = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("x", "survival"),
    [(0.0, 1.0), (0.1, 1.0), (1.2238, 0.1), (1.3581, 0.05), (1.6276, 0.01), (1.9495, 0.001), (30.0, 0.0)],
)
def test_the_limit_distribution_is_that_of_the_tables(x: float, survival: float) -> None:
    """Critical values of Smirnov, "Table for Estimating the Goodness of Fit of Empirical Distributions", 1948."""
    assert kolmogorov_survival(x) == pytest.approx(survival, rel=1e-3, abs=1e-12)


def test_the_series_meets_its_other_form_where_it_is_cut() -> None:
    x = 0.2
    small = np.sqrt(2 * np.pi) / x * sum(np.exp(-((2 * k - 1) ** 2) * np.pi**2 / (8 * x**2)) for k in range(1, 20))
    assert kolmogorov_survival(x) == pytest.approx(1 - small, abs=1e-12)


@given(NUMBERS, NUMBERS)
def test_distance_is_that_of_the_distribution_functions(first: list[float], second: list[float]) -> None:
    points = [*first, *second]
    largest = max(abs(np.mean(np.array(first) <= p) - np.mean(np.array(second) <= p)) for p in points)
    found = kolmogorov_smirnov(np.array(first), np.array(second))
    assert found.distance == pytest.approx(largest, abs=1e-12)
    assert found == kolmogorov_smirnov(np.array(second), np.array(first))
    assert 0 <= found.p_value <= 1


@pytest.mark.parametrize(("n", "m", "shift"), [(300, 500, 0.0), (300, 500, 0.2), (80, 4000, 0.1), (2000, 2000, 1.0)])
def test_p_values_are_those_of_scipy(n: int, m: int, shift: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(n)
    first, second = rng.normal(0, 1, n), rng.normal(shift, 1, m)
    found = kolmogorov_smirnov(first, second)
    right = stats.ks_2samp(first, second, method="asymp")
    assert found.distance == pytest.approx(right.statistic, abs=1e-12)
    effective = n * m / (n + m)
    assert found.p_value == pytest.approx(stats.kstwobign.sf(np.sqrt(effective) * right.statistic), abs=1e-12)
    assert found.p_value == pytest.approx(stats.ks_2samp(first, second, method="exact").pvalue, abs=0.03)


def test_p_values_of_equal_distributions_are_uniform() -> None:
    rng = np.random.default_rng(1)
    values = [kolmogorov_smirnov(*rng.normal(size=(2, 200))).p_value for _ in range(400)]
    assert 0.02 < np.mean(np.array(values) < 0.05) < 0.08 and 0.4 < np.median(values) < 0.62


@pytest.mark.parametrize("wrong", [[], [[1.0]], [np.nan], [np.inf]])
def test_samples_are_finite_numbers(wrong: list) -> None:
    with pytest.raises(DataError, match=r"two samples: got shape .*, must be \[n\], one or more finite numbers"):
        kolmogorov_smirnov(np.array([1.0]), np.array(wrong))
