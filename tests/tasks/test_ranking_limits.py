"""Intervals of figures against NumPy's quantiles of the same draws, and what is not measured."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.base.errors import DataError
from tiedae.bundle.task_results import Estimate, LabelFlags
from tiedae.data.intervals import Intervals
from tiedae.tasks.ranking import Ranked, by_interval, by_label, estimates


def test_an_interval_holds_the_middle_95_percent_of_the_draws() -> None:
    values, anomalous = np.random.default_rng(0).normal(size=80), np.arange(80) < 30
    drawn: list[float] = []

    def statistics(weights: np.ndarray | None) -> list[float]:
        if weights is None:
            return [float(values.mean()), 0.0]
        assert weights[anomalous].sum() == 30 and weights[~anomalous].sum() == 50, "each kind as often as it is there"
        drawn.append(float(weights @ values) / 80)
        return [drawn[-1], 1.0]

    mean, constant = estimates(statistics, anomalous, 3)
    assert len(drawn) == 500 and constant == Estimate(0.0, 1.0, 1.0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert mean.value == values.mean() and mean.low == pytest.approx(low) and mean.high == pytest.approx(high)


@pytest.mark.parametrize(
    ("ranges", "kinds"),
    [
        ([[0, 0], [0, 0]], []),
        ([[0, 1], [0, 1]], ["a"]),
    ],
    ids=["no interval", "no window beside them"],
)
def test_intervals_are_measured_beside_windows_of_none(ranges: list[list[int]], kinds: list[str]) -> None:
    found = Intervals(np.array(ranges), np.array(kinds, str))
    scores = np.array([1.0, 2.0])
    assert by_interval({"int8": (scores, scores > 1.5)}, found, (), 0) is None


def test_anomalies_alone_have_no_area() -> None:
    scores, odd = np.array([1.0, 2.0, 3.0]), np.ones(3, bool)
    labels = np.array(["a", "b", "b"])
    assert by_label(scores, scores > 1.5, labels, odd, 0) == (
        LabelFlags("a", False, 1, 0, None),
        LabelFlags("b", False, 2, 2, None),
    )


@pytest.mark.parametrize("shapes", [((3,), (4,)), ((2, 2), (2, 2))])
def test_scores_and_labels_are_one_per_sample(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    scores, anomalous = np.zeros(shapes[0]), np.zeros(shapes[1], bool)
    with pytest.raises(DataError, match=r"got scores \[.*\] and labels \[.*\], must be \[n\] both"):
        Ranked.of(scores, anomalous)
