"""Verification of a bundle beside what it was made from: the Keras model of a run and a source's test set."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiedae.compress.data import Samples
from tiedae.compress.errors import DataError, InputError
from tiedae.export.bundle import Bundle
from tiedae.export.verify import verify_bundle

from .recipe import parse_recipe
from .sources import load_splits


def verify(path: Path, *, model: Path | None, data: str | None, announce: Callable[[str], None]) -> dict[str, Any]:
    """The metrics of a bundle, as `verify_bundle` gives them; its golden vectors stand in for a model or data not given.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says.
    """
    test = None if data is None else _test_samples(path, data)
    return verify_bundle(path, keras=None if model is None else _keras(model), test=test, announce=announce)


def _test_samples(path: Path, source: str) -> Samples:
    manifest = Bundle.open(path).manifest
    recipe = parse_recipe(manifest["recipe"], manifest["name"])
    test = load_splits(dataclasses.replace(recipe.data, source=source), recipe.model.output_activation).test
    if test.inputs != manifest["data"]["inputs"]:
        raise DataError(f"{source}: has {test.inputs} values per sample, must be {manifest['data']['inputs']} as in {path}")
    return test


def _keras(folder: Path) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The float model that the bundle's float files come from: the last stage before quantization."""
    archive = next((file for file in (folder / "prune.npz", folder / "train.npz") if file.is_file()), None)
    if archive is None:
        raise InputError(f"{folder}: holds no model (prune.npz or train.npz); must be the folder OUT/model of a run")
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.export.assemble import keras_function

    return keras_function(TiedAutoencoder.load(archive))
