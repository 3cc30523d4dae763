"""Denoising: noisy samples become clean ones, measured on the test set against classic denoisers.

The noise of the test set is that of training, drawn by the recipe's seed, in the data's dtype: bytes are rounded and clipped,
as a sensor gives them. With pairs (`[data] clean`) the noise is the data's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import RecipeError
from tiedae.bundle.fidelity import DECIBELS
from tiedae.bundle.task_results import INPUT, KERAS, PROGRAM, Denoised, DenoisingResult
from tiedae.data.noise import Noise, noise_of, noisy_samples
from tiedae.export.kinds import Kind, Skipped, Why

from .denoisers import EXTRA, PCA_SAMPLES, Selection, denoisers_of
from .row import Contest, Exported, TaskMeasurement, TaskRow, not_measured
from .sample_errors import SampleError
from .ssim import ssim_of

MAX_SAMPLES = 2_000
"""Maximum number of test samples; non-local means takes milliseconds for each."""
SELECTION_SAMPLES = 200
"""Validation samples that the parameters of the baselines are chosen on."""
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Levels that are measured, as multiples of that of training."""
SHOWN = 8


@dataclass(frozen=True)
class _CleanSamples:
    """Measures methods on the same clean samples [n, inputs], in the data's unit of measure."""

    exported: Exported
    clean: np.ndarray

    @cached_property
    def error(self) -> SampleError:
        return SampleError.of(self.exported.data.spec.kind, self.clean)

    def row(self, method: str, level: float | None, y: np.ndarray, noisy: Denoised | None, setting: str = "") -> Denoised:
        """The row of an output, float32 [n, inputs] in scaled values; `noisy`: the input's."""
        spec, fidelity = self.exported.data.spec, self.exported.fidelity
        fit = fidelity.measure(self.clean, y)
        similarity = ssim_of(spec, fidelity.peak, self.clean, spec.scaling.invert(y, np.float64))
        row = Denoised(method, level, fit.mse, fit.measure, fit.unit, fit.value, None, similarity, setting)
        if noisy is None or noisy.error <= 0 or row.error <= 0:
            return row
        return replace(row, gain_db=10 * math.log10(noisy.error / row.error))

    def input(self, level: float | None, given: np.ndarray) -> Denoised:
        """The row of the noisy samples themselves, [n, inputs] in the data's unit of measure."""
        row = self.row(INPUT, level, self.exported.data.scaling.apply(given), None)
        return replace(row, mse=0.0, value=None) if np.array_equal(given, self.clean) else row

    def errors(self, y: np.ndarray) -> np.ndarray:
        """The error of each sample, float64 [n]; `y`: float32 [n, inputs] in scaled values."""
        return self.error(self.clean, self.exported.data.scaling.invert(y, np.float64))


def measure(exported: Exported, samples: int = MAX_SAMPLES, factors: Sequence[float] = FACTORS) -> TaskMeasurement:
    """The result on the first `samples` test samples, at the level of training and at these multiples of it."""
    data, noise = exported.data, exported.recipe.train.noise
    test = data.test
    taken = np.arange(min(len(test), samples))
    clean = test.wanted.take(taken)
    if noise is None and test.clean is None:
        return not_measured("denoising", "neither train.noise nor data.clean is stated", Why.NO_SAMPLES)
    bench, scaling = _CleanSamples(exported, clean), data.scaling
    trained = None if noise is None else noise.level

    def program(level: float | None) -> tuple[np.ndarray, np.ndarray, list[Denoised]]:
        """At a level: the samples given, the outputs in scaled values, and a row of each."""
        given = test.take(taken) if level is None else at_level(exported, clean, level)
        y = exported.model.scaled_values(exported.model.reconstruct(given)[1])
        before = bench.input(level, given)
        return given, y, [before, bench.row(PROGRAM, level, y, before)]

    x, own, rows = program(trained)
    others: list[Denoised] = []
    shown: dict[str, list[np.ndarray]] = {"noisy": [], "denoised": []}
    for level in levels(exported, factors):
        given, y, found = (x, own, []) if level == trained else program(level)
        others += found
        shown["noisy"].append(given[:SHOWN])
        shown["denoised"].append(scaling.invert(y[:SHOWN], given.dtype))
    skipped: list[Skipped] = []
    errors, settings = {}, {}
    if exported.others:
        model_x = scaling.apply(x)
        outputs, skipped = _baselines(exported, model_x)
        if exported.keras is None:
            skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "denoising by the float model", "there is no Keras model here"))
        else:
            rows.append(bench.row(KERAS, trained, exported.keras(model_x)[1], rows[0]))
        rows += [bench.row(name, trained, y, rows[0], setting) for name, (setting, y) in outputs.items()]
        errors = {INPUT: bench.error(clean, x)} | {name: bench.errors(y) for name, (_, y) in outputs.items()}
        settings = {name: setting for name, (setting, _) in outputs.items() if setting}
    arrays = {"clean": clean[:SHOWN], **{name: np.stack(each) for name, each in shown.items()}}
    kind = None if noise is None else noise.kind
    result = DenoisingResult(kind, trained, len(clean), (*rows, *others))
    contest = Contest(bench.error.criterion, taken, bench.errors(own), errors, settings)
    return TaskMeasurement(result, arrays, tuple(skipped), contest)


def levels(exported: Exported, factors: Sequence[float]) -> list[float | None]:
    """The levels of noise that are measured: None, the data's own, for pairs."""
    noise = exported.recipe.train.noise
    if noise is None:
        return [None]
    found: list[float | None] = []
    for factor in factors:
        try:
            found.append(factor and replace(noise, level=factor * noise.level).level)
        except RecipeError:  # beyond what this kind of noise can be
            continue
    return found


def at_level(exported: Exported, clean: np.ndarray, level: float) -> np.ndarray:
    """Clean samples [n, inputs] with noise of a level, in their unit of measure and dtype, drawn by the seed."""
    noise, train = exported.recipe.train.noise, exported.data.train
    if noise is None or not level:
        return clean
    corruption = Noise.of(replace(noise, level=level), train)
    return noisy_samples(clean, train, corruption, [exported.recipe.data.seed, *b"test"])


def selection(exported: Exported) -> Selection:
    """What the baselines are fitted and chosen on: training samples, and validation samples (else other training samples)."""
    data, recipe = exported.data, exported.recipe
    train, held, chosen = exported.held_apart(SELECTION_SAMPLES, 2, PCA_SAMPLES)
    clean, noise = held.wanted.take(chosen), noise_of(recipe.train.noise, data.train)
    drawn = noisy_samples(clean, data.train, noise, [recipe.data.seed, *b"validation"])
    noisy = drawn if held.clean is None else held.take(chosen)
    apply = data.scaling.apply
    return Selection(apply(data.train.wanted.take(train)), apply(noisy), apply(clean), data.spec.shape)


def _baselines(exported: Exported, x: np.ndarray) -> tuple[dict[str, tuple[str, np.ndarray]], list[Skipped]]:
    """(setting, output in scaled values) of each baseline for this kind of data; `x`: the noisy samples in scaled values."""
    spec = exported.data.spec
    given = selection(exported)
    outputs, skipped = {}, []
    for name, denoiser in denoisers_of(spec).items():
        if denoiser.missing:
            reason = f"{', '.join(denoiser.missing)} not installed: {EXTRA}"
            skipped.append(Skipped(Kind.TASK, Why.NOT_INSTALLED, f"baseline {name}", reason))
            continue
        chosen = denoiser.chosen(given)
        if chosen is None:
            reason = f"samples of shape {list(spec.shape)} are smaller than all of its settings"
            skipped.append(Skipped(Kind.TASK, Why.LIMITED, f"baseline {name}", reason))
            continue
        setting, denoise = chosen
        y = denoise(x)
        outputs[name] = setting, np.clip(y, 0, 1) if spec.scaling.is_bytes(spec.dtype) else y
    return outputs, skipped


ROW = TaskRow(
    measure,
    error_limit=lambda _task, _test: DECIBELS,
    needs=lambda spec: {name: denoiser.packages for name, denoiser in denoisers_of(spec).items()},
)
