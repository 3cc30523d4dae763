"""The recorded figures, figures.json beside this file, and the page that is made of them, docs/benchmarks.md.

    python benchmarks/dense.py --json build/dense.json
    python benchmarks/figures.py record build/dense.json --command 'python benchmarks/dense.py' --machine 'two cores, idle'
    python benchmarks/figures.py page

FILE is .json with the rows of a benchmark, or .md with a table that a benchmark prints: then each cell is a figure, whose name
is "ROW · COLUMN". Figures of the same command and name are replaced. `what` of a figure and `about` of a benchmark are written
by hand in figures.json; a new record keeps them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

from rows import Row

from tiedae.base.files import write_atomic

FIGURES = Path(__file__).parent / "figures.json"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Every figure that we measured, by the command that measured it, with the commit whose code was run and the machine.
`benchmarks/figures.py` makes this page of `benchmarks/figures.json`. `make bench` runs most benchmarks, `benchmarks/laws.py`
tests of what must always hold. Rows that miss their bound are included. Settings come from validation samples unless
a line says otherwise.
"""
NUMBER = re.compile(r"(?<![\w.,-])[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[−-]?\d+)?(?!\d|-\d)")
"""A number as tables write it, 1,210,920 or −0.5 or 2.4e-06, but not the widths of a net, 784-512-30."""
KEY = re.compile(r"benchmarks/\w+\.py|make [\w-]+|tiedae [a-z]+(?: --data [\w-]+)?|python -m [\w.]+")
CELL = " · "
"""Between the row and the column of a table in the name of a figure."""


@dataclass(frozen=True)
class Figure:
    """One measured number: `value` in `unit`; `what` it is, its bound `reach`, and `detail` that was measured with it."""

    name: str
    value: float
    unit: str = ""
    reach: str = ""
    detail: str = ""
    what: str = ""

    @property
    def shown(self) -> str:
        """The value with its unit: four digits, or a whole number."""
        whole = self.value == int(self.value) or abs(self.value) >= 1000
        digits = f"{self.value:,.0f}" if whole else f"{self.value:#.4g}"
        return f"{digits.replace('-', '−')} {self.unit}".rstrip()

    @property
    def missed(self) -> bool:
        return not Row(self.name, self.value, self.unit, self.reach).ok


@dataclass(frozen=True)
class Measurement:
    """The figures of one call: the command, the machine, the date (ISO 8601) and the commit whose code was run."""

    command: str
    machine: str
    date: str
    commit: str
    figures: tuple[Figure, ...]

    @property
    def origin(self) -> tuple[str, str, str, str]:
        """Command, machine, date and commit."""
        return self.command, self.machine, self.date, self.commit

    @property
    def key(self) -> str:
        """The benchmark or the command without its options: the heading that its figures are under."""
        match = KEY.search(self.command)
        return match[0] if match else self.command


@dataclass(frozen=True)
class Figures:
    """All that is recorded; `about`: what a benchmark measures, and of what, in Markdown, by its key."""

    about: Mapping[str, str]
    runs: tuple[Measurement, ...]


def plain_text(cell: str) -> str:
    """A cell of a Markdown table without its marks: bold, code, targets of links."""
    return re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)).strip()


def cells_of(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def table_figures(text: str) -> Iterator[Figure]:
    """A figure for each cell with a number first, of the Markdown tables in `text`; the first column names the rows."""
    lines, header = text.splitlines(), list[str]()
    for before, line in zip(["", *lines], lines, strict=False):
        if re.fullmatch(r"\|(?:\s*:?-+:?\s*\|)+", line.strip()):
            header = [plain_text(cell) for cell in cells_of(before)]
        elif not line.startswith("|"):
            header = []
        elif header:
            label, *cells = map(plain_text, cells_of(line))
            for column, cell in zip(header[1:], cells, strict=False):
                if match := re.match(rf"[^\w+−-]*({NUMBER.pattern})\s*(.*)", cell):
                    several = NUMBER.search(match[2]) is not None
                    value = float(match[1].replace(",", "").replace("−", "-"))
                    yield Figure(f"{label}{CELL}{column}", value, "" if several else match[2], detail=cell if several else "")


def row_figures(text: str) -> Iterator[Figure]:
    """A figure for each row of a benchmark's --json file."""
    for row in json.loads(text)["rows"]:
        yield Figure(**{name: row[name] for name in ("name", "value", "unit", "reach", "detail")})


def read_figures(path: Path = FIGURES) -> Figures:
    read = json.loads(path.read_text(encoding="utf-8"))
    runs = (run | {"figures": tuple(Figure(**figure) for figure in run["figures"])} for run in read["runs"])
    return Figures(read["about"], tuple(Measurement(**run) for run in runs))


def recorded(known: Figures, new: Measurement) -> Figures:
    """`known` with the figures of `new`, which keep what they are, without older ones of the same command and name."""
    what = {figure.name: figure.what for run in known.runs for figure in run.figures if figure.what}
    names, runs = {figure.name for figure in new.figures}, list[Measurement]()
    new = dataclasses.replace(
        new, figures=tuple(dataclasses.replace(each, what=each.what or what.get(each.name, "")) for each in new.figures)
    )
    for run in known.runs:
        kept = tuple(figure for figure in run.figures if run.command != new.command or figure.name not in names)
        if run.origin == new.origin:
            new = dataclasses.replace(new, figures=(*kept, *new.figures))
        elif kept:
            runs.append(dataclasses.replace(run, figures=kept))
    return Figures(
        known.about, tuple(sorted([*runs, new], key=lambda run: (run.key, run.command, run.date, run.machine, run.commit)))
    )


def page_text(figures: Figures) -> str:
    """docs/benchmarks.md: a section for each key, in it a table for each call."""
    parts = [HEAD]
    for key, runs in groupby(figures.runs, key=lambda run: run.key):
        parts.append(f"## {key}\n")
        if about := figures.about.get(key):
            parts.append(f"{about}\n")
        for run in runs:
            parts.append(f"`{run.command}`, commit {run.commit}, {run.date}, {run.machine}:\n")
            parts += [f"{table}\n" for table in tables_of(run.figures)]
    return "\n".join(parts)


def tables_of(figures: Sequence[Figure]) -> Iterator[str]:
    """Markdown tables: one of rows, and one for the cells of each printed table."""
    rows = [figure for figure in figures if CELL not in figure.name or figure.reach]
    if rows:
        lines = (
            (
                f"`{each.name}`" if re.fullmatch(r"\w+", each.name) else each.name,
                each.what,
                each.shown,
                f"**missed:** {each.reach}" if each.missed else each.reach,
                each.detail,
            )
            for each in rows
        )
        yield table(("row", "what", "value", "bound", "detail"), lines)
    cells = dict[str, dict[str, str]]()
    for each in figures:
        if each not in rows:
            label, _, column = each.name.partition(CELL)
            cells.setdefault(label, {})[column] = each.detail or each.shown
    for columns, labels in joined(cells):
        yield table(("", *columns), ((label, *(cells[label].get(column, "") for column in columns)) for label in labels))


def joined(cells: Mapping[str, Mapping[str, str]]) -> list[tuple[list[str], list[str]]]:
    """Columns and labels of each table: successive rows that have a column in common."""
    found: list[tuple[list[str], list[str]]] = []
    for label, row in cells.items():
        if not found or not set(found[-1][0]) & set(row):
            found.append(([], []))
        columns, labels = found[-1]
        columns += [column for column in row if column not in columns]
        labels.append(label)
    return found


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def current_commit() -> str:
    """The commit of this checkout, and whether its files differ from it."""
    described = subprocess.run(
        ("git", "describe", "--always", "--abbrev=8", "--dirty", "--exclude=*"),
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return described.stdout.strip()


def json_text(figures: Figures) -> str:
    """The text of figures.json: a line for each figure."""

    def fields(item: Figure | Measurement) -> Mapping[str, Any]:
        return {field.name: value for field in dataclasses.fields(item) if (value := getattr(item, field.name)) != ""}

    def line(run: Measurement) -> str:
        head = json.dumps(fields(dataclasses.replace(run, figures=())), ensure_ascii=False).removesuffix("[]}")
        return head + "[\n" + ",\n".join("  " + json.dumps(fields(f), ensure_ascii=False) for f in run.figures) + "\n ]}"

    about = json.dumps(figures.about, ensure_ascii=False, indent=1)
    return f'{{"about": {about},\n"runs": [\n ' + ",\n ".join(map(line, figures.runs)) + "\n]}\n"


def write(figures: Figures) -> None:
    """Write the record and the page."""
    write_atomic(FIGURES, json_text(figures).encode())
    write_atomic(PAGE, page_text(figures).encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="action", required=True)
    commands.add_parser("page", help="make docs/benchmarks.md of figures.json")
    record = commands.add_parser("record", help="put what a benchmark wrote into figures.json, and make the page")
    record.add_argument("files", metavar="FILE", nargs="+", type=Path, help="rows (.json), or a printed table (.md)")
    record.add_argument("--command", required=True, help="what was called")
    record.add_argument("--machine", required=True, help="what it ran on, and what else ran there")
    record.add_argument("--commit", help="whose code was run (default: that of this checkout)")
    record.add_argument("--date", default=date.today().isoformat(), help="of the measurement (default: today)")
    arguments = parser.parse_args()
    known = read_figures(FIGURES)
    if arguments.action == "page":
        write(known)
        return 0
    figures: list[Figure] = []
    for path in arguments.files:
        figures.extend((row_figures if path.suffix == ".json" else table_figures)(path.read_text(encoding="utf-8")))
    if not figures:
        parser.error(f"{', '.join(map(str, arguments.files))}: no figure found, must be rows or a table with numbers")
    commit = arguments.commit or current_commit()
    write(recorded(known, Measurement(arguments.command, arguments.machine, arguments.date, commit, tuple(figures))))
    print(f"{FIGURES}: {len(figures)} figures of {arguments.command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
