"""Parity per layer as heat maps: layers downwards, runtimes across, the darker the further apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .figures import escape, number, region, share
from .headline import Row, groups

LEVELS = 5
"""Shades beyond that of equality."""
EQUAL_INPUTS = "operation"
"""How `what` begins where each operation had the inputs that the runtime itself computed."""


@dataclass(frozen=True)
class Cell:
    """One comparison: `level` is its shade, 0 (equal) to LEVELS; `shown` leads, `notes` explain; a problem is no number."""

    level: int
    shown: str
    notes: tuple[str, ...] = ()
    problem: bool = False


def render_heat_maps(parity: Iterable[Row], order: Sequence[str]) -> str:
    """The comparisons of single layers, a map for each kind of comparison and reference; '' where there are none.

    `order` names the tensors of the program from `x` to `y`; other layers follow in the order of their rows.
    """
    maps: dict[tuple[str, ...], list[Row]] = {}
    for row in parity:
        if layer := layer_of(row):
            how = row["what"].replace(layer, "").strip(" ()")
            maps.setdefault((how, row["kind"], row.get("reference", "program")), []).append(row)
    drawn = []
    for (how, kind, reference), rows in maps.items():
        found = dict.fromkeys(layer_of(row) for row in rows)
        layers = [name for name in order if name in found]
        layers += [name for name in found if name not in layers]
        cells: dict[tuple[str, tuple[str, str]], Cell] = {}
        for row in rows:
            key = (layer_of(row), _column(row))
            cells[key] = max(cells.get(key, Cell(-1, "")), cell_of(row), key=lambda cell: (cell.problem, cell.level))
        columns = [key for (key,) in groups([{"key": _column(row)} for row in rows], "key")]
        what = "each operation on equal inputs" if how == EQUAL_INPUTS else how
        drawn.append(heat_map(f"{kind} against {reference}: {what}", layers, columns, cells))
    return "\n".join(drawn)


def layer_of(row: Row) -> str:
    """The tensor that a comparison is about, by its name in the program; '' where it is not of a single layer."""
    what, _, name = row["what"].partition(" ")
    return row.get("operation") or row.get("layer") or (name if what == EQUAL_INPUTS else "")


def _column(row: Row) -> tuple[str, str]:
    """(runtime, format): the files of an encoder and a decoder stand in one column."""
    return row["runtime"], {".tflite": "TFLite", ".onnx": "ONNX"}.get(Path(row["file"]).suffix, "")


def cell_of(row: Row) -> Cell:
    """What a comparison looks like: int8 by the share of values that differ, float by its signal-to-noise ratio."""
    if row.get("problem"):
        return Cell(LEVELS, "✗", (str(row["problem"]),), problem=True)
    decibels = row.get("sqnr_db")
    ratio = () if decibels is None else (f"{decibels:.0f} dB",)
    if row["kind"] == "int8":
        if not row["differing"]:
            return Cell(0, "equal")
        power = math.log10(row["differing"] / row["count"])
        level = min(max(math.ceil(power) + 5, 1) + (row["max_lsb"] > 1), LEVELS)
        return Cell(level, share(row["differing"], row["count"]), (f"≤ {row['max_lsb']} LSB", *ratio))
    if not row["max_abs"]:
        return Cell(0, "equal")
    relative = row["max_abs"] / (row.get("full_scale") or 1.0)
    noise = -20 * math.log10(relative) if decibels is None else decibels
    level = min(max(6 - math.floor(noise / 20), 1), LEVELS)
    return Cell(level, number(row["max_abs"]), ratio)


def heat_map(
    title: str,
    layers: Sequence[str],
    columns: Sequence[tuple[str, str]],
    cells: Mapping[tuple[str, tuple[str, str]], Cell],
) -> str:
    """A table of shaded cells, by (layer, column); a column is a name and a note below it."""
    heads = "".join(f'<th scope="col">{escape(name)}<small>{escape(note)}</small></th>' for name, note in columns)
    rows = []
    for layer in layers:
        drawn = "".join(_drawn(cells.get((layer, column))) for column in columns)
        rows.append(f'<tr><th scope="row">{escape(layer)}</th>{drawn}</tr>')
    table = f'<table class="heat"><thead><tr><td></td>{heads}</tr></thead><tbody>\n' + "\n".join(rows) + "\n</tbody></table>"
    return f"<h3>{escape(title)}</h3>\n{region(table, title)}"


def _drawn(cell: Cell | None) -> str:
    if cell is None:
        return '<td class="soft">—</td>'
    if cell.problem:
        return f'<td class="heat{LEVELS} failed" title="{escape(cell.notes[0])}">✗ not comparable</td>'
    notes = f"<small>{escape(', '.join(cell.notes))}</small>" if cell.notes else ""
    return f'<td class="heat{cell.level}">{escape(cell.shown)}{notes}</td>'
