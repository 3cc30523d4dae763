"""R² of each column of a table, the worst first, and what there is to warn of."""

from __future__ import annotations

from ..results import Metrics, Precision
from .charts import Bar, bar_chart
from .figures import details, escape, number
from .key_figures import worst_exported

SHOWN = 24
"""How many columns are drawn at once; the others are folded."""


def render_columns(metrics: Metrics) -> str:
    """The section of the report; nothing where the data are no table."""
    worst = worst_exported(metrics, Precision.INT8) or worst_exported(metrics, Precision.F32)
    rows = [] if worst is None or worst.fidelity is None else worst.fidelity.worst_columns
    warnings = "".join(f"<li>column {escape(warning.text)}</li>" for warning in metrics.warnings)
    if worst is None or not (rows or warnings):
        return ""
    bars = [Bar(name, max(r2, 0.0), number(r2), "ours") for r2, name in rows]
    where = f"{worst.title} in {worst.runtime}" if worst.runtime else worst.title
    intro = (
        f"R² of each column over the test samples, in {escape(where)}: 1 is exact, 0 is no closer than the mean of the column, "
        "and below 0 the mean would be closer. The worst first."
    )
    parts = [f"<p>{intro}</p>", f"<ul>{warnings}</ul>" if warnings else ""]
    parts += [bar_chart(bars[:SHOWN])] if bars else []
    parts += [details(f"{len(bars) - SHOWN} more columns", bar_chart(bars[SHOWN:]))] if len(bars) > SHOWN else []
    return "\n".join(filter(None, parts))
