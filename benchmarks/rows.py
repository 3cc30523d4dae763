"""Rows of figures with what they have to reach, printed as a table and written as JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tiedae.base.files import write_atomic
from tiedae.compress import CheckError, TiedaeError
from tiedae.report.console import Console


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: `reach` has to hold, `stretch` is where we want to be; without a `reach` it is only reported."""

    name: str
    value: float
    unit: str
    reach: str
    stretch: str = ""
    detail: str = ""

    @property
    def ok(self) -> bool:
        if not self.reach:
            return True
        relation, limit = self.reach.split()
        return {"<=": self.value <= float(limit), ">=": self.value >= float(limit), "==": self.value == float(limit)}[relation]


def arguments_of(text: str) -> argparse.ArgumentParser:
    """The command line that every benchmark has; `text` is its docstring."""
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    return parser


def report_parts(text: str, title: str, parts: Mapping[str, Callable[[Console], Sequence[Row]]]) -> int:
    """The whole of a benchmark whose `parts` can be measured one by one with --only; `text` is its docstring."""
    parser = arguments_of(text)
    parser.add_argument("--only", choices=parts, action="append", help="measure only this part (can be repeated)")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        return [row for name in arguments.only or parts for row in parts[name](console)]

    return report(title, measure, arguments.json)


def report(title: str, measure: Callable[[Console], Sequence[Row]], json_file: Path | None) -> int:
    """Measure, show the rows, write them to `json_file`; returns the exit code: 1 where a row misses its reach."""
    with Console() as console:
        try:
            rows = measure(console)
        except TiedaeError as error:
            console.error(str(error))
            return 1 if isinstance(error, CheckError) else 2
        console.table(
            title,
            ("row", "value", "unit", "reach", "stretch", "met", "detail"),
            [(r.name, f"{r.value:.4g}", r.unit, r.reach, r.stretch, "yes" if r.ok else "NO", r.detail) for r in rows],
        )
    if json_file:
        text = json.dumps({"rows": [dataclasses.asdict(row) for row in rows]}, indent=1)
        write_atomic(json_file, (text + "\n").encode())
    return 0 if all(row.ok for row in rows) else 1


def training_arguments_of(text: str) -> argparse.ArgumentParser:
    """As `arguments_of`, of a benchmark that trains nets."""
    parser = arguments_of(text)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep trained nets here")
    return parser


def report_trained(
    title: str, measure: Callable[[Path, Console], Sequence[Row]], json_file: Path | None, keep: Path | None
) -> int:
    """As `report`; `measure` gets the folder for trained nets: `keep`, or a temporary one."""

    def measure_in_folder(console: Console) -> Sequence[Row]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = keep or Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            return measure(folder, console)

    return report(title, measure_in_folder, json_file)
