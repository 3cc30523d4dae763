"""Measure what the verdict rests on: the program against baselines on the same test samples, and which units it uses.

The interval of a difference is that of the paired bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 16): samples are drawn, and both methods are measured on the same draw. Equal samples are drawn together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import FormatError, InputError
from tiedae.base.numbers import number
from tiedae.bundle.bundle import TASK_FILE, Bundle
from tiedae.bundle.reference_outputs import layer_outputs
from tiedae.bundle.results import FILE, Check, Metrics, read_metrics
from tiedae.bundle.verdict import AREAS, TITLES, Criterion, LayerUse, MethodComparison, Uncompared, Verdict, findings
from tiedae.codec.backends import ProgramBackend, program_of
from tiedae.data.equal_rows import numbered
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.program.interpreter import execute
from tiedae.program.tensors import flat

from .ranking import Ranked, average_precision, estimates, roc_auc
from .row import Contest, TaskMeasurement

RESAMPLES = 1000
OBSERVED = 2_000
"""Test samples whose units and outputs are looked at, at most."""


def judge(
    measured: TaskMeasurement, backend: ProgramBackend, tested: Samples, test: Samples, seed: int, *, for_rate: bool = False
) -> Verdict:
    """The verdict on a task's result; `for_rate`: see `Verdict`.

    `tested`: test samples as the program is given them, of noisy ones the first alone; `test`: all test samples, of which the
    task's are.
    """
    taken = tested.take(np.arange(min(len(tested), OBSERVED)))
    layers, constant = layer_use(backend, taken)
    contest = measured.contest
    equal = np.arange(0) if contest is None else numbered(test.select(contest.rows).wanted)
    compared = () if contest is None else comparisons(contest, seed, equal)
    samples, different = len(equal), len(np.unique(equal))
    uncompared = () if contest is None else tuple(Uncompared(*each) for each in contest.uncompared.items())
    verdict = Verdict(samples, len(taken), seed, RESAMPLES, compared, layers, constant, for_rate, uncompared=uncompared)
    verdict = replace(verdict, different=different if different < samples else None)
    return replace(verdict, findings=findings(verdict, measured.result))


def with_verdict(
    metrics: Metrics, bundle: Bundle, tested: Samples | None, test: Samples | None, measured: TaskMeasurement | None
) -> Metrics:
    """Metrics of a verification with a verdict.

    With `measured`, the task without other methods on the run's test samples, it is measured again, against what the bundle
    keeps of each baseline: none is fitted again. Else it is the run's. What prevents it is a skipped row. `tested` and `test`
    as in `judge`.
    """
    try:
        bundle.require_intact([FILE])
        before = read_metrics(bundle.path / FILE)
        if before.verdict is None:
            return _skipping(metrics, Why.UNAVAILABLE, "the bundle keeps none")
        if tested is None or test is None:
            return _keeping(metrics, before.verdict, Why.NO_SAMPLES, "no test samples given")
        if before.samples is None or tested.sha256 != before.samples.sha256:
            return _keeping(metrics, before.verdict, Why.NOT_COMPARABLE, "other test samples than the run's")
        if measured is None:
            return _keeping(metrics, before.verdict, Why.UNAVAILABLE, "the task was not measured")
        return replace(metrics, verdict=_again(before.verdict, bundle, tested, test, measured))
    except (FormatError, InputError) as error:
        return _skipping(metrics, Why.UNAVAILABLE, str(error))


def _keeping(metrics: Metrics, verdict: Verdict, why: Why, reason: str) -> Metrics:
    return _skipping(replace(metrics, verdict=replace(verdict, kept=True)), why, f"{reason}; the run's is shown")


def _skipping(metrics: Metrics, why: Why, reason: str) -> Metrics:
    return replace(metrics, skipped=(*metrics.skipped, Skipped(Kind.VERDICT, why, "verdict", reason)))


def _again(kept: Verdict, bundle: Bundle, tested: Samples, test: Samples, measured: TaskMeasurement) -> Verdict:
    manifest = bundle.manifest
    backend = ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io, manifest.integer_maps)
    contest = measured.contest
    if contest is not None and (kept.comparisons or kept.uncompared):
        measured = dataclasses.replace(measured, contest=_beside_kept(contest, kept, bundle))
    return judge(measured, backend, tested, test, kept.seed, for_rate=kept.for_rate)


def _beside_kept(contest: Contest, kept: Verdict, bundle: Bundle) -> Contest:
    """What the program adds to its figure now, beside what the run kept of its baselines for the same samples."""
    names, arrays = kept.baselines, bundle.task_arrays()
    rows, figures = arrays.get("compared"), arrays.get("figures")
    if rows is None or figures is None or figures.shape != (1 + len(names), len(contest.rows)):
        raise FormatError(
            f"{bundle.path}: its task/ holds no figures of {len(names)} baselines and {len(contest.rows)} samples"
        )
    if not np.array_equal(rows, contest.rows):
        raise FormatError(f"{bundle.path / TASK_FILE}: got other test samples than those that are measured")
    if kept.comparisons and (before := {row.criterion for row in kept.comparisons}) != {*criteria_of(contest)}:
        got, right = (", ".join(sorted(each)) for each in (before, criteria_of(contest)))
        raise FormatError(f"{bundle.path}: its baselines were measured by {got}, today by {right}; run the recipe again")
    settings = {row.baseline: row.setting for row in kept.comparisons if row.setting}
    uncompared = {row.baseline: row.reason for row in kept.uncompared}
    baselines = dict(zip(names, figures[1:], strict=True))
    return dataclasses.replace(contest, baselines=baselines, settings=settings, uncompared=uncompared)


def better_than(verdict: Verdict | None, names: Sequence[str]) -> tuple[Check, ...]:
    """A check for each baseline that `[verify] better_than` names: the program is better beyond noise."""
    return tuple(_better(verdict, name) for name in names)


def _better(verdict: Verdict | None, name: str) -> Check:
    rows = [] if verdict is None else verdict.by(name)
    if not rows:
        reasons = () if verdict is None else verdict.uncompared
        why = next((f": {each.reason}" for each in reasons if each.baseline == name), "")
        return Check(Kind.VERDICT, False, "not compared", "> 0", f"{TITLES[name]}: was not compared with{why}", detail=name)
    row = next((row for row in rows if row.worse), max(rows, key=lambda row: row.better))
    interval = f"95 % interval {number(row.gain.low)} to {number(row.gain.high)}"
    text = f"gain over {row.title}: {number(row.gain.value)} in {row.criterion}, {interval}"
    equal = all(each.perfect for each in rows)
    return Check(Kind.VERDICT, row.better or equal, row.gain.low, ">= 0" if equal else "> 0", text, detail=name)


def comparisons(contest: Contest, seed: int, equal: np.ndarray | None = None) -> tuple[MethodComparison, ...]:
    """The program against each baseline, all on the same resamples, detectors by two areas.

    Areas: normal and anomalous samples are drawn apart. `equal`: int64 [n], one number for equal samples; None: all differ.
    """
    names, criteria = list(contest.baselines), criteria_of(contest)
    if not names:
        return ()
    statistics = [_figures(contest, values) for values in contest.arrays["figures"]]
    ours, *theirs = (figures(None) for figures in statistics)

    def gains(weights: np.ndarray | None) -> list[float]:
        own, *others = (figures(weights) for figures in statistics)
        return [each.sign * (a - b) for other in others for each, a, b in zip(criteria, own, other, strict=True)]

    found = iter(estimates(gains, contest.groups, seed, RESAMPLES, equal))
    return tuple(
        MethodComparison(name, criterion, own, other, next(found), contest.settings.get(name, ""))
        for name, others in zip(names, theirs, strict=True)
        for criterion, own, other in zip(criteria, ours, others, strict=True)
    )


def criteria_of(contest: Contest) -> tuple[Criterion, ...]:
    """What a contest is judged by: both areas of a detector, else its criterion."""
    return (contest.criterion,) if contest.anomalous is None else AREAS


def _figures(contest: Contest, values: np.ndarray) -> Callable[[np.ndarray | None], list[float]]:
    """The figures of `criteria_of`, of samples that count `weights` times."""
    if contest.anomalous is None:
        return lambda weights: [float(values.mean(dtype=np.float64) if weights is None else weights @ values / weights.sum())]
    ranked = Ranked.of(values, contest.anomalous)

    def areas(weights: np.ndarray | None) -> list[float]:
        counts = ranked.counts(weights)
        return [roc_auc(*counts), average_precision(*counts)]

    return areas


def layer_use(backend: ProgramBackend, x: np.ndarray) -> tuple[tuple[LayerUse, ...], bool]:
    """Which units of each layer have one value on all samples [n, inputs], and whether every output has."""
    values = execute(backend.program, "reconstruct", backend.input(x))
    outputs = {name: flat(values[name]) for name in layer_outputs(backend.program)}
    dead = {name: (units == units[0]).all(axis=0) for name, units in outputs.items()}
    uses = (LayerUse(name, len(each), tuple(np.flatnonzero(each).tolist())) for name, each in dead.items() if name != "y")
    return tuple(uses), bool(dead["y"].all())
