"""Models that somebody else trained: read and compared with what can load them, refused by layer, and what `inspect` costs.

    TIEDAE_DATA=… python benchmarks/imports.py --json imports.json

The files are the eleven of `keras/` in TIEDAE_DATA, as their authors published them. Both sides compute in float64: in float32,
Keras' own rounding of `ad01.h5` is larger than what is allowed, since its first product is about 100 times its result.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np
from imports_ad01 import bytes_row, flash_row
from imports_audit import audit_row
from imports_bits import bits_row
from imports_files import CONVOLUTIONS, DATA, files_row
from imports_tie import ad01_row, tie_row
from rows import Row, report_parts

from tiedae.compress.imports.formats import read_model
from tiedae.report.console import Console

PUBLISHED = 9.49129
"""The score of the recording, as mlcommons/tiny publishes it."""
TURNS = 9


def main() -> int:
    return report_parts(__doc__ or "", "Imports", PARTS)


def score_row() -> Row:
    x = np.load(DATA / "ad01" / "windows.npy")
    score = float(np.square(read_model(DATA / "ad01" / "ad01.h5")(x) - x).mean())
    difference = abs(score / PUBLISHED - 1)
    return Row("ad01_score", difference, "", "<= 1e-5", "", f"{score:.6f} against {PUBLISHED}, {len(x)} windows")


def cost_rows() -> Sequence[Row]:
    """Whole processes of the command line; the start is `tiedae --version`."""
    calls = (["--version"], ["inspect", str(DATA / "ad01" / "ad01.h5")])
    costs = [[cost(call) for call in calls] for _ in range(TURNS)]
    seconds = [turn[1][0] for turn in costs]
    peaks = [median(turn[i][1] for turn in costs) for i in (0, 1)]
    spread = f"inspect ad01.h5; median of {TURNS}, {min(seconds):.3f} to {max(seconds):.3f} s"
    return [
        Row("read_seconds", median(seconds), "s", "<= 1.0", "<= 0.6", spread),
        Row("read_mb", peaks[1] - peaks[0], "MB", "<= 60", "<= 30", f"{peaks[1]:.1f} against {peaks[0]:.1f} MB of --version"),
    ]


PEAK = """
import contextlib, sys
from pathlib import Path
from tiedae.__main__ import main
with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
    main()
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""
"""Runs the command line and prints its peak of resident memory in KiB. What the system counts begins with the parent's."""


def cost(call: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak of resident memory in MB of a call."""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, "-c", PEAK, *call], capture_output=True, text=True, check=True)
    return time.perf_counter() - start, int(run.stdout) * 1024 / 1e6


PARTS: Mapping[str, Callable[[Console], Sequence[Row]]] = {
    "files": lambda console: [files_row(console)],
    "convolutions": lambda console: [files_row(console, "import_files_right", CONVOLUTIONS, twins=True)],
    "score": lambda _: [score_row()],
    "cost": lambda _: cost_rows(),
    "audit": lambda _: [audit_row()],
    "bits": lambda _: [bits_row()],
    "tie": lambda console: [tie_row(console)],
    "ad01": lambda console: [ad01_row(console), bytes_row(), flash_row()],
}


if __name__ == "__main__":
    sys.exit(main())
