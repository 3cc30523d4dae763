"""The section on the columns of a table: R² of each, worst first, what the file loses in its unit of measure, and warnings."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from tiedae.base.numbers import number
from tiedae.bundle.results import Metrics, Stage, warning_lines
from tiedae.export.kinds import Precision

from .key_figures import worst_exported
from .pages import fragment
from .pages.charts import Bar, FoldedBars

SHOWN = 24
"""Columns drawn at first; the others are folded."""


def render_columns(metrics: Metrics) -> Markup:
    """The section of the report; empty unless the data are a table."""
    worst = worst_exported(metrics, Precision.INT8) or worst_exported(metrics, Precision.F32)
    rows = [] if worst is None or worst.fidelity is None else worst.fidelity.worst_columns
    of_table = worst is not None and worst.fidelity is not None and bool(worst.fidelity.columns)
    if worst is None or not (rows or (metrics.warnings and of_table)):
        return Markup()
    keras = next((row.fidelity for row in metrics.quality if row.stage is Stage.TRAIN), None)
    lost = worst.fidelity.lost(keras)[:SHOWN] if keras and keras.columns and worst.fidelity else []
    bars = [Bar(name, max(r2, 0.0), number(r2), "ours") for r2, name in rows]
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        where=f"{worst.title} in {worst.runtime}" if worst.runtime else worst.title,
        over="the test samples" if metrics.samples is None else metrics.samples.text,
        warnings=warning_lines(metrics.warnings),
        bars=FoldedBars(bars, SHOWN),
        lost=[(ours.name, number(loss), number(ours.rmse), number(theirs.rmse)) for loss, ours, theirs in lost if loss > 0],
    )
