"""Verification of a bundle beside what it was made from: the Keras model of a run and a source's test set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from tiedae.compress.config import Recipe, VerifyConfig
from tiedae.compress.data import Samples
from tiedae.compress.errors import DataError, FormatError, InputError, RecipeError
from tiedae.export.bundle import Bundle
from tiedae.export.parity.baseline import read_baseline, require_comparable, with_baseline
from tiedae.export.parity.keras_device import Device, keras_device
from tiedae.export.verify import verify_bundle

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

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says. `tolerances`
    are KEY=VALUE and replace those of the recipe. With `baseline`, a file of earlier metrics, what got worse by more than the
    share `allow` is a failed check as well. Raises InputError where one of them is wrong.
    """
    manifest = _manifest(path)
    before = None if baseline is None else _read_baseline(baseline, manifest, allow)
    recipe = _recipe(path, manifest)
    test = None if data is None else _test_samples(path, manifest, recipe, data)
    original = None if model is None else _original(model, manifest["model"]["widths"])
    metrics = verify_bundle(
        path,
        **({} if original is None else original.functions),
        test=test,
        tolerances=parse_tolerances(tolerances, recipe.verify),
        announce=announce,
    )
    metrics["model"] = manifest["model"]
    if test is not None:
        metrics["samples"] = {"source": str(data), "sha256": test.sha256}
    if original is not None:
        metrics |= {"keras": original.device.to_json(), "skipped": metrics["skipped"] + original.device.skipped()}
    return metrics if before is None else with_baseline(metrics, before, name=str(baseline), allow=allow)


def parse_tolerances(texts: Sequence[str], stated: VerifyConfig) -> VerifyConfig:
    """The stated tolerances with those of KEY=VALUE texts in their place, the last one of a key.

    Raises RecipeError for what is no KEY=VALUE, an unknown key, or a value of the wrong type or out of range.
    """
    kinds, given = get_type_hints(VerifyConfig), {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise RecipeError(f"--tolerance: got {text!r}, must be KEY=VALUE, such as max_quality_loss=0.02")
        if key not in kinds:
            raise RecipeError(f"--tolerance {key}: unknown key; must be one of {', '.join(kinds)}")
        try:
            given[key] = kinds[key](value)
        except ValueError:
            raise RecipeError(f"--tolerance {key}: got {value!r}, must be {_KINDS[kinds[key]]}") from None
        if not math.isfinite(given[key]):
            raise RecipeError(f"--tolerance {key}: got {value!r}, must be {_KINDS[kinds[key]]}")
    try:
        return dataclasses.replace(stated, **given)
    except RecipeError as error:
        raise RecipeError(f"--tolerance {error}") from None


_KINDS: Mapping[type, str] = {int: "an integer", float: "a finite number"}


def _manifest(path: Path) -> Mapping[str, Any]:
    """The manifest of a bundle; FormatError where what is read of it here is damaged."""
    manifest = Bundle.open(path).manifest
    kinds = {"name": str, "recipe": dict, "model": dict, "data": dict}
    for key, kind in kinds.items():
        if not isinstance(manifest[key], kind):
            raise FormatError(f"{path}: the manifest is damaged: {key} is {manifest[key]!r:.60}")
    if not isinstance(manifest["model"].get("widths"), list) or not isinstance(manifest["data"].get("inputs"), int):
        raise FormatError(f"{path}: the manifest is damaged: model.widths must be a list, data.inputs a number")
    return manifest


def _read_baseline(path: Path, manifest: Mapping[str, Any], allow: float) -> Mapping[str, Any]:
    before = read_baseline(path)
    try:
        require_comparable(manifest, before, allow)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return before


def _recipe(path: Path, manifest: Mapping[str, Any]) -> Recipe:
    try:
        return parse_recipe(manifest["recipe"], manifest["name"])
    except RecipeError as error:
        raise FormatError(f"{path}: the manifest is damaged: recipe: {error}") from None


def _test_samples(path: Path, manifest: Mapping[str, Any], recipe: Recipe, source: str) -> Samples:
    test = load_splits(dataclasses.replace(recipe.data, source=source), recipe.model.output_activation).test
    if test.inputs != manifest["data"]["inputs"]:
        raise DataError(f"{source}: has {test.inputs} values per sample, must be {manifest['data']['inputs']} as in {path}")
    return test


@dataclasses.dataclass(frozen=True)
class _Original:
    """The Keras models of a run as `verify_bundle` takes them, and the device that they run on."""

    functions: Mapping[str, Any]
    device: Device


def _original(folder: Path, widths: list[int]) -> _Original:
    """The float models of a run: after training and, where there was pruning, after that."""
    archives = [file for file in (folder / "train.npz", folder / "prune.npz") if file.is_file()]
    if not archives:
        raise InputError(f"{folder}: holds no model (train.npz or prune.npz); must be the folder OUT/model of a run")
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.export.assemble import keras_function
    from tiedae.export.parity.keras_layers import keras_layers

    models = [TiedAutoencoder.load(archive) for archive in archives]
    for archive, model in zip(archives, models, strict=True):
        if list(model.config.widths) != widths:
            raise InputError(f"{archive}: a model of widths {list(model.config.widths)}, must be {widths} as in the bundle")
    device = keras_device()
    functions = {
        "keras": keras_function(models[-1], device),
        "layers": keras_layers(models[-1], device),
        "uncompressed": keras_function(models[0], device),
    }
    return _Original(functions, device)
