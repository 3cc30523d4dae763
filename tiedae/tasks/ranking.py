"""How well scores tell anomalies from normal samples: areas under the ROC and the precision-recall curve, and F1.

Intervals are bootstrap percentiles (Efron 1979), normal and anomalous samples drawn apart, each as many as there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from tiedae.base.errors import DataError
from tiedae.bundle.task_results import Detection, Estimate, IntervalFlags, LabelFlags, Scorer
from tiedae.data.intervals import Intervals
from tiedae.data.labels import Label, label_text
from tiedae.data.normal import is_normal

RESAMPLES = 500
LEVEL = 0.95
"""Of the intervals."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """Samples by descending score: `order` int64 [n], and `ends` int64 [k], the last place of each distinct score."""

    order: np.ndarray
    ends: np.ndarray
    anomalous: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, anomalous: np.ndarray) -> Self:
        """`scores`: float64 [n], NaN above all others; `anomalous`: bool [n].

        Raises DataError unless there are both anomalous and normal samples.
        """
        if scores.shape != anomalous.shape or scores.ndim != 1:
            raise DataError(f"got scores {list(scores.shape)} and labels {list(anomalous.shape)}, must be [n] both")
        if anomalous.all() or not anomalous.any():
            raise DataError(f"labels: got {'anomalous' if anomalous.any() else 'normal'} samples alone, must be of both kinds")
        filled = np.where(np.isnan(scores), np.inf, scores)
        order = np.argsort(-filled, kind="stable")
        descending = filled[order]
        ends = np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(order) - 1)
        return cls(order, ends, anomalous)

    def counts(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Anomalous and normal samples that score at least each distinct score, float64 [k]; each counts `weights` times."""
        weights = np.ones(len(self.order)) if weights is None else weights
        hits = np.where(self.anomalous, weights, 0.0)[self.order]
        return hits.cumsum()[self.ends], (weights[self.order] - hits).cumsum()[self.ends]


def roc_auc(hits: np.ndarray, alarms: np.ndarray) -> float:
    """The area under the ROC curve of `Ranked.counts`: the probability that an anomalous sample scores above a normal one, half
    where they are equal (Fawcett 2006)."""
    heights = hits + np.concatenate([[0.0], hits[:-1]])
    return float((np.diff(alarms, prepend=0.0) * heights).sum() / (2 * hits[-1] * alarms[-1]))


def average_precision(hits: np.ndarray, alarms: np.ndarray) -> float:
    """Σ (recallₖ − recallₖ₋₁) · precisionₖ over the distinct scores, without interpolation (Davis & Goadrich 2006)."""
    steps = np.diff(hits, prepend=0.0)
    return float((steps * hits / np.maximum(hits + alarms, 1.0)).sum() / hits[-1])


def f1(flags: np.ndarray, anomalous: np.ndarray, weights: np.ndarray | None = None) -> float:
    """2 · hits / (flagged + anomalous samples), 0 where there are no hits."""
    weights = np.ones(len(flags)) if weights is None else weights
    return float(2 * weights[flags & anomalous].sum() / max(1.0, weights[flags].sum() + weights[anomalous].sum()))


def detection(method: Scorer, scores: np.ndarray, flags: np.ndarray, anomalous: np.ndarray, seed: int) -> Detection:
    """The figures of scores, float64 [n], and flags, bool [n], with intervals drawn by the seed. Raises as `Ranked.of`."""
    ranked = Ranked.of(scores, anomalous)

    def figures(weights: np.ndarray | None) -> list[float]:
        counts = ranked.counts(weights)
        return [roc_auc(*counts), average_precision(*counts), f1(flags, anomalous, weights)]

    return Detection(method, *estimates(figures, anomalous, seed))


def by_label(
    scores: np.ndarray, flags: np.ndarray, labels: np.ndarray, anomalous: np.ndarray, seed: int
) -> tuple[LabelFlags, ...]:
    """A row per label [n], in words, in the order of the labels; of anomalous ones the ROC-AUC against all normal samples."""
    rows = []
    for label in np.unique(labels).tolist():
        own = labels == label
        odd = bool(anomalous[own].any())
        area = None
        if odd and not anomalous.all():
            chosen = own | ~anomalous
            ranked = Ranked.of(scores[chosen], anomalous[chosen])
            (area,) = estimates(lambda weights, ranked=ranked: [roc_auc(*ranked.counts(weights))], anomalous[chosen], seed)
        rows.append(LabelFlags(label_text(label), not odd, int(own.sum()), int(flags[own].sum()), area))
    return tuple(rows)


def by_interval(
    scored: Mapping[Scorer, tuple[np.ndarray, np.ndarray]], intervals: Intervals, normal: Sequence[Label], seed: int
) -> IntervalFlags | None:
    """The figures over intervals, by method, of its scores and flags of the windows [n]; labels by those of the first method.

    None without both an interval and a window that overlaps none.
    """
    labels = intervals.pooled_labels
    anomalous = ~is_normal(labels, normal)
    if anomalous.all() or not anomalous.any():
        return None
    pooled: dict[Scorer, tuple[np.ndarray, np.ndarray]] = {
        name: (intervals.pooled(scores), intervals.pooled(flags)) for name, (scores, flags) in scored.items()
    }
    methods = [detection(name, *own, anomalous, seed) for name, own in pooled.items()]
    scores, flags = next(iter(pooled.values()))
    return IntervalFlags(tuple(methods), by_label(scores, flags, labels, anomalous, seed))


def estimates(
    statistics: Callable[[np.ndarray | None], list[float]],
    anomalous: np.ndarray,
    seed: int,
    count: int = RESAMPLES,
    clusters: np.ndarray | None = None,
) -> list[Estimate]:
    """Statistics of weighted samples with their intervals of `count` resamples; all statistics are of the same draws.

    `clusters`: int64 [n], the same number for samples that are drawn together; None: each is drawn alone.
    """
    clusters = np.arange(len(anomalous)) if clusters is None else clusters
    drawn = np.array([statistics(weights) for weights in _resamples(anomalous, clusters, seed, count)])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Estimate(*each) for each in zip(statistics(None), low.tolist(), high.tolist(), strict=True)]


def _resamples(anomalous: np.ndarray, clusters: np.ndarray, seed: int, count: int) -> Iterator[np.ndarray]:
    """How often each sample is drawn, float64 [n], for each of `count` resamples; anomalous and other samples apart."""
    rng = np.random.default_rng(seed)
    strata = [rows for rows in (np.flatnonzero(anomalous), np.flatnonzero(~anomalous)) if len(rows)]
    members = [np.unique(clusters[rows], return_inverse=True)[1].reshape(-1) for rows in strata]
    for _ in range(count):
        weights = np.zeros(len(anomalous))
        for rows, numbers in zip(strata, members, strict=True):
            size = numbers.max() + 1
            weights[rows] = np.bincount(rng.integers(0, size, size), minlength=size)[numbers]
        yield weights
