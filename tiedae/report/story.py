"""The top of the report: compression, quality, size, speed, storage and checks in figures and one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tiedae.base.numbers import counted, duration, human_size, number, size, three_digits
from tiedae.bundle.bench_results import Latency
from tiedae.bundle.fidelity import fit_value
from tiedae.bundle.manifest import Data
from tiedae.bundle.results import Fit, Metrics, warning_lines
from tiedae.config.tasks import Anomaly, Denoising, task_kind
from tiedae.export.kinds import Maker, Precision

from .key_figures import (
    Report,
    SizeComparison,
    codes_text,
    compare_sizes,
    keras_float,
    kind_text,
    promised_codes,
    size_kind,
    stored_once,
    worst_exported,
)
from .speed import leading_case
from .tasks import TASK_VIEWS
from .verdict import NO_GOOD, summary, texts


@dataclass(frozen=True)
class Fact:
    """A large figure, the text below it, and its phrase in the first sentence; `kind` is a CSS class."""

    figure: str
    text: str
    phrase: str
    kind: str = ""


def facts(report: Report) -> list[Fact]:
    return [fact for make in FACTS for fact in make(report)]


def sentence(report: Report, found: list[Fact]) -> str:
    *first, last = (fact.phrase for fact in found if fact.phrase)
    return f"{report.metrics.name} {', '.join(first)}, and {last}."


def alarms(metrics: Metrics) -> list[tuple[str, Sequence[str], str]]:
    """(title, texts, CSS class) of failed checks, of the findings of the verdict and of the warnings."""
    failed = [check.text for check in metrics.failed]
    found: list[tuple[str, Sequence[str], str]] = [
        (f"{len(failed)} of {len(metrics.checks)} checks failed", failed, "failed"),
        (f"Verdict: {NO_GOOD}", texts(metrics.verdict), "amber"),
        ("Warnings", warning_lines(metrics.warnings), "amber"),
    ]
    return [each for each in found if each[1]]


def _compression(report: Report) -> Iterator[Fact]:
    """The ratio of a sample's bytes in its dtype to the code's bytes, one per value."""
    manifest = report.manifest
    inputs, units, dtype = manifest.data.inputs, manifest.units, manifest.data.dtype
    given = inputs * np.dtype(dtype).itemsize
    bits = manifest.tensors.code.bits
    few = f" of {bits} bits" if bits < 8 else ""
    ratio = f"{three_digits(given / units)} to 1"
    text = f"values of a sample ({dtype}, {size(given)}) to bytes of its code{few}: {ratio}"
    phrase = f"turns {inputs:,} {dtype} values into a code of {units:,} bytes ({ratio})"
    yield Fact(f"{inputs:,} → {units:,}", text, phrase)


def _quality(report: Report) -> Iterator[Fact]:
    reference = keras_float(report.metrics)
    row = worst_exported(report.metrics, Precision.INT8) or worst_exported(report.metrics, Precision.F32)
    keras = f"Keras float {number(reference.error)}" if reference else "Keras float was not measured"
    if row is None or row.precision is None:
        yield Fact("—", f"the error of the exported files was not measured; {keras}", "")
        return
    name, fit = row.precision.label, fit_value(row.fidelity)
    against = " against the clean samples" if report.manifest.recipe.is_noisy else ""
    if not fit or row.fidelity is None:
        phrase = f"gives them back with an error of {number(row.error)} in {name} ({keras})"
        yield Fact(f"error {number(row.error)}", f"squared error of a sample{against}, {name}; {keras}", phrase)
        return
    of_keras = fit_value(reference.fidelity) if reference else ""
    beside = f" ({of_keras} in Keras float)" if of_keras else ""
    lowest = "".join(f"the worst column, {column}, has R² {number(r2)}" for r2, column in row.fidelity.worst_columns[:1])
    text = "; ".join(filter(None, (f"{name}{against}{beside}", lowest or _deviation(report.manifest.data, row.fidelity))))
    phrase = ", ".join(filter(None, (f"gives them back with {fit} in {name}{beside}", lowest)))
    decodes = not isinstance(report.manifest.recipe.task, Anomaly | Denoising)
    yield Fact(fit, text, phrase if decodes else "")


def _deviation(data: Data, fit: Fit) -> str:
    """The root mean squared error in the unit of measure of the data."""
    of = " of 255" if data.dtype == "uint8" else f" in the unit of measure of the data ({data.dtype})"
    return f"root mean squared error {number(fit.mse**0.5)}{of}"


def _size(report: Report) -> Iterator[Fact]:
    """The largest int8 file (else the largest float file), and the ratio of each file to stock."""
    compared = compare_sizes(report.metrics)
    leading = [each for each in compared if each.ours.precision is Precision.INT8] or compared
    if leading:
        largest = human_size(max(each.ours.bytes for each in leading))
        ratios = [f"{three_digits(each.ratio)} × ({kind_text(each.ours)})" for each in leading if each.ratio]
        stock = f", {' and '.join(ratios)} the stock converters' bytes" if ratios else ""
        yield Fact(largest, "; ".join(map(_beside_stock, leading)), f"takes {largest}{stock}")


def _beside_stock(each: SizeComparison) -> str:
    size_text = f"{kind_text(each.ours)} {human_size(each.ours.bytes)}{' of constants' if size_kind(each.ours) else ''}"
    if not each.ratio or each.stock is None:
        return size_text
    return f"{size_text}, {three_digits(each.ratio)} × the {human_size(each.stock.bytes)} of the stock converter"


def _latency(report: Report) -> Iterator[Fact]:
    """The slowest of the first int8 files of each format in the leading case; nothing without a benchmark."""
    bench = report.metrics.bench
    title, rows = leading_case(bench.latency) if bench and bench.latency else ("", [])
    ours: dict[str, Latency] = {}
    for row in rows:
        if (row.maker, row.precision) == (Maker.TIEDAE, Precision.INT8):
            ours.setdefault(row.format, row)
    if ours:
        slowest = duration(max(row.median_us for row in ours.values()))
        each = "; ".join(f"{kind_text(row)} {duration(row.median_us)}" for row in ours.values())
        yield Fact(slowest, f"{title}: {each}", f"needs {slowest} for a sample")


def _tie(report: Report) -> Iterator[Fact]:
    metrics, kernels = report.metrics, len(report.manifest.kernels)
    once, rows = stored_once(metrics), promised_codes(metrics)
    codes = codes_text(rows, named=False) if rows else "codes were not compared"
    files = len({row.file for row in metrics.storage})
    where = "the one file" if files == 1 else f"each of {files} files"
    text = f"of each of {counted(kernels, 'kernel')} in {where}" if once else "storage proofs hold"
    phrase = f"holds each of its {kernels} kernels once" if once else "is not shown to hold every kernel once"
    figure = "1 copy" if once else f"{sum(row.ok for row in metrics.storage)} of {len(metrics.storage)}"
    yield Fact(figure, f"{text}; {codes}", phrase, "" if once else "failed")


def _verdict(report: Report) -> Iterator[Fact]:
    """What the verdict finds, in amber, or what the program is better than."""
    verdict = report.metrics.verdict
    if verdict is None:
        return
    if verdict.findings:
        yield Fact(f"! {len(verdict.findings)}", "; ".join(texts(verdict)), f"is {NO_GOOD}", "amber")
    elif verdict.comparisons:
        better = summary(verdict)
        yield Fact(f"✓ {len(verdict.baselines)}", f"{better}: baselines on the same test samples", f"is {better}", "ok")


def _checks(report: Report) -> Iterator[Fact]:
    failed, count = len(report.metrics.failed), len(report.metrics.checks)
    limits = f"; limits: {report.metrics.limits_text}" if report.metrics.limits else ""
    if failed:
        yield Fact(f"✗ {failed} failed", f"of {count} checks{limits}", f"fails {failed} of {count} checks", "failed")
    elif count:
        yield Fact(f"✓ {count}", f"checks hold, none failed{limits}", f"passes all {count} checks", "ok")


def _task(report: Report) -> Iterator[Fact]:
    result = report.metrics.task
    if result is not None and (found := TASK_VIEWS[task_kind(result)].headline(result)) is not None:
        yield Fact(*found)


FACTS = (_task, _compression, _quality, _size, _latency, _tie, _verdict, _checks)
"""Functions of the facts, in the order of the page."""
