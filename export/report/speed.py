"""The section of the report that shows what `tiedae bench` measured: latency, throughput, memory, start-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .charts import Bar, bar_chart
from .figures import details, duration, escape, table
from .headline import Row, groups

HOW = "Not measured yet: <code>tiedae bench BUNDLE</code> adds latency, memory and start-up to metrics.json and to this page."
KINDS = {"tiedae": "ours", "stock": "stock"}
"""Bars by maker; any other is the Keras model."""
MEBIBYTE = 1 << 20
CASE = ("way", "signature", "batch", "threads")
"""What the rows of one comparison have in common."""
WAYS = {"invoke": "the runtime's own call", "call": "a call from Python, numpy to numpy"}


def render_speed(bench: Row | None) -> str:
    """`metrics["bench"]` as charts and tables; a line that says how to get it where it is absent or empty."""
    latency = (bench or {}).get("latency") or ()
    if not bench or not latency:
        return f"<p>{HOW}</p>"
    cases = groups(latency, *CASE)
    first = min(cases, key=_preference)
    intro = (
        "Median time of a call. The line across the end of a bar is the 95 % interval of its ratio to the file it is compared "
        "with, which is only taken between equal inputs and outputs. Bars that leave the scale are drawn broken."
    )
    rows = [_cells(row) for case, group in cases.items() if case != first for row in group]
    columns = ("case", "subject", "median", "p95", "samples/s", "ratio", "against")
    more = details(f"{len(rows)} further cases", table(columns, rows, numeric=(2, 3, 4))) if rows else ""
    machine = bench.get("machine") or {}
    facts = [str(machine[key]) for key in ("cpu", "governor", "system") if machine.get(key)]
    if machine.get("cores"):
        facts.insert(1, f"{machine['cores']} cores")
    warning = f" Take care: {escape(machine['warning'])}." if machine.get("warning") else ""
    where = f'<p class="soft">Measured on: {escape(", ".join(facts))}.{warning}</p>' if facts else ""
    parts = [f"<p>{intro}</p>{where}", f"<h3>{escape(_title(first))}</h3>", _chart(cases[first]), more]
    parts += [_memory(bench.get("memory") or ()), _startup(bench.get("startup") or ()), _skipped(bench.get("skipped") or ())]
    return "\n".join(filter(None, parts))


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
    parts = [signature, None if batch is None else f"batch {batch}", threads and _threads(threads), WAYS.get(str(way), way)]
    return ", ".join(str(part) for part in parts if part)


def _threads(count: object) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _chart(rows: Sequence[Row]) -> str:
    bars = [_bar(row) for row in rows]
    ends = [bar.end for bar in bars if bar.kind != "keras"]
    return bar_chart(bars, end=max(ends, default=None))


def _bar(row: Row) -> Bar:
    median, ratio = row["median_us"], row.get("ratio")
    interval = all(row.get(key) is not None for key in ("ratio", "ratio_low", "ratio_high"))
    whisker = (median * row["ratio_low"] / ratio, median * row["ratio_high"] / ratio) if interval and ratio else None
    ran = [row.get("provider") or row.get("runtime"), row.get("ports"), _against(row) or row.get("note")]
    kind = KINDS.get(row.get("maker", ""), "keras")
    return Bar(_name(row), median, duration(median), kind, "; ".join(filter(None, ran)), _ratio(row), whisker)


def _name(row: Row) -> str:
    return str(row.get("subject") or row.get("file") or row.get("runtime"))


def _ratio(row: Row) -> str:
    return f"{row['ratio']:.3f} ×" if row.get("ratio") else ""


def _against(row: Row) -> str:
    if not (row.get("ratio") and row.get("against")):
        return ""
    interval = f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row.get("ratio_low") is not None else ""
    return f"{row['ratio']:.3f}{interval} × {row['against']}"


def _cells(row: Row) -> tuple[str, ...]:
    case = _title([row.get(key) for key in CASE])
    numbers = (
        duration(row["median_us"]),
        duration(row["p95_us"]) if row.get("p95_us") else "",
        f"{row.get('throughput') or 0:,.0f}",
    )
    interval = f" [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row.get("ratio_low") is not None else ""
    ratio = f"{row['ratio']:.3f}{interval}" if row.get("ratio") else ""
    return tuple(escape(cell) for cell in (case, _name(row), *numbers, ratio, row.get("against") or row.get("note") or ""))


def _memory(rows: Sequence[Row]) -> str:
    bars = [
        Bar(
            _name(row),
            row["resident_bytes"],
            f"{row['resident_bytes'] / MEBIBYTE:.1f} MiB",
            KINDS.get(row.get("maker", ""), "keras"),
            ", ".join(row.get("signatures") or ()),
            _ratio(row),
        )
        for row in rows
        if row.get("resident_bytes") is not None
    ]
    title = "Resident memory, from the imported runtime to every signature run once; the ratio is to the stock file"
    return details(title, bar_chart(bars)) if bars else ""


def _startup(rows: Sequence[Row]) -> str:
    bars = [
        Bar(
            _name(row),
            row["startup_ms"],
            duration(1000 * row["startup_ms"]),
            KINDS.get(row.get("maker", ""), "keras"),
            ", ".join(row.get("signatures") or ()),
        )
        for row in rows
        if row.get("startup_ms") is not None
    ]
    ends = [bar.end for bar in bars if bar.kind != "keras"]
    title = "Start-up, from opening the file to the first result"
    return details(title, bar_chart(bars, end=max(ends, default=None))) if bars else ""


def _skipped(rows: Sequence[Mapping[str, str]]) -> str:
    return table(("not measured", "why"), [(escape(row["what"]), escape(row["reason"])) for row in rows]) if rows else ""
