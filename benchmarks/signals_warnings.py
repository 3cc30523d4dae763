"""Lines of warning and advice that `tiedae run` prints for windows of vibration; one row of signals.py."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rows import Row

from tiedae.base.errors import CheckError
from tiedae.bundle.results import read_metrics
from tiedae.cli import main

WINDOWS, STEPS, RATE, SEED = 600, 1_024, 12_800, 31
ORDERS, DECAY = (1, 2, 3, 5), 900.0
"""Of the harmonics of a shaft of 29 to 31 Hz; decay per second of the resonance that a fault rings, at 3 kHz."""
RECIPE = """
name = "vibration"

[data]
source = "windows.npy"
kind = "record"
rate = 12800
unit_of_measure = "g"

[model]
layers = [64, 16]
output_activation = "linear"

[train]
epochs = 8
batch_size = 32
learning_rate = 3e-3

[quantize]
epochs = 1

[export]
targets = ["tflite"]
stock = false
"""
MARKS = ("! ", "warning:")
"""What a line of the verdict's findings and of the warnings begins with."""
ADVICE = "`"
"""Around the key of a recipe that a note advises."""


def vibration(rng: np.random.Generator) -> np.ndarray:
    """Windows of a rotating machine, float32 [WINDOWS, STEPS] in g: harmonics of the shaft, impacts at a bearing, noise."""
    t = np.arange(STEPS) / RATE
    shaft = rng.uniform(29, 31, (WINDOWS, 1))
    x = rng.normal(0, 0.02, (WINDOWS, STEPS))
    for order in ORDERS:
        x += np.sin(2 * np.pi * (order * shaft * t + rng.uniform(size=(WINDOWS, 1)))) / order
    impacts = np.exp(-DECAY * (t % (1 / 107))) * np.sin(2 * np.pi * 3_000 * (t % (1 / 107)))
    return (x + 0.3 * impacts).astype(np.float32)


def advice_lines(text: str) -> list[str]:
    """The lines of a run's output that warn or advise."""
    return [line for line in text.splitlines() if line.startswith(MARKS) or ADVICE in line]


def record_warning_row() -> Row:
    """Lines of warning and advice that a run of float32 windows prints, the findings of its verdict among them.

    Raises CheckError where the run fails.
    """
    with TemporaryDirectory() as name:
        folder, said = Path(name), io.StringIO()
        np.save(folder / "windows.npy", vibration(np.random.default_rng(SEED)))
        (folder / "vibration.toml").write_text(RECIPE, encoding="utf-8")
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(["run", str(folder / "vibration.toml"), "--out", str(folder / "out")])
        metrics = folder / "out" / "bundle" / "metrics.json"
        if not metrics.is_file():
            raise CheckError(f"tiedae run: ended with {code} and no bundle: {said.getvalue()[-500:]}")
        columns = len(read_metrics(metrics).warnings)
    lines = advice_lines(said.getvalue())
    detail = f"{WINDOWS:,} windows of {STEPS:,} time steps, {columns} columns warned of"
    return Row("record_warning_lines", len(lines), "lines", "<= 3", detail="; ".join([detail, *(line[:60] for line in lines)]))
