"""Today's metrics against earlier ones: what got worse by more than an allowed fraction is a check that failed.

Compared are the bytes of each file, its test error in each runtime, the quantization error of `y`, and the parity rows. Parity
has floors, since a fraction of almost nothing is noise: the fraction of values that differ may grow by `allow` itself, float
differences by `allow` and by `FLOAT_FLOOR` of the full scale. Largest LSB and the quantization error are compared where both
were taken over as many values. Latency never is.

What was checked and no longer is, counts as worse, except where a skipped row excuses it: a runtime is not installed here, or
this call gave no model or samples. Those are skipped, with the reason. The stock converters' files, which only a run has, are
left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from ...compress.errors import InputError
from .results import Baseline, Check, Kind, Lost, Maker, Metrics, Model, Precision, Skipped, Why

Key = tuple[str, ...]

FLOAT_FLOOR = 1e-6
"""How much float outputs of magnitude 1 may drift without being worse: engines differ by as much (8e-7 were measured)."""


@dataclass(frozen=True)
class BaselineComparison:
    """`compared` figures gave `checks` that hold or not, `skipped` rows, and texts of what `improved`."""

    compared: int
    checks: tuple[Check, ...]
    skipped: tuple[Skipped, ...]
    improved: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One number of some metrics, the smaller the better.

    An allowed fraction a lets `value` grow to value · (1 + a) + `whole` · a + `floor`. `over` says over how many values a
    figure was taken that compares only with one over as many; 0 where that is no matter.
    """

    value: float
    text: str
    whole: float = 0.0
    floor: float = 0.0
    over: int = 0

    def bound(self, allow: float) -> float:
        """The largest value that is no worse."""
        return self.value * (1 + allow) + self.whole * allow + self.floor


@dataclass(frozen=True)
class FigureGroup:
    """The figures of one check: of what `kind`, of a file (or a layout of the program), in a runtime."""

    kind: str
    file: str
    runtime: str = ""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.kind, self.file, self.runtime)))


def with_baseline(metrics: Metrics, before: Metrics, *, name: str, allow: float) -> Metrics:
    """The metrics with the rows of their comparison, and under `baseline` what they were compared with, by its `name`.

    Raises InputError as `compare_metrics` does.
    """
    found = compare_metrics(metrics, before, allow=allow)
    return replace(
        metrics,
        checks=metrics.checks + found.checks,
        skipped=metrics.skipped + found.skipped,
        baseline=Baseline(name, allow, found.compared, found.improved),
    )


def compare_metrics(now: Metrics, before: Metrics, *, allow: float) -> BaselineComparison:
    """Hold every figure of `before` against `now`: one check per file and runtime, and one per runtime that is gone.

    Raises InputError where the two are of different models, or `allow` is not a finite fraction of 0 or more.
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
    text = lacking if names else "every check of the baseline that this call can make is still made"
    checks.append(
        _check("checks", len(names), text if names else "every check of the baseline that this call can make is still made")
    )
    improved = tuple(text for verdict in verdicts for text in verdict.improved)
    return BaselineComparison(sum(verdict.compared for verdict in verdicts), tuple(checks), tuple(skipped), improved)


def _check(detail: str, worse: int, text: str) -> Check:
    return Check(Kind.BASELINE, not worse, worse, "== 0", text, detail=detail)


def _skipped(what: str, reason: str) -> Skipped:
    return Skipped(Kind.BASELINE, Why.NOT_COMPARABLE, f"baseline {what}", reason)


@dataclass(frozen=True)
class _Verdict:
    """A group of figures: how many were compared, and how many are `unlike`, taken over another number of values; texts of
    those that are worse or better; the reasons of those that this call could not measure."""

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
    """The reason by which something of this kind or runtime may be absent, or nothing."""
    excuses = (row for row in now.skipped if row.why.excuses)
    return next((row.reason for row in excuses if row.kind == kind or (row.runtime and row.runtime == runtime)), "")


def _other_samples(now: Metrics, before: Metrics) -> str:
    """Why errors do not compare, or nothing."""
    if now.samples is None or before.samples is None or now.samples.sha256 == before.samples.sha256:
        return ""
    return f"measured on {now.samples.source}, in the baseline on other samples ({before.samples.source})"


def require_fraction(allow: float) -> None:
    """Raise InputError where `allow` is not a finite fraction of 0 or more."""
    if not 0 <= allow < math.inf:
        raise InputError(f"allow: got {allow:g}, must be a fraction of 0 or more, such as 0.01")


def require_comparable(name: str, model: Model | None, before: Metrics) -> None:
    """Raise InputError where earlier metrics are not of the model of this name."""
    other = model is not None and before.model is not None and model.widths != before.model.widths
    if name != before.name or other:
        raise InputError(
            f"the baseline is of another model: {_named(before.name, before.model)}, must be {_named(name, model)}"
        )


def _named(name: str, model: Model | None) -> str:
    return name if model is None else f"{name} {'-'.join(map(str, model.widths))}"


def _figures(metrics: Metrics) -> dict[FigureGroup, dict[Key, Figure]]:
    """Every comparable number of our files by group and by what it is within that group."""
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
