"""The section on R² of each column of a table, worst first, and warnings."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup
from tiedae.pages import Bar, BarChart, fragment, number

from ..verify.kinds import Precision
from ..verify.results import Metrics
from .key_figures import worst_exported

SHOWN = 24
"""Columns drawn at first; the others are folded."""


def render_columns(metrics: Metrics) -> Markup:
    """The section of the report; empty unless the data are a table."""
    worst = worst_exported(metrics, Precision.INT8) or worst_exported(metrics, Precision.F32)
    rows = [] if worst is None or worst.fidelity is None else worst.fidelity.worst_columns
    if worst is None or not (rows or metrics.warnings):
        return Markup()
    bars = [Bar(name, max(r2, 0.0), number(r2), "ours") for r2, name in rows]
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        where=f"{worst.title} in {worst.runtime}" if worst.runtime else worst.title,
        over="the test samples" if metrics.samples is None else metrics.samples.text,
        warnings=metrics.warnings,
        first=BarChart(bars[:SHOWN]),
        more=BarChart(bars[SHOWN:]),
    )
