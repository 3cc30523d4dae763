"""The verdict on a result: whether it is any good. Checks prove that files are right; a right file can still be useless.

`RULES` is one table: a reason, how it is found in what was measured, and its sentence, which only renderers ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tiedae.base.keys import Count, Positive
from tiedae.base.numbers import number
from tiedae.base.records import Record, require

from .task_results import AnomalyResult, Estimate, TaskResult

OFF = 2.0
"""An alarm rate is wrong from this factor on."""
DEAD = 0.5
"""A hidden layer is reported from this fraction of dead units on; a few cost little. Of the code every dead unit is, but with
training for rate, which leaves units without a bit on purpose: then as of a hidden layer."""
LITTLE = 0.5
"""A result keeps little from this fraction of the error of the mean of the training samples on."""
FEW_FLAGGED = 0.5
"""A threshold is no good where it flags less than this fraction of the anomalies, although…"""
CLEAR = 0.8
"""…the ROC-AUC is above this."""
LEVEL = 0.95
"""Of the interval that an alarm count has to leave."""
SHOWN = 8
"""Units that a sentence names at most."""


class Reason(StrEnum):
    """Why a result is no good."""

    WORSE = "worse than a baseline"
    NO_BETTER = "no better than a baseline"
    CONSTANT = "constant outputs"
    LITTLE = "keeps little"
    DEAD_UNITS = "dead units"
    ALARM_RATE = "alarm rate"
    BELOW_CHANCE = "AUC below 0.5"
    FEW_FLAGGED = "few anomalies flagged"
    NO_INTERVAL = "no interval found"


class Criterion(StrEnum):
    """What a task is compared by: one figure per task."""

    MSE = "mean squared error"
    UNEXPLAINED = "fraction of variance unexplained"
    SCORE = "mean score of normal samples"
    ROC_AUC = "ROC-AUC"
    PR_AUC = "PR-AUC"
    TRUSTWORTHINESS = "trustworthiness"

    @property
    def sign(self) -> int:
        """1 where larger is better, −1 where smaller is."""
        return -1 if self in (*ERRORS, Criterion.SCORE) else 1


AREAS = (Criterion.ROC_AUC, Criterion.PR_AUC)
ERRORS = (Criterion.MSE, Criterion.UNEXPLAINED)
TITLES: Mapping[str, str] = {
    "pca": "PCA",
    "mean": "the mean of the training samples",
    "input": "the noisy input",
    "median": "the median filter",
    "wavelet": "wavelet shrinkage",
    "nl-means": "non-local means",
    "isolation-forest": "IsolationForest",
    "rms": "the RMS of a window",
    "rms-differences": "the RMS of second differences",
    "log-spectra": "PCA of log spectra",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "lzma": "differences in LZMA",
    "flac": "FLAC",
}
"""Baselines in words."""


class MethodComparison(Record, frozen=True):
    """The int8 program against a baseline by a `criterion` on the same test samples.

    `gain`: how much better the program is, in the figure's unit, negative where it is worse, with the 95 % interval of the
    paired bootstrap. `setting` of the baseline. The mean squared error is per value, in the data's unit of measure,
    squared; the fraction of variance unexplained is 1 − R², the mean over the columns of a table that change. Detectors have a
    comparison by each of two areas.
    """

    baseline: str
    criterion: Criterion
    ours: float
    theirs: float
    gain: Estimate
    setting: str = ""

    @property
    def better(self) -> bool:
        """Whether the program is better beyond noise."""
        return self.gain.low > 0

    @property
    def worse(self) -> bool:
        """Whether the program is worse beyond noise."""
        return self.gain.high < 0

    @property
    def perfect(self) -> bool:
        """Whether both have an area of 1, which nothing is better than."""
        return self.criterion in AREAS and min(self.ours, self.theirs) == 1

    @property
    def title(self) -> str:
        return TITLES.get(self.baseline, self.baseline) + (f" ({self.setting})" if self.setting else "")


class Uncompared(Record, frozen=True):
    """A baseline that the program was not compared with, and why."""

    baseline: str
    reason: str

    @property
    def text(self) -> str:
        return f"{TITLES.get(self.baseline, self.baseline)}: {self.reason}"


class LayerUse(Record, frozen=True):
    """`units` of a layer of the program; `dead`: those with one value on all samples, by index."""

    layer: str
    units: Positive
    dead: tuple[Count, ...]


class Finding(Record, frozen=True):
    """A reason why a result is no good. `subject`: the baseline or layer; `value` and `limit`: what was got and expected.
    `criterion`: by which a baseline was compared."""

    reason: Reason
    subject: str = ""
    value: float = 0.0
    limit: float = 0.0
    criterion: Criterion | None = None


class Verdict(Record, frozen=True):
    """What says whether a result is any good, and the findings that say it is not.

    `comparisons` on `samples` test samples, with `resamples` of the bootstrap, drawn by the `seed`. `layers` and `constant`
    (every output is the same) on the first `observed` test samples. `for_rate`: whether the model was trained for rate. `kept`:
    read from the bundle, not measured by this call. `uncompared`: baselines that there is no figure of. `different`: how many
    of the test samples differ, where some are equal; the bootstrap draws equal ones together.
    """

    samples: Count
    observed: Count
    seed: Count
    resamples: Positive
    comparisons: tuple[MethodComparison, ...]
    layers: tuple[LayerUse, ...]
    constant: bool
    for_rate: bool = False
    findings: tuple[Finding, ...] = ()
    kept: bool = False
    uncompared: tuple[Uncompared, ...] = ()
    different: Count | None = None

    def __post_init__(self) -> None:
        layers = [row.layer for row in self.layers]
        for i, finding in enumerate(self.findings):
            known = finding.reason is not Reason.DEAD_UNITS or finding.subject in layers
            require(known, f"findings[{i}].subject", finding.subject, f"one of {', '.join(layers)}")

    def against(self, baseline: str, criterion: Criterion | None = None) -> MethodComparison | None:
        """The comparison with a baseline, by this criterion or the first one."""
        return next((row for row in self.by(baseline) if criterion in (None, row.criterion)), None)

    def by(self, baseline: str) -> list[MethodComparison]:
        """The comparisons with a baseline, by each criterion."""
        return [row for row in self.comparisons if row.baseline == baseline]

    @property
    def samples_text(self) -> str:
        """`120 test samples, 4 of them different`."""
        different = "" if self.different is None else f", {self.different:,} of them different"
        return f"{self.samples:,} test samples{different}"

    @property
    def baselines(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.baseline for row in self.comparisons))

    def layer(self, name: str) -> LayerUse:
        return next(row for row in self.layers if row.layer == name)


Find = Callable[[Verdict, TaskResult | None], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """`find`: the findings of one reason, in a verdict without any and the task's result. `sentence`: one of them in words;
    `together`: several in one line, where there may be."""

    find: Find
    sentence: Callable[[Finding, Verdict], str]
    together: Callable[[Sequence[Finding], Verdict], str] | None = None

    def texts(self, found: Sequence[Finding], verdict: Verdict) -> list[str]:
        """The findings in words."""
        if len(found) > 1 and self.together is not None:
            return [self.together(found, verdict)]
        return [self.sentence(finding, verdict) for finding in found]


def _compared(reason: Reason, holds: Callable[[MethodComparison], bool]) -> Find:
    """A finding for each comparison of which this holds."""
    return lambda verdict, _: (_of(reason, row) for row in verdict.comparisons if holds(row))


def _of(reason: Reason, row: MethodComparison) -> Finding:
    return Finding(reason, row.baseline, row.ours, row.theirs, row.criterion)


def _no_better(verdict: Verdict, _: TaskResult | None) -> Iterator[Finding]:
    """A finding for each baseline that the program is neither better nor worse than, by any criterion."""
    for name in verdict.baselines:
        rows = [row for row in verdict.by(name) if not row.perfect]
        if rows and not any(row.better or row.worse for row in rows):
            yield _of(Reason.NO_BETTER, rows[0])


def _constant(verdict: Verdict, _: TaskResult | None) -> Iterator[Finding]:
    if verdict.constant:
        yield Finding(Reason.CONSTANT, "y")


def _keeps_little(row: MethodComparison) -> bool:
    return row.baseline == "mean" and row.criterion in ERRORS and row.better and row.ours > LITTLE * row.theirs


def _dead(verdict: Verdict, _: TaskResult | None) -> Iterator[Finding]:
    for row in verdict.layers:
        limit = 0 if row.layer == "code" and not verdict.for_rate else math.ceil(DEAD * row.units) - 1
        if len(row.dead) > limit:
            yield Finding(Reason.DEAD_UNITS, row.layer, len(row.dead), limit)


def _alarm_rate(_: Verdict, result: TaskResult | None) -> Iterator[Finding]:
    if not isinstance(result, AnomalyResult) or result.alarm_rate is None or result.normal is None:
        return
    low, high = alarm_interval(result.normal, result.held_out, result.quantile)
    alarms = result.false_alarms or 0
    if not low <= alarms <= high and not 1 / OFF < result.alarm_rate < OFF:
        yield Finding(Reason.ALARM_RATE, "", alarms, result.normal * (1 - result.quantile))


def _few_flagged(_: Verdict, result: TaskResult | None) -> Iterator[Finding]:
    if not isinstance(result, AnomalyResult) or result.normal is None or result.false_alarms is None:
        return
    ours, anomalies = result.method("int8"), result.samples - result.normal
    flagged = result.alarms - result.false_alarms
    if ours is not None and ours.roc_auc.value > CLEAR and flagged < FEW_FLAGGED * anomalies:
        yield Finding(Reason.FEW_FLAGGED, "", flagged, anomalies)


def _no_interval(_: Verdict, result: TaskResult | None) -> Iterator[Finding]:
    intervals = result.intervals if isinstance(result, AnomalyResult) else None
    if intervals is not None and intervals.count and not intervals.flagged:
        yield Finding(Reason.NO_INTERVAL, "", 0, intervals.count)


def _below_chance(verdict: Verdict, _: TaskResult | None) -> Iterator[Finding]:
    for row in verdict.comparisons[:1]:
        if row.criterion is Criterion.ROC_AUC and row.ours < 0.5:
            yield Finding(Reason.BELOW_CHANCE, "", row.ours, 0.5)


def alarm_interval(normal: int, held_out: int, quantile: float) -> tuple[int, int]:
    """The least and largest count of alarms among `normal` new samples that chance explains, with 95 %.

    The threshold is an order statistic of `held_out` samples of the same distribution, so the count has a beta-binomial
    distribution, whatever that of the scores is (Wilks, "Statistical prediction with special reference to the problem of
    tolerance limits", Annals of Mathematical Statistics 13, 1942).
    """
    above = held_out - math.ceil(round(quantile * held_out, 6)) + 1
    rest = held_out + 1 - above

    def beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    whole, tail = beta(above, rest), (1 - LEVEL) / 2
    low, total = 0, 0.0
    for count in range(normal + 1):
        ways = math.lgamma(normal + 1) - math.lgamma(count + 1) - math.lgamma(normal - count + 1)
        total += math.exp(ways + beta(count + above, normal - count + rest) - whole)
        low = count + 1 if total < tail else low
        if total >= 1 - tail:
            return low, count
    return low, normal


def _against_text(finding: Finding, verdict: Verdict) -> str:
    row = verdict.against(finding.subject, finding.criterion)
    if row is None:
        return "not among the comparisons"
    by = f"{row.criterion} {number(row.ours)} against {number(row.theirs)}" + (f" ({row.setting})" if row.setting else "")
    interval = f"95 % interval of the gain {number(row.gain.low)} to {number(row.gain.high)}"
    return f"{by}; {interval} on {verdict.samples_text}"


def _worse_text(finding: Finding, verdict: Verdict) -> str:
    return f"worse than {TITLES.get(finding.subject, finding.subject)}: {_against_text(finding, verdict)}"


def _no_better_text(finding: Finding, verdict: Verdict) -> str:
    return f"no better than {TITLES.get(finding.subject, finding.subject)} beyond noise: {_against_text(finding, verdict)}"


def _all_against(text: str) -> Callable[[Sequence[Finding], Verdict], str]:
    """`worse than 2 baselines: mean squared error 0.3 against 0.1 of PCA, 0.2 of the mean …; on 90 test samples`."""

    def together(found: Sequence[Finding], verdict: Verdict) -> str:
        rows = [row for finding in found if (row := verdict.against(finding.subject, finding.criterion)) is not None]
        parts = [_by_criterion(criterion, rows) for criterion in dict.fromkeys(row.criterion for row in rows)]
        names = {finding.subject for finding in found}
        which = text.format(f"{len(names)} baselines" if len(names) > 1 else TITLES.get(*names, *names))
        return f"{which}: {'; '.join(parts) or 'not among the comparisons'}; on {verdict.samples_text}"

    return together


def _by_criterion(criterion: Criterion, rows: Sequence[MethodComparison]) -> str:
    """`ROC-AUC 0.64 against 0.805 of the RMS of a window, 0.7 of PCA`."""
    own = [row for row in rows if row.criterion is criterion]
    several = len({row.baseline for row in rows}) > 1
    names = (f" of {TITLES.get(row.baseline, row.baseline)}" if several else "" for row in own)
    theirs = ", ".join(f"{number(row.theirs)}{name}" for row, name in zip(own, names, strict=True))
    return f"{criterion} {number(own[0].ours)} against {theirs}"


def _all_dead(found: Sequence[Finding], verdict: Verdict) -> str:
    layers = [verdict.layer(finding.subject) for finding in found]
    counts = ", ".join(f"{len(layer.dead)} of {layer.units} of {layer.layer}" for layer in layers)
    return f"{len(layers)} layers have dead units, one value on {verdict.observed:,} test samples: {counts}"


def _constant_text(_: Finding, verdict: Verdict) -> str:
    return f"every output is the same on {verdict.observed:,} test samples"


def _little_text(finding: Finding, verdict: Verdict) -> str:
    part = f"{finding.value / finding.limit:.0%} of the error of {TITLES[finding.subject]} is left"
    return (
        f"{part}: {_against_text(finding, verdict)}. A code of more units, or with training for rate a lower rate, keeps more"
    )


def _dead_text(finding: Finding, verdict: Verdict) -> str:
    layer = verdict.layer(finding.subject)
    named = ", ".join(map(str, layer.dead[:SHOWN])) + (", …" if len(layer.dead) > SHOWN else "")
    where = "the code" if layer.layer == "code" else f"layer {layer.layer}"
    return (
        f"{len(layer.dead)} of {layer.units} units of {where} are dead, one value on {verdict.observed:,} test samples: {named}"
    )


def _alarm_text(finding: Finding, _: Verdict) -> str:
    times = f"{finding.value / finding.limit:.3g} × as many"
    return (
        f"the alarm rate is off: {finding.value:,.0f} normal test samples are flagged, {finding.limit:.3g} expected ({times})"
    )


def _few_flagged_text(finding: Finding, _: Verdict) -> str:
    return (
        f"{finding.value:,.0f} of {finding.limit:,.0f} anomalies of the test set are flagged, although their scores are higher "
        "(ROC-AUC): the threshold is too high for them. A lower `quantile` in [task] flags more, and more normal samples"
    )


def _no_interval_text(finding: Finding, _: Verdict) -> str:
    return f"none of {finding.limit:,.0f} intervals of the test set is found: no window that overlaps one is flagged"


def _chance_text(finding: Finding, verdict: Verdict) -> str:
    rows = [row for row in verdict.comparisons if row.criterion is Criterion.ROC_AUC]
    best = max(rows, key=lambda row: row.theirs)
    other = f"{best.title} has {number(best.theirs)} here" if best.theirs > 0.5 else "no baseline is above 0.5 either"
    return (
        f"ROC-AUC {finding.value:.4f}: anomalies score lower than normal samples, guessing has 0.5. They may be simpler than "
        "normal samples (flat, half empty, of smaller amplitude), which a model reconstructs well, or `normal` in [task] names "
        'the wrong labels. Try fewer units of the code, score = "standardized", or another detector: '
        f"{other} (docs/guides/anomaly.md)"
    )


RULES: Mapping[Reason, Rule] = {
    Reason.CONSTANT: Rule(_constant, _constant_text),
    Reason.BELOW_CHANCE: Rule(_below_chance, _chance_text),
    Reason.NO_INTERVAL: Rule(_no_interval, _no_interval_text),
    Reason.FEW_FLAGGED: Rule(_few_flagged, _few_flagged_text),
    Reason.WORSE: Rule(_compared(Reason.WORSE, lambda row: row.worse), _worse_text, _all_against("worse than {}")),
    Reason.NO_BETTER: Rule(_no_better, _no_better_text, _all_against("no better than {} beyond noise")),
    Reason.LITTLE: Rule(_compared(Reason.LITTLE, _keeps_little), _little_text),
    Reason.ALARM_RATE: Rule(_alarm_rate, _alarm_text),
    Reason.DEAD_UNITS: Rule(_dead, _dead_text, _all_dead),
}
"""By reason, the gravest first."""


def findings(verdict: Verdict, result: TaskResult | None) -> tuple[Finding, ...]:
    """Every reason why a result is no good, in the order of `RULES`."""
    return tuple(finding for rule in RULES.values() for finding in rule.find(verdict, result))


def sentences(verdict: Verdict) -> list[str]:
    """The findings in words, one line for all of one reason."""
    by_reason: dict[Reason, list[Finding]] = {}
    for finding in verdict.findings:
        by_reason.setdefault(finding.reason, []).append(finding)
    return [text for reason, found in by_reason.items() for text in RULES[reason].texts(found, verdict)]
