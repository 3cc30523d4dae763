"""Post-training quantization: from a trained model to integers by a few samples, without labels and without training."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from msgspec import structs

from ..compress.autoencoder import TiedAutoencoder
from ..compress.config import QuantizeConfig
from ..compress.errors import InputError
from ..compress.integers import kernel_bounds
from ..compress.quantizers import DecoderForm, QuantizationSpec
from .artefact import Calibration, Fingerprint
from .clipping import clip_ranges
from .correction import correct_biases, product_means
from .equalization import rescale_units, unit_scales
from .influence import Influence, influence, tensors_of
from .ranges import calibrate, observer_of
from .representative import Representative
from .rounding import clipped_scales, rounded


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


def _equalize(model: TiedAutoencoder, reference: Reference) -> None:
    rescale_units(model, unit_scales(model, reference.influence, reference.levels, per_unit=reference.per_unit))


def _round(model: TiedAutoencoder, reference: Reference) -> None:
    for kernel in (kernel for kernel in model.kernels if kernel.clusters is None):
        values, quadratic = kernel.unquantized().numpy(), reference.influence.kernels[kernel.name]
        scales = clipped_scales(
            values, quadratic, kernel.bounds, per_unit=kernel.granularity == "unit", limit=kernel.pair_limit
        )
        kernel.set_integers(rounded(values, scales, kernel.bounds, quadratic, limit=kernel.pair_limit), scales)


def _correct(model: TiedAutoencoder, reference: Reference) -> None:
    correct_biases(model, reference.x, reference.products, reference.output)


def _ranges(model: TiedAutoencoder, reference: Reference) -> None:
    clip_ranges(model, reference.x, reference.output)


Phase = Literal["float", "kernels", "activations"]

STEPS: Mapping[Phase, Mapping[str, Callable[[TiedAutoencoder, Reference], None]]] = {
    "float": {"equalize": _equalize},
    "kernels": {"round": _round},
    "activations": {"correct": _correct, "ranges": _ranges},
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
    layout: DecoderForm = "split",
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
    model.follow_biases()
    run("activations", reference)
    return calibration
