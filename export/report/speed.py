"""The section of the report that shows what `tiedae bench` measured: latency, throughput, memory, start-up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tiedae.pages import Bar, BarChart, duration, fragment

from .headline import Row, groups

KINDS = {"tiedae": "ours", "stock": "stock"}
"""Bars by maker; any other is the Keras model."""
MEBIBYTE = 1 << 20
CASE = ("way", "signature", "batch", "threads")
"""What the rows of one comparison have in common."""
WAYS = {"invoke": "the runtime's own call", "call": "a call from Python, numpy to numpy"}


def render_speed(bench: Row | None) -> str:
    """`metrics["bench"]` as charts and tables; a line that says how to get it where it is absent or empty."""
    bench = bench or {}
    cases = groups(bench.get("latency") or (), *CASE)
    first = min(cases, key=_preference, default=())
    machine = bench.get("machine") or {}
    cores = f"{machine['cores']} cores" if machine.get("cores") else None
    memory = [(row, row.get("resident_bytes")) for row in bench.get("memory") or ()]
    startup = [(row, row.get("startup_ms")) for row in bench.get("startup") or ()]
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        cases=cases,
        title=_title(first) if first else "",
        machine=list(filter(None, (machine.get("cpu"), cores, machine.get("governor"), machine.get("system")))),
        warning=machine.get("warning"),
        latency=_scaled([_latency_bar(row) for row in cases.get(first, ())]),
        rows=[_cells(row) for case, rows in cases.items() if case != first for row in rows],
        memory=BarChart([_bar(row, value, f"{value / MEBIBYTE:.1f} MiB") for row, value in memory if value is not None]),
        startup=_scaled([_bar(row, value, duration(1000 * value)) for row, value in startup if value is not None]),
        skipped=[(row["what"], row["reason"]) for row in bench.get("skipped") or ()],
    )


def leading_case(latency: Sequence[Row]) -> tuple[str, list[Row]]:
    """The comparison that leads: its title and its rows. `latency` is not empty."""
    cases = groups(latency, *CASE)
    first = min(cases, key=_preference)
    return _title(first), cases[first]


def _preference(case: tuple) -> tuple:
    """The case that leads: what the runtime takes for the whole model, one sample, one thread."""
    way, signature, batch, threads = case
    return way == "call", signature != "reconstruct", batch or 0, threads or 0


def _title(case: Sequence[object]) -> str:
    way, signature, batch, threads = case
    count = "1 thread" if threads == 1 else f"{threads} threads"
    parts = [signature, None if batch is None else f"batch {batch}", threads and count, WAYS.get(str(way), way)]
    return ", ".join(str(part) for part in parts if part)


def _scaled(bars: Sequence[Bar]) -> BarChart:
    """Bars on the scale of the files: those of the Keras model may leave it."""
    return BarChart(bars, max((bar.end for bar in bars if bar.kind != "keras"), default=None))


def _latency_bar(row: Row) -> Bar:
    median, ratio = row["median_us"], row.get("ratio")
    interval = ratio and all(row.get(key) is not None for key in ("ratio_low", "ratio_high"))
    whisker = (median * row["ratio_low"] / ratio, median * row["ratio_high"] / ratio) if interval else None
    against = f"{_ratio(row)} × {row['against']}" if ratio and row.get("against") else row.get("note")
    notes = (row.get("provider") or row.get("runtime"), row.get("ports"), against)
    return _bar(row, median, duration(median), "; ".join(filter(None, notes)), whisker)


def _bar(row: Row, value: float, shown: str, note: str = "", whisker: tuple[float, float] | None = None) -> Bar:
    kind, change = KINDS.get(row.get("maker", ""), "keras"), f"{row['ratio']:.3f} ×" if row.get("ratio") else ""
    return Bar(_name(row), value, shown, kind, note or ", ".join(row.get("signatures") or ()), change, whisker)


def _name(row: Row) -> str:
    return str(row.get("subject") or row.get("file") or row.get("runtime"))


def _ratio(row: Row) -> str:
    """The ratio of two medians with its interval, where there is one."""
    if not row.get("ratio"):
        return ""
    return f"{row['ratio']:.3f}" + (
        f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row.get("ratio_low") is not None else ""
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        _title([row.get(key) for key in CASE]),
        _name(row),
        duration(row["median_us"]),
        duration(row["p95_us"]) if row.get("p95_us") else "",
        f"{row.get('throughput') or 0:,.0f}",
        _ratio(row),
        row.get("against") or row.get("note") or "",
    )
