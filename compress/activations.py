"""The activations, one row each: what Keras computes and what int8 does with the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class ActivationRule:
    """How an activation behaves.

    `fused` ones are a clamp of the integer product, the others a table over a quantized input. Outside of `window` the input
    changes the output by nothing, or less than half a step of int8: ranges are cut off there. `output` is the range that
    TFLite fixes for the int8 result (LOGISTIC: scale 1/256, TANH: 1/128).
    """

    function: Callable[[tf.Tensor], tf.Tensor]
    fused: bool
    window: tuple[float, float] = (-math.inf, math.inf)
    output: tuple[float, float] | None = None


RULES: Mapping[str, ActivationRule] = {
    "linear": ActivationRule(tf.identity, fused=True),
    "relu": ActivationRule(tf.nn.relu, fused=True, window=(0.0, math.inf)),
    "relu6": ActivationRule(tf.nn.relu6, fused=True, window=(0.0, 6.0)),
    "sigmoid": ActivationRule(tf.nn.sigmoid, fused=False, window=(-6.5, 6.5), output=(0.0, 255 / 256)),
    "tanh": ActivationRule(tf.nn.tanh, fused=False, window=(-3.2, 3.2), output=(-1.0, 127 / 128)),
}
