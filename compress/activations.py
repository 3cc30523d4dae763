"""The activations, one row each: what Keras computes and what int8 does with the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class ActivationRule:
    """How an activation behaves.

    `fused` ones are a clamp of the integer product. The others are tables over a quantized input; beyond ±`saturation` that
    input changes the output by less than half a step, so its range is clipped there. `output` is the range that TFLite fixes
    for the int8 result (LOGISTIC: scale 1/256, TANH: 1/128).
    """

    function: Callable[[tf.Tensor], tf.Tensor]
    fused: bool
    saturation: float | None = None
    output: tuple[float, float] | None = None


RULES: Mapping[str, ActivationRule] = {
    "linear": ActivationRule(tf.identity, fused=True),
    "relu": ActivationRule(tf.nn.relu, fused=True),
    "relu6": ActivationRule(tf.nn.relu6, fused=True),
    "sigmoid": ActivationRule(tf.nn.sigmoid, fused=False, saturation=8.0, output=(0.0, 255 / 256)),
    "tanh": ActivationRule(tf.nn.tanh, fused=False, saturation=4.0, output=(-1.0, 127 / 128)),
}
