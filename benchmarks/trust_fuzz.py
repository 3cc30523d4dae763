"""Rows of fuzzing: what a recorded run of `python -m tests.fuzz` tried, and the laws that it and a short run now break."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rows import Row

from tests.fuzz.harness import Inputs, run
from tests.fuzz.targets import TARGETS
from tiedae.report.console import Console

RECORD = Path(__file__).with_name("fuzz.json")
"""Written by the command that it states."""
NONE = {"command": "no recorded run", "date": "-", "targets": {}}
NOW = 500
"""Inputs of each target that are tried now, beside its whole files and its corpus."""
SEED = 1


def fuzz(console: Console) -> Sequence[Row]:
    """Inputs of the target that the record has fewest of, 0 where it has none of one; broken laws of the record and of now."""
    recorded = json.loads(RECORD.read_bytes()) if RECORD.is_file() else NONE
    tried = {name: recorded["targets"].get(name, {}).get("cases", 0) for name in TARGETS}
    fewest = min(tried, key=lambda name: tried[name])
    broken = sum(target["broken"] for target in recorded["targets"].values())
    again = 0
    for number, (name, target) in enumerate(TARGETS.items()):
        console.note(f"fuzzing: {name}, target {number + 1} of {len(TARGETS)}")
        inputs = Inputs.of(name, target, SEED)
        again += run(inputs, range(len(inputs.starts) + NOW)).broken
    ends = recorded["targets"].values()
    slowest = max((target["slowest"] for target in ends), default=0.0)
    took = f"{sum(target['seconds'] for target in ends):,.0f} s of processor time, the slowest {slowest:.1f} s"
    command = f"{recorded['command']} ({recorded['date']})"
    return [
        Row(
            "fuzz_cases_min", tried[fewest], "inputs", ">= 50000", ">= 500000", f"{fewest}, of {len(tried)} targets; {command}"
        ),
        Row(
            "fuzz_laws_broken",
            broken + again,
            "inputs",
            "== 0",
            "",
            f"{broken} of the record, {took}; {again} of {NOW} each now",
        ),
    ]
