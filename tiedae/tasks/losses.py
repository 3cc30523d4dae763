"""What quantization loses of a task's own figures: the int8 files against Keras float on the same test samples.

A loss above its limit fails, unless the 95 % interval of the paired bootstrap holds 0: then it may be luck of the samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import FormatError, InputError
from tiedae.base.numbers import number
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import FILE, Check, Metrics, Quality, Source, Stage, read_metrics
from tiedae.config.config import VerifyConfig
from tiedae.config.tasks import task_kind
from tiedae.export.kinds import Kind, Skipped, Why

from .ranking import estimates
from .row import Contest, HeldFigure, TaskMeasurement
from .table import TASKS

RESAMPLES = 1000


def with_losses(metrics: Metrics, manifest: Manifest, measured: TaskMeasurement | None, limits: VerifyConfig) -> Metrics:
    """The metrics with a check of each figure of the task that is held to Keras float's.

    A skipped row where the contest of `measured` has no figures of the float model.
    """
    held = TASKS[task_kind(manifest.recipe.task)].held
    if not held or measured is None or measured.contest is None:
        return metrics
    if measured.contest.keras is None:
        names, reason = ", ".join(each.title for each in held), "no Keras model given for these samples"
        row = Skipped(Kind.QUALITY, Why.NO_KERAS, f"{names} against Keras float", reason)
        return replace(metrics, skipped=(*metrics.skipped, row))
    checks = loss_checks(measured.contest, held, limits, manifest.recipe.data.seed)
    return replace(metrics, checks=(*metrics.checks, *checks))


def loss_checks(contest: Contest, held: Sequence[HeldFigure], limits: VerifyConfig, seed: int) -> Iterator[Check]:
    """A check of each figure that the contest has."""
    pairs = [(figure, pair) for figure in held if (pair := figure.pair(contest)) is not None]
    statistics = [[figure.statistic(contest, values.astype(np.float32)) for values in pair] for figure, pair in pairs]

    def losses(weights: np.ndarray | None) -> list[float]:
        drawn = zip(pairs, statistics, strict=True)
        return [figure.sign * (theirs(weights) - ours(weights)) + 0.0 for (figure, _), (ours, theirs) in drawn]

    found = estimates(losses, contest.groups, seed, RESAMPLES) if pairs else ()
    for (figure, _), both, loss in zip(pairs, statistics, found, strict=True):
        ours, theirs = (statistic(None) for statistic in both)
        lost, low, high, most = loss.value, loss.low, loss.high, figure.most(limits)
        text = f"{figure.title} {number(ours)}, {contest.float_source} {number(theirs)}: {number(lost)} lost"
        text += f", 95 % interval {number(low)} to {number(high)}, on {len(contest.own):,} test samples"
        yield Check(Kind.QUALITY, lost <= most or low <= 0, lost, f"<= {most:g} beyond noise", text, detail=figure.title)


def by_source(measured: TaskMeasurement, source: str) -> TaskMeasurement:
    """A measurement that says what measured the float model, in words."""
    if measured.contest is None:
        return measured
    return dataclasses.replace(measured, contest=dataclasses.replace(measured.contest, float_source=source))


def beside_kept(measured: TaskMeasurement, bundle: Bundle, samples: Source | None) -> TaskMeasurement:
    """A measurement with what the bundle keeps of the float model on the same test samples, where it has none of its own."""
    if measured.contest is None or measured.contest.keras is not None:
        return measured
    try:
        arrays = {} if kept_metrics(bundle, samples) is None else bundle.task_arrays()
    except FormatError:  # the changed file has a check of its own
        return measured
    if "keras" not in arrays or not np.array_equal(arrays.get("compared", ()), measured.contest.rows):
        return measured
    contest = dataclasses.replace(measured.contest, keras=arrays["keras"], keras_alarms=arrays.get("keras_alarms"))
    return dataclasses.replace(measured, contest=contest)


def own_metrics(bundle: Bundle) -> Metrics | None:
    """The metrics of a bundle if they are intact."""
    try:
        bundle.require_intact([FILE])
        return read_metrics(bundle.path / FILE)
    except (FormatError, InputError):
        return None


def kept_metrics(bundle: Bundle, samples: Source | None) -> Metrics | None:
    """The metrics of a bundle if they are of these test samples and intact."""
    before = own_metrics(bundle)
    if before is None or before.samples is None or samples is None or before.samples.sha256 != samples.sha256:
        return None
    return before


def of_quality(rows: Sequence[Quality]) -> Original:
    """What rows of quality say of the float model before compression."""
    noises = {(row.file, row.runtime): row.noise for row in rows if row.noise is not None}
    return Original(error=next((row.error for row in rows if row.stage is Stage.TRAIN), None), noises=noises)


def kept_original(bundle: Bundle, samples: Source | None) -> Original:
    """What the run measured of the float model before compression on these test samples, as far as it is known."""
    before = kept_metrics(bundle, samples)
    return of_quality(() if before is None else before.quality)
