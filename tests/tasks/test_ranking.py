"""Areas, F1 and their intervals, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import DataError
from tiedae.tasks.ranking import Ranked, average_precision, by_label, detection, f1, roc_auc

RNG = np.random.default_rng(0)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(1, 12))
def test_areas_and_f1_are_scikit_learns(seed: int, n: int, distinct: int) -> None:
    """With ties: scores of a few distinct values."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    scores, anomalous = rng.integers(0, distinct, n).astype(float), rng.random(n) < 0.4
    anomalous[:2] = [True, False]
    flags = scores > distinct / 2
    counts = Ranked.of(scores, anomalous).counts()
    assert roc_auc(*counts) == pytest.approx(metrics.roc_auc_score(anomalous, scores), abs=1e-12)
    assert average_precision(*counts) == pytest.approx(metrics.average_precision_score(anomalous, scores), abs=1e-12)
    assert f1(flags, anomalous) == pytest.approx(metrics.f1_score(anomalous, flags, zero_division=0), abs=1e-12)
    weights = rng.integers(0, 3, n).astype(float)
    weights[:2] = 1
    weighted = Ranked.of(scores, anomalous).counts(weights)
    assert roc_auc(*weighted) == pytest.approx(metrics.roc_auc_score(anomalous, scores, sample_weight=weights), abs=1e-12)
    expected = metrics.average_precision_score(anomalous, scores, sample_weight=weights)
    assert average_precision(*weighted) == pytest.approx(expected, abs=1e-12)


def test_by_hand() -> None:
    anomalous = np.array([True, False, True, False])
    counts = Ranked.of(np.array([4.0, 3.0, 2.0, 1.0]), anomalous).counts()
    assert roc_auc(*counts) == 0.75 and average_precision(*counts) == pytest.approx((1 + 2 / 3) / 2)
    assert f1(np.array([True, True, False, False]), anomalous) == 0.5
    assert roc_auc(*Ranked.of(np.ones(4), anomalous).counts()) == 0.5


def test_nan_ranks_above_all() -> None:
    assert roc_auc(*Ranked.of(np.array([np.nan, 9.0, 1.0]), np.array([True, False, False])).counts()) == 1


def test_labels_of_one_kind_are_refused() -> None:
    for anomalous, what in ((np.ones(3, bool), "anomalous"), (np.zeros(3, bool), "normal")):
        with pytest.raises(DataError, match=f"labels: got {what} samples alone, must be of both kinds"):
            Ranked.of(np.arange(3.0), anomalous)


def test_intervals_are_seeded_and_hold_the_true_area() -> None:
    """Two normal distributions one deviation apart: AUC = Φ(1 / √2) = 0.7602."""
    anomalous = np.arange(2000) < 1000
    scores = RNG.normal(size=2000) + anomalous
    found = detection("x", scores, scores > 1, anomalous, 0)
    assert found == detection("x", scores, scores > 1, anomalous, 0) != detection("x", scores, scores > 1, anomalous, 1)
    area = found.roc_auc
    assert area.low < 0.7602 < area.high and area.low < area.value < area.high
    assert 0.03 < area.high - area.low < 0.06, "about 4 standard errors of Hanley & McNeil 1982, 0.0106"


def test_labels_are_measured_against_all_normal_samples() -> None:
    labels = np.array(["a", "b", "c"])[np.arange(30) % 3]
    scores, anomalous = np.where(labels == "c", 2.0, np.where(labels == "b", 1.0, 0.0)), labels == "c"
    rows = by_label(scores, scores > 0.5, labels, anomalous, 0)
    assert [(row.label, row.normal, row.samples, row.flagged) for row in rows] == [
        ("a", True, 10, 0),
        ("b", True, 10, 10),
        ("c", False, 10, 10),
    ]
    assert rows[0].roc_auc is None and rows[2].roc_auc is not None and rows[2].roc_auc.value == 1
