"""Post-training quantization: quantize a trained model with a few samples, without labels and without training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import tensorflow as tf
from msgspec import structs

from tiedae.base.errors import InputError
from tiedae.compress.autoencoder import TiedAutoencoder
from tiedae.compress.curvature import Influence, influence, pairs, samples_for, tensors_of
from tiedae.compress.held_out import ENOUGH
from tiedae.compress.integers import kernel_bounds
from tiedae.compress.quantizers import DecoderLayout, QuantizationSpec
from tiedae.compress.start_or_end import BEYOND_NOISE, standard_error
from tiedae.compress.symmetries import rescale_units
from tiedae.compress.tied_layers import TiedLayer
from tiedae.compress.train import Progress
from tiedae.config.config import QuantizeConfig
from tiedae.config.layer_kinds import OF_WEIGHTS

from .calibration_file import Calibration, Fingerprint
from .equalization import unit_scales
from .ranges import calibrate, observer_of
from .representative import Representative
from .rounding import clipped_scales, rounded

MARGINS = (2.0, 1.5, 1.25)
"""Candidates for a range as multiples of what calibration samples need: samples that they are not reach further."""
MARGIN_COST = 2.0
"""What a margin may cost, as a fraction of the reconstruction error, divided by the number of calibration samples: of n samples
the next one exceeds an extreme with a probability of 1 / (n + 1). Of samples drawn from fewer than `ENOUGH`."""
ALL_MARGINS_COST = 0.001
"""What all margins together may cost, as a fraction of the reconstruction error, of samples drawn from `ENOUGH` or more."""
CLIP_FRACTIONS = (0.97, 0.94, 0.9, 0.85, 0.8, 0.7)
"""Candidates for a range end as fractions of it, tried in this order while the output error falls."""


def _unseen(_step: int, _steps: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The float model on samples `x`, float32 [n, inputs], with its `output`, float32 [n, inputs].

    `products`: mean of each layer's product; `influence`: of the quantized tensors; `levels`: largest integer of each kernel;
    `per_unit`: one scale per unit. `population`: samples that `x` was drawn from. `progress`: called with (step, steps) of a
    refinement that takes long.
    """

    x: np.ndarray
    output: np.ndarray
    products: Mapping[str, np.ndarray]
    influence: Influence
    levels: Sequence[int]
    per_unit: bool
    population: int
    progress: Callable[[int, int], None] = _unseen

    @classmethod
    def of(cls, model: TiedAutoencoder, data: Representative, levels: Sequence[int], *, per_unit: bool) -> Reference:
        x = data.inputs
        kernels = [kernel.unquantized() for kernel in model.kernels]
        tensors = tensors_of(model, x, kernels)
        means, few = product_means(model, tensors, kernels), x[:: max(1, len(x) // samples_for(model, len(x)))]
        return cls(x, model(x).numpy(), means, influence(model, few), levels, per_unit, data.population)

    def error(self, model: TiedAutoencoder, kernels: Sequence[tf.Tensor] | None = None) -> float:
        """The mean squared error of a model's output relative to `output`."""
        return self.errors(model, kernels)[0]

    def errors(self, model: TiedAutoencoder, kernels: Sequence[tf.Tensor] | None = None) -> tuple[float, np.ndarray]:
        """The mean squared error of a model's output relative to `output`, and that of each sample relative to `x`, float64
        [n], with the model's kernels if given."""
        _, y = model.encode_decode(self.x, kernels=kernels)
        return self.error_of(y), tf.reduce_mean(tf.square(y - self.x), 1).numpy().astype(np.float64)

    def error_of(self, y: tf.Tensor) -> float:
        """The mean squared error of y, float32 [n, inputs] or [n, *shape], relative to `output`."""
        return float(tf.reduce_mean(tf.square(tf.reshape(y, self.output.shape) - self.output)))


def product_means(
    model: TiedAutoencoder, tensors: Mapping[str, tf.Tensor], kernels: Sequence[tf.Tensor]
) -> dict[str, np.ndarray]:
    """The mean of each layer's product before bias and activation, float32 [units of the layer], by tensor name."""
    return {name: mean(tensors) for name, mean in _product_means(model, kernels).items()}


def _product_means(
    model: TiedAutoencoder, kernels: Sequence[tf.Tensor]
) -> dict[str, Callable[[Mapping[str, tf.Tensor]], np.ndarray]]:
    """By tensor name, the function from all tensors to the mean of the layer's product."""

    def mean(layer: TiedLayer, source: str, kernel: tf.Tensor) -> Callable[[Mapping[str, tf.Tensor]], np.ndarray]:
        return lambda tensors: layer.mean_product(tensors[source].numpy(), kernel.numpy())

    each = zip(pairs(model), kernels, strict=True)
    products = [part for (layer, x, mirrored, z), kernel in each for part in ((layer, x, kernel), (mirrored, z, kernel))]
    return {layer.tensor_name: mean(layer, source, kernel) for layer, source, kernel in products}


def equalize(model: TiedAutoencoder, reference: Reference) -> None:
    """Scale the hidden units of a float model so that they share a scale with less error, see `equalization`."""
    rescale_units(model, unit_scales(model, reference.influence, reference.levels, per_unit=reference.per_unit))


def round_kernels(model: TiedAutoencoder, reference: Reference) -> None:
    """Round each quantized kernel, unless clustered, by the loss of both directions, see `rounding`."""
    for kernel in (kernel for kernel in model.kernels if kernel.clusters is None):
        values, quadratic, limit = kernel.matrix, reference.influence.kernels[kernel.name], kernel.pair_limit
        scales = clipped_scales(values, quadratic, kernel.bounds, per_unit=kernel.granularity == "unit", limit=limit)
        kernel.set_integers(rounded(values, scales, kernel.bounds, quadratic, limit=limit), scales)


def correct_biases(model: TiedAutoencoder, reference: Reference) -> None:
    """Correct the biases of a quantized model, layer by layer, by the mean shift of each product (Nagel et al. 2019).

    Corrections that do not reduce the output error are dropped: the mean of values that a sigmoid or relu clips says little.
    So the error over the samples never rises.
    """
    kernels = [kernel() for kernel in model.kernels]
    means = _product_means(model, kernels)
    tensors = tensors_of(model, reference.x, kernels)
    least = reference.error_of(tensors["y"])
    for layer in model.stack:
        if layer.bias is None:
            continue
        before = {name: variable.numpy() for name, variable in layer.channels.items()}
        layer.add_to_product(reference.products[layer.tensor_name] - means[layer.tensor_name](tensors))
        model.update_bias_ranges()
        shifted = tensors_of(model, reference.x, kernels)
        if (error := reference.error_of(shifted["y"])) < least:
            tensors, least = shifted, error
            continue
        for name, variable in layer.channels.items():
            variable.assign(before[name])
        model.update_bias_ranges()


def set_ranges(model: TiedAutoencoder, reference: Reference) -> None:
    """Widen the range of each activation by the first of `MARGINS` whose cost is allowed, for samples that reach further. A
    range whose resolution counts is shrunk instead, one end at a time, while the output error falls."""
    quantizers = model.quantizers
    assert quantizers is not None
    kernels = [kernel() for kernel in model.kernels]

    def errors() -> tuple[float, np.ndarray]:
        return reference.errors(model, kernels)

    least = errors()
    free = {
        name: variables
        for name, variables in quantizers.range_variables.items()
        if quantizers.is_free(name) and not name.endswith(OF_WEIGHTS)
    }
    costs = MarginCosts(float(least[1].mean()), reference.population)
    for step, variables in enumerate(free.values()):
        reference.progress(step, len(free))
        widened = _widened(variables, errors, partial(costs.allow, least[1], ranges=len(free) - step))
        if widened is not None:
            costs.spent += float((widened[1] - least[1]).mean())
            least = widened
            continue
        for end in variables.values():
            least = _shrink(end, errors, least)


@dataclass
class MarginCosts:
    """What margins may cost and have cost, in mean squared errors.

    `error`: of the reconstruction before any margin. `population`: samples that those of calibration were drawn from.
    """

    error: float
    population: int
    spent: float = 0.0

    def allow(self, before: np.ndarray, after: np.ndarray, *, ranges: int) -> bool:
        """Whether the next margin is allowed, of `ranges` that are left. `before`, `after`: error of each sample, float64 [n].

        Of many samples all margins share a cost, and what they cost other samples is known to the noise of these; of few, each
        may cost what a sample beyond the range is worth.
        """
        costs = after - before
        if self.population < ENOUGH:
            return bool(costs.mean() <= MARGIN_COST / len(costs) * before.mean())
        likely = costs.mean() + BEYOND_NOISE * standard_error(costs)
        return bool(likely <= (ALL_MARGINS_COST * self.error - self.spent) / ranges)


Errors = Callable[[], tuple[float, np.ndarray]]
"""`Reference.errors` of a model, whose kernels stay as they are."""


def _widened(
    ends: Mapping[str, tf.Variable], errors: Errors, allow: Callable[[np.ndarray], bool]
) -> tuple[float, np.ndarray] | None:
    """Widen a range and return the errors; None, without changes, where no margin is allowed."""
    start = {key: end.numpy() for key, end in ends.items()}
    for margin in MARGINS:
        for key, end in ends.items():
            end.assign(margin * start[key])
        if allow((found := errors())[1]):
            return found
    for key, end in ends.items():
        end.assign(start[key])
    return None


def _shrink(end: tf.Variable, errors: Errors, least: tuple[float, np.ndarray]) -> tuple[float, np.ndarray]:
    """Move an end of a range inwards while the output error falls from `least`; returns the errors."""
    start = kept = end.numpy()
    for fraction in CLIP_FRACTIONS:
        end.assign(start * fraction)
        found = errors()
        if found[0] >= least[0]:
            break
        least, kept = found, end.numpy()
    end.assign(kept)
    return least


Phase = Literal["float", "kernels", "activations"]

REFINEMENTS: Mapping[Phase, Mapping[str, Callable[[TiedAutoencoder, Reference], None]]] = {
    "float": {"equalize": equalize},
    "kernels": {"round": round_kernels},
    "activations": {"correct": correct_biases, "ranges": set_ranges},
}
"""Steps by their name in a recipe, grouped by when they run: on the float model, after quantizing kernels, after quantizing
activations too. A step modifies the model in place."""


def quantize_post_training(
    model: TiedAutoencoder,
    data: Representative,
    config: QuantizeConfig,
    *,
    layout: DecoderLayout = "split",
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Quantize a trained model in place without training; deterministic. Returns the calibration.

    `layout`: of the simulated decoder: split if TFLite is a target, else fused (see `export.targets`). `x` is bytes if the
    data's scaling is `byte`.

    Kernels are rounded to nearest over their extremes, activations get calibrated ranges; `config.refinements` improve both.
    `progress` sees each step by its name.
    Quantization-aware training starts here too. A given `calibration` replaces calibrating and excludes equalizing hidden
    units, which would invalidate its ranges.
    Raises InputError for a quantized model or a calibration of another model, which stays a float model; DataError for
    samples that cannot be used; RecipeError for a `code_scale` too fine for the code.
    """
    if model.quantized:
        raise InputError("quantize_post_training: the model is quantized already; must be a float model")
    data.require_usable(model.config.size)
    spec = QuantizationSpec.of(config, data.scaling, layout, trained_scale=model.code_scale)
    if spec.code_scale:
        codes = model.encoder(data.inputs).numpy()
        spec.code_range(float(codes.min()), float(codes.max()))
    widths = model.kernel_bits(spec.bits)
    chosen = set(config.refinements) - ({"equalize"} if calibration else set())
    levels = [kernel_bounds(bits)[1] for bits in widths]

    def see(name: str, step: int, steps: int) -> None:
        if progress is not None:
            progress(f"quantize: {name}", 1, 1, step, steps, math.nan)

    def refer(name: str, *phases: Phase) -> Reference | None:
        if not chosen & {name for phase in phases for name in REFINEMENTS[phase]}:
            return None
        see(name, 0, 1)
        reference = Reference.of(model, data, levels, per_unit=spec.granularity == "unit")
        see(name, 1, 1)
        return reference

    def run(phase: Phase, reference: Reference | None) -> None:
        for name, refine in REFINEMENTS[phase].items():
            if reference is not None and name in chosen:
                see(name, 0, 1)
                refine(model, replace(reference, progress=partial(see, name)))
                see(name, 1, 1)

    model.prepare_kernels(spec.bits)
    if calibration is not None:
        intended = structs.replace(Fingerprint.of(model), granularity=spec.granularity, bits=widths)
        calibration.require_model(intended, spec)
        calibration.require_scaling(data.scaling)
    run("float", refer("influence of weights", "float"))
    reference = refer("influence of rounding", "kernels", "activations")
    model.quantize_kernels(spec.granularity, spec.bits)
    run("kernels", reference)
    if calibration is None:
        see("calibrate", 0, 1)
        calibration = calibrate(model, data, observer_of(config), bits={"code": spec.code_bits})
        see("calibrate", 1, 1)
    model.quantize_activations(spec, calibration.ranges)
    model.update_bias_ranges()
    run("activations", reference)
    return calibration
