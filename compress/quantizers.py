"""Fake quantization of activations: tensorflow-model-optimization's quantizers in the layers' taps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import numpy as np
import tensorflow as tf

from tiedae.base.errors import RecipeError
from tiedae.base.records import Record, checked
from tiedae.config.config import Granularity, QuantizeConfig, require
from tiedae.config.layer_kinds import OF_WEIGHTS, UNPOOLED
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import Scaling

from .layers import outputs_of
from .legacy_keras import tf_keras
from .tied_layers import RULES, ActivationRule

Range = tuple[float, float]
DecoderLayout = Literal["split", "fused", "view"]


class QuantizationSpec(Record, frozen=True):
    """The quantization that a model and its archive hold; `of` derives it from the configuration, the data and the targets.

    `layout`: the decoder layout that training simulates. split: requantized product plus 8-bit bias (TFLite); fused: 32-bit
    bias inside the product (ONNX); view: the same in every target, with `y` as TFLite's sigmoid and tanh give it. Ranges
    for all are kept. `byte_data`: inputs and outputs are bytes of scale 1/255. `bits`: of the kernels, one width or one per
    kernel. `code_bits`: of the code. `code_scale`: its scale, where it is fixed.
    """

    granularity: Granularity = "tensor"
    layout: DecoderLayout = msgspec.field(default="split", name="form")
    byte_data: bool = True
    bits: tuple[int, ...] = (8,)
    code_bits: int = 8
    code_scale: float = 0.0

    @classmethod
    def of(
        cls, config: QuantizeConfig, scaling: Scaling, layout: DecoderLayout = "split", *, trained_scale: float | None = None
    ) -> QuantizationSpec:
        """Derive the specification: `byte_data` if `scaling` is `byte`; `layout` is that of the targets.

        `trained_scale`: of the code of a model that was trained for rate. Raises RecipeError for an unknown layout, and for
        another scale of the configuration.
        """
        checked(DecoderLayout, layout, "layout")
        scale = float(np.float32(config.code_scale))
        if trained_scale is not None:
            agree = scale in (0.0, trained_scale)
            require(
                agree, "quantize.code_scale", config.code_scale, f"0 or {trained_scale:.9g}, which the model was trained for"
            )
            scale = trained_scale
        return cls(config.granularity, layout, scaling.rule == "byte", config.bits, config.code_bits, scale)

    def require_from(self, config: QuantizeConfig, scaling: Scaling, *, source: str) -> None:
        """Raise RecipeError, naming `source` and both sides, unless `of` derives the same for this layout."""
        derived = QuantizationSpec.of(config, scaling, self.layout, trained_scale=self.code_scale or None)
        for key in (field.name for field in msgspec.structs.fields(self)):
            mine, right = getattr(self, key), getattr(derived, key)
            if mine != right and not (key == "bits" and set(mine) == set(right) and len(set(mine)) == 1):
                side = f"data scaled by {scaling.rule!r}" if key == "byte_data" else "QuantizeConfig"
                raise RecipeError(f"{source}: {key} {mine!r}, but {side} says {right!r}; the two must agree")

    def bits_of(self, tensor: str) -> int:
        """Bits of an activation, by tensor name."""
        return self.code_bits if tensor == "code" else 8

    def fixes(self, tensor: str) -> bool:
        """Whether this fixes the scale of an activation, by tensor name."""
        return tensor == "code" and self.code_scale > 0

    def code_range(self, low: float, high: float) -> Range:
        """The range of the code with its fixed scale that has [low, high] in its middle; 0 is one of its ends where it can.

        Raises RecipeError where [low, high] spans more LSB than `code_bits` can count.
        """
        top, scale = 2**self.code_bits - 1, self.code_scale
        below, above = math.ceil(-min(low, 0.0) / scale - 0.5), math.ceil(max(high, 0.0) / scale - 0.5)
        right = f"one of which {low:.3g}…{high:.3g}, the code's range, spans {top} at most; it spans {below + above}"
        require(below + above <= top, "quantize.code_scale", scale, f"{right} (a higher train.rate has a coarser scale)")
        below = 0 if below == 0 else (top - above + below) // 2
        return -below * scale, (top - below) * scale


def fixed_ranges(config: ModelConfig, spec: QuantizationSpec) -> dict[str, tuple[Range, ...]]:
    """Ranges that the model fixes, by tensor name: those of successive quantizations."""
    rules = _rules(config).items()
    fixed: dict[str, tuple[Range, ...]] = {name: (rule.output,) for name, rule in rules if rule.output is not None}
    if spec.byte_data:
        byte = (0.0, 1.0)
        fixed["x"] = (byte,)
        fixed["y"] = (*fixed.get("y", ()), byte) if spec.layout != "fused" else (byte,)
    return fixed


def linear_windows(config: ModelConfig) -> dict[str, Range]:
    """Input window of each sigmoid and tanh, by tensor name; inputs are clipped to it."""
    return {f"{name}.linear": rule.window for name, rule in _rules(config).items() if not rule.fused}


def _rules(config: ModelConfig) -> dict[str, ActivationRule]:
    return {name: RULES[activation] for outputs in outputs_of(config) for name, activation in outputs.items()}


class ActivationQuantizers(tf_keras.layers.Layer):
    """The tap of a quantized model: fake quantization of every tensor that the integer program quantizes.

    `ranges`, by tensor name, are those of calibration. Training moves both ends by one factor, so that the zero point stays.
    `factors` are the logarithms of what an epoch has moved them by so far, which `finalize` applies: they are 0 after it. The
    ranges of biases and gains are their extremes.
    """

    def __init__(self, config: ModelConfig, spec: QuantizationSpec, ranges: Mapping[str, Range]) -> None:
        super().__init__(name="quantizers")
        from tensorflow_model_optimization.quantization.keras import quantizers

        self.spec = spec
        self.windows = linear_windows(config)
        self.fixed = {
            name: tuple(quantizers.FixedQuantizer(8, low, high, narrow_range=False) for low, high in chain)
            for name, chain in fixed_ranges(config, spec).items()
        }
        affine = {"per_axis": False, "symmetric": False, "narrow_range": False}
        self.tracked = {
            name: quantizers.LastValueQuantizer(spec.bits_of(name), **affine) for name in ranges if name not in self.fixed
        }
        self.range_variables = {
            name: quantizer.build(None, name.replace(".", "_"), self) for name, quantizer in self.tracked.items()
        }
        self.factors = {
            name: self.add_weight(name=f"{name.replace('.', '_')}_factor", shape=(), initializer="zeros")
            for name in self.tracked
            if self.is_free(name) and not name.endswith(OF_WEIGHTS) and self.simulates(name)
        }
        self.built = True
        for name, (low, high) in ranges.items():
            if spec.fixes(name):
                self._assign(name, *spec.code_range(low, high))
            elif name in self.tracked:
                minimum, maximum = self.windows.get(name, (-np.inf, np.inf))
                self._assign(name, min(max(low, minimum), 0.0), max(min(high, maximum), 1e-6))

    def _assign(self, name: str, low: float, high: float) -> None:
        self.range_variables[name]["min_var"].assign(low)
        self.range_variables[name]["max_var"].assign(high)

    def is_free(self, name: str) -> bool:
        """Whether a tensor's range is what its values need, rather than fixed."""
        return name in self.tracked and not self.spec.fixes(name)

    def simulates(self, name: str) -> bool:
        """Whether the decoder layout quantizes a tensor; the ranges of others are kept."""
        return self.spec.layout == "split" or not name.endswith((".product", ".gained", *OF_WEIGHTS))

    def __call__(self, name: str, x: tf.Tensor, training: bool) -> tf.Tensor:
        if name.endswith(UNPOOLED):
            return x
        if name in self.fixed:
            for quantizer in self.fixed[name]:
                x = quantizer(x, training, None)
            return x
        if name in self.windows:
            x = tf.clip_by_value(x, *self.windows[name])
        if training and name in self.factors:
            return self._trained(name, x)
        quantized = self.tracked[name](x, training and name.endswith(OF_WEIGHTS), self.range_variables[name])
        return quantized if self.simulates(name) else x

    def _trained(self, name: str, x: tf.Tensor) -> tf.Tensor:
        """Fake quantization with a gradient for the scale (Esser et al. 2020, arXiv:1902.08153)."""
        low, high = (self.range_variables[name][end] for end in ("min_var", "max_var"))
        bits = self.spec.bits_of(name)
        levels = 2.0**bits - 1
        scale = (high - low) / levels
        zero = tf.round(-low / scale)
        scale *= tf.exp(self.factors[name])
        return scale * tf.quantization.fake_quant_with_min_max_vars(x / scale, -zero, levels - zero, bits)

    def finalize(self) -> None:
        """Move the ranges by what training found."""
        for name, factor in self.factors.items():
            for end in self.range_variables[name].values():
                end.assign(end * tf.exp(factor))
            factor.assign(0.0)

    def ranges(self) -> dict[str, Range]:
        """The tracked ranges, by tensor name, as float32 values."""
        return {
            name: (float(variables["min_var"].numpy()), float(variables["max_var"].numpy()))
            for name, variables in self.range_variables.items()
        }
