"""Post-training quantization: from a trained model to integers by a few samples, without labels and without training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf
from msgspec import structs

from ..compress.autoencoder import TiedAutoencoder
from ..compress.config import QuantizeConfig
from ..compress.errors import InputError
from ..compress.integers import kernel_bounds
from ..compress.quantizers import DecoderLayout, QuantizationSpec
from ..compress.symmetries import rescale_units
from .calibration_file import Calibration, Fingerprint
from .curvature import Influence, influence, pairs, tensors_of
from .equalization import unit_scales
from .ranges import calibrate, observer_of
from .representative import Representative
from .rounding import clipped_scales, rounded

FRACTIONS = (0.97, 0.94, 0.9, 0.85, 0.8, 0.7)
"""Of an end of a range; tried from the mildest as long as the output gets better."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What the float model does with samples `x`, float32 [n, inputs], as is its `output`.

    `products` holds the mean of each product by layer, `influence` that of whatever will be rounded, `levels` the largest
    integer of each kernel, `per_unit` whether each of its units has a scale.
    """

    x: np.ndarray
    output: np.ndarray
    products: Mapping[str, np.ndarray]
    influence: Influence
    levels: Sequence[int]
    per_unit: bool

    @classmethod
    def of(cls, model: TiedAutoencoder, x: np.ndarray, levels: Sequence[int], *, per_unit: bool) -> Reference:
        kernels = [kernel.unquantized() for kernel in model.kernels]
        tensors = tensors_of(model, x, kernels)
        return cls(x, model(x).numpy(), product_means(model, tensors, kernels), influence(model, x), levels, per_unit)

    def error(self, model: TiedAutoencoder) -> float:
        """The mean squared difference of a model's output from `output`."""
        return float(tf.reduce_mean(tf.square(model(self.x) - self.output)))


def product_means(
    model: TiedAutoencoder, tensors: Mapping[str, tf.Tensor], kernels: Sequence[tf.Tensor]
) -> dict[str, np.ndarray]:
    """The mean of each layer's product, before bias and activation, float32 [units of the layer] by its tensor's name."""
    means = {}
    for (layer, source, mirrored, z), kernel in zip(pairs(model), kernels, strict=True):
        means[layer.tensor_name] = tensors[source].numpy().mean(0) @ kernel.numpy()
        means[mirrored.tensor_name] = kernel.numpy() @ tensors[z].numpy().mean(0)
    return means


def equalize(model: TiedAutoencoder, reference: Reference) -> None:
    """Scale the hidden units of a float model so that one step serves them all."""
    rescale_units(model, unit_scales(model, reference.influence, reference.levels, per_unit=reference.per_unit))


def round_kernels(model: TiedAutoencoder, reference: Reference) -> None:
    """Give each quantized kernel, unless it is clustered, the integers that serve both directions best."""
    for kernel in (kernel for kernel in model.kernels if kernel.clusters is None):
        values, quadratic, limit = kernel.matrix, reference.influence.kernels[kernel.name], kernel.pair_limit
        scales = clipped_scales(values, quadratic, kernel.bounds, per_unit=kernel.granularity == "unit", limit=limit)
        kernel.set_integers(rounded(values, scales, kernel.bounds, quadratic, limit=limit), scales)


def correct_biases(model: TiedAutoencoder, reference: Reference) -> None:
    """Shift the biases of a quantized model, layer by layer, so that each product with its bias keeps its mean: what
    quantization shifts on average goes back into the biases of both directions (Nagel et al. 2019).

    A layer without bias stays, and so does one whose shift does not bring the output nearer: the mean of what a sigmoid or relu
    cuts off says little. So the error over the samples never rises.
    """
    kernels = [kernel() for kernel in model.kernels]
    least = reference.error(model)
    for layer in model.stack:
        if layer.bias is None:
            continue
        before = layer.bias.numpy()
        found = product_means(model, tensors_of(model, reference.x, kernels), kernels)
        layer.bias.assign_add(reference.products[layer.tensor_name] - found[layer.tensor_name])
        model.update_bias_ranges()
        shifted = reference.error(model)
        if shifted >= least:
            layer.bias.assign(before)
            model.update_bias_ranges()
        least = min(least, shifted)


def clip_ranges(model: TiedAutoencoder, reference: Reference) -> None:
    """Draw the ranges of a quantized model in, one end after the other, where that serves the output of the whole simulated
    model. The error over the samples never rises."""
    quantizers = model.quantizers
    assert quantizers is not None
    least = reference.error(model)
    for end in (
        end for name, ends in quantizers.range_variables.items() if not name.endswith(".bias") for end in ends.values()
    ):
        start = kept = end.numpy()
        for fraction in FRACTIONS:
            end.assign(start * fraction)
            found = reference.error(model)
            if found >= least:
                break
            least, kept = found, end.numpy()
        end.assign(kept)


Phase = Literal["float", "kernels", "activations"]

STEPS: Mapping[Phase, Mapping[str, Callable[[TiedAutoencoder, Reference], None]]] = {
    "float": {"equalize": equalize},
    "kernels": {"round": round_kernels},
    "activations": {"correct": correct_biases, "ranges": clip_ranges},
}
"""Each step by its name in a recipe, under what is quantized when it comes: nothing yet, the kernels, the activations too.

A step changes the model in place.
"""


def quantize_post_training(
    model: TiedAutoencoder,
    data: Representative,
    config: QuantizeConfig,
    spec: QuantizationSpec | None = None,
    *,
    layout: DecoderLayout = "split",
    calibration: Calibration | None = None,
) -> Calibration:
    """Quantize a trained model in place without training.

    `config` says all that is chosen. The rest follows: `x` is bytes where the data's scaling is by `byte`, and `layout` is
    that of the decoder that is simulated, see `export.targets`: split where TFLite is a target, else fused.
    Plainly, kernels take their extremes and the nearest integers, activations what calibration sees: the start of
    quantization-aware training (`qat`). `ptq` adds the steps that `config.steps` names; `qat` those of them that come before
    anything is quantized, where a kernel has fewer than 8 bits. Equal samples give equal integers.
    Returns the calibration, `calibration` where it is given; hidden units are then not equalized, since its ranges are theirs
    as they are. InputError, and the model stays a float model, unless it is a calibration of this model.
    Raises InputError for a model that is quantized already, DataError for samples that cannot be used, RecipeError for a
    `spec` (deprecated, it is derived) that contradicts the others.
    """
    if model.quantized:
        raise InputError("quantize_post_training: the model is quantized already; must be a float model")
    data.require_usable(model.config.inputs)
    if spec is not None:
        spec.require_from(config, data.scaling, layout, source="spec (deprecated, leave it out)")
        text = "quantize_post_training derives `spec` from config, the data's scaling and `layout`; leave it out"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
    spec = QuantizationSpec.of(config, data.scaling, layout)
    widths = model.kernel_bits(spec.bits)
    chosen = set(config.steps) - ({"equalize"} if calibration else set())
    if config.method == "qat":
        chosen &= set(STEPS["float"]) if min(widths) < 8 else set()
    levels = [kernel_bounds(bits)[1] for bits in widths]

    def refer(*phases: Phase) -> Reference | None:
        due = chosen & {name for phase in phases for name in STEPS[phase]}
        return Reference.of(model, data.inputs, levels, per_unit=spec.granularity == "unit") if due else None

    def run(phase: Phase, reference: Reference | None) -> None:
        for name, step in STEPS[phase].items():
            if reference is not None and name in chosen:
                step(model, reference)

    model.prepare_kernels(spec.bits)
    if calibration is not None:
        intended = structs.replace(Fingerprint.of(model), granularity=spec.granularity, bits=widths)
        calibration.require_model(intended, spec)
        calibration.require_scaling(data.scaling)
    run("float", refer("float"))
    reference = refer("kernels", "activations")
    model.quantize_kernels(spec.granularity, spec.bits)
    run("kernels", reference)
    if calibration is None:
        calibration = calibrate(model, data, observer_of(config), bits={"code": spec.code_bits})
    model.quantize_activations(spec, calibration.ranges)
    model.update_bias_ranges()
    run("activations", reference)
    return calibration
