"""Calibration of a run's float model on its recipe's data, and what there is to say about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from tiedae.calibration.calibration_file import Calibration
from tiedae.calibration.diagnosis import Diagnosis, DiagnosisLimits, diagnose, reconstruction_error, simulated_error
from tiedae.calibration.ranges import calibrate as calibrate_model
from tiedae.calibration.ranges import observer_of
from tiedae.calibration.representative import representative
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.config import Recipe
from tiedae.compress.errors import InputError
from tiedae.compress.quantizers import QuantizationSpec
from tiedae.compress.records import within
from tiedae.export.targets import decoder_layout

from .recipe import check_inputs
from .run_artifacts import float_archives
from .sources import load_splits

MAX_TEST = 10_000
"""So many test samples, at most, the error is measured on."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration, its diagnosis, and the `error` per test sample: Keras float, and int8 simulated with these ranges."""

    archive: Path
    calibration: Calibration
    diagnosis: Diagnosis
    test_samples: int
    error: Mapping[str, float]

    @property
    def summary(self) -> list[str]:
        """What a person reads below the table."""
        halves, error = self.diagnosis.halves, self.error
        more = f"More samples: not compared, {self.diagnosis.skipped}" if halves is None else halves.text
        ratio = error["int8 simulation"] / error["float"] if error["float"] else 1.0
        test = (
            f"error on {self.test_samples:,} test samples: {error['float']:.4f} float, {error['int8 simulation']:.4f} simulated"
        )
        return [more, f"{test} without training ({ratio:.4f} x)"]

    def to_json(self) -> dict[str, Any]:
        tensors = {
            name: {"range": list(tensor.range), "bits": tensor.bits, "clipped": tensor.clipped, "dead": list(tensor.dead)}
            for name, tensor in self.calibration.tensors.items()
        }
        return {
            "model": str(self.archive),
            "calibration": self.calibration.summary(),
            "tensors": tensors,
            **self.diagnosis.to_json(),
            "test_samples": self.test_samples,
            "error": dict(self.error),
        }


def recipe_for(recipe: Recipe, *, observer: str | None, samples: int | None) -> Recipe:
    """The recipe with an observer and a number of samples that the call gives in place of its own.

    Raises RecipeError for a wrong one. A calibration that the recipe names is left out: this is how it is made anew.
    """
    given = {key: value for key, value in {"observer": observer, "samples": samples}.items() if value is not None}
    with within("--"):
        return replace(recipe, quantize=replace(recipe.quantize, calibration=None, **given))


def calibrate(recipe: Recipe, *, base: Path, model: Path, clipping: float = 0.01) -> Calibrated:
    """Calibrate the last float model in the folder `model` as the recipe says; nothing is written.

    `base` is the folder that the recipe's paths start from, `clipping` the fraction of clipped values above which a tensor is
    reported. Raises InputError where the model or the data cannot be used.
    """
    with within("--max-"):
        limits = DiagnosisLimits(clipping=clipping)
    archive = float_archives(model)[-1]
    splits = load_splits(recipe.data, recipe.model.output_activation, base=base)
    recipe = check_inputs(recipe, splits.inputs)
    keras = TiedAutoencoder.load(archive)
    if keras.config.widths[0] != splits.inputs:
        raise InputError(f"{archive}: a model of {keras.config.widths[0]} inputs, {recipe.data.source} has {splits.inputs}")
    data = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed)
    test = splits.scaling.apply(splits.test.take(np.arange(min(len(splits.test), MAX_TEST))))
    spec = QuantizationSpec.of(recipe.quantize, data.scaling, decoder_layout(recipe.export.targets))
    floating = reconstruction_error(keras, test)
    keras.prepare_kernels(spec.bits)
    keras.quantize_kernels(spec.granularity, spec.bits)
    calibration = calibrate_model(keras, data, observer_of(recipe.quantize), bits={"code": spec.code_bits})
    diagnosis = diagnose(keras, data, calibration, spec, limits)
    error = {"float": floating, "int8 simulation": simulated_error(keras, test, calibration.ranges, spec)}
    return Calibrated(archive, calibration, diagnosis, len(test), error)


def table_rows(found: Calibrated) -> list[tuple[str, str, str, str, str]]:
    """A row per tensor: name, range, step, fraction clipped, dead units."""
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
