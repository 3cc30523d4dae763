"""R² of each column of a table, the worst first, and what there is to warn of."""

from __future__ import annotations

from pathlib import Path

from tiedae.pages import Bar, BarChart, fragment, number

from ..parity.fidelity import worst_columns
from .headline import Row, worst_exported

SHOWN = 24
"""How many columns are drawn at once; the others are folded."""


def render_columns(metrics: Row) -> str:
    """The section of the report; nothing where the data are no table."""
    worst = worst_exported(metrics, "int8") or worst_exported(metrics, "f32")
    rows = () if worst is None else worst_columns(worst.get("fidelity") or {})
    warnings = metrics.get("warnings") or ()
    if worst is None or not (rows or warnings):
        return ""
    bars = [Bar(row["name"], max(row["r2"], 0.0), number(row["r2"]), "ours") for row in rows]
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        where=f"{worst['row']} in {worst['runtime']}" if worst.get("runtime") else worst["row"],
        warnings=warnings,
        first=BarChart(bars[:SHOWN]),
        more=BarChart(bars[SHOWN:]),
    )
