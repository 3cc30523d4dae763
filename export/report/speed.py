"""The section of the report that shows what `tiedae bench` measured: latency, throughput, memory, start-up."""

from __future__ import annotations

from collections.abc import Sequence

from ..results import WAYS, Bench, Latency, Maker, Memory, Startup, Way
from .charts import Bar, bar_chart
from .figures import details, duration, escape, table
from .key_figures import groups

HOW = "Not measured yet: <code>tiedae bench BUNDLE</code> adds latency, memory and start-up to metrics.json and to this page."
KINDS = {Maker.TIEDAE: "ours", Maker.STOCK: "stock", Maker.KERAS: "keras"}
"""Bars by maker."""
MEBIBYTE = 1 << 20
Case = tuple[Way, str, int, int]
"""What the rows of one comparison have in common: way, signature, batch, threads."""


def render_speed(bench: Bench | None) -> str:
    """The measurements as charts and tables; a line that says how to get them where there are none."""
    if bench is None or not bench.latency:
        return f"<p>{HOW}</p>"
    cases = groups(bench.latency, _case)
    first = min(cases, key=_preference)
    intro = (
        "Median time of a call. The line across the end of a bar is the 95 % interval of its ratio to the file it is compared "
        "with, which is only taken between equal inputs and outputs. Bars that leave the scale are drawn broken."
    )
    rows = [_cells(row) for case, group in cases.items() if case != first for row in group]
    columns = ("case", "subject", "median", "p95", "samples/s", "ratio", "against")
    more = details(f"{len(rows)} further cases", table(columns, rows, numeric=(2, 3, 4))) if rows else ""
    machine = bench.machine
    facts = ", ".join(filter(None, (machine.cpu, f"{machine.cores} cores", machine.governor, machine.system)))
    warning = f" Take care: {escape(machine.warning)}." if machine.warning else ""
    where = f'<p class="soft">Measured on: {escape(facts)}.{warning}</p>'
    skipped = [(escape(row.what), escape(row.reason)) for row in bench.skipped]
    parts = [f"<p>{intro}</p>{where}", f"<h3>{escape(_title(first))}</h3>", _chart(cases[first]), more]
    parts += [_memory(bench.memory), _startup(bench.startup), table(("not measured", "why"), skipped) if skipped else ""]
    return "\n".join(filter(None, parts))


def leading_case(latency: Sequence[Latency]) -> tuple[str, list[Latency]]:
    """The comparison that leads: its title and its rows. `latency` is not empty."""
    cases = groups(latency, _case)
    first = min(cases, key=_preference)
    return _title(first), cases[first]


def _case(row: Latency) -> Case:
    return row.way, row.signature, row.batch, row.threads


def _preference(case: Case) -> tuple:
    """The case that leads: what the runtime takes for the whole model, one sample, one thread."""
    way, signature, batch, threads = case
    return way is Way.CALL, signature != "reconstruct", batch, threads


def _title(case: Case) -> str:
    way, signature, batch, threads = case
    return f"{signature}, batch {batch}, {'1 thread' if threads == 1 else f'{threads} threads'}, {WAYS[way]}"


def _chart(rows: Sequence[Latency]) -> str:
    bars = [_bar(row) for row in rows]
    ends = [bar.end for bar in bars if bar.kind != "keras"]
    return bar_chart(bars, end=max(ends, default=None))


def _bar(row: Latency) -> Bar:
    ratio, median = row.ratio, row.median_us
    whisker = (median * ratio.low / ratio.value, median * ratio.high / ratio.value) if ratio else None
    ran = [row.provider or row.runtime, row.dtypes, f"{ratio.text} × {row.against}" if ratio else row.note]
    change = f"{ratio.value:.3f} ×" if ratio else ""
    return Bar(row.subject, median, duration(median), KINDS[row.maker], "; ".join(filter(None, ran)), change, whisker)


def _cells(row: Latency) -> tuple[str, ...]:
    numbers = duration(row.median_us), duration(row.p95_us), f"{row.throughput:,.0f}"
    cells = (_title(_case(row)), row.subject, *numbers, row.ratio.text if row.ratio else "", row.against or row.note)
    return tuple(map(escape, cells))


def _memory(rows: Sequence[Memory]) -> str:
    bars = [
        Bar(
            row.subject,
            row.resident_bytes,
            f"{row.resident_bytes / MEBIBYTE:.1f} MiB",
            KINDS[row.maker],
            ", ".join(row.signatures),
            f"{row.ratio:.3f} ×" if row.ratio else "",
        )
        for row in rows
        if row.resident_bytes is not None
    ]
    title = "Resident memory, from the imported runtime to every signature run once; the ratio is to the stock file"
    return details(title, bar_chart(bars)) if bars else ""


def _startup(rows: Sequence[Startup]) -> str:
    bars = [Bar(row.subject, row.startup_ms, duration(1000 * row.startup_ms), KINDS[row.maker], row.signature) for row in rows]
    ends = [bar.end for bar in bars if bar.kind != "keras"]
    title = "Start-up, from opening the file to the first result"
    return details(title, bar_chart(bars, end=max(ends, default=None))) if bars else ""
