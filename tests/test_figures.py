"""Figures stand in benchmarks/figures.json: the page is made of them, the README's are theirs, a new record replaces them."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

from .pages import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import figures  # pyright: ignore[reportMissingImports]

RECORDED = figures.read_figures()
TABLE = """
| kernels | bytes | time |
|---|---|---|
| dense, 50 % | **1,000** | 16.18 µs (1.00 x) |
| `sparse` | 512 | none |
"""
RECORD = figures.Measurement(
    "python benchmarks/dense.py --seed 0",
    "two cores",
    "2026-11-28",
    "0123abcd",
    (
        figures.Figure("bytes_ratio", 0.45334, "x", "<= 0.50", "548,960 B against 1,210,920 B", "bytes of the file"),
        figures.Figure("seconds", 12.46, "s", "<= 10"),
        *figures.table_figures(TABLE),
    ),
)
KNOWN = figures.Figures({"benchmarks/dense.py": "Dense nets."}, (RECORD,))
PAGE = """
## benchmarks/dense.py

Dense nets.

`python benchmarks/dense.py --seed 0`, commit 0123abcd, 2026-11-28, two cores:

| row | what | value | bound | detail |
| --- | --- | --- | --- | --- |
| `bytes_ratio` | bytes of the file | 0.4533 x | <= 0.50 | 548,960 B against 1,210,920 B |
| `seconds` |  | 12.46 s | **missed:** <= 10 |  |

|  | bytes | time |
| --- | --- | --- |
| dense, 50 % | 1,000 | 16.18 µs (1.00 x) |
| sparse | 512 |  |
"""


def test_the_page_is_made_of_the_record() -> None:
    assert figures.PAGE.read_text(encoding="utf-8") == figures.page_text(RECORDED)
    assert figures.FIGURES.read_text(encoding="utf-8") == figures.json_text(RECORDED)


def test_every_run_states_command_machine_date_and_commit() -> None:
    assert all(run.command and run.machine and len(run.date) == 10 and run.figures for run in RECORDED.runs)
    assert [run.command for run in RECORDED.runs if not re.fullmatch("[0-9a-f]{8}(-dirty)?", run.commit)] == []


def test_every_script_of_a_figure_is_there_and_every_bound_has_words() -> None:
    scripts = {match[0] for run in RECORDED.runs if (match := re.search(r"benchmarks/\S+\.(py|sh)", run.command))}
    assert [script for script in sorted(scripts) if not (ROOT / script).exists()] == []
    assert [figure.name for run in RECORDED.runs for figure in run.figures if figure.reach and not figure.what] == []
    assert set(RECORDED.about) <= {run.key for run in RECORDED.runs}


def test_the_figures_of_the_readme_are_recorded() -> None:
    recorded = {(figure.name, run.key): figure for run in RECORDED.runs for figure in run.figures}
    shown = re.findall(
        r"^\| (\w+) \| .* \| ([^|]+) \| `(benchmarks/\w+\.py)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    assert [(name, recorded[name, script].shown) for name, _, script in shown] == [(name, value) for name, value, _ in shown]
    assert len(shown) == 6


def test_rows_and_cells_are_tables() -> None:
    assert figures.page_text(KNOWN) == figures.HEAD + PAGE


def test_rows_and_tables_are_recorded_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, page = tmp_path / "figures.json", tmp_path / "benchmarks.md"
    record.write_text(figures.json_text(KNOWN), encoding="utf-8")
    assert figures.read_figures(record) == KNOWN
    rows = [{"name": "bytes_ratio", "value": 0.46, "unit": "x", "reach": "<= 0.5", "stretch": "", "detail": ""}]
    (tmp_path / "dense.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    (tmp_path / "table.md").write_text("| kernels | bytes |\n|---|---|\n| sparse | 500 |\n", encoding="utf-8")
    monkeypatch.setattr(figures, "FIGURES", record)
    monkeypatch.setattr(figures, "PAGE", page)
    files = [str(tmp_path / "dense.json"), str(tmp_path / "table.md")]
    call = ["figures.py", "record", *files, "--command", RECORD.command, "--machine", "one core", "--date", "2026-12-01"]
    monkeypatch.setattr(sys, "argv", call)
    assert figures.main() == 0
    found = figures.read_figures(record)
    old, new = found.runs
    assert found.about == KNOWN.about and page.read_text(encoding="utf-8") == figures.page_text(found)
    assert new.commit == figures.current_commit() and re.fullmatch("[0-9a-f]{8}(-dirty)?", new.commit)
    assert [(each.name, each.value, each.what) for each in new.figures] == [
        ("bytes_ratio", 0.46, "bytes of the file"),
        ("sparse · bytes", 500, ""),
    ]
    assert new.machine == "one core"
    assert [each.name for each in old.figures] == ["seconds", "dense, 50 % · bytes", "dense, 50 % · time"]


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(1, "", "1"), (1.0097, "x", "1.010 x"), (548960.4, "B", "548,960 B"), (-0.0435, "dB", "−0.04350 dB")],
)
def test_a_value_is_shown_in_four_digits(value: float, unit: str, shown: str) -> None:
    assert dataclasses.replace(RECORD.figures[0], value=value, unit=unit).shown == shown
