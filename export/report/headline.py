"""The figures that the report and the model card lead with, read from metrics.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..runtimes.table import SAME_ROUNDING

Row = Mapping[str, Any]


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows that share the values of `keys`, in the order of their first."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return found


def keras_float(metrics: Row) -> float | None:
    """The error of the Keras float model, the reference of every comparison; None where it was not measured."""
    errors = [row["error"] for row in metrics["quality"] if row["row"] == "Keras float"]
    return errors[0] if errors else None


def exported_error(metrics: Row, precision: str) -> float | None:
    """The worst error of our exported files of one precision, over all files and the runtimes that have no known fault on them
    (those are failed checks); None where it was not measured."""
    rows = (row for row in metrics["quality"] if row["stage"] == "export" and _is(row, precision) and not row.get("fault"))
    return max((row["error"] for row in rows), default=None)


def _is(row: Row, precision: str) -> bool:
    return row.get("precision", precision if f"{precision}." in row["row"] else "") == precision


def file_groups(metrics: Row) -> dict[tuple[Any, ...], list[Row]]:
    """The model files by (format, precision), int8 before float and TFLite before ONNX, the whole model first in each."""
    whole = {f"{metrics['name']}.{row['precision']}.{row['format']}" for row in metrics["files"]}
    found = groups(metrics["files"], "format", "precision")
    order = sorted(found, key=lambda key: (key[1] != "int8", key[0] != "tflite"))
    return {key: sorted(found[key], key=lambda row: row["file"] not in whole) for key in order}


@dataclass(frozen=True)
class Comparison:
    """Our file of one format and precision, and the smallest one of the stock converters (None where there is none)."""

    ours: Row
    stock: Row | None

    @property
    def ratio(self) -> float | None:
        return self.ours["bytes"] / self.stock["bytes"] if self.stock else None


def compare_sizes(metrics: Row) -> list[Comparison]:
    """One comparison per format and precision that we wrote, in the order of `file_groups`."""
    compared = []
    for rows in file_groups(metrics).values():
        ours = [row for row in rows if row["maker"] == "tiedae"]
        stock = [row for row in rows if row["maker"] == "stock"]
        if ours:
            compared.append(Comparison(ours[0], min(stock, key=lambda row: row["bytes"], default=None)))
    return compared


def stored_once(metrics: Row) -> bool:
    """True where every storage proof holds and none of our files has a second copy of a kernel."""
    proven = bool(metrics["storage"]) and all(row["ok"] for row in metrics["storage"])
    return proven and all(row["kernel_copies"] == 1 for row in metrics["files"] if row["maker"] == "tiedae")


def promised_codes(metrics: Row) -> list[Row]:
    """Those in the runtimes that round as the program does, where equality is promised."""
    return [row for row in codes_rows(metrics) if row["runtime"] in SAME_ROUNDING]


def codes_rows(metrics: Row) -> list[Row]:
    """The comparisons of int8 codes between our files and the program."""
    ours = {row["file"] for row in metrics["files"] if row["maker"] == "tiedae"}
    return [
        row for row in metrics["parity"] if row["kind"] == "int8" and row["what"].startswith("code") and row["file"] in ours
    ]
