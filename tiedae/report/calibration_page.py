"""A self-contained HTML page of a calibration: its findings, and each tensor's histogram with the chosen range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.base.numbers import number
from tiedae.calibration.calibration_file import CalibratedTensor, Calibration
from tiedae.calibration.diagnosis import Diagnosis
from tiedae.config.layer_kinds import OF_WEIGHTS

from .pages import render
from .pages.charts import Cell

WIDTH, HEIGHT = 128, 100
"""The viewBox of a histogram; `WIDTH` is also its maximum number of bars."""
HEADER = ("tensor", "values", "bits", "range", "scale", "observed", "clipped", "dead units", "")
FIXED = "the model fixes its range"


@dataclass(frozen=True)
class Drawing:
    """A histogram over `left`…`right`; bars: (CSS class, x, width, y, height); lines: (CSS class, x)."""

    name: str
    label: str
    left: float
    right: float
    bars: Sequence[tuple[str, str, str, str, str]]
    lines: Sequence[tuple[str, str]]
    facts: Sequence[str]


def render_page(name: str, calibration: Calibration, diagnosis: Diagnosis) -> str:
    """The page as HTML; deterministic."""
    flagged, tensors = {finding.tensor for finding in diagnosis.findings}, calibration.tensors.items()
    rows = [
        (
            Cell(each, kind="failed" if each in flagged else ""),
            f"{tensor.values:,}",
            tensor.bits,
            _span(*tensor.range),
            f"{tensor.grid.parameters(tensor.range)[0]:.3g}",
            _span(tensor.histogram.low, tensor.histogram.high),
            f"{100 * tensor.clipped:.2g} %",
            len(tensor.dead),
            FIXED if each in diagnosis.fixed else "",
        )
        for each, tensor in tensors
    ]
    return render(
        Path(__file__).with_suffix(".html.j2"),
        title=f"Calibration of {name}",
        name=name,
        calibration=calibration,
        diagnosis=diagnosis,
        header=HEADER,
        rows=rows,
        frame=(WIDTH, HEIGHT),
        histograms=[
            _drawing(each, tensor, each in diagnosis.fixed) for each, tensor in tensors if not each.endswith(OF_WEIGHTS)
        ],
    )


def _drawing(name: str, tensor: CalibratedTensor, fixed: bool) -> Drawing:
    """One bar per nonempty bin; pairs of bins merge until there are at most `WIDTH`."""
    histogram, (low, high) = tensor.histogram, tensor.range
    left, right = min(histogram.low, 0.0), max(histogram.high, 0.0)
    unit = WIDTH / (right - left) if right > left else 0.0
    zeros = histogram.zeros / max(histogram.total, 1)
    facts = [f"{100 * tensor.clipped:.2g} % clipped", *([f"{100 * zeros:.3g} % exactly 0"] if zeros else [])]
    facts.append(FIXED if fixed else f"range {_span(low, high)}")
    label = f"histogram of {name}: observed {_span(histogram.low, histogram.high)}, range {_span(low, high)}"
    bars = []
    while unit and (right - left) / histogram.width > WIDTH:
        histogram = histogram.coarse(len(histogram.counts) // 2)
    for index in np.flatnonzero(histogram.counts) if unit else ():
        start = (index - len(histogram.counts) // 2) * histogram.width
        height = 3 + (HEIGHT - 8) * np.log1p(histogram.counts[index]) / np.log1p(histogram.counts.max())
        kind = "in" if low <= start + histogram.width / 2 <= high else "out"
        x, width = (start - left) * unit, histogram.width * unit + 0.02
        bars.append((kind, f"{x:.2f}", f"{width:.2f}", f"{HEIGHT - height:.1f}", f"{height:.1f}"))
    marked = (("zero", 0.0), ("end", low), ("end", high))
    lines = [(kind, f"{(at - left) * unit:.2f}") for kind, at in marked if unit and left <= at <= right]
    return Drawing(name, label, left, right, bars, lines, facts)


def _span(low: float, high: float) -> str:
    return f"{number(low)}…{number(high)}"
