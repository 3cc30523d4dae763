"""Sensitivity as tables for a terminal, and as a page with curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .charts import Line, legend, line_chart
from .figures import escape, number, page, table
from .headline import Row, groups

COLOURS = 8
"""The style sheet's classes layer0, layer1 and so on; more layers begin again."""
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, header, rows."""


def sensitivity_tables(measured: Mapping[str, Any]) -> list[Table]:
    """A table per change: a row per kernel or activation, a column per level, the increase of the error in percent."""
    tables: list[Table] = []
    for (change,), rows in groups(measured["rows"], "change").items():
        levels = list(dict.fromkeys(row["level"] for row in rows))
        increases = groups(rows, "place")
        cells = [(place, *(percent(row["increase"]) for row in of_place)) for (place,), of_place in increases.items()]
        tables.append(
            (f"{change.capitalize()}: increase of the error", ("", *(level_text(change, level) for level in levels)), cells)
        )
    return tables


def percent(value: float) -> str:
    return f"{round(100 * value, 1) + 0.0:+.1f} %".replace("-", "−")


def level_text(change: str, level: float) -> str:
    return f"{100 * level:g} %" if change == "kernel sparsity" else f"{level:g} bits"


def render_sensitivity(measured: Mapping[str, Any]) -> str:
    """The page: what was measured, a chart and a table per change. `measured` is what `tiedae sensitivity --json` writes."""
    sections = [
        f"<section><h2>{escape(change.capitalize())}</h2>\n{_chart(change, rows)}\n{table(header, _cells(cells))}</section>"
        for ((change,), rows), (_, header, cells) in zip(
            groups(measured["rows"], "change").items(), sensitivity_tables(measured), strict=True
        )
    ]
    name, reference = measured["name"], measured["rows"][0]["float_error"]
    intro = (
        f"One kernel or one activation alone is made coarser, all else stays in float, and nothing is trained. Curves show the "
        f"squared error per sample over {measured['samples']:,} training samples, tables its increase against the float "
        f"model's, {number(reference)}. A kernel is changed once for both directions."
    )
    head = f"<h1>{escape(name)}: sensitivity</h1>\n<p>{escape(intro)}</p>"
    footer = f"Made by tiedae sensitivity; sha256 of the samples {measured['sha256']}."
    return page(f"{name}: sensitivity · tiedae", f"<main>\n{head}\n{''.join(sections)}\n</main>\n<footer>{footer}</footer>")


def _cells(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [tuple(map(escape, row)) for row in rows]


def _chart(change: str, rows: list[Row]) -> str:
    lines, entries = [], []
    for number_of, ((place,), of_place) in enumerate(groups(rows, "place").items()):
        kind = f"layer{number_of % COLOURS}"
        scale = 100 if change == "kernel sparsity" else 1
        lines.append(Line(kind, [scale * row["level"] for row in of_place], [row["error"] for row in of_place]))
        entries.append((kind, place))
    unit = "zeros in percent" if change == "kernel sparsity" else "bits"
    chart = line_chart(lines, title=f"Error by {change}", x=unit, y="squared error per sample, in model units")
    return f"{legend(entries)}\n{chart}"
