"""Measure what the verdict rests on: the program against baselines on the same test samples, and which units it uses.

The interval of a difference is that of the paired bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993,
chapter 16): samples are drawn, and both methods are measured on the same draw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from tiedae.bundle.bundle import Bundle, task_file
from tiedae.bundle.reference_outputs import layer_outputs
from tiedae.bundle.results import FILE, Check, Metrics, read_metrics
from tiedae.bundle.verdict import TITLES, LayerUse, MethodComparison, Uncompared, Verdict, findings
from tiedae.codec.backends import ProgramBackend, program_of
from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.numbers import number
from tiedae.compress.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.program.interpreter import execute
from tiedae.program.tensors import flat

from .ranking import Ranked, average_precision, estimates, roc_auc
from .row import Contest, Statistic, TaskMeasurement

RESAMPLES = 1000
OBSERVED = 2_000
"""Test samples whose units and outputs are looked at, at most."""


def judge(measured: TaskMeasurement, backend: ProgramBackend, tested: Samples, seed: int, *, for_rate: bool = False) -> Verdict:
    """The verdict on a task's result; `tested`: the test samples as the program is given them; `for_rate`: see `Verdict`."""
    taken = tested.take(np.arange(min(len(tested), OBSERVED)))
    layers, constant = layer_use(backend, taken)
    contest = measured.contest
    compared = () if contest is None else comparisons(contest, seed)
    samples = 0 if contest is None else len(contest.own)
    uncompared = () if contest is None else tuple(Uncompared(*each) for each in contest.uncompared.items())
    verdict = Verdict(samples, len(taken), seed, RESAMPLES, compared, layers, constant, for_rate, uncompared=uncompared)
    return replace(verdict, findings=findings(verdict, measured.result))


def with_verdict(metrics: Metrics, bundle: Bundle, tested: Samples | None, measured: TaskMeasurement | None) -> Metrics:
    """Metrics of a verification with a verdict.

    With `measured`, the task without other methods on the test samples `tested` of the run, it is measured again, against what
    the bundle keeps of each baseline: none is fitted again. Else it is the run's. What prevents it is a skipped row.
    """
    try:
        bundle.require_intact([FILE])
        before = read_metrics(bundle.path / FILE)
        if before.verdict is None:
            return _skipping(metrics, Why.UNAVAILABLE, "the bundle keeps none")
        if tested is None:
            return _keeping(metrics, before.verdict, Why.NO_SAMPLES, "no test samples given")
        if before.samples is None or tested.sha256 != before.samples.sha256:
            return _keeping(metrics, before.verdict, Why.NOT_COMPARABLE, "other test samples than the run's")
        if measured is None:
            return _keeping(metrics, before.verdict, Why.UNAVAILABLE, "the task was not measured")
        return replace(metrics, verdict=_again(before.verdict, bundle, tested, measured))
    except (FormatError, InputError) as error:
        return _skipping(metrics, Why.UNAVAILABLE, str(error))


def _keeping(metrics: Metrics, verdict: Verdict, why: Why, reason: str) -> Metrics:
    return _skipping(replace(metrics, verdict=replace(verdict, kept=True)), why, f"{reason}; the run's is shown")


def _skipping(metrics: Metrics, why: Why, reason: str) -> Metrics:
    return replace(metrics, skipped=(*metrics.skipped, Skipped(Kind.VERDICT, why, "verdict", reason)))


def _again(kept: Verdict, bundle: Bundle, tested: Samples, measured: TaskMeasurement) -> Verdict:
    manifest = bundle.manifest
    backend = ProgramBackend(program_of(bundle), manifest.data.spec, manifest.io, manifest.integer_maps)
    contest = measured.contest
    if contest is not None and (kept.comparisons or kept.uncompared):
        measured = dataclasses.replace(measured, contest=_beside_kept(contest, kept, bundle))
    return judge(measured, backend, tested, kept.seed, for_rate=kept.for_rate)


def _beside_kept(contest: Contest, kept: Verdict, bundle: Bundle) -> Contest:
    """What the program adds to its figure now, beside what the run kept of its baselines for the same samples."""
    names, arrays = [row.baseline for row in kept.comparisons], bundle.task_arrays()
    rows, figures = arrays.get("compared"), arrays.get("figures")
    if rows is None or figures is None or figures.shape != (1 + len(names), len(contest.rows)):
        raise FormatError(
            f"{bundle.path}: its task/ holds no figures of {len(names)} baselines and {len(contest.rows)} samples"
        )
    if not np.array_equal(rows, contest.rows):
        raise FormatError(f"{bundle.path / task_file('compared')}: got other test samples than those that are measured")
    settings = {row.baseline: row.setting for row in kept.comparisons if row.setting}
    uncompared = {row.baseline: row.reason for row in kept.uncompared}
    baselines = dict(zip(names, figures[1:], strict=True))
    return dataclasses.replace(contest, baselines=baselines, settings=settings, uncompared=uncompared)


def better_than(verdict: Verdict | None, names: Sequence[str]) -> tuple[Check, ...]:
    """A check for each baseline that `[verify] better_than` names: the program is better beyond noise."""
    return tuple(_better(verdict, name) for name in names)


def _better(verdict: Verdict | None, name: str) -> Check:
    row = None if verdict is None else verdict.against(name)
    if row is None:
        reasons = () if verdict is None else verdict.uncompared
        why = next((f": {each.reason}" for each in reasons if each.baseline == name), "")
        return Check(Kind.VERDICT, False, "not compared", "> 0", f"{TITLES[name]}: was not compared with{why}", detail=name)
    interval = f"95 % interval {number(row.gain.low)} to {number(row.gain.high)}"
    text = f"gain over {row.title}: {number(row.gain.value)} in {row.criterion}, {interval}"
    return Check(Kind.VERDICT, row.better, row.gain.low, "> 0", text, detail=name)


def comparisons(contest: Contest, seed: int) -> tuple[MethodComparison, ...]:
    """The program against each baseline, all on the same resamples. Areas: normal and anomalous samples are drawn apart."""
    criterion, names = contest.criterion, list(contest.baselines)
    if not names:
        return ()
    statistics = [_statistic(contest, values) for values in contest.arrays["figures"]]
    ours, *theirs = (statistic(None) for statistic in statistics)

    def gains(weights: np.ndarray | None) -> list[float]:
        own, *others = (statistic(weights) for statistic in statistics)
        return [criterion.sign * (own - other) for other in others]

    areas: list[tuple[float, float] | None] = [None] * len(names)
    if contest.anomalous is not None:
        own, *others = (average_precision(*Ranked.of(each, contest.anomalous).counts()) for each in contest.arrays["figures"])
        areas = [(own, other) for other in others]
    return tuple(
        MethodComparison(name, criterion, ours, value, gain, contest.settings.get(name, ""), area)
        for name, value, gain, area in zip(names, theirs, estimates(gains, contest.groups, seed, RESAMPLES), areas, strict=True)
    )


def _statistic(contest: Contest, values: np.ndarray) -> Statistic:
    if contest.anomalous is None:
        return lambda weights: float(values.mean(dtype=np.float64) if weights is None else weights @ values / len(values))
    ranked = Ranked.of(values, contest.anomalous)
    return lambda weights: roc_auc(*ranked.counts(weights))


def layer_use(backend: ProgramBackend, x: np.ndarray) -> tuple[tuple[LayerUse, ...], bool]:
    """Which units of each layer have one value on all samples [n, inputs], and whether every output has."""
    values = execute(backend.program, "reconstruct", backend.input(x))
    outputs = {name: flat(values[name]) for name in layer_outputs(backend.program)}
    dead = {name: (units == units[0]).all(axis=0) for name, units in outputs.items()}
    uses = (LayerUse(name, len(each), tuple(np.flatnonzero(each).tolist())) for name, each in dead.items() if name != "y")
    return tuple(uses), bool(dead["y"].all())
