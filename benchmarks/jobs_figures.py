"""Numbers of README and docs that neither come from figures.json nor are excepted: stale figures.

A number of a page counts where it has a unit, × or %, or is in a cell that starts with a number. It is right where it equals,
rounded to the digits that the page shows, a recorded figure of a benchmark or command that the page names. A cell of a table
whose row (or row and column) has the name of a figure has to equal that one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import (
    BYTES,
    NUMBER,
    WITH_UNIT,
    Figure,
    Measurement,
    cells_of,
    is_rule,
    number_of,
    numbers_of,
    plain_text,
    quantity,
    read_figures,
    unit_of,
)
from figures_exceptions import EXCEPTIONS, Exemption
from rows import Row

from tiedae.report.console import Console

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"`[^`]*`|(?<=\])\([^)]*\)")
EVERY = ("value", "bound", "detail")
"""Columns of a table whose rows have the names of figures."""


@dataclass(frozen=True)
class Shown:
    """A number of a page: its text and unit, the line it is in, its place there, and the row and column of a table."""

    page: str
    number: int
    line: str
    start: int
    text: str
    unit: str
    row: str = ""
    column: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.number}: {self.text} {self.unit}".rstrip()

    def equals(self, value: float) -> bool:
        """Whether `value` is this number, rounded to the digits that the page shows."""
        shown, decimals = self.text.partition("e")[0], self.text.partition("e")[2].replace("−", "-")
        places = len(shown.partition(".")[2]) - int(decimals or 0)
        return abs(abs(value) - abs(number_of(self.text))) <= 0.5 * 10.0**-places * (1 + 1e-6)


def shown_numbers(page: str, text: str) -> Iterator[Shown]:
    """The numbers of a page that have to be figures."""
    fenced, header, before = False, list[str](), ""
    for i, line in enumerate(text.splitlines(), 1):
        fenced ^= line.startswith("```")
        if fenced or line.startswith(("```", "    ")):
            before = ""
        elif is_rule(line):
            header = [plain_text(cell) for cell in cells_of(before)]
        elif line.startswith("|") and header:
            yield from _of_row(page, i, line, header)
        elif line.startswith("|"):
            before = line
        else:
            header = []
            yield from _with_units(page, i, line, CODE.sub(_blank, line), 0, "", "")


def _of_row(page: str, i: int, line: str, header: Sequence[str]) -> Iterator[Shown]:
    bare, place, label = CODE.sub(_blank, line), 0, ""
    for column, cell in zip(header, cells_of(line), strict=False):
        start = line.index(cell, place)
        inner, place = bare[start : start + len(cell)], start + len(cell)
        label = label or plain_text(cell) or " "
        if column != header[0] and (re.match(rf"[^\w`+−-]*{NUMBER.pattern}", inner) or column in EVERY):
            for match in NUMBER.finditer(inner):
                unit = WITH_UNIT.match(inner, match.start())
                yield Shown(page, i, line, start + match.start(), match[0], unit_of(unit), label.strip(), column)
        elif column != header[0]:
            yield from _with_units(page, i, line, inner, start, label.strip(), column)


def _with_units(page: str, i: int, line: str, inner: str, start: int, row: str, column: str) -> Iterator[Shown]:
    for match in WITH_UNIT.finditer(inner):
        yield Shown(page, i, line, start + match.start(), match[1], unit_of(match), row, column)


def _blank(match: re.Match[str]) -> str:
    return "`" * len(match[0])


def is_recorded(number: Shown, cited: Iterable[Measurement]) -> bool:
    figures = [figure for run in cited for figure in run.figures]
    names = {number.row, f"{number.row} · {number.column}"} - {"", " · "}
    named = [figure for figure in figures if figure.name in names]
    if named and (number.column in EVERY or f"{number.row} · {number.column}" in {figure.name for figure in named}):
        return any(number.equals(value) for figure in named for value in _cell_values(figure, number.column))
    return any(number.equals(value) for figure in figures for value in _values(figure, number.unit))


def _cell_values(figure: Figure, column: str) -> list[float]:
    numbers = {"value": [(figure.value, "")], "bound": numbers_of(figure.reach)}.get(column, figure.numbers)
    return [value for value, _ in numbers]


def _values(figure: Figure, unit: str) -> Iterator[float]:
    """The numbers of a figure in the unit of a page: of the same quantity, or without a unit; a ratio also as a change in %."""
    for value, own in figure.numbers:
        if quantity(own) in (quantity(unit), "") or not unit:
            yield value if unit == own or unit not in BYTES else value * BYTES.get(own, 1) / BYTES[unit]
    if unit == "%" and quantity(figure.unit) in ("x", ""):
        yield from (100 * figure.value, 100 * (figure.value - 1))


def exemption(number: Shown, exemptions: Sequence[Exemption] = EXCEPTIONS) -> Exemption | None:
    """The first row of the table whose pattern covers the number."""
    for row in exemptions:
        if re.fullmatch(row.pages, number.page):
            spans = (match.span() for match in re.finditer(row.pattern, number.line))
            if any(start <= number.start < end for start, end in spans):
                return row
    return None


UNCHECKED = ("docs/decisions/", "docs/figures.md")


def pages(root: Path = ROOT) -> dict[str, str]:
    """README and the pages of docs by path; decisions keep the figures that decided, and origins are made from the record."""
    paths = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    names = {path.relative_to(root).as_posix(): path for path in paths}
    return {name: path.read_text(encoding="utf-8") for name, path in names.items() if not name.startswith(UNCHECKED)}


def stale(texts: dict[str, str], runs: Sequence[Measurement], exemptions: Sequence[Exemption] = EXCEPTIONS) -> list[str]:
    """What is wrong, a line each: stale numbers, and exemptions that no number needs."""
    wrong, used = [], set[Exemption]()
    for page, text in texts.items():
        cited = [run for run in runs if run.key in text]
        for number in shown_numbers(page, text):
            if is_recorded(number, cited):
                continue
            row = exemption(number, exemptions)
            if row is None:
                wrong.append(str(number))
            else:
                used.add(row)
    return wrong + [f"unused exemption: {row.pages}: {row.pattern}" for row in exemptions if row not in used]


def rows(console: Console) -> Sequence[Row]:
    """The numbers that are stale, of all that are checked."""
    texts = pages()
    wrong = stale(texts, read_figures())
    for line in wrong:
        console.say(line)
    count = sum(1 for page, text in texts.items() for _ in shown_numbers(page, text))
    return [Row("stale_figures", len(wrong), "", "== 0", detail=f"of {count:,} numbers on {len(texts)} pages")]
