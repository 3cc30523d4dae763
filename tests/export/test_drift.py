"""Drift: scores against those of training samples, stood for by quantiles."""

from __future__ import annotations

import numpy as np
import pytest
from tiedae.compress.records import decode, plain
from tiedae.compress.scaling import Scaling
from tiedae.export.drift import Drift, TrainingScores, drift_text, squared_errors
from tiedae.export.two_sample import kolmogorov_smirnov


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
    assert found.distance == pytest.approx(exact.distance, abs=1 / 256)
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
