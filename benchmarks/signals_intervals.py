"""The row of intervals, see `signals.py`: the recipe of `tiedae demo --data ecg-anomaly`, a record with five kinds of faults.

The area is over intervals: each has the largest score of its windows, against the test windows that overlap none. The lowest
area of the five kinds is compared with PCA's lowest. Layers, score and epochs were chosen on the validation part of the
record, with faults of these kinds at other places.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from anomaly import SEEDS, exported
from msgspec.structs import replace
from rows import Row
from tiedae.compress.intervals import NORMAL_WINDOW, Intervals
from tiedae.console import Console
from tiedae.data_sets import ASSETS
from tiedae.recipe import check_inputs, load_recipe
from tiedae.sources import recipe_data
from tiedae.tasks import anomaly
from tiedae.tasks.ranking import Ranked, roc_auc


def interval_rows(console: Console, seeds: Sequence[int] = SEEDS) -> Sequence[Row]:
    recipe, gains, texts = load_recipe(ASSETS / "ecg-anomaly.toml"), [], []
    for seed in seeds:
        seeded = replace(recipe, train=replace(recipe.train, seed=seed))
        splits = recipe_data(seeded, ASSETS)
        found = exported(check_inputs(seeded, splits.train.shape), splits, console)
        intervals = found.data.test.intervals
        assert found.detector is not None and intervals is not None
        scoring, x = found.detector.scoring, found.data.test.take(slice(None))
        int8 = areas_of(scoring.totals(anomaly.program_errors(found, scoring, x)) * scoring.factor, intervals)
        pca = areas_of(anomaly.other_methods(found, scoring)[0][anomaly.PCA](x), intervals)
        for kind, area in int8.items():
            console.note(f"seed {seed}, {kind}: int8 {area:.4f}, PCA {pca[kind]:.4f}")
        (ours, own), (theirs, of_pca) = (min((area, kind) for kind, area in areas.items()) for areas in (int8, pca))
        gains.append(ours - theirs)
        texts.append(f"{gains[-1]:.4f} ({own}, {ours:.4f}; PCA: {of_pca}, {theirs:.4f})")
    return [Row("interval_auc_gain", median(gains), "", ">= 0.0", ">= 0.05", f"seeds: {', '.join(texts)}")]


def areas_of(scores: np.ndarray, intervals: Intervals) -> dict[str, float]:
    """Of each kind the ROC-AUC of its intervals against the windows that overlap none; `scores`: float64 [windows]."""
    values, labels = intervals.pooled(scores), intervals.pooled_labels
    areas = {}
    for kind in np.unique(intervals.kinds).tolist():
        chosen = np.isin(labels, [kind, NORMAL_WINDOW])
        areas[kind] = roc_auc(*Ranked.of(values[chosen], labels[chosen] == kind).counts())
    return areas
