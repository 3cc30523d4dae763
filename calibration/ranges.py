"""Calibration of a model: run representative data through it and observe every tensor that will be quantized."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..compress.autoencoder import TiedAutoencoder
from ..compress.config import QuantizeConfig
from ..compress.quantizers import QuantizationSpec, Range
from .observers import OBSERVERS, Observer
from .representative import Representative

if TYPE_CHECKING:
    import tensorflow as tf

BATCH = 64


def calibrate(model: TiedAutoencoder, data: Representative, observer: str = "minmax") -> dict[str, Range]:
    """The range of each tensor, by its name in the program, over the representative samples; `model` is left as it was."""
    observers: dict[str, Observer] = {}

    def observe(name: str, values: tf.Tensor, _training: bool) -> tf.Tensor:
        observers.setdefault(name, OBSERVERS[observer]()).update(values.numpy())
        return values

    before = model.encoder.tap
    model.set_tap(observe)
    try:
        for start in range(0, len(data.inputs), BATCH):
            model.encode_decode(data.inputs[start : start + BATCH])
    finally:
        model.set_tap(before)
    return {name: each.range() for name, each in observers.items()}


OBSERVER_OF_METHOD = {"ptq": "minmax", "qat": "moving-average"}


def quantize_post_training(
    model: TiedAutoencoder, data: Representative, config: QuantizeConfig, spec: QuantizationSpec
) -> dict[str, Range]:
    """Quantize a trained model in place without training: kernels by their extremes, activations by calibration.

    Returns the ranges. The result is complete (`ptq`), or the start of quantization-aware training (`qat`).
    """
    model.quantize_kernels(spec.granularity, spec.bits)
    ranges = calibrate(model, data, OBSERVER_OF_METHOD[config.method])
    model.quantize_activations(spec, ranges)
    model.settle()
    return ranges
