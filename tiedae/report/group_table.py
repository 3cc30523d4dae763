"""The table of groups: a row per group of samples, such as a machine; in the report, and in lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from tiedae.base.numbers import number
from tiedae.bundle.results import GroupFigures, Metrics

from .pages import fragment
from .tasks.anomaly import estimate_text


def render_groups(metrics: Metrics) -> Markup:
    """The section of the report; empty where the test samples have no groups."""
    rows = metrics.groups
    if not rows:
        return Markup()
    first = next((row.fidelity for row in rows if row.fidelity is not None), None)
    measure = "quality" if first is None else f"{first.measure}{f' ({first.unit})' if first.unit else ''}"
    detects = rows[0].flagged is not None
    cells = [
        (
            row.group,
            f"{row.samples:,}",
            "—" if row.mean is None else number(row.mean),
            "—" if row.fidelity is None or row.fidelity.value is None else number(row.fidelity.value),
            *((flagged_text(row), area_text(row)) if detects else ()),
        )
        for row in rows
    ]
    header = ("group", "samples", "mean score" if detects else "mean squared error", measure)
    header += ("flagged", "ROC-AUC against its normal samples") if detects else ()
    return fragment(Path(__file__).with_suffix(".html.j2"), header=header, rows=cells, numeric=range(1, len(header)))


def flagged_text(row: GroupFigures) -> str:
    """How many are flagged, and how many of the normal ones."""
    flagged = row.flagged or 0
    normal = f"; of {row.normal:,} normal ones {row.false_alarms:,}" if row.normal else ""
    return f"{flagged:,} ({flagged / row.samples:.1%}){normal}"


def area_text(row: GroupFigures) -> str:
    """The ROC-AUC, or why there is none."""
    if row.roc_auc is not None or row.normal is None:
        return estimate_text(row.roc_auc)
    return "no normal samples" if row.normal == 0 else "no anomalies"


def group_lines(rows: Sequence[GroupFigures]) -> list[str]:
    """A line per group, of what `tiedae score` says."""
    lines = []
    for row in rows:
        mean = "no score" if row.mean is None else f"mean {row.mean:.4g}"
        flagged = "" if row.flagged is None else f", flagged {flagged_text(row)}"
        area = "" if row.normal is None else f", {'ROC-AUC ' if row.roc_auc else ''}{area_text(row)}"
        lines.append(f"group {row.group}: {row.samples:,} samples, {mean}{flagged}{area}")
    return lines
