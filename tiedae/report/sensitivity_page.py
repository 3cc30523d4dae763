"""Sensitivity as tables for the terminal and as a page with curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .key_figures import groups
from .pages import render
from .pages.charts import Line, LineChart

COLOURS = 8
"""Number of the style sheet's classes layer0, layer1, …, which repeat."""
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header, rows."""


def sensitivity_tables(measured: Mapping[str, Any]) -> list[Table]:
    """One table per change: increase of the error in percent, a row per kernel or activation, a column per level."""
    tables: list[Table] = []
    for change, rows in groups(measured["rows"], lambda row: row["change"]).items():
        levels = list(dict.fromkeys(row["level"] for row in rows))
        increases = groups(rows, lambda row: row["place"])
        cells = [(place, *(percent(row["increase"]) for row in of_place)) for place, of_place in increases.items()]
        tables.append(
            (f"{change.capitalize()}: increase of the error", ("", *(level_text(change, level) for level in levels)), cells)
        )
    return tables


def percent(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f} %".replace("-", "−")


def level_text(change: str, level: float) -> str:
    return f"{100 * level:g} %" if change == "kernel sparsity" else f"{level:g} bits"


def render_sensitivity(measured: Mapping[str, Any]) -> str:
    """The HTML page: a chart and a table per change. `measured` is the output of `tiedae sensitivity --json`."""
    changes = [
        (change.capitalize(), *_chart(change, rows), header, cells)
        for (change, rows), (_, header, cells) in zip(
            groups(measured["rows"], lambda row: row["change"]).items(), sensitivity_tables(measured), strict=True
        )
    ]
    title = f"{measured['name']}: sensitivity · tiedae"
    return render(Path(__file__).with_suffix(".html.j2"), title=title, measured=measured, changes=changes)


def _chart(change: str, rows: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, str]], LineChart]:
    """Legend and chart of the error over the levels, a curve per kernel or activation."""
    sparsity = change == "kernel sparsity"
    lines, entries = [], []
    for i, (place, of_place) in enumerate(groups(rows, lambda row: row["place"]).items()):
        kind = f"layer{i % COLOURS}"
        levels = [100 * row["level"] if sparsity else row["level"] for row in of_place]
        lines.append(Line(kind, levels, [row["error"] for row in of_place]))
        entries.append((kind, place))
    unit = "zeros in percent" if sparsity else "bits"
    return entries, LineChart(lines, f"Error by {change}", unit, "squared error per sample, in scaled values")
