"""Scores of windows that need no net: against direct computations, and on what condition monitoring uses each for."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.tasks.ranking import Ranked, roc_auc
from tiedae.tasks.signal_scores import rms, rms_of_differences, signal_scores, spectral_score

RNG = np.random.default_rng(0)
T = np.arange(64) / 64


def windows(n: int, frequency: float = 3, amplitude: float = 1.0, noise: float = 0.1) -> np.ndarray:
    """Two channels of a sine at random phases with noise, around 5, float32 [n, 64, 2]."""
    phases = RNG.uniform(size=(n, 1, 2))
    waves = amplitude * np.sin(2 * np.pi * (frequency * T[:, None] + phases))
    return (5 + waves + noise * RNG.normal(size=waves.shape)).astype(np.float32)


def area(score: object, normal: np.ndarray, odd: np.ndarray) -> float:
    values = np.concatenate([score(normal), score(odd)])  # pyright: ignore[reportCallIssue]
    return roc_auc(*Ranked.of(values, np.arange(len(values)) >= len(normal)).counts())


def test_the_root_mean_square_is_that_of_a_window_about_its_mean() -> None:
    x = windows(5)
    direct = [np.sqrt(np.mean([np.var(each[:, channel]) for channel in range(2)])) for each in x.astype(float)]
    np.testing.assert_allclose(rms(x), direct)
    np.testing.assert_allclose(rms(x + 100), direct, rtol=1e-4)


def test_second_differences_weigh_high_frequencies() -> None:
    x = windows(5).astype(float)
    direct = np.sqrt(np.square(x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]).mean(axis=(1, 2)))
    np.testing.assert_allclose(rms_of_differences(x), direct)
    ramp = np.broadcast_to(np.arange(64.0)[:, None], (1, 64, 2))
    np.testing.assert_allclose(rms_of_differences(ramp), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("odd", "name"),
    [({"amplitude": 1.5}, "rms"), ({"noise": 0.2}, "rms-differences"), ({"frequency": 5}, "log-spectra")],
)
def test_each_finds_what_it_is_for(odd: dict[str, float], name: str) -> None:
    scores = signal_scores(windows(200), 8)
    assert area(scores[name], windows(100), windows(100, **odd)) > 0.95  # pyright: ignore[reportArgumentType]


def test_a_spectrum_is_taken_without_its_level_and_phase() -> None:
    score = spectral_score(windows(200), 8)
    normal = windows(100)
    assert area(score, normal, normal + 50) == pytest.approx(0.5, abs=0.02)


def test_as_many_components_as_values_leave_an_error() -> None:
    x = windows(200)
    assert spectral_score(x, 1000)(x).min() > 1e-3


def test_constant_windows_have_finite_scores() -> None:
    x = np.ones((20, 8, 1), np.float32)
    for score in signal_scores(x, 4).values():
        assert np.isfinite(score(x)).all()
