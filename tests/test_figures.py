"""Every figure of README and docs is a recorded one; a changed digit, on a page or in the record, is found."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import figures  # noqa: E402  # pyright: ignore[reportMissingImports]
import jobs_figures as checked  # noqa: E402  # pyright: ignore[reportMissingImports]
from figures_exceptions import Exemption  # noqa: E402  # pyright: ignore[reportMissingImports]

PAGES, RUNS = checked.pages(), figures.read_figures()
TABLE = """
`benchmarks/dense.py`, three seeds, 0.51 x of 1,210,920 B in 12.5 s:

| row | what | value | bound | detail |
|---|---|---|---|---|
| bytes_ratio | of 8-bit files | 0.4533 x | <= 0.50 | 548,960 B against 1,210,920 B |

| kernels | bytes | time |
|---|---|---|
| dense, 50 % | **1,000** | 16.18 µs (1.00 x) |
| `sparse` | 512 | none |

    python benchmarks/dense.py --epochs 7

```python
x = 99.9  # 17 % of 3 s
```
"""
RECORD = figures.Measurement(
    "python benchmarks/dense.py",
    "two cores",
    "2026-11-28",
    "0123abcd",
    (
        figures.Figure("bytes_ratio", 0.45334, "x", "<= 0.50", "548,960 B against 1,210,920 B"),
        figures.Figure("other_ratio", 0.5101, "x"),
        figures.Figure("seconds", 12.46, "s"),
        *figures.table_figures(TABLE.split("\n\n")[2]),
    ),
)
NONE: tuple[Exemption, ...] = (Exemption(".*", "50 %", "a sparsity"),)


def test_no_figure_of_readme_and_docs_is_stale() -> None:
    assert checked.stale(PAGES, RUNS) == []


def test_every_run_states_command_machine_date_and_commit() -> None:
    assert all(run.command and run.machine and len(run.date) == 10 and run.figures for run in RUNS)
    assert [run.command for run in RUNS if not re.fullmatch("[0-9a-f]{8}(-dirty)?", run.commit)] == []


def test_a_page_says_which_commit_each_figure_is_from() -> None:
    page = figures.ORIGINS.read_text(encoding="utf-8")
    assert page == figures.origins_text(RUNS, figures.head_of(page))
    assert f"| `{RUNS[0].command}` | {RUNS[0].commit} |" in page
    assert all(exemption.reason for exemption in checked.EXCEPTIONS)


def changed(text: str) -> Iterator[str]:
    """A number with another last digit."""
    place = max(i for i, character in enumerate(text.partition("e")[0]) if character.isdigit())
    yield text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]


def test_nearly_every_changed_last_digit_of_a_page_is_found() -> None:
    """A few equal another figure that the same page cites."""
    wrong = total = 0
    for page, text in PAGES.items():
        cited = [run for run in RUNS if run.key in text]
        for number in checked.shown_numbers(page, text):
            if checked.is_recorded(number, cited) and checked.exemption(number) is None:
                for other in changed(number.text):
                    total += 1
                    wrong += not checked.is_recorded(dataclasses.replace(number, text=other), cited)
    assert total > 1_000 and wrong / total > 0.94


@pytest.mark.parametrize(
    ("page", "old", "new"),
    [
        ("README.md", "| 0.4533 x |", "| 0.4534 x |"),
        ("docs/benchmarks.md", "| 1.017 x | <= 1.10 |", "| 1.017 x | <= 1.20 |"),
        ("docs/benchmarks.md", "548,944 B against", "548,945 B against"),
        ("docs/c.md", "5.854 times", "6.4 times"),
        ("docs/compression-task.md", "| 13,336 |", "| 27,019 |"),
        ("docs/how-it-works.md", "548,848 B", "563,056 B"),
    ],
)
def test_a_changed_figure_of_a_page_is_found(page: str, old: str, new: str) -> None:
    assert old in PAGES[page]
    (line,) = checked.stale({page: PAGES[page].replace(old, new, 1)}, RUNS, [])[:1] or [""]
    wrong = [line for line in checked.stale(PAGES | {page: PAGES[page].replace(old, new, 1)}, RUNS) if line.startswith(page)]
    assert line and len(wrong) == 1


@pytest.mark.parametrize("name", ["tflite_int8_bytes_ratio", "c_flash_dense", "codec_vs_pca", "dense · gzip -9"])
def test_a_changed_figure_of_the_record_is_found(name: str) -> None:
    runs = [
        dataclasses.replace(
            run, figures=tuple(dataclasses.replace(f, value=1.02 * f.value) if f.name == name else f for f in run.figures)
        )
        for run in RUNS
    ]
    assert checked.stale(PAGES, runs)


def test_what_counts_as_a_figure() -> None:
    shown = [(number.text, number.unit) for number in checked.shown_numbers("page.md", TABLE)]
    assert shown == [
        *[("0.51", "x"), ("1,210,920", "B"), ("12.5", "s")],
        *[("0.4533", "x"), ("0.50", ""), ("548,960", "B"), ("1,210,920", "B")],
        *[("1,000", ""), ("16.18", "µs"), ("1.00", "x"), ("512", "")],
    ]


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        ("", "", []),
        ("12.5 s", "12.4 s", ["page.md:2: 12.4 s"]),
        ("0.51 x", "49 %", []),
        ("0.51 x", "48 %", ["page.md:2: 48 %"]),
        ("0.51 x of 1,210,920 B", "1.21 MB", []),
        ("0.51 x of 1,210,920 B", "1.22 MB", ["page.md:2: 1.22 MB"]),
        ("0.51 x", "0.51 s", ["page.md:2: 0.51 s"]),
        ("0.4533 x", "0.5101 x", ["page.md:6: 0.5101 x"]),
        ("<= 0.50", "<= 0.51", ["page.md:6: 0.51"]),
        ("548,960", "512", ["page.md:6: 512 B"]),
        ("**1,000**", "**512**", ["page.md:10: 512"]),
        ("benchmarks/dense.py", "benchmarks/rate.py", 11),
    ],
)
def test_a_number_is_right_where_it_equals_a_figure_that_the_page_cites(old: str, new: str, stale: list[str] | int) -> None:
    wrong = checked.stale({"page.md": TABLE.replace(old, new) if old else TABLE}, [RECORD], [])
    assert wrong == stale if isinstance(stale, list) else len(wrong) == stale


def test_an_exemption_covers_its_pattern_and_has_to_be_needed() -> None:
    text = "50 % of 60 % in 3 s."
    assert checked.stale({"page.md": text}, [], NONE) == ["page.md:1: 60 %", "page.md:1: 3 s"]
    assert checked.stale({"page.md": "none"}, [], NONE) == ["unused exemption: .*: 50 %"]


def test_rows_and_tables_are_recorded_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    record = tmp_path / "figures.json"
    record.write_text(figures.json_text([RECORD]), encoding="utf-8")
    assert figures.read_figures(record) == (RECORD,)
    rows = [{"name": "bytes_ratio", "value": 0.46, "unit": "x", "reach": "<= 0.5", "stretch": "", "detail": ""}]
    (tmp_path / "dense.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    (tmp_path / "table.md").write_text("| kernels | bytes |\n|---|---|\n| sparse | 500 |\n", encoding="utf-8")
    origins = tmp_path / "figures.md"
    origins.write_text(figures.origins_text([], "# Origins\n\n"), encoding="utf-8")
    monkeypatch.setattr(figures, "FIGURES", record)
    monkeypatch.setattr(figures, "ORIGINS", origins)
    files = [str(tmp_path / "dense.json"), str(tmp_path / "table.md")]
    call = ["figures.py", "record", *files, "--command", RECORD.command, "--machine", "one core", "--date", "2026-12-01"]
    monkeypatch.setattr(sys, "argv", call)
    assert figures.main() == 0
    old, new = figures.read_figures(record)
    assert origins.read_text(encoding="utf-8") == figures.origins_text((old, new), "# Origins\n\n")
    assert new.commit == figures.current_commit() and re.fullmatch("[0-9a-f]{8}(-dirty)?", new.commit)
    assert {f.name: f.value for f in new.figures} == {"bytes_ratio": 0.46, "sparse · bytes": 500} and new.machine == "one core"
    assert [f.name for f in old.figures] == ["other_ratio", "seconds", "dense, 50 % · bytes", "dense, 50 % · time"]
