"""The row `verify_seconds_conv`: `verify` of a convolutional net of 60 kB on 6,345 windows of 512 of five people's ECG.

The net is trained for one epoch on a part of the test windows: what it learned does not change how long its files run.
Needs two idle cores.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jobs_sources import shared
from rows import Row

from tiedae.bundle.bundle import Bundle
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.run_artifacts import load_test
from tiedae.pipeline.runs import run_recipe
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.collecting import BundleFiles, MeasuredSamples
from tiedae.verify.verify import verify_bundle

PEOPLE, WINDOW, TRAINED = 5, 512, 60_000
FEW = ("tflm",)
"""Runtimes that may run fewer than 512 samples."""
LAYERS = [
    {"kind": "conv1d", "filters": 32, "kernel": 7, "pool": 4, "activation": "relu"},
    {"kind": "conv1d", "filters": 64, "kernel": 7, "pool": 4, "activation": "relu"},
    {"kind": "conv1d", "filters": 64, "kernel": 7, "pool": 2, "activation": "relu"},
    {"kind": "flatten"},
    {"units": 16},
]


def verify_rows(console: Console) -> Sequence[Row]:
    """Seconds of `verify`, and the fewest samples of a runtime beside `FEW`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "people").mkdir()
        for number, file in enumerate(sorted(shared("sensors/ecg").glob("*.npy"))[:PEOPLE]):
            np.save(folder / "people" / f"{number}.npy", np.load(file)[:, 0])
        np.save(folder / "train.npy", np.load(folder / "people" / "0.npy")[:TRAINED])
        return _rows(folder, console)


def _rows(folder: Path, console: Console) -> Sequence[Row]:
    recipe = {
        "data": {"source": "train.npy", "test": "people", "kind": "record", "window": WINDOW},
        "model": {"layers": LAYERS, "output_activation": "linear"},
        "train": {"epochs": 1},
        "quantize": {"method": "ptq"},
    }
    out = folder / "out"
    run_recipe(parse_recipe(recipe, "ecg"), base=folder, out=out, resume=False, force=False, console=console)
    bundle = Bundle.open(out / "bundle")
    test, _ = load_test(bundle.path, bundle.manifest, str(folder / "train.npy"))
    start = time.perf_counter()
    metrics = verify_bundle(bundle.path, MeasuredSamples.of(test), announce=console.note)
    seconds = time.perf_counter() - start
    ran = {row.runtime for row in metrics.parity if row.runtime in RUNTIMES}
    program = bundle.programs(BundleFiles.of(bundle).contents).fused
    counts = {name: RUNTIMES[name].samples(program, len(test)) for name in sorted(ran)}
    detail = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    least = min(count for name, count in counts.items() if name not in FEW)
    return [
        Row("verify_seconds_conv", seconds, "s", "<= 60", "<= 30", f"{len(test):,} windows; samples: {detail}"),
        Row("verify_samples_conv", least, "", ">= 512"),
    ]
