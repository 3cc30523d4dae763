"""Nets of convolutions for the benchmarks, with random weights, and the stock converters' int8 files of their untied twins."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.program.operations import Convolution, Dense, MaxPool, Operation, Reshape, Upsample
from tiedae.program.program import SIGNATURES, Program
from tiedae.verify.stock.converters import stock_onnx_int8

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.program.convolution_nets import Layer, float_net
from tests.program.convolutions import Building, integer_program

__all__ = ["NETS", "Building", "Layer", "Net", "integer_program", "stock_onnx", "stock_tflite"]
SAMPLES = 32


@dataclass(frozen=True)
class Net:
    """Convolutions over images of `shape`, and a dense layer of `units` behind them if not 0."""

    shape: tuple[int, int, int]
    layers: tuple[Layer, ...]
    units: int = 0

    @property
    def float_program(self) -> Program:
        return float_net("net", self.shape, self.layers, self.units)

    @property
    def samples(self) -> np.ndarray:
        """float32 [SAMPLES, *shape] in 0…1."""
        return np.random.default_rng(2).random((SAMPLES, *self.shape)).astype(np.float32)

    @property
    def untied(self) -> Program:
        """The float program with kernels of its own in the decoder."""
        tied, rng = self.float_program, np.random.default_rng(3)
        own = {name: f"{name}.decoder" for name in tied.kernels}
        kernels = {name: replace(tied.kernels[each], name=name) for each, name in own.items()}
        constants = {
            name: rng.permutation(tied.constants[each].ravel()).reshape(tied.constants[each].shape)
            for each, name in own.items()
        }
        decoder = tuple(replace(each, kernel=own[each.kernel]) if isinstance(each, Dense) else each for each in tied.decoder)
        return replace(tied, kernels={**tied.kernels, **kernels}, constants={**tied.constants, **constants}, decoder=decoder)

    @property
    def program(self) -> Program:
        return integer_program(self.float_program, self.samples, np.random.default_rng(1))


NETS = {
    "28²×1 k3s2 16-32-16": Net((28, 28, 1), (Layer(16, 3, 2), Layer(32, 3, 2)), 16),
    "28²×1 k3p2 16-32-16": Net((28, 28, 1), (Layer(16, 3, 1, 2), Layer(32, 3, 1, 2)), 16),
    "32²×3 k3s2 32-64-128": Net((32, 32, 3), (Layer(32, 3, 2), Layer(64, 3, 2), Layer(128, 3, 2))),
}
"""k: kernel, s: strides, p: pooling; units of each layer."""


def stock_tflite(net: Net, batch: int | None = None) -> bytes:
    """TFLiteConverter's int8 file of the untied net, with our three signatures; `batch`: fixed."""
    import tensorflow as tf

    functions, inputs = _functions(net.float_program, batch), []
    samples = [net.samples[i : i + (batch or 8)] for i in range(0, SAMPLES, batch or 8)]
    for x in samples:
        code = functions["encode"](x)["code"]
        inputs += [("encode", {"x": x}), ("decode", {"code": code.numpy()}), ("reconstruct", {"x": x})]
    with tempfile.TemporaryDirectory() as folder:
        module: Any = tf.Module()
        module.functions = functions
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(SIGNATURES))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(inputs)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        return converter.convert()


def stock_onnx(program: Program, samples: np.ndarray) -> bytes:
    """tf2onnx's file of a float program, x → code and y, quantized by ONNX Runtime. tf2onnx stores equal constants once."""
    import tf2onnx

    function = _functions(program, None)["reconstruct"]
    converted, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=17)
    return stock_onnx_int8(converted.SerializeToString(), samples)


def _functions(program: Program, batch: int | None) -> Mapping[str, Any]:
    """The three signatures as tf.functions."""
    return {signature: _function(program, signature, batch) for signature in SIGNATURES}


def _function(program: Program, signature: str, batch: int | None) -> Any:
    import tensorflow as tf

    operations, source, results = program.part(signature)
    spec = tf.TensorSpec([batch, *program.tensors[source].shape], tf.float32, name=source)

    @tf.function(input_signature=[spec], autograph=False)
    def function(x: Any) -> dict[str, Any]:
        values = {source: x}
        for each in operations:
            values[each.y] = TENSORFLOW[type(each)](program, each, values[each.x])
        return {name: tf.identity(values[name], name) for name in results}

    return function


def _convolution(program: Program, operation: Convolution, x: Any) -> Any:
    import tensorflow as tf

    tensor = program.tensors[operation.y if operation.transposed else operation.x]
    kernel = program.constants[operation.kernel].reshape(*operation.sizes, tensor.shape[-1], -1)
    if operation.transposed:
        shape = (x.shape[0] or tf.shape(x)[0], *tensor.shape)
        y = tf.nn.conv2d_transpose(x, kernel, shape, operation.strides, operation.padding.upper())
    else:
        y = tf.nn.conv2d(x, kernel, operation.strides, operation.padding.upper())
    return _activated(program, operation, y)


def _dense(program: Program, operation: Dense, x: Any) -> Any:
    import tensorflow as tf

    return _activated(program, operation, tf.matmul(x, operation.matrix(program).copy()))


def _activated(program: Program, operation: Dense, y: Any) -> Any:
    import tensorflow as tf

    assert operation.bias is not None
    y = tf.nn.bias_add(y, program.constants[operation.bias])
    return tf.nn.relu(y) if operation.activation == "relu" else y


def _pool(_program: Program, operation: MaxPool, x: Any) -> Any:
    import tensorflow as tf

    return tf.nn.max_pool2d(x, operation.sizes, operation.sizes, "VALID")


def _upsample(program: Program, operation: Upsample, x: Any) -> Any:
    import tensorflow as tf

    return tf.image.resize(x, program.tensors[operation.y].shape[:2], "nearest")


def _reshape(program: Program, operation: Reshape, x: Any) -> Any:
    import tensorflow as tf

    return tf.reshape(x, (-1, *program.tensors[operation.y].shape))


TENSORFLOW: dict[type[Operation], Callable[[Program, Any, Any], Any]] = {
    Convolution: _convolution,
    Dense: _dense,
    MaxPool: _pool,
    Upsample: _upsample,
    Reshape: _reshape,
}
"""The operations as TensorFlow's, as Keras writes them."""
