"""Small nets of convolutions and their samples, which every step of the product takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tiedae.compress import Dataset

IMAGE = [
    {"kind": "conv2d", "filters": 8, "activation": "relu"},
    {"kind": "maxpool"},
    {"kind": "conv2d", "filters": 4, "strides": [2, 1], "activation": "relu", "batch_norm": True},
    {"kind": "flatten"},
    12,
]
"""Overlapping windows, pooling, strides, batch normalization, and a dense code of all places."""
TILES = [
    {"kind": "conv2d", "filters": 8, "kernel": 2, "strides": 2, "activation": "tanh", "batch_norm": True},
    {"kind": "conv2d", "filters": 4, "kernel": [2, 3], "strides": [2, 3], "pool": [1, 2]},
]
"""Windows that tile a sample, and a code with places, pooled."""
SIGNAL = [
    {"kind": "conv1d", "filters": 8, "kernel": 5, "strides": 2, "padding": "valid", "activation": "sigmoid"},
    {"kind": "maxpool", "size": 3},
    {"kind": "conv1d", "filters": 4, "kernel": 2},
]
NETS: dict[str, list[Any]] = {"image": IMAGE, "tiles": TILES, "signal": SIGNAL}
SHAPES = {"image": (8, 12, 3), "tiles": (8, 12, 3), "signal": (33, 2)}
"""Of samples."""


def samples(name: str, count: int = 240) -> np.ndarray:
    """Bytes [count, *shape] of four components."""
    rng = np.random.default_rng(0)
    mixed = np.tensordot(rng.normal(size=(count, 4)), rng.normal(size=(4, *SHAPES[name])), 1)
    return np.clip(30 * mixed + 128, 0, 255).astype(np.uint8)


def dataset(name: str) -> Dataset:
    return Dataset.from_array(samples(name), validation=0.1)
