"""Heat maps of parity: a row per layer, a column per runtime; darker is worse."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from tiedae.base.numbers import fraction, number
from tiedae.bundle.results import LayerError, Parity
from tiedae.config.config import Decoder
from tiedae.export.kinds import Kind, Lost, Precision
from tiedae.export.targets import TARGETS, label_of, layout_of

from .pages import fragment

LEVELS = 5
"""Number of shades besides that of equality."""
SHADES = (100, 60, 40, 20)
"""Lower bounds of the signal-to-noise ratio in dB, lightest shade first."""
MAPS = {
    Kind.OPERATIONS: "Each operation on equal inputs: {} against {}",
    Kind.LAYERS: "Each layer, end to end: {} against {}",
}
"""Title of the map of each kind of comparison."""

ERROR_TITLES = {
    Precision.INT8: "Signal-to-noise ratio per layer in dB, int8, end to end: quantization, and runtimes against the program",
    Precision.F32: "Signal-to-noise ratio per layer in dB, float, end to end: of each runtime",
}

Column = tuple[str, str]
"""A runtime, and a note below it."""


@dataclass(frozen=True)
class HeatCell:
    """One comparison: `level` is its shade, 0 (equal) to LEVELS; `shown` is its figure, `problem` says that it has none."""

    level: int
    shown: str
    notes: tuple[str, ...] = ()
    problem: bool = False


@dataclass(frozen=True)
class HeatMap:
    """A table of shaded cells, by (layer, column)."""

    title: str
    layers: Sequence[str]
    columns: Sequence[Column]
    cells: Mapping[tuple[str, Column], HeatCell]

    @classmethod
    def of(cls, title: str, found: Sequence[tuple[str, Column, HeatCell]], order: Sequence[str]) -> HeatMap:
        """A map of (layer, column, cell) with rows in `order`; of several cells in one place the worst is drawn."""
        cells: dict[tuple[str, Column], HeatCell] = {}
        for layer, column, cell in found:
            known = cells.get((layer, column), cell)
            cells[layer, column] = max(known, cell, key=lambda each: (each.problem, each.level))
        layers = dict.fromkeys(layer for layer, _, _ in found)
        ordered = sorted(layers, key=lambda name: order.index(name) if name in order else len(order))
        return cls(title, ordered, list(dict.fromkeys(column for _, column, _ in found)), cells)

    def row(self, layer: str) -> list[HeatCell | None]:
        return [self.cells.get((layer, column)) for column in self.columns]


def parity_maps(parity: Iterable[Parity], order: Sequence[str]) -> Markup:
    """Maps of `Metrics.parity`, one per kind of comparison and reference; empty without rows.

    `order` names the tensors of the program from `x` to `y`; other layers follow in the order of their rows.
    """
    maps: dict[str, list[tuple[str, Column, HeatCell]]] = {}
    for row in parity:
        if row.kind in MAPS:
            title = MAPS[row.kind].format(row.precision.label, row.reference)
            maps.setdefault(title, []).append((row.tensor, _column(row), parity_cell(row)))
    return _drawn(maps, order)


def error_maps(errors: Iterable[LayerError], order: Sequence[str], decoder: Decoder = "auto") -> Markup:
    """Maps of `Metrics.errors`: signal-to-noise ratio of quantization and conversion; empty without rows.

    `decoder`: that of `ExportConfig`.
    """
    maps: dict[str, list[tuple[str, Column, HeatCell]]] = {}
    for row in errors:
        if row.error is not Lost.TOTAL:
            column = (row.error, _of_layout(row.layout, decoder)) if row.error is Lost.QUANTIZATION else _column(row)
            maps.setdefault(ERROR_TITLES[row.precision], []).append((row.layer, column, error_cell(row)))
    return _drawn(maps, order)


def _drawn(maps: Mapping[str, Sequence[tuple[str, Column, HeatCell]]], order: Sequence[str]) -> Markup:
    """The maps by title as HTML."""
    drawn = [HeatMap.of(title, found, order) for title, found in maps.items()]
    return fragment(Path(__file__).with_suffix(".html.j2"), maps=drawn)


def _column(row: Parity | LayerError) -> Column:
    """The files of an encoder and a decoder share a column."""
    return row.runtime, label_of(row.file)


def _of_layout(layout: str, decoder: Decoder) -> str:
    """The formats whose decoder has this layout."""
    return ", ".join(target.label for name, target in TARGETS.items() if layout_of(name, decoder) == layout)


def parity_cell(row: Parity) -> HeatCell:
    """The cell of a comparison: int8 by the fraction of differing values, float by signal-to-noise ratio."""
    if row.problem:
        return HeatCell(LEVELS, "", (row.problem,), problem=True)
    decibels = row.sqnr_db
    ratio = () if decibels is None else (f"{decibels:.0f} dB",)
    if row.precision is Precision.INT8:
        if not row.differing:
            return HeatCell(0, "equal")
        power = math.log10(row.differing / row.count)
        level = min(max(math.ceil(power) + 5, 1) + (row.max_lsb > 1), LEVELS)
        return HeatCell(level, fraction(row.differing, row.count), (f"≤ {row.max_lsb} LSB", *ratio))
    if not row.max_abs:
        return HeatCell(0, "equal")
    relative = row.max_abs / (row.full_scale or 1.0)
    return HeatCell(_shade(-20 * math.log10(relative) if decibels is None else decibels), number(row.max_abs), ratio)


def error_cell(row: LayerError) -> HeatCell:
    """The cell of an error, by signal-to-noise ratio."""
    decibels = row.sqnr_db
    if decibels is None:
        return HeatCell(0, "equal") if not row.rms else HeatCell(LEVELS, f"rms {number(row.rms)}")
    return HeatCell(_shade(decibels), f"{decibels:.0f} dB")


def _shade(decibels: float) -> int:
    return 1 + sum(decibels < bound for bound in SHADES)
