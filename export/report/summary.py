"""metrics.json at one glance: a row each for the Keras float model, the stock int8 files and ours."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..parity.fidelity import fidelity_text
from ..runtimes.table import rounds_as_program
from .figures import share
from .parity_tables import cell_text, is_codes, worst

Row = tuple[str, str, str, str, str]
HEADER = ("", "error", "quality", "bytes", "parity")
"""The columns of the table: what, test error in model units, the same in the user's unit, bytes, parity."""


def table_rows(metrics: Mapping[str, Any]) -> list[Row]:
    """The table that ends a run; numbers are those of metrics.json."""
    floats = [row for row in metrics["quality"] if row["stage"] in ("train", "prune", "cluster")]
    rows: list[Row] = [
        (row["row"], f"{row['error']:.3f}", fidelity_text(row.get("fidelity")), _keras_bytes(metrics), "the reference")
        for row in floats
    ]
    for maker in ("stock", "tiedae"):
        files = [file for file in metrics["files"] if file["maker"] == maker and file["precision"] == "int8"]
        for form in dict.fromkeys(file["format"] for file in files):
            same = [file for file in files if file["format"] == form]
            whole = [file for file in same if not PARTS & set(file["file"].split("."))]
            rows += [_file_row(metrics, file) for file in whole or same]
    return rows


PARTS = {"encoder", "decoder"}
"""Files with one of these in their name hold half of the model."""


def _file_row(metrics: Mapping[str, Any], file: Mapping[str, Any]) -> Row:
    measured = [row for row in metrics["quality"] if row.get("file") == file["file"] and not row.get("fault")]
    errors = [row["error"] for row in measured]
    worst = max(measured, key=lambda row: row["error"], default={})
    label = "stock" if file["maker"] == "stock" else "tied"
    span = list(dict.fromkeys(f"{error:.3f}" for error in (min(errors, default=0.0), max(errors, default=0.0))))
    part = "".join(f" {part}" for part in PARTS & set(file["file"].split(".")))
    error = "…".join(span) if errors else "—"
    quality = fidelity_text(worst.get("fidelity"))
    return f"{label} int8 {file['format']}{part}", error, quality, f"{file['bytes']:,}", _parity(metrics, file)


COPIES = {1: "kernel stored once", 2: "kernel stored twice", None: "copies not counted"}


def _parity(metrics: Mapping[str, Any], file: Mapping[str, Any]) -> str:
    copies = COPIES.get(file["kernel_copies"], f"{file['kernel_copies']} copies")
    parts = [copies]
    if file.get("note"):
        parts.append(file["note"])
    rows = [row for row in metrics["parity"] if row["file"] == file["file"]]
    for same in (True, False):
        group = [row for row in rows if is_codes(row) and rounds_as_program(row["runtime"]) == same]
        if group:
            parts.append(_codes(group))
    parts += [f"{row['what']}: {cell_text(row)}" for row in rows if row["what"].startswith("codes against ")]
    return ", ".join(parts)


def _codes(rows: list[Mapping[str, Any]]) -> str:
    """The comparison with the program that is furthest apart, of all signatures and runtimes in `rows`."""
    row, runtimes = worst(rows), list(dict.fromkeys(row["runtime"] for row in rows))
    assert row is not None
    if row.get("problem"):
        return f"codes not comparable in {row['runtime']}"
    if not row["differing"]:
        return f"codes equal in {' and '.join(runtimes)}"
    others = f", the worst of {' and '.join(runtimes)}" if len(runtimes) > 1 else ""
    equal = share(row["count"] - row["differing"], row["count"])
    return f"{equal} of codes equal, at most {row['max_lsb']} LSB off in {row['runtime']}{others}"


def _keras_bytes(metrics: Mapping[str, Any]) -> str:
    widths = metrics["model"]["widths"]
    values = sum(a * b + a + b for a, b in pairwise(widths))
    return f"{4 * values:,}"
