"""The section on benchmark results: latency, throughput, memory, start-up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tiedae.base.numbers import duration
from tiedae.bundle.bench_results import WAYS, Bench, Latency, Measurement, Way
from tiedae.export.kinds import Maker

from .key_figures import groups
from .pages import fragment
from .pages.charts import Bar, BarChart

KINDS = {Maker.TIEDAE: "ours", Maker.STOCK: "stock", Maker.KERAS: "keras"}
"""CSS class of bars by maker."""
Case = tuple[Way, str, int, int]
"""The key of a comparison: way, signature, batch, threads."""


def render_speed(bench: Bench | None) -> Markup:
    """The section of the report; without a benchmark, a hint how to run one."""
    template = Path(__file__).with_suffix(".html.j2")
    if bench is None or not bench.latency:
        return fragment(template, machine=None)
    first, leading = leading_case(bench.latency)
    return fragment(
        template,
        machine=bench.machine,
        title=first,
        latency=_scaled([_latency_bar(row) for row in leading]),
        rows=[_cells(row) for row in bench.latency if row not in leading],
        memory=BarChart(
            [
                _bar(row, size, f"{size / 2**20:.1f} MiB", ", ".join(row.signatures), row.ratio)
                for row in bench.memory
                if (size := row.resident_bytes) is not None
            ]
        ),
        startup=_scaled([_bar(row, row.startup_ms, duration(1000 * row.startup_ms), row.signature) for row in bench.startup]),
        skipped=[(row.what, row.reason) for row in bench.skipped],
    )


def leading_case(latency: Sequence[Latency]) -> tuple[str, list[Latency]]:
    """Title and rows of the leading comparison: the runtime's call of the whole model, batch 1, one thread, if measured.
    `latency` is not empty."""
    cases = groups(latency, _case)
    first = min(cases, key=lambda case: (case[0] is Way.CALL, case[1] != "reconstruct", *case[2:]))
    return _title(first), cases[first]


def _case(row: Latency) -> Case:
    return row.way, row.signature, row.batch, row.threads


def _title(case: Case) -> str:
    way, signature, batch, threads = case
    return f"{signature}, batch {batch}, {'1 thread' if threads == 1 else f'{threads} threads'}, {WAYS[way]}"


def _scaled(bars: Sequence[Bar]) -> BarChart:
    """Bars on the scale of the files; Keras' bars may exceed it."""
    return BarChart(bars, max((bar.end for bar in bars if bar.kind != "keras"), default=None))


def _latency_bar(row: Latency) -> Bar:
    median, ratio = row.median_us, row.ratio
    whisker = (median * ratio.low / ratio.value, median * ratio.high / ratio.value) if ratio else None
    notes = (row.provider or row.runtime, row.dtypes, f"{ratio.text} × {row.against}" if ratio else row.note)
    return _bar(row, median, duration(median), "; ".join(filter(None, notes)), ratio and ratio.value, whisker)


def _bar(
    row: Measurement,
    value: float,
    shown: str,
    note: str,
    ratio: float | None = None,
    whisker: tuple[float, float] | None = None,
) -> Bar:
    return Bar(row.subject, value, shown, KINDS[row.maker], note, f"{ratio:.3f} ×" if ratio else "", whisker)


def _cells(row: Latency) -> tuple[str, ...]:
    times = duration(row.median_us), duration(row.p95_us), f"{row.throughput:,.0f}"
    return _title(_case(row)), row.subject, *times, row.ratio.text if row.ratio else "", row.against or row.note
