"""A calibration as one HTML page that loads nothing: what was found, and each tensor's histogram with the chosen range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from tiedae.pages import Cell, number, render

from .artefact import CalibratedTensor, Calibration
from .diagnosis import Diagnosis

HEADER = ("tensor", "values", "bits", "range", "step", "seen", "clipped", "dead units", "")
FIXED = "the model fixes its range"


def render_page(name: str, calibration: Calibration, diagnosis: Diagnosis) -> str:
    """A self-contained page, light and dark; the same calibration gives the same bytes."""
    flagged = {finding.tensor for finding in diagnosis.findings}
    tensors = calibration.tensors.items()
    return render(
        Path(__file__).with_suffix(".html.j2"),
        title=f"Calibration of {name}",
        name=name,
        calibration=calibration,
        diagnosis=diagnosis,
        header=HEADER,
        rows=[
            _row(Cell(each, kind="failed" if each in flagged else ""), tensor, each in diagnosis.fixed)
            for each, tensor in tensors
        ],
        histograms=[
            HistogramFigure(each, tensor, each in diagnosis.fixed) for each, tensor in tensors if not each.endswith(".bias")
        ],
    )


def _row(name: Cell, tensor: CalibratedTensor, fixed: bool) -> tuple[object, ...]:
    """A tensor under `HEADER`."""
    return (
        name,
        f"{tensor.values:,}",
        tensor.bits,
        _span(*tensor.range),
        f"{tensor.grid.parameters(tensor.range)[0]:.3g}",
        _span(tensor.histogram.low, tensor.histogram.high),
        f"{100 * tensor.clipped:.2g} %",
        len(tensor.dead),
        FIXED if fixed else "",
    )


@dataclass(frozen=True, eq=False)
class HistogramFigure:
    """A tensor's histogram in a viewBox of `WIDTH` × `HEIGHT`, and what is written around it."""

    name: str
    tensor: CalibratedTensor
    fixed: bool

    WIDTH: ClassVar = 128
    HEIGHT: ClassVar = 100

    @property
    def left(self) -> float:
        return min(self.tensor.histogram.low, 0.0)

    @property
    def right(self) -> float:
        return max(self.tensor.histogram.high, 0.0)

    @property
    def label(self) -> str:
        histogram = self.tensor.histogram
        return f"histogram of {self.name}: seen {_span(histogram.low, histogram.high)}, range {_span(*self.tensor.range)}"

    @property
    def facts(self) -> list[str]:
        zeros = self.tensor.histogram.zeros / max(self.tensor.histogram.total, 1)
        shown = [f"{100 * self.tensor.clipped:.2g} % clipped", *([f"{100 * zeros:.3g} % exactly 0"] if zeros else [])]
        return [*shown, FIXED if self.fixed else f"range {_span(*self.tensor.range)}"]

    @property
    def bars(self) -> Iterator[tuple[str, str, str, str, str]]:
        """CSS class, x, width, y and height of each bin that holds something; bins are made coarser, by twos, until there are
        no more than `WIDTH`."""
        histogram = self.tensor.histogram
        if self.right <= self.left:
            return
        while (self.right - self.left) / histogram.width > self.WIDTH:
            histogram = histogram.coarse(len(histogram.counts) // 2)
        low, high = self.tensor.range
        unit = self.WIDTH / (self.right - self.left)
        for index in np.flatnonzero(histogram.counts):
            start = (index - len(histogram.counts) // 2) * histogram.width
            height = 3 + (self.HEIGHT - 8) * np.log1p(histogram.counts[index]) / np.log1p(histogram.counts.max())
            kind = "in" if low <= start + histogram.width / 2 <= high else "out"
            x, width = (start - self.left) * unit, histogram.width * unit + 0.02
            yield kind, f"{x:.2f}", f"{width:.2f}", f"{self.HEIGHT - height:.1f}", f"{height:.1f}"

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """CSS class and x of zero and of both ends of the range, where they are in the picture."""
        low, high = self.tensor.range
        for kind, value in (("zero", 0.0), ("end", low), ("end", high)):
            if self.left <= value <= self.right and self.right > self.left:
                yield kind, f"{(value - self.left) / (self.right - self.left) * self.WIDTH:.2f}"


def _span(low: float, high: float) -> str:
    return f"{number(low)}…{number(high)}"
