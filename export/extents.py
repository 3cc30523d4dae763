"""What the bytes of a model file are: constants, numbers, texts and structure, found by parsing it to the last field.

A reader of extents claims only what its format's specification gives a meaning. What none claims, such as bytes behind the end,
a buffer that no tensor reads or an unknown field, is `LEFT_OVER`; zeros between claimed bytes are `PADDING`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter

import numpy as np

LEFT_OVER, PADDING, STRUCTURE = "left over", "padding", "structure"
"""Rows of every account."""


class Part(StrEnum):
    """The meaning of an extent: a constant's values, other numbers of any length, text, code of ours that each file repeats, or
    fields of a fixed size."""

    VALUES = "values"
    NUMBERS = "numbers"
    TEXT = "text"
    CODE = "code"
    STRUCTURE = "structure"


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes `start` up to `stop` of the model file, or of another `file` that belongs to it. `name`: the storage of a constant,
    or the field."""

    start: int
    stop: int
    part: Part
    name: str = ""
    file: str = ""

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, eq=False)
class FileBytes:
    """The bytes of a model file, named "", and of its external data, with the extents that were found; they may overlap."""

    data: Mapping[str, memoryview]
    extents: tuple[Extent, ...]


@dataclass(frozen=True)
class AccountRow:
    """Bytes of one kind."""

    kind: str
    bytes: int


@dataclass(frozen=True)
class Account:
    """Every byte of a file in one row. `runs`: those left over without a gap, (bytes, where), the longest first.

    Raises ValueError unless `LEFT_OVER` has what the runs have.
    """

    rows: tuple[AccountRow, ...]
    runs: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        got, right = self.left_over, sum(size for size, _ in self.runs)
        if got != right:
            raise ValueError(f"{LEFT_OVER}: got {got} bytes, must be {right} as in its runs")

    def of(self, kind: str) -> int:
        """The bytes of a row; 0 if there is none."""
        return sum(row.bytes for row in self.rows if row.kind == kind)

    @property
    def size(self) -> int:
        return sum(row.bytes for row in self.rows)

    @property
    def left_over(self) -> int:
        return self.of(LEFT_OVER)


def account(parsed: FileBytes, row_of: Callable[[Extent, memoryview], str]) -> Account:
    """Attribute every byte to the row of the first extent that has it; those of no extent are padding or left over.

    `row_of`: the row of an extent with these bytes.
    """
    rows: dict[str, int] = defaultdict(int)
    runs: list[tuple[int, str]] = []
    for start, stop, file, row, name in _pieces(parsed, row_of):
        rows[row] += stop - start
        if row == LEFT_OVER:
            where = f"{name}, " if name else ""
            runs.append((stop - start, f"{where}bytes {start:,} to {stop:,}{f' of {file}' if file else ''}"))
    ordered = sorted(rows.items(), key=lambda row: -row[1])
    return Account(tuple(AccountRow(*row) for row in ordered), tuple(sorted(runs, reverse=True)))


def _pieces(parsed: FileBytes, row_of: Callable[[Extent, memoryview], str]) -> Iterator[tuple[int, int, str, str, str]]:
    """(start, stop, file, row, name) of pieces that follow each other without a gap."""
    for file, data in parsed.data.items():
        end = 0
        for extent in sorted((each for each in parsed.extents if each.file == file), key=attrgetter("start")):
            if extent.stop <= end:
                continue
            yield from _gap(file, data, end, extent.start)
            start = max(end, extent.start)
            yield start, extent.stop, file, row_of(extent, data[extent.start : extent.stop]), extent.name
            end = extent.stop
        yield from _gap(file, data, end, len(data))


def _gap(file: str, data: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, str, str, str]]:
    """Zeros at its ends are padding."""
    places = np.flatnonzero(np.frombuffer(data[start:stop], np.uint8)) if stop > start else np.empty(0, int)
    first, last = (start + int(places[0]), start + int(places[-1]) + 1) if places.size else (stop, stop)
    for begin, end, row in ((start, first, PADDING), (first, last, LEFT_OVER), (last, stop, PADDING)):
        if end > begin:
            yield begin, end, file, row, ""
