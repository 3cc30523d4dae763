"""An untied 1024-64-16-64-1024 by TFLiteConverter, int8 with float inputs and outputs, as C: python model.py FILE."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

WIDTHS = (1024, 64, 16, 64, 1024)


def main() -> None:
    rng = np.random.default_rng(0)
    pairs = pairwise(WIDTHS)
    kernels = [rng.normal(0, (2 / inputs) ** 0.5, (inputs, units)).astype(np.float32) for inputs, units in pairs]

    @tf.function(input_signature=[tf.TensorSpec([1, WIDTHS[0]], tf.float32)])
    def net(x: Any) -> Any:
        for layer, kernel in enumerate(kernels):
            x = tf.matmul(x, tf.constant(kernel)) + tf.constant(np.full(kernel.shape[1], 0.01, np.float32))
            x = x if layer % 2 else tf.nn.relu(x)
        return x

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[rng.normal(0, 1, (1, WIDTHS[0])).astype(np.float32)] for _ in range(64)]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    values = ",".join(map(str, converter.convert()))
    Path(sys.argv[1]).write_text(f"alignas(16) const unsigned char model[] = {{{values}}};\n", encoding="ascii")


main()
