"""Quantization-aware training beside post-training quantization, from the float model of one run.

    python benchmarks/carry_methods.py RECIPE RUN OTHER --json FILE

RUN is the folder of `tiedae run RECIPE`. Its float model is quantized into OTHER by the method that the recipe did not choose,
with all other keys as they are, and both int8 programs are measured on the same test samples.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from tiedae.base.files import write_atomic
from tiedae.base.records import Record, encode
from tiedae.bundle.fidelity import squared_error
from tiedae.codec.backends import ProgramBackend
from tiedae.config.config import Recipe
from tiedae.config.tasks import Anomaly
from tiedae.data.dataset import Dataset
from tiedae.data.noise import noise_of, noisy_test
from tiedae.data.normal import is_normal
from tiedae.data.samples import Samples
from tiedae.export import lower
from tiedae.pipeline.recipe import check_inputs, load_recipe
from tiedae.pipeline.runs import Stages, load_model
from tiedae.pipeline.sources import recipe_data
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import fit
from tiedae.report.console import Console
from tiedae.verify.collecting import MAX_SAMPLES

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder

OTHER = {"qat": "ptq", "ptq": "qat"}


class Methods(Record, frozen=True):
    """`samples` of the set, and the squared error of the int8 program by each method; `method`: that of the recipe.

    Over the test samples, 10,000 at most; normal ones where anomalies are the task; in scaled values, against clean samples.
    """

    samples: int
    method: str
    ptq: float
    qat: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("recipe", "run", "other"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--json", type=Path, metavar="FILE", required=True)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    with Console() as console:
        methods = measured(
            recipe, recipe_data(recipe, arguments.recipe.parent), arguments.run / "model", arguments.other, console
        )
    write_atomic(arguments.json, encode(methods))
    return 0


def measured(recipe: Recipe, splits: Dataset, run: Path, other: Path, console: Console) -> Methods:
    """The errors by both methods; `run`: the folder of the recipe's models, `other`: that of the other quantized one."""
    recipe = check_inputs(recipe, splits.train.shape, splits.spec.dtype)
    method = recipe.quantize.method
    changed = replace(recipe, quantize=replace(recipe.quantize, method=OTHER[method]))
    other.mkdir(parents=True, exist_ok=True)
    errors = {}
    for config, folder in ((recipe, run), (changed, other)):
        stages = Stages(config, splits, lambda stage, folder=folder: folder if stage == "quantize" else run, console.progress)
        errors[config.quantize.method] = program_error(load_model(stages.run()["quantize"]), splits, config)
    parts = (splits.train, splits.validation, splits.test)
    return Methods(sum(len(part) for part in parts if part is not None), method, **errors)


def program_error(model: TiedAutoencoder, splits: Dataset, recipe: Recipe) -> float:
    """The squared error per sample of a quantized model's program, as `Methods` says."""
    program = lower(model, recipe.name, layout="fused")
    maps, scaling = fit(splits.spec, program.quantization("x"), program.quantization("y"))
    mapped = splits.with_scaling(scaling)
    backend = ProgramBackend(program, mapped.spec, FileIO.of(recipe.export, scaling, splits.train.dtype.name), maps)
    noise = noise_of(recipe.train.noise, splits.train)
    tested = splits.test if noise is None else noisy_test(splits.test, noise, recipe.data.seed, MAX_SAMPLES)
    rows = measured_rows(tested, recipe)
    y = backend.scaled_values(backend.reconstruct(tested.take(rows))[1])
    wanted = tested.wanted.take(rows)
    return squared_error(splits.scaling.apply(wanted), splits.scaling.apply(scaling.invert(y, np.dtype(np.float64))))


def measured_rows(tested: Samples, recipe: Recipe) -> np.ndarray:
    """The places of the samples that are measured."""
    rows = np.arange(min(len(tested), MAX_SAMPLES))
    if isinstance(recipe.task, Anomaly) and tested.labels is not None:
        return rows[is_normal(tested.labels[rows], recipe.task.normal)]
    return rows


if __name__ == "__main__":
    sys.exit(main())
