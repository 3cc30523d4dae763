"""metrics["parity"] as tables for people: every cell is one comparison, and the header or the row names it.

Nothing is added up: two comparisons differ in what they compare, against what, or in how many values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..parity.comparison import NAMES, relative
from ..targets import label_of
from .figures import share

Row = Mapping[str, Any]
Subject = tuple[str, str, str]
"""Format, runtime and what ran in it. One file of a format has a signature, and `what` of an output names that."""
INNER = {"operation": "worst operation", "layer": "worst layer"}
"""How `what` begins in the comparisons inside a file, and the column of the worst of them."""


@dataclass(frozen=True)
class ParityTable:
    """Comparisons of one `kind` (int8 or float) with one reference: `columns` name them, a row per format and runtime.

    A cell is a row of metrics["parity"], None where that was not compared.
    """

    title: str
    kind: str
    columns: tuple[str, ...]
    rows: Mapping[Subject, tuple[Row | None, ...]]


def parity_tables(metrics: Mapping[str, Any]) -> list[ParityTable]:
    """The comparisons of files with what they were written from: ours before the stock converters', int8 before float."""
    stock = {file["file"] for file in metrics["files"] if file.get("maker") == "stock"}
    groups: dict[tuple[bool, str, str], list[Row]] = {}
    for row in metrics["parity"]:
        if not between_formats(row):
            groups.setdefault((row.get("file") in stock, row["kind"], reference_of(row)), []).append(row)
    order = sorted(groups, key=lambda group: (group[0], group[1] != "int8"))
    return [_table(f"{'stock ' * group[0]}{group[1]} files against {group[2]}", group[1], groups[group]) for group in order]


def _table(title: str, kind: str, rows: Sequence[Row]) -> ParityTable:
    names = dict.fromkeys(map(_column, rows))
    columns = tuple(sorted(names, key=lambda name: name in INNER.values()))
    found: dict[Subject, dict[str, list[Row]]] = {}
    for row in rows:
        file = str(row.get("file", ""))
        subject = label_of(file) or file, str(row.get("runtime", "")), str(row.get("provider", ""))
        found.setdefault(subject, {}).setdefault(_column(row), []).append(row)
    cells = {subject: tuple(worst(cells.get(name, ())) for name in columns) for subject, cells in found.items()}
    return ParityTable(title, kind, columns, cells)


def _column(row: Row) -> str:
    what: str = row["what"]
    return INNER.get(what.partition(" ")[0], what.removeprefix("float "))


def cell_text(row: Row | None) -> str:
    """A comparison in a few characters: `equal`, `0.19 %, 2 LSB`, `1.2e-06` (of full scale); inside a file, the
    operation or layer first."""
    if row is None:
        return ""
    inside = row["what"].partition(" ")[2] + ": " if _column(row) in INNER.values() else ""
    if row.get("problem"):
        return f"{inside}not comparable"
    if not row.get("differing"):
        return "equal"
    if row["kind"] != "int8":
        return f"{inside}{relative(row['max_abs'], row.get('full_scale', 1.0)):.1e}"
    return f"{inside}{share(row['differing'], row['count'])}, {row['max_lsb']} LSB"


def format_rows(parity: Iterable[Row]) -> list[tuple[str, str, str, str, str]]:
    """The formats against each other: file, runtime, what was compared, with what, and how far apart; under `FORMAT_HEADER`."""
    return [
        (
            str(row.get("file", "")),
            str(row.get("runtime", "")),
            row["what"].removeprefix("formats: "),
            f"{row['kind']}, {reference_of(row)}",
            cell_text(row),
        )
        for row in parity
        if between_formats(row)
    ]


FORMAT_HEADER = ("file", "runtime", "what", "against", "differ")


def is_codes(row: Row) -> bool:
    """Whether a row compares a file's int8 codes with those of the integer program."""
    return row["kind"] == "int8" and row["what"].startswith("codes (")


def between_formats(row: Row) -> bool:
    """Whether a row compares TFLite with ONNX: their numbers directly, or one's codes decoded by the other."""
    return "against" in row or "encoder" in row


def reference_of(row: Row) -> str:
    """What a row was compared with, in words.

    Files of the stock converters are compared with Keras, or with themselves in the runtime that `what` names; earlier
    metrics call that the program.
    """
    _, against, other = row["what"].partition(" against ")
    if against:
        return other
    reference = row.get("reference", "program")
    if (row["kind"], reference) == ("float", "program"):
        return NAMES["keras"]
    return {"program": "the integer program"}.get(reference) or NAMES.get(reference, reference)


def worst(rows: Iterable[Row]) -> Row | None:
    """The comparison that is furthest apart: a problem, then the largest difference (of floats in its full scale), then the
    largest fraction of values that differ; None of none."""

    def badness(row: Row) -> tuple[bool, float, float]:
        scaled = relative(row.get("max_abs", 0.0), row.get("full_scale", 1.0))
        largest = row.get("max_lsb", 0) if row["kind"] == "int8" else scaled
        return bool(row.get("problem")), largest, row.get("differing", 0) / (row.get("count") or 1)

    return max(rows, key=badness, default=None)
