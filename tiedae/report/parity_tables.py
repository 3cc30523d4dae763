"""Parity as tables: each cell is one comparison; comparisons of different tensors or references are not aggregated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tiedae.base.numbers import fraction
from tiedae.bundle.results import REFERENCES, Metrics, Parity
from tiedae.export.kinds import Kind, Maker, Precision
from tiedae.export.targets import label_of

from .key_figures import groups

ParityKey = tuple[str, str, str]
"""Format, runtime and provider. The label of an output names its signature, which determines the file."""
INNER = {Kind.OPERATIONS: "worst operation", Kind.LAYERS: "worst layer"}
"""Comparisons inside a file, and the column for the worst."""
BETWEEN_FORMATS = (Kind.FORMATS, Kind.CROSSING)
"""Comparisons of TFLite with ONNX: direct, or of one's codes decoded by the other."""
FORMAT_HEADER = ("file", "runtime", "what", "against", "differ")


@dataclass(frozen=True)
class ParityTable:
    """Comparisons of one precision with one reference: named by `columns`, a row per format and runtime.

    A cell is the worst comparison; None if there is none.
    """

    title: str
    precision: Precision
    columns: tuple[str, ...]
    rows: Mapping[ParityKey, tuple[Parity | None, ...]]


def parity_tables(metrics: Metrics) -> list[ParityTable]:
    """The comparisons of files with their references: our files before stock files, int8 before float."""
    stock = {file.file for file in metrics.files if file.maker is Maker.STOCK}
    rows = (row for row in metrics.parity if row.kind not in BETWEEN_FORMATS)
    found = groups(rows, lambda row: (row.file in stock, row.precision is not Precision.INT8, reference_of(row)))
    return [
        _table(f"{'stock ' * of_stock}{rows[0].precision.label} files against {reference}", rows)
        for (of_stock, _, reference), rows in sorted(found.items(), key=lambda item: item[0][:2])
    ]


def _table(title: str, rows: Sequence[Parity]) -> ParityTable:
    columns = tuple(sorted(dict.fromkeys(map(_column, rows)), key=lambda name: name in INNER.values()))
    found = {
        subject: groups(each, _column)
        for subject, each in groups(rows, lambda row: (label_of(row.file) or row.file, row.runtime, row.provider)).items()
    }
    cells = {
        subject: tuple(max(each.get(name, ()), key=lambda row: row.badness, default=None) for name in columns)
        for subject, each in found.items()
    }
    return ParityTable(title, rows[0].precision, columns, cells)


def _column(row: Parity) -> str:
    if row.kind in (Kind.FLOAT, Kind.WITNESS):
        return f"{row.tensor if row.kind is Kind.FLOAT else 'codes'} ({row.signature})"
    return INNER.get(row.kind, row.label)


def inside(row: Parity) -> str:
    """The operation or layer of a comparison inside a file; '' for an output."""
    return row.tensor if row.kind in INNER else ""


def cell_text(row: Parity | None) -> str:
    """A comparison in a few characters: `equal`, `0.19 %, 2 LSB`, `1.2e-06` (of full scale); starts with the operation or layer
    inside a file."""
    if row is None:
        return ""
    where = f"{inside(row)}: " if inside(row) else ""
    if row.problem:
        return f"{where}not comparable"
    if not row.differing:
        return "equal"
    if row.precision is Precision.F32:
        return f"{where}{row.relative:.1e}"
    return f"{where}{fraction(row.differing, row.count)}, {row.max_lsb} LSB"


def format_rows(parity: Iterable[Parity]) -> list[tuple[str, str, str, str, str]]:
    """Rows of comparisons between formats, under `FORMAT_HEADER`."""
    return [
        (
            row.file,
            row.runtime,
            row.tensor if row.kind is Kind.FORMATS else row.label,
            f"{row.precision.label}, {reference_of(row)}",
            cell_text(row),
        )
        for row in parity
        if row.kind in BETWEEN_FORMATS
    ]


def reference_of(row: Parity) -> str:
    """The reference of a comparison in words; stock files are compared with Keras or another runtime."""
    return REFERENCES.get(row.reference, row.reference)
