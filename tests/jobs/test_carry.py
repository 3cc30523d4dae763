"""One run of benchmarks/carry.py at real size, on data that need no download: what it measures is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


@pytest.mark.night
@pytest.mark.usefixtures("real_data")
def test_a_run_of_a_strangers_set_has_every_figure(benchmark_module: Callable[[str], ModuleType], tmp_path: Path) -> None:
    carry, runs = benchmark_module("carry"), benchmark_module("carry_runs")
    row = next(row for row in carry.SETS if row.name == "ad01")
    source = carry.write(row, tmp_path / "sets", tmp_path / "packages")
    outcome = runs.Job(row, "compression", 0, source, tmp_path / "run").outcome()
    assert not outcome.failed, outcome.message
    assert outcome.measure == "error" and outcome.loss is not None and outcome.pca is not None
    assert outcome.methods is not None and outcome.methods.samples == 196
    rows = {figure.name: figure.value for figure in carry.rows_of([outcome])}
    assert rows["runs_failed"] == 0 and rows["int8_loss_worst"] == outcome.loss
