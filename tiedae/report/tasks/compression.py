"""How the results of compression are shown: the coders, their quality and bytes, and the chart of rate and distortion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tiedae.base.numbers import three_digits
from tiedae.bundle.fidelity import MEANINGS
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.task_results import TIED, Coder, CompressionResult, RatePoint
from tiedae.tasks.compression import TITLES

from ..pages import fragment
from ..pages.charts import Curve, CurveChart, Point
from .view import TableRow, TaskView, measured_text

COLOURS: Mapping[Coder, str] = {TIED: "ours", "pca": "keras", "jpeg": "stock", "webp": "prune", "avif": "avif"}
EQUAL = {"": "", "bits": "around our bytes", "error": "at no larger error"}


def quality_text(result: CompressionResult, point: RatePoint) -> str:
    """`PSNR 20.1 dB, SSIM 0.712`."""
    value = None if point.value is None else f"{point.value:.4g} {result.unit}"
    return measured_text(result.measure, value, point)


def title(point: RatePoint) -> str:
    """`PCA around our bytes: 16 components, step 0.5`."""
    return " ".join(filter(None, (TITLES[point.coder], EQUAL[point.chosen]))) + (f": {point.setting}" if point.setting else "")


def cells(result: CompressionResult) -> list[tuple[str, str, str, str, str]]:
    """Each coder that is compared: name, quality, bytes, bits per value, how many times smaller."""
    lossy = [(title(point), quality_text(result, point), point.bytes, point.bits) for point in result.compared]
    exact = [(f"{each.coder}, lossless", "exact", each.bytes, each.bits) for each in result.lossless]
    return [
        (name, quality, f"{size:,}", f"{bits:.4g}", f"{three_digits(result.ratio(size))} ×")
        for name, quality, size, bits in (*lossy, *exact)
    ]


HEADER = ("", "quality", "bytes", "bits per value", "smaller by")


def rows(result: CompressionResult) -> Sequence[TableRow]:
    return [
        (name, "", quality, size, f"{bits} bits per value, {ratio} smaller, {result.samples_text}")
        for name, quality, size, bits, ratio in cells(result)
    ]


def curves(result: CompressionResult) -> list[Curve]:
    """The points of each coder; ours, a single one, last, so that it is drawn over the others."""
    found: dict[Coder, list[Point]] = {}
    for point in result.points:
        if point.value is not None:
            text = f"{title(point)}: {point.bits:.4g} bits per value, {quality_text(result, point)}"
            found.setdefault(point.coder, []).append(Point(point.bits, point.value, text))
    return [Curve(COLOURS[coder], TITLES[coder], found[coder]) for coder in sorted(found, key=lambda coder: coder == TIED)]


def section(manifest: Manifest, result: CompressionResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    if not result.points:
        return Markup()
    drawn = curves(result)
    axis = f"{result.measure} {f'({result.unit})' if result.unit else ''}".strip()
    chart = CurveChart(drawn, "Rate and distortion", "bits per value", axis) if drawn else None
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        result=result,
        meaning=MEANINGS.get(result.measure, "") + f"; over {result.samples_text}",
        coders={point.coder for point in result.points},
        header=HEADER,
        rows=cells(result),
        chart=chart,
    )


def card(result: CompressionResult) -> str:
    if not result.points:
        return ""
    return fragment(
        Path(__file__).with_name("compression_card.md.j2"),
        result=result,
        coders={point.coder for point in result.points},
        header=HEADER,
        rows=cells(result),
    )


VIEW = TaskView(
    "Compression",
    "encodes samples of {inputs} values to codes of {units} bytes and decodes them",
    "It encodes samples to codes, for storage or transmission, and decodes codes to approximate samples.",
    section,
    card,
    rows,
)
