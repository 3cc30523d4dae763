"""The benchmark of a bundle beside what its run left: the stock converters' files and the Keras model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiedae.compress.archive import FORMAT, unpack
from tiedae.compress.data import Scaling
from tiedae.compress.errors import DataError, FormatError, InputError
from tiedae.export.bench.benchmark import Plan, bench_bundle
from tiedae.export.bench.recording import record
from tiedae.export.bundle import Bundle

from .recipe import parse_recipe
from .sources import load_splits

SAMPLES = 256
"""How many test samples are used: they are repeated where a batch is larger."""
STAGES = ("prune.npz", "train.npz")
"""The float models of a run; the float files come from the first that is there."""


def bench(
    path: Path, *, model: Path | None, data: str | None, announce: Callable[[str], None], plan: Plan | None = None
) -> dict[str, Any]:
    """Measure a bundle and record the rows in its metrics.json under `bench`; returns them.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says; the golden
    samples stand in for it. The stock files are those of the run, in `stock` beside the bundle. Where the bundle is damaged or
    cannot be written to, that is announced and the bundle stays as it is.
    """
    bundle = Bundle.open(path)
    golden = bundle.golden()
    x = golden["x"] if data is None else _test_inputs(path, data)
    real = {"x": Scaling.from_json(bundle.manifest["data"]["scaling"]).apply(x), "code": golden["code.f32"]}
    archive = None if model is None else _archive(model, bundle.manifest["model"]["widths"])
    measured = bench_bundle(bundle, real, stock=path.resolve().parent / "stock", keras=archive, plan=plan, announce=announce)
    try:
        record(path, "bench", measured)
    except (FormatError, InputError) as error:
        announce(f"not recorded in the bundle: {error}")
    return measured


def _test_inputs(path: Path, source: str) -> np.ndarray:
    manifest = Bundle.open(path).manifest
    recipe = parse_recipe(manifest["recipe"], manifest["name"])
    test = load_splits(dataclasses.replace(recipe.data, source=source), recipe.model.output_activation).test
    if test.inputs != manifest["data"]["inputs"]:
        raise DataError(f"{source}: has {test.inputs} values per sample, must be {manifest['data']['inputs']} as in {path}")
    return test.take(np.arange(min(len(test), SAMPLES)))


def _archive(folder: Path, widths: list[int]) -> Path:
    """The archive of the float model of these widths in OUT/model."""
    path = next((folder / name for name in STAGES if (folder / name).is_file()), None)
    if path is None:
        raise InputError(f"{folder}: holds no model ({' or '.join(STAGES)}); must be the folder OUT/model of a run")
    header, _ = unpack(path, FORMAT)
    try:
        found = [header["model"]["inputs"], *(layer["units"] for layer in header["model"]["layers"])]
    except (KeyError, TypeError) as error:
        raise FormatError(f"{path}: its configuration is damaged ({error!r})") from None
    if found != list(widths):
        raise InputError(f"{path}: a model of widths {found}, must be {list(widths)} as in the bundle")
    return path
