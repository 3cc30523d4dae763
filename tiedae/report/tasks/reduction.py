"""How the results of dimensionality reduction are shown: methods, and the codes of test samples as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tiedae.bundle.manifest import Manifest
from tiedae.bundle.task_results import Method, ReductionResult

from ..pages import fragment
from ..pages.charts import Point, Scatter
from .view import TableRow, TaskView

GROUPS = 20
"""Labels with a colour of their own, the most frequent; the others share one."""
OTHERS = "other labels"
NAMES: Mapping[Method, str] = {
    "int8": "int8 codes",
    "float": "codes of the float model",
    "pca": "PCA",
    "umap": "UMAP",
}


def section(manifest: Manifest, result: ReductionResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    points, labels = arrays["plane"].astype(float).tolist(), arrays.get("labels")
    names, groups = ("samples",), np.zeros(len(points), np.int64)
    if labels is not None:
        names, groups = grouped(labels)
    prefix = manifest.data.label or "label"
    texts = [f"sample {row}" for row in arrays["rows"].tolist()]
    if labels is not None:
        texts = [f"{text}, {prefix} {label}" for text, label in zip(texts, labels.tolist(), strict=True)]
    axes = ("first unit", "second unit") if result.units == 2 else ("first principal component", "second principal component")
    if result.units == 1:
        axes = ("the unit of the code", "")
    dots = [Point(x, y, text, group) for (x, y), text, group in zip(points, texts, groups.tolist(), strict=True)]
    chart = Scatter(dots, names, f"int8 codes of {result.samples:,} test samples", *axes)
    return fragment(
        Path(__file__).with_suffix(".html.j2"), result=result, header=header(result), rows=cells(result), chart=chart
    )


def grouped(labels: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """(names of the groups, the group of each label, int64 [n]): each label, or the most frequent and a group of the others."""
    names, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) <= GROUPS:
        return tuple(names.tolist()), members
    kept = np.sort(np.argsort(-counts, kind="stable")[: GROUPS - 1])
    places = np.full(len(names), len(kept))
    places[kept] = np.arange(len(kept))
    return (*names[kept].tolist(), OTHERS), places[members]


def headline(result: ReductionResult) -> tuple[str, str, str]:
    """Trustworthiness of the int8 codes, beside PCA's."""
    values = {each.method: f"{each.trustworthiness:.4f}" for each in result.methods}
    beside = f" (PCA {values['pca']})" if "pca" in values else ""
    text = f"trustworthiness of the {result.neighbours} nearest codes of a code{beside}; 1 is best"
    return values["int8"], text, f"keeps neighbours with a trustworthiness of {values['int8']}{beside}"


def header(result: ReductionResult) -> tuple[str, ...]:
    columns = ("", f"trustworthiness ({result.neighbours})", f"continuity ({result.neighbours})")
    return (*columns, f"{result.votes}-NN accuracy") if result.classes else columns


def cells(result: ReductionResult) -> list[tuple[str, ...]]:
    """A row per method."""
    return [
        (
            NAMES[each.method],
            f"{each.trustworthiness:.4f}",
            f"{each.continuity:.4f}",
            *([f"{each.knn_accuracy:.2%}"] if each.knn_accuracy is not None else []),
        )
        for each in result.methods
    ]


def card(result: ReductionResult) -> str:
    template = Path(__file__).with_name("reduction_card.md.j2")
    return fragment(template, result=result, header=header(result), rows=cells(result))


def rows(result: ReductionResult) -> Sequence[TableRow]:
    lines = []
    for each in result.methods:
        accuracy = "" if each.knn_accuracy is None else f", {result.votes}-NN {each.knn_accuracy:.1%}"
        lines.append((NAMES[each.method], "", f"trustworthiness {each.trustworthiness:.4f}{accuracy}", "", ""))
    return lines


VIEW = TaskView(
    "Dimensionality reduction",
    "turns samples of {inputs} values into codes of {units} values, near samples into near codes",
    "It encodes samples to codes, for plots, searches of neighbours and other models.",
    section,
    card,
    rows,
    headline,
)
