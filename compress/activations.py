"""The activations, one row each: what Keras computes and what int8 does with the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

MARGIN = 1e-3
"""Nearer to the ends of their range sigmoid and tanh hardly learn."""


def _logit(y: np.ndarray) -> np.ndarray:
    y = np.clip(y, MARGIN, 1 - MARGIN)
    return np.log(y / (1 - y))


def _arctanh(y: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(y, MARGIN - 1, 1 - MARGIN))


@dataclass(frozen=True)
class ActivationRule:
    """How an activation behaves.

    `fused` ones are a clamp of the integer product, the others a table over a quantized input. Outside of `window` the input
    changes the output by nothing, or less than half a step of int8: ranges are cut off there. `output` is the range that
    TFLite fixes for the int8 result (LOGISTIC: scale 1/256, TANH: 1/128). `inverse` takes an output to the input that gives it,
    as far as there is one; of sigmoid and tanh it stays `MARGIN` away from the ends of the range.
    """

    function: Callable[[tf.Tensor], tf.Tensor]
    fused: bool
    window: tuple[float, float] = (-math.inf, math.inf)
    output: tuple[float, float] | None = None
    inverse: Callable[[np.ndarray], np.ndarray] = field(default=lambda y: y, repr=False)


RULES: Mapping[str, ActivationRule] = {
    "linear": ActivationRule(tf.identity, fused=True),
    "relu": ActivationRule(tf.nn.relu, fused=True, window=(0.0, math.inf)),
    "relu6": ActivationRule(tf.nn.relu6, fused=True, window=(0.0, 6.0)),
    "sigmoid": ActivationRule(tf.nn.sigmoid, fused=False, window=(-6.5, 6.5), output=(0.0, 255 / 256), inverse=_logit),
    "tanh": ActivationRule(tf.nn.tanh, fused=False, window=(-3.2, 3.2), output=(-1.0, 127 / 128), inverse=_arctanh),
}
