"""Elementwise functions, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...compress.affine import SIGMOID_OUTPUT, TANH_OUTPUT, Quantization


@dataclass(frozen=True)
class Function:
    """`real` in floats, and the operators `tflite` and `onnx`.

    `fused`: a product or an addition may end with it. `output` is the quantization that TFLite fixes for its int8 result.
    """

    real: Callable[[np.ndarray], np.ndarray]
    tflite: str = ""
    onnx: str = ""
    fused: bool = True
    output: Quantization | None = None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


FUNCTIONS: Mapping[str, Function] = {
    "linear": Function(lambda x: x),
    "relu": Function(lambda x: np.maximum(x, 0), "RELU", "Relu"),
    "relu6": Function(lambda x: np.clip(x, 0, 6), "RELU6", "Clip"),
    "tanh": Function(np.tanh, "TANH", "Tanh", fused=False, output=TANH_OUTPUT),
    "sigmoid": Function(_sigmoid, "LOGISTIC", "Sigmoid", fused=False, output=SIGMOID_OUTPUT),
}


@lru_cache(maxsize=64)
def activation_table(function: str, x: Quantization, y: Quantization) -> np.ndarray:
    """The 256 uint8 outputs of an elementwise function, indexed by its uint8 input."""
    real = (np.arange(256) - x.zero_point) * np.float64(x.scale)
    return y.quantize(FUNCTIONS[function].real(real))
