"""Compare metrics with earlier ones: a figure that is worse by more than an allowed fraction is a failed check.

The figures are those of `figures`: bytes, test error and fit of each file, every figure of the task, parity. How this very
program is rounded is compared where it is the same program, or where no test samples tell whether another one is worse.
Latency and the stock converters' files are not compared.

A check or figure that is missing now counts as worse. What this call could not measure, since a runtime is not installed or it
gave no samples, or other ones, fails one check that names it, unless `allow_unmeasured`. Checks against a Keras model are left
out where there is none: the figures that they rest on are compared. What was not compared is listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from tiedae.base.errors import InputError
from tiedae.bundle.bundle import PROGRAM_FILE
from tiedae.bundle.results import Baseline, Check, Metrics, Model
from tiedae.bundle.task_results import TaskResult
from tiedae.export.kinds import Kind, Lost, Skipped, Why

from .allowance import Allowance
from .figures import Figure, FigureGroup, Key, figures_of

OF_SAMPLES = (Kind.QUALITY, Kind.SCORE, Kind.TASK)
"""Checks that only test samples allow are of these kinds."""
SHOWN = 3


@dataclass(frozen=True)
class BaselineComparison:
    """The number of compared figures, the checks, skipped rows, and texts of improvements and of what was not compared."""

    compared: int
    checks: tuple[Check, ...]
    skipped: tuple[Skipped, ...]
    improved: tuple[str, ...]
    uncompared: tuple[str, ...]


def with_baseline(
    metrics: Metrics, before: Metrics, *, name: str, allow: float | Allowance, allow_unmeasured: bool = False
) -> Metrics:
    """The metrics with the rows of the comparison and a `baseline` of this name; raises as `compare_metrics` does."""
    allowed = allow if isinstance(allow, Allowance) else Allowance.parse(allow)
    found = compare_metrics(metrics, before, allow=allowed, allow_unmeasured=allow_unmeasured)
    return replace(
        metrics,
        checks=metrics.checks + found.checks,
        skipped=metrics.skipped + found.skipped,
        baseline=Baseline(name, allowed.rest, found.compared, found.improved, found.uncompared, allowed.by),
    )


def compare_metrics(
    now: Metrics, before: Metrics, *, allow: float | Allowance, allow_unmeasured: bool = False
) -> BaselineComparison:
    """Compare every figure of `before`: one check per file and runtime, one per task, one of what could not be measured, and
    one of the length of the code.

    Raises InputError if the models have other names or inputs, or `allow` is not a finite fraction of 0 or more.
    """
    allowed = allow if isinstance(allow, Allowance) else Allowance.parse(allow)
    require_comparable(now.name, now.model, before)
    gaps = _Gaps.of(now, before)
    current, groups = figures_of(now), []
    rounded = bool(gaps.samples) or _program(now) == _program(before)
    for group, figures in figures_of(before).items():
        if {group.runtime, group.peer} & set(gaps.runtimes) or (group.needs_samples and gaps.samples):
            continue
        if group.kind == Lost.QUANTIZATION and group not in current and gaps.runtimes:
            continue  # no runtime of this layout is left
        if rounded or not group.of_rounding:
            groups.append(_compare_group(group, figures, current.get(group, {}), gaps, allowed))
    checks = list(_code_checks(now.model, before.model))
    checks += [_check(f"runtime {name}", 1, f"{name} ran in the baseline and does not now: {why}") for name, why in gaps.broken]
    checks += [each.check for each in groups if each.compared or each.worse]
    lost, keras = _lost_checks(now, before, gaps)
    lacking = f"held in the baseline, not checked now: {', '.join(lost[:SHOWN])}{', …' * (len(lost) > SHOWN)}"
    checks.append(_check("checks", len(lost), lacking if lost else "all of the baseline's checks were made again"))
    unmeasured = {**gaps.texts, **{name: reason for each in groups for name, reason in each.unmeasured.items()}}
    left_out = [f"{what} ({reason})" for what, reason in unmeasured.items()]
    skipped = [_skipped(what, reason) for what, reason in unmeasured.items()]
    if not allow_unmeasured:
        text = f"not measured now: {'; '.join(left_out)}; --allow-unmeasured accepts that"
        checks.append(_check("unmeasured", len(left_out), text if left_out else "all that the baseline measured was measured"))
    other = list(_other_gaps(now, before, groups, keras, rounded=rounded))
    skipped += [_skipped(what, reason) for what, reason in other]
    return BaselineComparison(
        sum(each.compared for each in groups),
        tuple(checks),
        tuple(skipped),
        tuple(text for each in groups for text in each.improved),
        (*left_out, *(f"{what} ({reason})" for what, reason in other)),
    )


@dataclass(frozen=True)
class _Gaps:
    """What could not be measured now. `samples`: why figures of test samples could not; '' if they could. `runtimes`: those of
    the baseline that did not run, `broken` those of them that are installed, with their reason. `task`: why figures of the
    task may be missing. `texts`: all of it, in words.
    """

    samples: str
    runtimes: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]
    task: str
    texts: Mapping[str, str]

    @classmethod
    def of(cls, now: Metrics, before: Metrics) -> _Gaps:
        gone = sorted({row.runtime for row in before.parity} - {row.runtime for row in now.parity} - {""})
        absent = {row.runtime: row.reason for row in now.skipped if row.why is Why.NOT_INSTALLED}
        reasons = {row.runtime: row.reason for row in reversed(now.skipped)}
        broken = tuple((name, reasons.get(name, "it is not among the runtimes")) for name in gone if name not in absent)
        samples = _samples_gap(now, before)
        whys = (Why.NO_SAMPLES, Why.NOT_INSTALLED) if now.task is None else (Why.NO_SAMPLES,)
        rows = [row for row in now.skipped if row.kind is Kind.TASK and row.why in whys and row not in before.skipped]
        lacking = [row.reason for row in rows]
        texts = {f"runtime {name}": absent[name] for name in gone if name in absent}
        if samples:
            names = "quality and the figures of the task" if before.task else "quality"
            texts = {names: samples, **texts}
        return cls(samples, tuple(gone), broken, lacking[0] if lacking else "", texts)


def _samples_gap(now: Metrics, before: Metrics) -> str:
    """Why the baseline's figures of test samples are not comparable; '' if they are, or it has none."""
    if not any(group.needs_samples for group in figures_of(before)):
        return ""
    if none := [row.reason for row in now.skipped if row.kind is Kind.QUALITY and row.why is Why.NO_SAMPLES]:
        return none[0]
    if now.samples is None or before.samples is None or now.samples.sha256 == before.samples.sha256:
        return ""
    return f"measured on {now.samples.source}, in the baseline on other samples ({before.samples.source})"


@dataclass(frozen=True)
class _Compared:
    """The comparison of a group: figures compared, figures `unlike` (over another number of values) and `undefined`, texts of
    worse ones, each with its value and limit, and of improved ones, and what could not be measured, with the reason."""

    group: FigureGroup
    compared: int
    unlike: int
    undefined: int
    worse: list[tuple[str, str, str]]
    improved: list[str]
    unmeasured: dict[str, str]

    @property
    def check(self) -> Check:
        """With the value and the limit of the first figure that is worse."""
        if not self.worse:
            return _check(self.group.name, 0, f"{self.group.name}: no worse than in the baseline")
        text, value, limit = self.worse[0]
        more = f"; and {len(self.worse) - 1} more" * (len(self.worse) > 1)
        return Check(Kind.BASELINE, False, value, limit, f"{text}{more}", detail=self.group.name)


def _compare_group(
    group: FigureGroup, earlier: Mapping[Key, Figure], current: Mapping[Key, Figure], gaps: _Gaps, allowed: Allowance
) -> _Compared:
    worse, improved, unmeasured, compared, unlike, undefined = [], [], {}, 0, 0, 0
    for key, old in earlier.items():
        new, label = current.get(key), " ".join((group.name, *key))
        of_task = group.kind == Kind.TASK
        if of_task and gaps.task and (new is None or new.over != old.over):
            unmeasured[label] = gaps.task
        elif new is None:
            worse.append((f"{label}: {old.text} in the baseline, not measured now", "not measured", "measured"))
        elif of_task and new.over != old.over:
            counts = f"{new.over:,} samples", f"over {old.over:,} samples"
            worse.append((f"{label}: over {new.over:,} samples, in the baseline over {old.over:,}", *counts))
        elif new.over != old.over:
            unlike += 1
        elif old.value is None:
            undefined += 1
        else:
            compared += 1
            text, allow = f"{label}: {new.text}, in the baseline {old.text}", allowed.of(old.measure)
            if not new.loss <= old.bound(allow):
                worse.append((f"{text}, must be {old.limit(allow)}", new.text, old.limit(allow)))
            elif old.loss > new.bound(allow):
                improved.append(text)
    return _Compared(group, compared, unlike, undefined, worse, improved, unmeasured)


def _lost_checks(now: Metrics, before: Metrics, gaps: _Gaps) -> tuple[list[str], int]:
    """The names of checks that held and were not made now, and how many were not made for want of a Keras model alone."""
    made, lost, keras = {check.key for check in now.checks}, [], 0
    no_keras = any(row.kind is Kind.QUALITY and row.why is Why.NO_KERAS for row in now.skipped)
    for check in before.checks:
        if not check.ok or check.kind is Kind.BASELINE or check.key in made or {check.runtime, check.peer} & set(gaps.runtimes):
            continue
        if gaps.samples and check.kind in OF_SAMPLES:
            continue
        if no_keras and check.kind is Kind.QUALITY:
            keras += 1
        else:
            lost.append(check.name)
    return lost, keras


def _other_gaps(
    now: Metrics, before: Metrics, groups: Sequence[_Compared], keras: int, *, rounded: bool
) -> Iterator[tuple[str, str]]:
    """What else was not compared, with the reason; it fails nothing."""
    if keras:
        yield "quality against Keras", f"no Keras model was given; {keras} checks"
    if unlike := sum(each.unlike for each in groups):
        yield f"{unlike} figures", "were taken over another number of values than in the baseline"
    if undefined := sum(each.undefined for each in groups):
        yield f"{undefined} figures", "are not defined in the baseline"
    if not rounded:
        yield "rounding by runtimes and layers", "it is another program; their limits are those of [verify]"
    if not any(row.file for row in before.quality) and any(row.file for row in now.quality):
        yield "quality", "the baseline has none"
    if not has_figures(before.task) and has_figures(now.task):
        yield "figures of the task", "the baseline has none"


def has_figures(result: TaskResult | None) -> bool:
    """Whether a task was measured on samples; every bundle knows the size of its codes."""
    return result is not None and bool(getattr(result, "samples", 0))


def _check(detail: str, worse: int, text: str) -> Check:
    return Check(Kind.BASELINE, not worse, worse, "== 0", text, detail=detail)


def _skipped(what: str, reason: str) -> Skipped:
    return Skipped(Kind.BASELINE, Why.NOT_COMPARABLE, f"baseline {what}", reason)


def _program(metrics: Metrics) -> object:
    """The digest of the bundle's program; None where it is not known."""
    rows = (check.value for check in metrics.checks if check.kind is Kind.SHA256 and check.file == PROGRAM_FILE and check.ok)
    return next(rows, None)


def _code_checks(now: Model | None, before: Model | None) -> Iterator[Check]:
    """A failed check where codes have another length than in the baseline: who stores them cannot read both."""
    if now is None or before is None or now.widths[-1] == before.widths[-1]:
        return
    text = f"the code has {now.widths[-1]:,} values, in the baseline {before.widths[-1]:,}"
    yield Check(Kind.BASELINE, False, now.widths[-1], f"== {before.widths[-1]}", text, detail="code")


def require_comparable(name: str, model: Model | None, before: Metrics) -> None:
    """Raise InputError unless earlier metrics are of a model of this name and as many inputs."""
    other = model is not None and before.model is not None and model.widths[0] != before.model.widths[0]
    if name != before.name or other:
        raise InputError(f"the baseline is of {_named(before.name, before.model)}, this bundle is {_named(name, model)}")


def _named(name: str, model: Model | None) -> str:
    return name if model is None else f"{name} {'-'.join(map(str, model.widths))}"
