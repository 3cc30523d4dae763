"""Verification of a bundle beside what it was made from: the Keras model of a run and a source's test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tiedae.compress.data import Samples
from tiedae.compress.errors import DataError, InputError
from tiedae.export.bundle import Bundle
from tiedae.export.verify import Keras, verify_bundle

from .recipe import parse_recipe
from .sources import load_splits


def verify(
    path: Path,
    *,
    model: Path | None,
    data: str | None,
    tolerances: Sequence[str] = (),
    baseline: Path | None = None,
    allow: float = 0.01,
    announce: Callable[[str], None],
) -> dict[str, Any]:
    """The metrics of a bundle, as `verify_bundle` gives them; its golden vectors stand in for a model or data not given.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says.
    """
    test = None if data is None else _test_samples(path, data)
    if model is None:
        return verify_bundle(path, test=test, announce=announce)
    stages = _stages(model, Bundle.open(path).manifest["model"]["widths"])
    return verify_bundle(path, keras=stages[-1], uncompressed=stages[0], test=test, announce=announce)


def _test_samples(path: Path, source: str) -> Samples:
    manifest = Bundle.open(path).manifest
    recipe = parse_recipe(manifest["recipe"], manifest["name"])
    test = load_splits(dataclasses.replace(recipe.data, source=source), recipe.model.output_activation).test
    if test.inputs != manifest["data"]["inputs"]:
        raise DataError(f"{source}: has {test.inputs} values per sample, must be {manifest['data']['inputs']} as in {path}")
    return test


def _stages(folder: Path, widths: list[int]) -> list[Keras]:
    """The float models of a run: after training and, where there was pruning, after that."""
    archives = [file for file in (folder / "train.npz", folder / "prune.npz") if file.is_file()]
    if not archives:
        raise InputError(f"{folder}: holds no model (train.npz or prune.npz); must be the folder OUT/model of a run")
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.export.assemble import keras_function

    stages = []
    for archive in archives:
        model = TiedAutoencoder.load(archive)
        if list(model.config.widths) != widths:
            raise InputError(f"{archive}: a model of widths {list(model.config.widths)}, must be {widths} as in the bundle")
        stages.append(keras_function(model))
    return stages
