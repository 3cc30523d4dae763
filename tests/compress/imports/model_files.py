"""Files of Keras models in every layout that Keras had, without Keras: what no installed version writes, and bad input."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tiedae.compress.imports.chain import Chain, ChainLayer

WIDTHS = (12, 6, 3, 6, 12)


def chain_of(layers: Sequence[ChainLayer], shape: tuple[int, ...], *, source: str = "model") -> Chain:
    """A chain of layers that are at hand."""
    return Chain(source, "arrays", shape, tuple(layers))


def kernels(widths: Sequence[int] = WIDTHS, seed: int = 0) -> list[np.ndarray]:
    """Kernels and biases in turn."""
    rng = np.random.default_rng(seed)
    shapes = [shape for pair in itertools.pairwise(widths) for shape in (pair, pair[1:])]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def reconstructed(arrays: Sequence[np.ndarray], x: np.ndarray) -> np.ndarray:
    """What `dense_model` computes, relu but for the last."""
    for kernel, bias in zip(arrays[::2], arrays[1::2], strict=True):
        x = x @ kernel.astype(np.float64) + bias
        x = x if kernel is arrays[-2] else np.maximum(x, 0)
    return x


def dense_layers(widths: Sequence[int] = WIDTHS, **more: Any) -> list[dict[str, Any]]:
    """The configurations of dense, dense_1, … with a stated sample."""
    names = ["dense", *(f"dense_{i}" for i in range(1, len(widths) - 1))]
    layers = [
        {"class_name": "Dense", "config": {"name": name, "units": units, "activation": "relu", "use_bias": True} | more}
        for name, units in zip(names, widths[1:], strict=True)
    ]
    layers[0]["config"]["batch_input_shape"] = [None, widths[0]]
    layers[-1]["config"]["activation"] = "linear"
    return layers


def sequential(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": list(layers)}}


def functional(layers: Sequence[dict[str, Any]], width: int) -> dict[str, Any]:
    """The same layers as a functional model of Keras 2, one behind the other."""
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, width]}, "inbound_nodes": []}
    names = ["x", *(layer["config"]["name"] for layer in layers)]
    nodes = [layer | {"inbound_nodes": [[[name, 0, 0, {}]]]} for layer, name in zip(layers, names, strict=False)]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [[names[-1], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": [first, *nodes], **ends}}


def write_h5(path: Path, config: Any, weights: Mapping[str, Mapping[str, np.ndarray]], version: str = "2.4.0") -> Path:
    """A .h5 file. `weights`: by layer, by the name of the variable, such as dense/kernel:0."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, arrays in weights.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, values in arrays.items():
                group[name] = values
    return path


def dense_weights(arrays: Sequence[np.ndarray], names: Sequence[str] | None = None) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of dense layers as `write_h5` takes them."""
    names = names or ["dense", *(f"dense_{i}" for i in range(1, len(arrays) // 2))]
    turns = zip(names, arrays[::2], arrays[1::2], strict=True)
    return {name: {f"{name}/kernel:0": kernel, f"{name}/bias:0": bias} for name, kernel, bias in turns}


def hdf5_bytes(arrays: Mapping[str, np.ndarray], names: Mapping[str, str] | None = None, empty: Sequence[str] = ()) -> bytes:
    """An HDF5 file with arrays by path; `names`: the attribute `name` of groups; `empty`: groups without arrays."""
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        for path, values in arrays.items():
            create(h5, path.rpartition("/")[0].split("/"))[path.rpartition("/")[2]] = values
        for path in empty:
            create(h5, path.split("/"))
        for path, name in (names or {}).items():
            create(h5, path.split("/")).attrs["name"] = name
    return file.getvalue()


def create(group: h5py.Group, names: Sequence[str]) -> h5py.Group:
    """Groups of names that may have backslashes."""
    for name in names:
        group = group.require_group(name)
    return group


def write_archive(
    path: Path, config: Any, weights: bytes, version: str = "3.10.0", compression: int = zipfile.ZIP_STORED, **members: bytes
) -> Path:
    """A .keras archive."""
    texts = {"metadata.json": json.dumps({"keras_version": version}).encode(), "config.json": json.dumps(config).encode()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in (texts | {"model.weights.h5": weights} | members).items():
            archive.writestr(name, data)
    return path


def dense_arrays(arrays: Sequence[np.ndarray], group: str = "layers/{}/vars", step: int = 1) -> dict[str, np.ndarray]:
    """Arrays of dense layers by path in an archive. `step`: 2 where every other number is that of an empty group."""
    names = ["dense" if i == 0 else f"dense_{i * step}" for i in range(len(arrays) // 2)]
    return {f"{group.format(name)}/{j}": arrays[2 * i + j] for i, name in enumerate(names) for j in (0, 1)}
