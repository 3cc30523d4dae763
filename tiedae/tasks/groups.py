"""The figures of each group of test samples, such as a machine, through the exported int8 program, whatever the task."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from tiedae.bundle.results import GroupFigures
from tiedae.data.dataset import choose
from tiedae.data.labels import label_text
from tiedae.data.normal import measured_rows, normal_rows

from .anomaly import SAMPLES, program_errors
from .ranking import Ranked, estimates, roc_auc
from .row import Exported


def measure(exported: Exported) -> tuple[GroupFigures, ...]:
    """A row per group of the test samples, none where these have none; errors are squared, in scaled values, or the scores of
    an anomaly task. Quality is that of normal samples, where a group has some."""
    test, seed = exported.data.test, exported.data.config.seed
    if test.groups is None:
        return ()
    rows = choose(test, SAMPLES, seed)
    x, wanted, groups = test.take(rows), test.wanted.take(rows), np.asarray(test.groups)[rows]
    y = exported.model.scaled_values(exported.model.reconstruct(x)[1])
    normal = normal_rows(test, exported.recipe.task, rows)
    flags, scores = None, np.square(exported.data.scaling.apply(wanted) - y).mean(axis=1)
    anomalous = None
    if (detector := exported.detector) is not None:
        totals = detector.scoring.totals(program_errors(exported, detector.scoring, x))
        scores = totals * detector.scoring.factor
        flags = totals > getattr(detector.thresholds, exported.model.layout)
        anomalous = None if normal is None else ~normal
    figures = by_group(groups, scores, flags, anomalous, seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    measured = [own[measured_rows(len(own), None if normal is None else normal[own])] for own in members]
    fits = [exported.fidelity.measure(wanted[own], y[own]) for own in measured]
    return tuple(replace(row, fidelity=fit) for row, fit in zip(figures, fits, strict=True))


def by_group(
    groups: np.ndarray, scores: np.ndarray, flags: np.ndarray | None, anomalous: np.ndarray | None, seed: int
) -> tuple[GroupFigures, ...]:
    """The figures of scores [n], NaN for a sample without one, by group [n], in its order; `seed` of the intervals."""
    rows = []
    for group in np.unique(groups).tolist():
        own = groups == group
        whole = scores[own & ~np.isnan(scores)]
        row = GroupFigures(label_text(group), int(own.sum()), float(whole.mean()) if len(whole) else None)
        if flags is not None:
            row = replace(row, flagged=int(flags[own].sum()))
        if flags is not None and anomalous is not None:
            odd = anomalous[own]
            row = replace(row, normal=int((~odd).sum()), false_alarms=int((flags[own] & ~odd).sum()))
            if odd.any() and not odd.all():
                ranked = Ranked.of(scores[own], odd)
                (area,) = estimates(lambda weights, ranked=ranked: [roc_auc(*ranked.counts(weights))], odd, seed)
                row = replace(row, roc_auc=area)
        rows.append(row)
    return tuple(rows)
