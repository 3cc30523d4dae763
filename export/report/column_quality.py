"""R² of each column of a table, the worst first, and what there is to warn of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..parity.fidelity import worst_columns
from .charts import Bar, bar_chart
from .figures import details, escape, number
from .headline import worst_exported

Row = Mapping[str, Any]

SHOWN = 24
"""How many columns are drawn at once; the others are folded."""


def render_columns(metrics: Row) -> str:
    """The section of the report; nothing where the data are no table."""
    worst = worst_exported(metrics, "int8") or worst_exported(metrics, "f32")
    rows = () if worst is None else worst_columns(worst.get("fidelity") or {})
    warnings = "".join(f"<li>column {escape(warning['text'])}</li>" for warning in metrics.get("warnings") or ())
    if worst is None or not (rows or warnings):
        return ""
    bars = [Bar(row["name"], max(row["r2"], 0.0), number(row["r2"]), "ours") for row in rows]
    where = f"{worst['row']} in {worst['runtime']}" if worst.get("runtime") else worst["row"]
    intro = (
        f"R² of each column over the test samples, in {escape(where)}: 1 is exact, 0 is no closer than the mean of the column, "
        "and below 0 the mean would be closer. The worst first."
    )
    parts = [f"<p>{intro}</p>", f"<ul>{warnings}</ul>" if warnings else ""]
    parts += [bar_chart(bars[:SHOWN])] if bars else []
    parts += [details(f"{len(bars) - SHOWN} more columns", bar_chart(bars[SHOWN:]))] if len(bars) > SHOWN else []
    return "\n".join(filter(None, parts))
