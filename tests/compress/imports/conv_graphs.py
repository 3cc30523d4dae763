"""Convolutional autoencoders as files of graphs: as Keras' models are exported, and as PyTorch writes its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx

from .onnx_graphs import Graph


def onnx_file(model: Any, folder: Path) -> Path:
    """A Keras model as tf2onnx writes it."""
    with warnings.catch_warnings(action="ignore"):
        import tensorflow as tf
        import tf2onnx

        spec = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="x")]
        function = tf.function(lambda x: model(x, training=False), input_signature=spec)
        proto, _ = tf2onnx.convert.from_function(function, input_signature=spec, opset=17)
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


def exported(model: Any, folder: Path) -> Path:
    """A Keras model as `model.export` writes it."""
    with warnings.catch_warnings(action="ignore"):
        model.export(str(folder / "exported"))
    return folder / "exported"


EXPORTS: Mapping[str, Callable[[Any, Path], Path]] = {"onnx": onnx_file, "export": exported}


class Torch(Graph):
    """A graph of channels-first layers as PyTorch's exporter writes them, with symmetric pads."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        super().__init__(("n", *shape), seed=seed)

    def convolution(self, kernel: str, bias: str | None = None, *, stride: int = 1, pad: int = 0, back: bool = False) -> Self:
        axes = self.arrays[kernel].ndim - 2
        options = {"kernel_shape": list(self.arrays[kernel].shape[2:]), "strides": [stride] * axes, "pads": [pad] * 2 * axes}
        return self.add("ConvTranspose" if back else "Conv", kernel, *([bias] if bias else []), **options)

    def pool(self, size: int, axes: int = 2) -> Self:
        return self.add("MaxPool", kernel_shape=[size] * axes, strides=[size] * axes)

    def upsample(self, size: int, axes: int = 2) -> Self:
        scales = self.array(np.array([1, 1, *[size] * axes], np.float32))
        mode = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", "", scales, mode="nearest", **mode)

    def view(self, *shape: int) -> Self:
        return self.add("Reshape", self.array(np.array([-1, *shape])))


def torch_image(*, tied: bool = False, channels: int = 1) -> Torch:
    """8×12: Conv 4 and a pool, flattened channels first, dense 5, and back."""
    graph = Torch(channels, 8, 12)
    kernel, dense = graph.floats(4, channels, 3, 3), graph.floats(5, 96)
    graph.convolution(kernel, graph.floats(4), pad=1).add("Relu").pool(2).add("Flatten", axis=1)
    graph.add("Gemm", dense, graph.floats(5), transB=1)
    graph.add("Gemm", dense if tied else graph.floats(5, 96), graph.floats(96))
    graph.add("Relu").view(4, 4, 6).upsample(2)
    return graph.convolution(kernel if tied else graph.floats(4, channels, 3, 3), graph.floats(channels), pad=1, back=True)
