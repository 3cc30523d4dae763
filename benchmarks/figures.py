"""The recorded figures that README and docs cite: figures.json, beside this file.

    python benchmarks/dense.py --json build/dense.json
    python benchmarks/figures.py record build/dense.json --command 'python benchmarks/dense.py' --machine 'two cores, idle'

FILE is .json with the rows of a benchmark, or .md with a table that a benchmark prints: then each cell is a figure, whose name
is "ROW · COLUMN". Figures of the same command and name are replaced. docs/figures.md says which commit they are from.
`benchmarks/jobs_figures.py` compares the pages with them.
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
from pathlib import Path
from typing import Any

from tiedae.base.files import write_atomic

FIGURES = Path(__file__).parent / "figures.json"
ORIGINS = Path(__file__).parents[1] / "docs" / "figures.md"
RULE = "| command | commit | date | machine | figures |\n|---|---|---|---|---|"
"""The first lines of the table of origins."""
NUMBER = re.compile(r"(?<![\w.,-])[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[−-]?\d+)?(?!\d|-\d)")
"""A number as pages write it, 1,210,920 or −0.5 or 2.4e-06, but not the widths of a net, 784-512-30."""
UNITS = {"x": "x", "×": "x", "times": "x", "%": "%", "points": "%", "bit": "bit", "bits": "bit", "dB": "dB", "M/s": "M/s"}
UNITS |= dict.fromkeys(("s", "ms", "µs", "min", "minutes", "seconds"), "s")
BYTES = {"B": 1, "byte": 1, "bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""What each unit of measure counts: UNITS has the quantity of all others."""
_WORDS = "|".join(sorted((re.escape(unit) for unit in UNITS | BYTES if unit not in "×%"), key=len, reverse=True))
WITH_UNIT = re.compile(rf"({NUMBER.pattern})(?:\s?(×|%)(?!\s?\d)|\s?({_WORDS})(?![\w/]))")
KEY = re.compile(r"benchmarks/\w+\.py|make [\w-]+|tiedae [a-z]+(?: --data [\w-]+)?|python -m [\w.]+")


@dataclass(frozen=True)
class Figure:
    """One measured number: `value` in `unit`; `reach` is the bound it has, `detail` what else was measured with it."""

    name: str
    value: float
    unit: str = ""
    reach: str = ""
    detail: str = ""

    @property
    def numbers(self) -> list[tuple[float, str]]:
        """Its numbers with their units, '' where none is written."""
        return [(self.value, self.unit), *numbers_of(self.detail)]


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
        """What a page that cites these figures has to name: the benchmark or the command."""
        match = KEY.search(self.command)
        return match[0] if match else self.command


def number_of(text: str) -> float:
    """The value of a match of NUMBER."""
    return float(text.replace(",", "").replace("−", "-"))


def unit_of(match: re.Match[str] | None) -> str:
    """The unit in a match of WITH_UNIT."""
    return "" if match is None else match[2] or match[3]


def numbers_of(text: str) -> list[tuple[float, str]]:
    """The numbers of a text with their units, '' where none follows."""
    return [(number_of(match[0]), unit_of(WITH_UNIT.match(text, match.start()))) for match in NUMBER.finditer(text)]


def quantity(unit: str) -> str:
    """What a unit measures; '' for none."""
    return "bytes" if unit in BYTES else UNITS.get(unit, "")


def plain_text(cell: str) -> str:
    """A cell of a Markdown table without its marks: bold, code, targets of links."""
    return re.sub(r"[`*]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell)).strip()


def cells_of(line: str) -> list[str]:
    """The cells of a line of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))]


def is_rule(line: str) -> bool:
    """Whether this is the line between the header and the rows of a table."""
    return re.fullmatch(r"\|(?:\s*:?-+:?\s*\|)+", line.strip()) is not None


def table_figures(text: str) -> Iterator[Figure]:
    """A figure for each cell with a number first, of the Markdown tables in `text`; the first column names the rows."""
    lines, header = text.splitlines(), list[str]()
    for before, line in zip(["", *lines], lines, strict=False):
        if is_rule(line):
            header = [plain_text(cell) for cell in cells_of(before)]
        elif not line.startswith("|"):
            header = []
        elif header:
            label, *cells = map(plain_text, cells_of(line))
            for column, cell in zip(header[1:], cells, strict=False):
                if match := re.match(rf"[^\w+−-]*({NUMBER.pattern})\s*(.*)", cell):
                    several = bool(numbers_of(match[2]))
                    unit = "" if several else match[2]
                    yield Figure(f"{label} · {column}", number_of(match[1]), unit, detail=cell if several else "")


def row_figures(text: str) -> Iterator[Figure]:
    """A figure for each row of a benchmark's --json file."""
    names = [field.name for field in dataclasses.fields(Figure)]
    for row in json.loads(text)["rows"]:
        yield Figure(**{name: row[name] for name in names})


def read_figures(path: Path = FIGURES) -> tuple[Measurement, ...]:
    return tuple(
        Measurement(**(run | {"figures": tuple(Figure(**figure) for figure in run["figures"])}))
        for run in json.loads(path.read_text(encoding="utf-8"))
    )


def recorded(known: Sequence[Measurement], new: Measurement) -> list[Measurement]:
    """`known` with the figures of `new`, without older ones of the same command and name."""
    names, runs = {figure.name for figure in new.figures}, list[Measurement]()
    for run in known:
        kept = tuple(figure for figure in run.figures if run.command != new.command or figure.name not in names)
        if run.origin == new.origin:
            new = dataclasses.replace(new, figures=(*kept, *new.figures))
        elif kept:
            runs.append(dataclasses.replace(run, figures=kept))
    return sorted([*runs, new], key=lambda run: (run.command, run.date, run.machine, run.commit))


def origins_text(runs: Sequence[Measurement], head: str) -> str:
    """The page that says which commit the figures of each command are from, below its `head`."""
    rows = [f"| `{run.command}` | {run.commit} | {run.date} | {run.machine} | {len(run.figures)} |" for run in runs]
    return "\n".join([head + RULE, *rows, ""])


def head_of(page: str) -> str:
    """A page of `origins_text` up to its table."""
    return page.partition(RULE)[0]


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


def json_text(runs: Sequence[Measurement]) -> str:
    """The text of figures.json: a line for each figure."""

    def fields(item: Figure | Measurement) -> Mapping[str, Any]:
        return {field.name: value for field in dataclasses.fields(item) if (value := getattr(item, field.name)) != ""}

    def line(run: Measurement) -> str:
        head = json.dumps(fields(dataclasses.replace(run, figures=())), ensure_ascii=False).removesuffix("[]}")
        return head + "[\n" + ",\n".join("  " + json.dumps(fields(f), ensure_ascii=False) for f in run.figures) + "\n ]}"

    return "[\n " + ",\n ".join(map(line, runs)) + "\n]\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="action", required=True)
    record = commands.add_parser("record", help="put what a benchmark wrote into figures.json")
    record.add_argument("files", metavar="FILE", nargs="+", type=Path, help="rows (.json), or a printed table (.md)")
    record.add_argument("--command", required=True, help="what was called")
    record.add_argument("--machine", required=True, help="what it ran on, and what else ran there")
    record.add_argument("--commit", help="whose code was run (default: that of this checkout)")
    record.add_argument("--date", default=date.today().isoformat(), help="of the measurement (default: today)")
    arguments = parser.parse_args()
    figures: list[Figure] = []
    for path in arguments.files:
        figures.extend((row_figures if path.suffix == ".json" else table_figures)(path.read_text(encoding="utf-8")))
    if not figures:
        parser.error(f"{', '.join(map(str, arguments.files))}: no figure found, must be rows or a table with numbers")
    commit = arguments.commit or current_commit()
    run = Measurement(arguments.command, arguments.machine, arguments.date, commit, tuple(figures))
    runs = recorded(read_figures(FIGURES), run)
    write_atomic(FIGURES, json_text(runs).encode())
    write_atomic(ORIGINS, origins_text(runs, head_of(ORIGINS.read_text(encoding="utf-8"))).encode())
    print(f"{FIGURES}: {len(figures)} figures of {arguments.command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
