"""Calibration of a run's float model on its recipe's data, with a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import InputError
from tiedae.base.records import within
from tiedae.calibration.calibration_file import Calibration
from tiedae.calibration.diagnosis import Diagnosis, DiagnosisLimits, diagnose, reconstruction_error, simulated_error
from tiedae.calibration.ranges import calibrate as calibrate_model
from tiedae.calibration.ranges import observer_of
from tiedae.calibration.representative import representative
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.quantizers import QuantizationSpec
from tiedae.config.config import Recipe
from tiedae.data.noise import noise_of, noisy_test
from tiedae.export.targets import decoder_layout

from .recipe import check_inputs
from .run_artifacts import float_archives
from .sources import recipe_data

MAX_TEST = 10_000
"""Maximum number of test samples."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration, its diagnosis, and the squared `error` per test sample of Keras float and of the int8 simulation."""

    archive: Path
    calibration: Calibration
    diagnosis: Diagnosis
    test_samples: int
    error: Mapping[str, float]

    @property
    def summary(self) -> list[str]:
        """The lines below the table."""
        halves, (floating, simulated) = self.diagnosis.halves, self.error.values()
        more = f"More samples: not compared, {self.diagnosis.skipped}" if halves is None else halves.text
        ratio = simulated / floating if floating else 1.0
        errors = f"{floating:.4f} float, {simulated:.4f} simulated without training ({ratio:.4f} x)"
        return [more, f"error on {self.test_samples:,} test samples: {errors}"]

    def to_json(self) -> dict[str, Any]:
        tensors = {
            name: {"range": list(tensor.range), "bits": tensor.bits, "clipped": tensor.clipped, "dead": list(tensor.dead)}
            for name, tensor in self.calibration.tensors.items()
        }
        return {
            "model": str(self.archive),
            "calibration": self.calibration.summary(),
            "tensors": tensors,
            **asdict(self.diagnosis),
            "test_samples": self.test_samples,
            "error": dict(self.error),
        }


def recipe_for(recipe: Recipe, *, observer: str | None, samples: int | None) -> Recipe:
    """The recipe with an observer and a number of samples that the call gives in place of its own.

    Raises RecipeError for an invalid value.
    """
    given = {key: value for key, value in {"observer": observer, "samples": samples}.items() if value is not None}
    with within("--"):
        return replace(recipe, quantize=replace(recipe.quantize, calibration=None, **given))


def calibrate(recipe: Recipe, *, base: Path, model: Path, clipping: float = 0.01) -> Calibrated:
    """Calibrate the last float model in the folder `model` by the recipe; writes nothing.

    `base`: folder of the recipe's relative paths. `clipping`: fraction of clipped values above which a tensor is reported.
    Raises InputError if the model or the data cannot be used.
    """
    with within("--max-"):
        limits = DiagnosisLimits(clipping=clipping)
    archive = float_archives(model)[-1]
    splits = recipe_data(recipe, base)
    recipe = check_inputs(recipe, splits.train.shape, splits.spec.dtype)
    keras = TiedAutoencoder.load(archive)
    if keras.config.widths[0] != splits.inputs:
        raise InputError(f"{archive}: a model of {keras.config.widths[0]} inputs, {recipe.data.source} has {splits.inputs}")
    data = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed, noise=recipe.train.noise)
    noise = noise_of(recipe.train.noise, splits.train)
    tested = splits.test if noise is None else noisy_test(splits.test, noise, recipe.data.seed, MAX_TEST)
    taken = np.arange(min(len(tested), MAX_TEST))
    test, wanted = (splits.scaling.apply(each.take(taken)) for each in (tested, tested.wanted))
    layout = decoder_layout(recipe.export.targets, recipe.export.decoder)
    spec = QuantizationSpec.of(recipe.quantize, data.scaling, layout, trained_scale=keras.code_scale)
    floating = reconstruction_error(keras, test, wanted)
    keras.prepare_kernels(spec.bits)
    keras.quantize_kernels(spec.granularity, spec.bits)
    calibration = calibrate_model(keras, data, observer_of(recipe.quantize), bits={"code": spec.code_bits})
    diagnosis = diagnose(keras, data, calibration, spec, limits)
    error = {"float": floating, "int8 simulation": simulated_error(keras, test, calibration.ranges, spec, wanted)}
    return Calibrated(archive, calibration, diagnosis, len(test), error)


def table_rows(found: Calibrated) -> list[tuple[str, str, str, str, str]]:
    """A row per tensor: name, range, scale, fraction clipped, dead units."""
    return [
        (
            name,
            "fixed by the model" if name in found.diagnosis.fixed else f"{tensor.range[0]:.4g} to {tensor.range[1]:.4g}",
            "" if name in found.diagnosis.fixed else f"{tensor.grid.parameters(tensor.range)[0]:.3g}",
            f"{100 * tensor.clipped:.2g} %",
            str(len(tensor.dead)),
        )
        for name, tensor in found.calibration.tensors.items()
    ]
