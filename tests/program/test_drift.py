"""Drift: scores against those of training samples, stood for by quantiles; the Kolmogorov–Smirnov statistic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import DataError
from tiedae.base.records import decode, plain
from tiedae.config.scaling import Scaling
from tiedae.program.drift import Drift, TrainingScores, drift_text, kolmogorov_smirnov, squared_errors

NUMBERS = st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 1, 20_000)


def test_scores_survive_the_manifest(scores: np.ndarray) -> None:
    training = TrainingScores.of(scores)
    assert decode(TrainingScores, plain(training), "scores") == training
    assert training.samples == 20_000 and training.extreme == np.quantile(scores, 0.999)


def test_the_training_samples_themselves_do_not_drift(scores: np.ndarray) -> None:
    drift = Drift.of(scores, TrainingScores.of(scores))
    assert drift.beyond == pytest.approx(0.001, abs=1e-4) and drift.distance < 1 / 256


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 3.0])
def test_quantiles_stand_for_all_samples(scores: np.ndarray, shift: float) -> None:
    others = np.random.default_rng(1).gamma(2, 1, 3000) + shift
    found, exact = Drift.of(others, TrainingScores.of(scores)), kolmogorov_smirnov(others, scores)
    assert found.distance == pytest.approx(exact, abs=1 / 256)
    assert found.beyond == np.mean(others > np.quantile(scores, 0.999)) and found.samples == 3000


def test_one_sample_and_equal_scores() -> None:
    training = TrainingScores.of(np.array([0.25]))
    assert Drift.of(np.array([0.25]), training) == Drift(1, 0.0, 0.0)
    assert Drift.of(np.array([0.5]), training) == Drift(1, 1.0, 1.0)
    assert Drift.of(np.array([0.0]), training) == Drift(1, 0.0, 1.0)


def test_the_text_says_what_was_found_and_what_is_usual() -> None:
    text = "1.5 % have a larger error than 99.9 % of the training samples (expected: 0.1 %); distance of their errors 0.30"
    assert drift_text(Drift(200, 0.015, 0.3)).startswith(text)
    assert drift_text(Drift(200, 1.0, 1.0)).startswith("100 % have")
    assert drift_text(None).startswith("not known, the bundle holds no scores of its training samples")


def test_errors_are_scaled() -> None:
    x, y = np.array([[0, 255, 51]], np.uint8), np.array([[0.0, 0.5, 0.2]], np.float32)
    np.testing.assert_allclose(squared_errors(Scaling("byte", 0.0, 255.0), x, y), [[0, 0.25, 0]], atol=1e-12)


@given(NUMBERS, NUMBERS)
def test_distance_is_that_of_the_distribution_functions(first: list[float], second: list[float]) -> None:
    points = [*first, *second]
    largest = max(abs(np.mean(np.array(first) <= p) - np.mean(np.array(second) <= p)) for p in points)
    found = kolmogorov_smirnov(np.array(first), np.array(second))
    assert found == pytest.approx(largest, abs=1e-12)
    assert found == kolmogorov_smirnov(np.array(second), np.array(first))


@pytest.mark.parametrize(("n", "m", "shift"), [(300, 500, 0.0), (300, 500, 0.2), (80, 4000, 0.1), (2000, 2000, 1.0)])
def test_distance_is_that_of_scipy(n: int, m: int, shift: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(n)
    first, second = rng.normal(0, 1, n), rng.normal(shift, 1, m)
    assert kolmogorov_smirnov(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic, abs=1e-12)


@pytest.mark.parametrize("wrong", [[], [[1.0]], [np.nan], [np.inf]])
def test_samples_are_finite_numbers(wrong: list) -> None:
    with pytest.raises(DataError, match=r"two samples: got shape .*, must be \[n\], one or more finite numbers"):
        kolmogorov_smirnov(np.array([1.0]), np.array(wrong))
