"""Commands that are stopped, each as a process of its own; all of them: `python benchmarks/trust.py --only kills`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "trust_kills.py"


def row_of(tmp_path: Path, *arguments: object) -> dict:
    """The row of a run of the benchmark; a failure shows what broke a law."""
    file = tmp_path / "kills.json"
    call = [sys.executable, SCRIPT, *arguments, "--json", file]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*map(str, call)], capture_output=True, text=True, env=environment, timeout=550)
    assert done.returncode == 0, "\n".join(line for line in done.stderr.splitlines() if line.startswith("! ")) or done.stderr
    (row,) = json.loads(file.read_text())["rows"]
    return row


def test_stopped_commands_keep_what_was_there_and_end_in_the_same_bytes(finished_run: Path, tmp_path: Path) -> None:
    jobs = ("encode", "encode --append", "encode .npy --force", "decode --force")
    row = row_of(tmp_path, "--run", finished_run, "--points", 12, *(word for job in jobs for word in ("--job", job)))
    assert row["value"] == 0 and all(way in row["detail"] for way in ("kill -9", "Ctrl-C", "read-only folder", "two processes"))


@pytest.mark.night
def test_a_run_that_is_stopped_in_any_stage_ends_in_the_same_bundle(tmp_path: Path) -> None:
    row = row_of(tmp_path, "--points", 12, *(word for job in ("run", "run, trained") for word in ("--job", job)))
    assert row["value"] == 0
