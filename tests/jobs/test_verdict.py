"""The verdict on whole runs: cases of benchmarks/jobs_verdict.py, two good and two that are no good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tiedae.bundle.verdict import sentences
from tiedae.report.console import Console


@pytest.fixture(scope="module")
def benchmark(benchmark_module: Callable[[str], ModuleType]) -> Any:
    return benchmark_module("jobs_verdict")


@pytest.mark.night
@pytest.mark.parametrize(
    "name",
    [
        "a table",
        "anomalies, trousers",
        "a table, untrained",
        "simple anomalies",
        "a column a hundred times as large",
        "a ripple",
    ],
)
def test_a_run_has_the_verdict_that_it_deserves(real_data: Path, benchmark: Any, tmp_path: Path, name: str) -> None:
    case = benchmark.CASES[name]
    verdict = benchmark.verdict_of(case, tmp_path / "case", Console(verbosity=-1))
    assert not benchmark.is_wrong(case, verdict), sentences(verdict)


def test_there_are_eight_good_cases(benchmark: Any) -> None:
    reasons = [case.reason for case in benchmark.CASES.values()]
    assert len(reasons) == 30 and reasons.count(None) == 8
