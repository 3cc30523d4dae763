"""What distillation and weight clustering buy, for a tied 784-128-16 on the ten thousand images that ship.

    python benchmarks/compression.py --json compression.json

Errors are squared errors per test image of the integer program that the files hold, bytes those of the int8 .tflite, raw and
after gzip -9. Minutes on one core.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from rows import arguments_of

from tiedae.base.files import write_atomic
from tiedae.bundle.fidelity import squared_error
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    ClusterConfig,
    DataConfig,
    Dataset,
    LayerConfig,
    ModelConfig,
    PruneConfig,
    Recipe,
    TiedAutoencoder,
    Training,
    balance_code,
    cluster,
    fit,
    prune,
    train_quantized,
)
from tiedae.export import execute, lower, to_tflite
from tiedae.pipeline.recipe import check_inputs
from tiedae.pipeline.sources import load_dataset
from tiedae.program.program import Program
from tiedae.report.console import Console

RECIPE = Recipe("small", DataConfig("fashion"), ModelConfig((LayerConfig(128, "relu"), LayerConfig(16))))
PRUNE = PruneConfig(sparsity=0.75, scope="global")
SHARES = (0.0, 0.5, 1.0)
SEEDS = (0, 1, 2)
CLUSTERS = (64, 32, 16, 8)


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    splits = load_dataset(RECIPE.data, RECIPE.model.output_activation)
    recipe = check_inputs(RECIPE, splits.train.shape)
    with tempfile.TemporaryDirectory() as folder, Console() as console:
        starts = [trained(recipe, splits, seed, Path(folder) / f"{seed}.safetensors", console) for seed in SEEDS]
        measured = {
            "distillation": list(distillation(recipe, splits, starts, console)),
            "clustering": list(clustering(recipe, splits, starts[0], Path(folder) / "pruned.safetensors", console)),
        }
        for title, rows in measured.items():
            console.table(title, tuple(rows[0]), [tuple(map(shown, row.values())) for row in rows])
    if arguments.json:
        write_atomic(arguments.json, (json.dumps(measured, indent=1) + "\n").encode())
    return 0


def shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def trained(recipe: Recipe, splits: Dataset, seed: int, path: Path, console: Console) -> Path:
    """The archive of a float model with balanced code, as the pipeline makes it."""
    model = TiedAutoencoder(recipe.model, seed=seed)
    fit(model, splits, Training(structs.replace(recipe.train, seed=seed), progress=console.progress))
    balance_code(model, representative(splits.train, 4096, seed=seed).inputs)
    model.save(path)
    return path


def distillation(recipe: Recipe, splits: Dataset, starts: Sequence[Path], console: Console) -> Iterator[dict[str, Any]]:
    """A row per share of the teacher: the int8 error, dense and pruned, averaged over the starts, and how far they part."""
    for share in SHARES:
        pruning = structs.replace(PRUNE, distill=share)
        config = structs.replace(recipe, quantize=structs.replace(recipe.quantize, distill=share))
        errors: dict[str, list[float]] = {"dense int8": [], "75 % pruned int8": []}
        for start in starts:
            teacher = TiedAutoencoder.load(start)
            dense, pruned = TiedAutoencoder.load(start), TiedAutoencoder.load(start)
            prune(pruned, splits, pruning, Training(config.train, teacher, progress=console.progress))
            for name, model in zip(errors, (dense, pruned), strict=True):
                errors[name].append(error_of(quantized(model, config, splits, teacher, console), splits))
        means = {name: float(np.mean(each)) for name, each in errors.items()}
        yield {"distill": share} | means | {"seeds": ", ".join(f"{error:.3f}" for error in errors["75 % pruned int8"])}


def clustering(recipe: Recipe, splits: Dataset, start: Path, pruned: Path, console: Console) -> Iterator[dict[str, Any]]:
    """A row per number of clusters, dense and pruned: bytes, raw and after gzip, error, distinct integers of each kernel."""
    model = TiedAutoencoder.load(start)
    prune(model, splits, PRUNE, Training(recipe.train, progress=console.progress))
    model.save(pruned)
    for kind, archive in {"dense": start, "75 % pruned": pruned}.items():
        for clusters in (None, *CLUSTERS):
            model = TiedAutoencoder.load(archive)
            if clusters is not None:
                cluster(model, splits, ClusterConfig(clusters), Training(recipe.train, progress=console.progress))
            program = quantized(model, recipe, splits, None, console)
            file = to_tflite(program)
            yield {
                "kernels": kind,
                "clusters": clusters or "none",
                "bytes": len(file),
                "gzip": len(gzip.compress(file, 9, mtime=0)),
                "error": error_of(program, splits),
                "distinct": ", ".join(str(len(np.unique(program.constants[name]))) for name in program.kernels),
            }


def quantized(
    model: TiedAutoencoder, recipe: Recipe, splits: Dataset, teacher: TiedAutoencoder | None, console: Console
) -> Program:
    """The program of a float model after quantization-aware training."""
    data = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed)
    quantize_post_training(model, data, recipe.quantize)
    train_quantized(model, splits, recipe.quantize, Training(recipe.train, teacher, progress=console.progress))
    return lower(model, recipe.name, layout="split")


def error_of(program: Program, splits: Dataset) -> float:
    x = splits.test.take(np.arange(len(splits.test)))
    y = execute(program, "reconstruct", x)["y"]
    return squared_error(splits.scaling.apply(x), splits.scaling.apply(y))


if __name__ == "__main__":
    sys.exit(main())
