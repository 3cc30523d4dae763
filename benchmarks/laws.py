"""Laws: what must always hold, as tests. Each is a row: its bound where all of its tests pass, and none is skipped.

    TIEDAE_DATA=... python benchmarks/laws.py --json laws.json [--only PART]

The tests want what `.ci/run` installs: compilers, emulators, browsers. No part takes more than 50 minutes on two cores.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rows import Row, report_parts

from tiedae.report.console import Console

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
COUNTED = re.compile(r"(\d+) (passed|failed|errors?|skipped)\b")


@dataclass(frozen=True)
class Law:
    """`tests`: files or node ids, for pytest. `right`: the value of the row where the law holds; 1 − `right` elsewhere."""

    tests: Sequence[str]
    right: int = 0


LAWS: Mapping[str, Mapping[str, Law]] = {}
"""By part and by name."""


def rows(laws: Mapping[str, Law], console: Console) -> Sequence[Row]:
    found = []
    for name, law in laws.items():
        console.note(f"{name}: {' '.join(law.tests)}")
        found.append(row_of(name, law))
    return found


def row_of(name: str, law: Law) -> Row:
    """The row of a law, whose detail says how many tests passed, failed and were skipped."""
    command = [sys.executable, "-m", "pytest", "-m", "", "-n", "auto", "--dist", "worksteal", "-rs", *law.tests]
    began = time.monotonic()
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    counts = {kind: int(count) for count, kind in COUNTED.findall(done.stdout.strip().splitlines()[-1])}
    holds = done.returncode == 0 and set(counts) == {"passed"}
    why = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "SKIPPED"))]
    detail = f"{', '.join(f'{count} {kind}' for kind, count in counts.items())} in {time.monotonic() - began:.0f} s"
    text = "; ".join([detail or f"pytest ended with {done.returncode}", *why[:3]])
    return Row(name, law.right if holds else 1 - law.right, "", f"== {law.right}", "", text)


if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Laws", {part: partial(rows, laws) for part, laws in LAWS.items()}))
