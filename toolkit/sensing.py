"""The sensitivity of a run's float model on its recipe's calibration samples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tiedae.compress.archive import archive_path
from tiedae.compress.errors import InputError

from .recipe import load_recipe
from .sources import load_splits


def sense(path: Path, model: Path | None, samples: int | None) -> dict[str, Any]:
    """Rows of `calibration.sensitivity` and what they were measured on, as JSON can hold it.

    `path` is a recipe, `model` the folder OUT/model of its run (default: runs/NAME/model), `samples` how many training samples
    (default: the recipe's quantize.samples). Raises InputError where there is no float model, or it fits other data.
    """
    recipe = load_recipe(path)
    if samples is not None and samples < 1:
        raise InputError(f"--samples: got {samples}, must be at least 1")
    archive = archive_path(model or Path("runs") / recipe.name / "model", "train")
    if not archive.is_file():
        raise InputError(f"{archive.parent}: holds no {archive.name}; must be the folder OUT/model of a run")
    splits = load_splits(recipe.data, recipe.model.output_activation, base=path.parent)
    from tiedae.calibration.representative import representative
    from tiedae.calibration.sensitivity import sensitivity
    from tiedae.compress.autoencoder import TiedAutoencoder

    autoencoder = TiedAutoencoder.load(archive)
    data = representative(splits.train, samples or recipe.quantize.samples, seed=recipe.data.seed)
    rows = sensitivity(autoencoder, data)
    return {
        "schema": 1,
        "name": recipe.name,
        "widths": list(autoencoder.config.widths),
        "samples": len(data.inputs),
        "sha256": data.sha256,
        "seed": data.seed,
        "rows": [dataclasses.asdict(row) | {"increase": row.increase} for row in rows],
    }
