"""Verification of a bundle beside what it was made from: the Keras model of a run and a source's test set."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from msgspec.structs import replace
from tiedae.compress.config import VerifyConfig
from tiedae.compress.errors import InputError, RecipeError
from tiedae.compress.records import decode
from tiedae.export.parity.baseline import require_comparable, require_fraction, with_baseline
from tiedae.export.parity.keras_device import keras_device, skipped
from tiedae.export.results import Device, Metrics, Model, Source, read_metrics
from tiedae.export.verify import verify_bundle

from .originals import find_archives, load_test, read_manifest, recipe_of


def verify(
    path: Path,
    *,
    model: Path | None,
    data: str | None,
    tolerances: Sequence[str] = (),
    baseline: Path | None = None,
    allow: float = 0.01,
    announce: Callable[[str], None],
) -> Metrics:
    """The metrics of a bundle, as `verify_bundle` gives them; its golden vectors stand in for a model or data not given.

    `model` is the folder OUT/model of a run, `data` a source as in a recipe, split as the bundle's recipe says. `tolerances`
    are KEY=VALUE and replace those of the recipe. With `baseline`, a file of earlier metrics, what got worse by more than the
    fraction `allow` is a failed check as well. Raises InputError where one of them is wrong.
    """
    require_fraction(allow)
    manifest = read_manifest(path)
    limits = parse_tolerances(tolerances, recipe_of(path, manifest).verify)
    model_of = decode(Model, manifest["model"], path)
    before = None if baseline is None else _read_baseline(baseline, manifest["name"], model_of)
    test = None if data is None else load_test(path, manifest, data)
    original = None if model is None else _original(model, manifest["model"]["widths"])
    metrics = verify_bundle(
        path,
        **({} if original is None else original.functions),
        test=test,
        tolerances=limits,
        announce=announce,
    )
    metrics = replace(metrics, model=model_of, samples=None if test is None else Source(str(data), test.sha256))
    if original is not None:
        metrics = replace(metrics, keras=original.device, skipped=metrics.skipped + skipped(original.device))
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


def _read_baseline(path: Path, name: str, model: Model) -> Metrics:
    before = read_metrics(path)
    try:
        require_comparable(name, model, before)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return before


@dataclasses.dataclass(frozen=True)
class _Original:
    """The Keras models of a run as `verify_bundle` takes them, and the device that they run on."""

    functions: Mapping[str, Any]
    device: Device


def _original(folder: Path, widths: list[int]) -> _Original:
    """The float models of a run: after training and, where there was pruning, after that."""
    archives = find_archives(folder, widths)
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.export.assemble import keras_function
    from tiedae.export.parity.keras_layers import keras_layers

    models = [TiedAutoencoder.load(archive) for archive in archives]
    device = keras_device()
    functions = {
        "keras": keras_function(models[-1], device),
        "layers": keras_layers(models[-1], device),
        "uncompressed": keras_function(models[0], device),
    }
    return _Original(functions, device)
