"""Compare metrics with earlier ones: a figure that is worse by more than an allowed fraction is a failed check.

The figures are the bytes of each file, its test error in each runtime, the quantization error of `y`, and the parity rows.
Parity figures near zero are noise, so they have floors: the fraction of differing values may grow by `allow` itself, float
differences by `allow` and `FLOAT_FLOOR` of full scale. The largest LSB and the quantization error are compared only between
equal numbers of values. Latency and the stock converters' files are not compared.

A check or figure that is missing now counts as worse, unless a skipped row excuses it: a runtime is not installed, or the call
gave no model or samples. Those are skipped with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from ...compress.errors import InputError
from .kinds import Kind, Lost, Maker, Precision, Skipped, Why
from .results import Baseline, Check, Metrics, Model

Key = tuple[str, ...]

FLOAT_FLOOR = 1e-6
"""Allowed growth of float differences, as a fraction of full scale; engines were measured to differ by 8e-7."""


@dataclass(frozen=True)
class BaselineComparison:
    """The number of compared figures, the resulting checks, skipped rows, and texts of improvements."""

    compared: int
    checks: tuple[Check, ...]
    skipped: tuple[Skipped, ...]
    improved: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One number of some metrics; smaller is better.

    With an allowed fraction a, `value` may grow to value · (1 + a) + `whole` · a + `floor`. A figure over `over` values is only
    compared with one over equally many; 0 if the count does not matter.
    """

    value: float
    text: str
    whole: float = 0.0
    floor: float = 0.0
    over: int = 0

    def bound(self, allow: float) -> float:
        """The largest value that is not worse."""
        return self.value * (1 + allow) + self.whole * allow + self.floor


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one check: their kind, file (or layout of the program) and runtime."""

    kind: str
    file: str
    runtime: str = ""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.kind, self.file, self.runtime)))


def with_baseline(metrics: Metrics, before: Metrics, *, name: str, allow: float) -> Metrics:
    """The metrics with the rows of the comparison and a `baseline` of this name; raises as `compare_metrics` does."""
    found = compare_metrics(metrics, before, allow=allow)
    return replace(
        metrics,
        checks=metrics.checks + found.checks,
        skipped=metrics.skipped + found.skipped,
        baseline=Baseline(name, allow, found.compared, found.improved),
    )


def compare_metrics(now: Metrics, before: Metrics, *, allow: float) -> BaselineComparison:
    """Compare every figure of `before`: one check per file and runtime, and one per missing runtime.

    Raises InputError if the models differ, or `allow` is not a finite fraction of 0 or more.
    """
    require_fraction(allow)
    require_comparable(now.name, now.model, before)
    checks, skipped = [], []
    gone = sorted({row.runtime for row in before.parity} - {row.runtime for row in now.parity})
    for name in gone:
        if excuse := _excuse(now, runtime=name):
            skipped.append(_skipped(name, excuse))
        else:
            reasons = [row.reason for row in now.skipped if row.runtime == name] or ["it is not among the runtimes"]
            checks.append(_check(f"runtime {name}", 1, f"{name} ran in the baseline and does not now: {reasons[0]}"))
    other = _other_samples(now, before)
    skipped += [_skipped("quality", other)] if other else []
    current = _figures(now)
    verdicts = [
        _compare_group(now, group, figures, current.get(group, {}), allow)
        for group, figures in _figures(before).items()
        if group.runtime not in gone and not (other and group.kind == Kind.QUALITY)
    ]
    for verdict in verdicts:
        if verdict.compared or verdict.worse:
            checks.append(_check(verdict.group.name, len(verdict.worse), verdict.text))
        skipped += [_skipped(verdict.group.name, reason) for reason in sorted(verdict.excused)]
    unlike = sum(verdict.unlike for verdict in verdicts)
    if unlike:
        skipped.append(_skipped("figures", f"{unlike} were taken over another number of values than in the baseline"))
    made = {check.key for check in now.checks}
    held = (check for check in before.checks if check.ok and check.kind is not Kind.BASELINE)
    lost = [check for check in held if check.key not in made and not {check.runtime, check.peer} & set(gone)]
    names = [check.name for check in lost if not _excuse(now, check.kind, check.runtime)]
    lacking = f"held in the baseline, not checked now: {', '.join(names[:3])}{', …' * (len(names) > 3)}"
    checks.append(_check("checks", len(names), lacking if names else "all of the baseline's checks were made again"))
    improved = tuple(text for verdict in verdicts for text in verdict.improved)
    return BaselineComparison(sum(verdict.compared for verdict in verdicts), tuple(checks), tuple(skipped), improved)


def _check(detail: str, worse: int, text: str) -> Check:
    return Check(Kind.BASELINE, not worse, worse, "== 0", text, detail=detail)


def _skipped(what: str, reason: str) -> Skipped:
    return Skipped(Kind.BASELINE, Why.NOT_COMPARABLE, f"baseline {what}", reason)


@dataclass(frozen=True)
class _Verdict:
    """The comparison of a group: figures compared, figures `unlike` (over another number of values), texts of worse and
    improved ones, and reasons why others could not be measured."""

    group: FigureGroup
    compared: int
    unlike: int
    worse: list[str]
    improved: list[str]
    excused: set[str]

    @property
    def text(self) -> str:
        more = f"; and {len(self.worse) - 1} more" * (len(self.worse) > 1)
        return f"{self.worse[0]}{more}" if self.worse else f"{self.group.name}: no worse than in the baseline"


def _compare_group(
    now: Metrics, group: FigureGroup, earlier: Mapping[Key, Figure], current: Mapping[Key, Figure], allow: float
) -> _Verdict:
    worse, improved, excused, compared, unlike = [], [], set(), 0, 0
    for key, old in earlier.items():
        new, label = current.get(key), " ".join((group.name, *key))
        if new is None:
            excuse = _excuse(now, group.kind, group.runtime)
            if excuse:
                excused.add(excuse)
            else:
                worse.append(f"{label}: {old.text} in the baseline, not measured now")
        elif new.over != old.over:
            unlike += 1
        else:
            compared += 1
            text = f"{label}: {new.text}, in the baseline {old.text}"
            if new.value > old.bound(allow):
                worse.append(text)
            elif old.value > new.bound(allow):
                improved.append(text)
    return _Verdict(group, compared, unlike, worse, improved, excused)


def _excuse(now: Metrics, kind: str = "", runtime: str = "") -> str:
    """The reason that excuses the absence of this kind or runtime; '' if there is none."""
    excuses = (row for row in now.skipped if row.why.excuses)
    return next((row.reason for row in excuses if row.kind == kind or (row.runtime and row.runtime == runtime)), "")


def _other_samples(now: Metrics, before: Metrics) -> str:
    """The reason why errors are not comparable; '' if they are."""
    if now.samples is None or before.samples is None or now.samples.sha256 == before.samples.sha256:
        return ""
    return f"measured on {now.samples.source}, in the baseline on other samples ({before.samples.source})"


def require_fraction(allow: float) -> None:
    """Raise InputError unless `allow` is a finite fraction of 0 or more."""
    if not 0 <= allow < math.inf:
        raise InputError(f"allow: got {allow:g}, must be a fraction of 0 or more, such as 0.01")


def require_comparable(name: str, model: Model | None, before: Metrics) -> None:
    """Raise InputError unless earlier metrics are of this model."""
    other = model is not None and before.model is not None and model.widths != before.model.widths
    if name != before.name or other:
        raise InputError(
            f"the baseline is of another model: {_named(before.name, before.model)}, must be {_named(name, model)}"
        )


def _named(name: str, model: Model | None) -> str:
    return name if model is None else f"{name} {'-'.join(map(str, model.widths))}"


def _figures(metrics: Metrics) -> dict[FigureGroup, dict[Key, Figure]]:
    """Every comparable number of our files, by group and by its key within the group."""
    found: dict[FigureGroup, dict[Key, Figure]] = {}
    for group, key, figure in _each_figure(metrics):
        found.setdefault(group, {})[key] = figure
    return found


def _each_figure(metrics: Metrics) -> Iterator[tuple[FigureGroup, Key, Figure]]:
    stock = {file.file for file in metrics.files if file.maker is Maker.STOCK}
    for file in metrics.files:
        if file.file not in stock:
            yield FigureGroup("bytes", file.file), (), Figure(file.bytes, f"{file.bytes:,.0f} bytes")
    for row in metrics.quality:
        if row.file and row.file not in stock:
            yield FigureGroup(Kind.QUALITY, row.file, row.runtime), (), Figure(row.error, f"error {row.error:.6g}")
    for row in metrics.errors:
        if row.error is Lost.QUANTIZATION and row.layer == "y":
            yield FigureGroup(row.error, row.layout), ("y",), Figure(row.rms, f"{row.rms:.6g} RMS", over=row.count)
    for row in metrics.parity:
        if row.problem or row.file in stock:
            continue
        own = row.kind is Kind.CROSSING and row.reference == row.runtime
        group, label = FigureGroup("parity", row.file, row.runtime), row.label + (" against its own" if own else "")
        largest = label, "largest difference"
        if row.precision is Precision.INT8:
            fraction = 1 - row.equal_fraction
            yield group, (label, "fraction that differs"), Figure(fraction, f"{100 * fraction:.3g}%", whole=1.0)
            yield group, largest, Figure(row.max_lsb, f"{row.max_lsb:g} LSB", over=row.count)
        else:
            floor = FLOAT_FLOOR * max(1.0, row.full_scale)
            yield group, largest, Figure(row.max_abs, f"{row.max_abs:.3g}", floor=floor)
