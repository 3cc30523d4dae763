"""The examples of docs/explanation/architecture.md run as they are written, and leave no row behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiedae.cli.commands import COMMANDS
from tiedae.compress.layers import DIRECTIONS
from tiedae.config.layer_kinds import LAYER_KINDS
from tiedae.export.onnx.operations import ONNX_OPERATIONS
from tiedae.export.targets import TARGETS
from tiedae.export.tflite.operations import TFLITE_OPERATIONS
from tiedae.program.lowering import LOWERINGS
from tiedae.program.operations import OPERATIONS
from tiedae.report.tasks import TASK_VIEWS
from tiedae.runtimes.table import RUNTIMES
from tiedae.tasks.table import TASKS

from .architecture import SECTIONS, TEXT, run_example
from .pages import blocks_of

TABLES: dict[str, tuple[Any, ...]] = {
    "A target": (TARGETS, RUNTIMES),
    "An operation": (OPERATIONS, TFLITE_OPERATIONS, ONNX_OPERATIONS),
    "A layer kind": (LAYER_KINDS, DIRECTIONS, LOWERINGS),
    "A runtime": (RUNTIMES,),
    "A task": (TASKS, TASK_VIEWS),
    "A command": (COMMANDS,),
}
"""The tables that the example of a section adds one row to."""


@pytest.fixture
def tables() -> Iterator[dict[int, int]]:
    """The number of rows of each table by its identity; afterwards the tables are as they were."""
    kept = [(table, dict(table)) for rows in TABLES.values() for table in rows]
    yield {id(table): len(rows) for table, rows in kept}
    for table, rows in kept:
        table.clear()
        table.update(rows)


@pytest.mark.parametrize("title", TABLES)
def test_an_example_runs_and_adds_its_row(
    title: str, tables: dict[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_example(title)
    more = {id(table): len(table) - tables[id(table)] for rows in TABLES.values() for table in rows}
    assert more == {id(table): int(table in TABLES[title]) for rows in TABLES.values() for table in rows}


def test_every_section_with_code_is_run() -> None:
    assert {title for title, section in SECTIONS.items() if blocks_of(section, "python")} == set(TABLES)
    assert sum(len(blocks_of(section, "python")) for section in SECTIONS.values()) == len(blocks_of(TEXT, "python")) == 13
