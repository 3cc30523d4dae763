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
from anomaly import SEEDS, compared, exported, lowest_gain
from msgspec.structs import replace
from rows import Row

from tiedae.data.arrays import Arrays, Interval, Stretch
from tiedae.data.data_sets import ASSETS, ECG_GAIN, ECG_RATE, ECG_ZERO
from tiedae.data.injections import INJECTIONS, injected
from tiedae.data.interval_files import read_intervals, with_intervals
from tiedae.pipeline.recipe import check_inputs, load_recipe
from tiedae.pipeline.sources import recipe_data
from tiedae.report.console import Console
from tiedae.tasks import anomaly
from tiedae.tasks.ranking import Ranked, roc_auc

PLACEMENTS = 8
EVERY = 4.0
"""Seconds that hold one fault."""
LENGTHS = {each.kind: round(each.end - each.start, 2) for each in read_intervals(ASSETS / "ecg" / "faults.csv")}
"""Seconds of a fault, by kind, as in the demo."""


def interval_rows(console: Console, seeds: Sequence[int] = SEEDS) -> Sequence[Row]:
    recipe, gains, texts = load_recipe(ASSETS / "ecg-anomaly.toml"), [], []
    recipe = replace(recipe, data=replace(recipe.data, source="ecg"))  # whose training and validation windows are the same
    for seed in seeds:
        seeded = replace(recipe, train=replace(recipe.train, seed=seed))
        splits = recipe_data(seeded, ASSETS)
        scores = compared(exported(check_inputs(seeded, splits.train.shape), splits, console))
        clean = splits.test.take(slice(None))
        areas = {kind: [mean(own) for own in zip(*areas_of(clean, kind, scores), strict=True)] for kind in INJECTIONS}
        gain, text = lowest_gain(areas, seed, console)
        gains.append(gain)
        texts.append(text)
    return [Row("interval_auc_gain", median(gains), "", ">= 0.0", ">= 0.05", f"seeds: {', '.join(texts)}")]


def areas_of(clean: np.ndarray, kind: str, scores: Sequence[anomaly.Score]) -> list[list[float]]:
    """The area of each score, for each placement of faults of a kind in windows [n, t] that follow each other."""
    record, rows = clean.reshape(-1), []
    for placement in range(PLACEMENTS):
        marks = places_of(kind, len(record) / ECG_RATE, placement)
        x = injected(record, marks, ECG_RATE, ECG_ZERO, ECG_GAIN).reshape(clean.shape)
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
