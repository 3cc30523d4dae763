"""The figures that the report and the model card lead with, read from metrics.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..runtimes.table import rounds_as_program
from .figures import share
from .parity_tables import is_codes, worst

Row = Mapping[str, Any]


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows that share the values of `keys`, in the order of their first."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    return found


def keras_float(metrics: Row) -> float | None:
    """The error of the Keras float model, the reference of every comparison; None where it was not measured."""
    errors = [row["error"] for row in metrics["quality"] if row["stage"] == "train"]
    return errors[0] if errors else None


def worst_exported(metrics: Row, precision: str) -> Row | None:
    """Of our exported files of one precision, the quality row with the largest error over all files and the runtimes that have
    no known fault on them (those are failed checks); None where it was not measured."""
    rows = (row for row in metrics["quality"] if row["stage"] == "export" and _is(row, precision) and not row.get("fault"))
    return max(rows, key=lambda row: row["error"], default=None)


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
    """The comparisons of our int8 files' codes with the program, in the runtimes that round as it does: there equality is
    promised."""
    ours = {row["file"] for row in metrics["files"] if row["maker"] == "tiedae"}
    return [row for row in metrics["parity"] if is_codes(row) and row["file"] in ours and rounds_as_program(row["runtime"])]


def codes_text(rows: Sequence[Row]) -> str:
    """How far codes are from the program in the comparison that is furthest apart. `rows` is not empty."""
    row, runtimes = worst(rows), list(dict.fromkeys(row["runtime"] for row in rows))
    assert row is not None
    if row.get("problem"):
        return f"codes cannot be compared in {row['runtime']}"
    if not row["differing"]:
        return f"all {row['count']:,} codes equal in {' and '.join(runtimes)}"
    equal = share(row["count"] - row["differing"], row["count"])
    signature = row["what"].partition("(")[2].rstrip(")")
    where = f"{row['runtime']}, {signature}, the worst of {len(rows)} comparisons"
    return f"{equal} of {row['count']:,} codes equal, the rest at most {row['max_lsb']} LSB off ({where})"


def formats_text(metrics: Row) -> str | None:
    """What the reconstructions of the int8 TFLite and ONNX files have in common; None where they were not compared."""
    rows = (row for row in metrics["parity"] if row["what"] == "formats: y" and row["kind"] == "int8")
    row = worst(rows)
    if row is None or row.get("problem"):
        return None
    if not row["differing"]:
        return f"Reconstructions of the int8 TFLite and ONNX files were equal in all {row['count']:,} values."
    return (
        f"Reconstructions of the int8 TFLite and ONNX files differ in {share(row['differing'], row['count'])} of their "
        f"{row['count']:,} values, by at most {row['max_lsb']} of 255 steps, since their decoders round differently. Decode "
        "in one format where reconstructions have to be equal."
    )
