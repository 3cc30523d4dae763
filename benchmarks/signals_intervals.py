"""The row of intervals, see `signals.py`: the model of `tiedae demo --data ecg-anomaly` and five kinds of faults.

Each kind is injected into copies of the test part of the ECG, at `PLACEMENTS` sets of random places: the six faults of a kind
in the demo say little of it. The area is over intervals: each has the largest score of its windows, against those that overlap
none. The lowest of the five kinds' mean areas is compared with PCA's lowest. Layers, score, stride and epochs were chosen on
the validation part of the record, with faults of these kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median

import numpy as np
from anomaly import SEEDS, exported
from msgspec.structs import replace
from rows import Row
from tiedae.arrays import Arrays, Interval, Stretch
from tiedae.console import Console
from tiedae.data_sets import ASSETS, ECG_RATE
from tiedae.injections import INJECTIONS, injected
from tiedae.intervals import with_intervals
from tiedae.recipe import check_inputs, load_recipe
from tiedae.sources import recipe_data
from tiedae.tasks import anomaly
from tiedae.tasks.ranking import Ranked, roc_auc

PLACEMENTS = 8
EVERY = 4.0
"""Seconds that hold one fault."""
LENGTHS = {kind: 0.04 if kind == "dropout" else 2.0 for kind in INJECTIONS}
"""Of a fault, in seconds, as in the record of the demo."""


def interval_rows(console: Console, seeds: Sequence[int] = SEEDS) -> Sequence[Row]:
    recipe, gains, texts = load_recipe(ASSETS / "ecg-anomaly.toml"), [], []
    recipe = replace(recipe, data=replace(recipe.data, source="ecg"))  # whose training and validation windows are the same
    for seed in seeds:
        seeded = replace(recipe, train=replace(recipe.train, seed=seed))
        splits = recipe_data(seeded, ASSETS)
        found = exported(check_inputs(seeded, splits.train.shape), splits, console)
        assert found.detector is not None
        scoring, clean = found.detector.scoring, splits.test.take(slice(None))
        pca = anomaly.other_methods(found, scoring)[0][anomaly.PCA]

        def int8(x: np.ndarray, found: anomaly.Exported = found, scoring: anomaly.Scoring = scoring) -> np.ndarray:
            return scoring.totals(anomaly.program_errors(found, scoring, x)) * scoring.factor

        areas = {kind: [mean(own) for own in zip(*areas_of(clean, kind, [int8, pca]), strict=True)] for kind in INJECTIONS}
        for kind, (ours, theirs) in areas.items():
            console.note(f"seed {seed}, {kind}: int8 {ours:.4f}, PCA {theirs:.4f}")
        lowest, of_pca = (min(areas, key=lambda kind, i=i: areas[kind][i]) for i in (0, 1))
        gains.append(areas[lowest][0] - areas[of_pca][1])
        texts.append(f"{gains[-1]:.4f} ({lowest}, {areas[lowest][0]:.4f}; PCA: {of_pca}, {areas[of_pca][1]:.4f})")
    return [Row("interval_auc_gain", median(gains), "", ">= 0.0", ">= 0.05", f"seeds: {', '.join(texts)}")]


def areas_of(clean: np.ndarray, kind: str, scores: Sequence[anomaly.Score]) -> list[list[float]]:
    """The area of each score, for each placement of faults of a kind in windows [n, t] that follow each other."""
    record, rows = clean.reshape(-1), []
    for placement in range(PLACEMENTS):
        marks = places_of(kind, len(record) / ECG_RATE, placement)
        x = injected(record, marks, ECG_RATE, 1024, 200).reshape(clean.shape)
        windows = Arrays(x, stretches=(Stretch("", len(x)),))
        found = with_intervals(windows, Arrays(record), marks, ECG_RATE, "ecg").intervals
        assert found is not None
        anomalous = found.pooled_labels == kind
        rows.append([roc_auc(*Ranked.of(found.pooled(score(x)), anomalous).counts()) for score in scores])
    return rows


def places_of(kind: str, seconds: float, placement: int) -> list[Interval]:
    rng, length = np.random.default_rng([placement, list(INJECTIONS).index(kind)]), LENGTHS[kind]
    starts = EVERY * np.arange(seconds // EVERY) + rng.uniform(0, EVERY - length, int(seconds // EVERY))
    return [Interval(start, start + length, kind) for start in starts.tolist()]
