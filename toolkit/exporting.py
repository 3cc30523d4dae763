"""From a quantized model in Python to a bundle: the recipe that its stages amount to, then `export.assemble`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from tiedae.compress.config import ExportConfig, QuantizeConfig, Recipe, TrainConfig, VerifyConfig
from tiedae.compress.data import Dataset
from tiedae.compress.errors import InputError
from tiedae.compress.layers import config_from_json
from tiedae.compress.lineage import STAGES
from tiedae.export.bundle import Bundle
from tiedae.export.manifest import FILE as MANIFEST
from tiedae.export.targets import require_targets

from .recipe import slug
from .sources import provenance

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder


def export_bundle(
    model: TiedAutoencoder,
    path: str | Path,
    *,
    data: Dataset,
    name: str | None = None,
    targets: Sequence[str] | None = None,
    export: ExportConfig = ExportConfig(),
    verify: VerifyConfig = VerifyConfig(),
    overwrite: bool = False,
    verbose: bool = True,
) -> Bundle:
    """Write the bundle of a quantized model into the folder `path`, which appears whole, and return it.

    `data`: what the model was trained on; golden vectors and the quality are those of its test samples. `name` of the files, by
    default that of the folder. `targets` replace those of `export`.

    Raises InputError for a float model, one from an archive, or a folder that exists, unless `overwrite`; ExportError where a
    target cannot express the model. A check that fails is no error here: `bundle.verify(data)` reports it.
    """
    from tiedae.export.assemble import assemble

    path = Path(path)
    if targets is not None:
        export = replace(export, targets=tuple(targets))
    require_targets(export.targets)
    if not model.quantized:
        raise InputError("export_bundle: got a float model, must be quantized: ta.quantize(model, data)")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; choose another folder, or overwrite=True")
    if path.exists() and not (path / MANIFEST).is_file():
        raise InputError(f"{path}: is no bundle, so it is not overwritten; choose another folder")
    model.require_spec(data.train)
    lineage = model.lineage
    if not lineage.earlier or lineage.calibration is None:
        raise InputError(
            "export_bundle: the model comes from an archive, which does not hold the float model it was quantized from; "
            "quantize the float model again"
        )
    recipe = _recipe(model, data, name or slug(path.resolve().name), export, verify)
    announce = _say if verbose else _ignore
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        partial = Path(folder) / "bundle"
        assemble(
            partial,
            {stage: lineage.earlier[stage].model() for stage in STAGES if stage in lineage.earlier} | {"quantize": model},
            data,
            recipe,
            lineage.history,
            calibration=lineage.calibration,
            provenance=provenance(recipe.data.source),
            stock=Path(folder) / "stock",
            announce=announce,
        )
        if path.exists():
            path.rename(Path(folder) / "before")
        partial.rename(path)
    return Bundle.open(path)


def _recipe(model: TiedAutoencoder, data: Dataset, name: str, export: ExportConfig, verify: VerifyConfig) -> Recipe:
    """The recipe that the stages of a model amount to; `train.epochs` is 0 where a loop of Keras trained it."""
    configs = model.lineage.configs
    first = next(iter(model.lineage.earlier.values()))
    known: dict[str, Any] = {stage: configs[stage] for stage in ("prune", "cluster") if stage in configs}
    return Recipe(
        name=name,
        data=data.config,
        model=config_from_json(first.header["model"]),
        train=configs.get("train", TrainConfig(epochs=0)),
        quantize=configs.get("quantize", QuantizeConfig()),
        export=export,
        verify=verify,
        **known,
    )


def _say(text: str) -> None:
    print(text)


def _ignore(_text: str) -> None:
    pass
