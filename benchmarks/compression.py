"""What distillation buys, for a tied 784-128-16 on the ten thousand images that ship, over three seeds.

    python benchmarks/compression.py --json compression.json

Errors are squared errors per test image of the integer program that the files hold. Minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    DataConfig,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    QuantizationSpec,
    QuantizeConfig,
    Recipe,
    Splits,
    TiedAutoencoder,
    TrainConfig,
    balance_code,
    fit,
    prune,
    train_quantized,
)
from tiedae.compress.files import write_atomic
from tiedae.console import Console
from tiedae.export import execute, lower
from tiedae.export.parity.measure import squared_error
from tiedae.export.program import Program
from tiedae.recipe import check_inputs
from tiedae.sources import load_splits

RECIPE = Recipe(
    "small",
    DataConfig("fashion"),
    ModelConfig((LayerConfig(128, "relu"), LayerConfig(16))),
    TrainConfig(epochs=24),
    quantize=QuantizeConfig(epochs=8),
)
PRUNE = PruneConfig(sparsity=0.75, epochs=8)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SEEDS = (0, 1, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    arguments = parser.parse_args()
    splits = load_splits(RECIPE.data, RECIPE.model.output_activation)
    recipe = check_inputs(RECIPE, splits.inputs)
    with tempfile.TemporaryDirectory() as folder, Console() as console:
        starts = [trained(recipe, splits, seed, Path(folder) / f"{seed}.npz", console) for seed in SEEDS]
        measured = {"distillation": list(distillation(recipe, splits, starts, console))}
        for title, rows in measured.items():
            console.table(title, tuple(rows[0]), [tuple(map(shown, row.values())) for row in rows])
    if arguments.json:
        write_atomic(arguments.json, (json.dumps(measured, indent=1) + "\n").encode())
    return 0


def shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def trained(recipe: Recipe, splits: Splits, seed: int, path: Path, console: Console) -> Path:
    """The archive of a float model with balanced code, as the pipeline makes it."""
    model = TiedAutoencoder(recipe.model, seed=seed)
    fit(model, splits, dataclasses.replace(recipe.train, seed=seed), progress=console.progress)
    balance_code(model, representative(splits.train, 4096, seed=seed).inputs)
    model.save(path)
    return path


def distillation(recipe: Recipe, splits: Splits, starts: Sequence[Path], console: Console) -> Iterator[dict[str, Any]]:
    """A row per share of the teacher: the int8 error, dense and pruned, averaged over the starts."""
    for share in SHARES:
        pruning = dataclasses.replace(PRUNE, distill=share)
        config = dataclasses.replace(recipe, quantize=dataclasses.replace(recipe.quantize, distill=share))
        errors: dict[str, list[float]] = {"dense int8": [], "75 % pruned int8": []}
        for start in starts:
            teacher = TiedAutoencoder.load(start)
            dense, pruned = TiedAutoencoder.load(start), TiedAutoencoder.load(start)
            prune(pruned, splits, pruning, config.train, teacher=teacher, progress=console.progress)
            for name, model in zip(errors, (dense, pruned), strict=True):
                errors[name].append(error_of(quantized(model, config, splits, teacher, console), splits))
        means = {name: float(np.mean(each)) for name, each in errors.items()}
        spread = {f"{name}, seeds differ by": float(np.ptp(each)) for name, each in errors.items()}
        yield {"distill": share} | means | spread


def quantized(
    model: TiedAutoencoder, recipe: Recipe, splits: Splits, teacher: TiedAutoencoder | None, console: Console
) -> Program:
    """The program of a float model after quantization-aware training."""
    data = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed)
    quantize_post_training(model, data, recipe.quantize, QuantizationSpec(recipe.quantize.granularity))
    train_quantized(model, splits, recipe.quantize, recipe.train, teacher=teacher, progress=console.progress)
    return lower(model, recipe.name, form="split")


def error_of(program: Program, splits: Splits) -> float:
    x = splits.test.take(np.arange(len(splits.test)))
    y = execute(program, "reconstruct", x)["y"]
    return squared_error(splits.scaling.apply(x), splits.scaling.apply(y))


if __name__ == "__main__":
    sys.exit(main())
