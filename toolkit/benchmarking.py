"""The benchmark of a bundle beside what its run left: the stock converters' files and the Keras model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tiedae.compress.data import Samples, Scaling
from tiedae.compress.errors import FormatError, InputError
from tiedae.export.bench.benchmark import Plan, bench_bundle
from tiedae.export.bench.recording import record
from tiedae.export.bundle import Bundle
from tiedae.export.results import Bench

from .originals import find_archives, load_test, read_manifest

SAMPLES = 256
"""How many test samples are used: they are repeated where a batch is larger."""


def bench(
    path: Path, *, model: Path | None, data: str | None, announce: Callable[[str], None], plan: Plan | None = None
) -> Bench:
    """Measure a bundle and record the rows in its metrics.json under `bench`; returns them.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says; the golden
    samples stand in for it. The stock files are those of the run, in `stock` beside the bundle. Where the bundle is damaged or
    cannot be written to, that is announced and the bundle stays as it is.
    """
    manifest = read_manifest(path)
    bundle = Bundle(path, manifest)
    golden = bundle.golden()
    x = golden["x"] if data is None else _first(load_test(path, manifest, data))
    real = {"x": Scaling.from_json(manifest["data"]["scaling"]).apply(x), "code": golden["code.f32"]}
    archive = None if model is None else find_archives(model, manifest["model"]["widths"])[-1]
    measured = bench_bundle(bundle, real, stock=path.resolve().parent / "stock", keras=archive, plan=plan, announce=announce)
    try:
        record(path, measured)
    except (FormatError, InputError, OSError) as error:
        announce(f"not recorded in the bundle: {error}")
    return measured


def _first(test: Samples) -> np.ndarray:
    return test.take(np.arange(min(len(test), SAMPLES)))
