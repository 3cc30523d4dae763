"""Configurations of each layer that a chain of a Keras file has, with its arrays by path in an archive."""

from __future__ import annotations

from typing import Any

import numpy as np

from .model_files import dense_arrays, dense_layers, functional, kernels

RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.uniform(0.1, 1, shape).astype(np.float32)


def layer(kind: str, **values: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": kind.lower(), **values}}


CONV = {"kernel_size": [3, 3], "strides": [1, 1], "padding": "same", "dilation_rate": [1, 1], "groups": 1}
CONV |= {"data_format": "channels_last", "use_bias": True, "activation": "relu"}
DENSE = {"units": 4, "use_bias": True, "activation": "relu", "lora_rank": None, "dtype": "float32", "quantization_config": None}
NORM = {"axis": [-1], "epsilon": 1e-3, "center": True, "scale": True}
PRUNED = layer("Dense", **DENSE)
FIRST = {"batch_input_shape": [None, 4]}
LAYERS: dict[str, tuple[list[dict[str, Any]], dict[str, np.ndarray]]] = {
    "Dense": ([layer("Dense", **FIRST, **DENSE)], {"layers/dense/vars/0": floats(4, 4), "layers/dense/vars/1": floats(4)}),
    "ReLU": ([layer("ReLU", **FIRST, max_value=6.0, negative_slope=0.0, threshold=0.0)], {}),
    "Activation": ([layer("Activation", **FIRST, activation={"class_name": "ReLU", "config": {"max_value": 6.0}})], {}),
    "Rescaling": ([layer("Rescaling", **FIRST, scale=0.5, offset=[0.0, 1.0, 2.0, 3.0])], {}),
    "Normalization": ([layer("Normalization", **FIRST, axis=[-1], mean=[0.0] * 4, variance=[1.0] * 4, invert=False)], {}),
    "Normalization of arrays": (
        [layer("Normalization", **FIRST, axis=-1, mean=None, variance=None)],
        {"layers/normalization/vars/0": floats(4), "layers/normalization/vars/1": floats(3)},
    ),
    "BatchNormalization": (
        [layer("BatchNormalization", **FIRST, **NORM)],
        {f"layers/batch_normalization/vars/{i}": floats(4) for i in range(4)},
    ),
    "Reshape": ([layer("Reshape", **FIRST, target_shape=[2, -1]), layer("Flatten", data_format="channels_last")], {}),
    "Conv2D": (
        [layer("Conv2D", batch_input_shape=[None, 8, 8, 1], filters=2, **CONV)],
        {"layers/conv2d/vars/0": floats(3, 3, 1, 2), "layers/conv2d/vars/1": floats(2)},
    ),
    "Conv2D of no stated strides": (
        [layer("Conv2D", batch_input_shape=[None, 8, 8, 1], filters=2, kernel_size=[3, 3])],
        {"layers/conv2d/vars/0": floats(3, 3, 1, 2), "layers/conv2d/vars/1": floats(2)},
    ),
    "Conv2DTranspose": (
        [layer("Conv2DTranspose", batch_input_shape=[None, 8, 8, 1], filters=2, output_padding=None, **CONV)],
        {"layers/conv2d_transpose/vars/0": floats(3, 3, 2, 1), "layers/conv2d_transpose/vars/1": floats(2)},
    ),
    "MaxPooling2D": (
        [layer("MaxPooling2D", batch_input_shape=[None, 8, 8, 1], pool_size=[2, 2], strides=[2, 2], padding="valid")],
        {},
    ),
    "UpSampling2D": ([layer("UpSampling2D", batch_input_shape=[None, 8, 8, 1], size=[2, 2], interpolation="nearest")], {}),
    "PruneLowMagnitude": (
        [layer("PruneLowMagnitude", **FIRST, layer=PRUNED)],
        {
            f"layers/prune_low_magnitude/{name}": array
            for name, array in {"layer/vars/0": floats(4, 4), "layer/vars/1": floats(4), "vars/0": floats(4, 4)}.items()
        },
    ),
    "a class of one's own": (
        [
            layer("Dense", **FIRST, **DENSE),
            layer("Mine>Tied", units=4, filters=None, activation="relu", dense={"shared_object_id": 1}),
        ],
        {f"layers/{name}/vars/{i}": floats(*shape) for name in ("dense", "tied") for i, shape in enumerate(((4, 4), (4,)))},
    ),
    "a model in a model": (
        [layer("InputLayer", batch_shape=[None, 4]), functional(dense_layers((4, 2, 4)), 4)],
        dense_arrays(kernels((4, 2, 4)), "layers/functional/layers/{}/vars"),
    ),
}
