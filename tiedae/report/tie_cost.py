"""What it cost to tie a model: errors and bytes of the tied model and of the untied one that it was."""

from __future__ import annotations

from collections.abc import Iterator

from tiedae.base.numbers import number, size
from tiedae.bundle.fidelity import fit_text
from tiedae.bundle.results import Metrics, Quality, UntiedModel
from tiedae.export.kinds import Precision

from .key_figures import change_text, compare_sizes, float_bytes, keras_float, kind_text

HEADER = ("", "error", "against untied float", "quality", "bytes")


def tie_rows(metrics: Metrics) -> list[tuple[str, ...]]:
    """A row per model, with the numbers of metrics.json; none where no model was tied."""
    if not metrics.untied:
        return []
    reference, models = (
        metrics.untied[0],
        [*_tied(metrics), *((f"untied {row.title}", row, row.bytes) for row in metrics.untied)],
    )
    return [
        (title, number(row.error), _change(row, reference), fit_text(row.fidelity), size(count)) for title, row, count in models
    ]


def _change(row: Quality | UntiedModel, reference: UntiedModel) -> str:
    return "" if row is reference else change_text(row.error, reference)


def _tied(metrics: Metrics) -> Iterator[tuple[str, Quality | UntiedModel, int]]:
    """Title, quality and bytes: of the float model, and of the worst runtime of each int8 file."""
    if (floating := keras_float(metrics)) is not None:
        yield "tied float", floating, float_bytes(metrics)
    for file in (each.ours for each in compare_sizes(metrics) if each.ours.precision is Precision.INT8):
        rows = [row for row in metrics.quality if row.file == file.file]
        if rows:
            yield f"tied {kind_text(file)}", max(rows, key=lambda row: row.error), file.bytes
