"""Crafted models of at most 1 MB that take much of a reader: many layers, names, parts and references, deep and repeated ones.

`COSTLY`: by name, what writes the file. tests/compress/imports/test_costs.py and benchmarks/trust_imports.py measure them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tiedae.base.limits import KERAS_LAYERS

from .costly_graphs import GRAPHS
from .model_files import dense_arrays, functional, hdf5_bytes, kernels, sequential, write_archive, write_h5

MOST = 1 << 20
"""Bytes of a file."""
Config = dict[str, Any]
WIDTH = 4
DENSE = dense_arrays(kernels((WIDTH, 2, WIDTH)))


def layer(kind: str, name: str, **values: Any) -> Config:
    return {"class_name": kind, "config": {"name": name, **values}}


def begun(layers: Sequence[Config], shape: Sequence[int] = (WIDTH,)) -> Config:
    """A Sequential model whose first layer states the shape of a sample."""
    return sequential([layer("InputLayer", "x", batch_input_shape=[None, *shape]), *layers])


def repeated(kind: str, count: int, **values: Any) -> list[Config]:
    return [layer(kind, f"l{i}", **values) for i in range(count)]


def dense_pair() -> list[Config]:
    return [layer("Dense", "dense", units=2), layer("Dense", "dense_1", units=WIDTH)]


def called(name: str, calls: int, inner: Config, outside: str = "model") -> Config:
    """A functional model that calls one layer again and again."""
    x = layer("InputLayer", "x", batch_input_shape=[None, WIDTH]) | {"inbound_nodes": []}
    nodes = [[["x", 0, 0, {}]], *([[name, i, 0, {}]] for i in range(calls - 1))]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [[name, calls - 1, 0]]}
    config = {"name": outside, "layers": [x, inner | {"inbound_nodes": nodes}], **ends}
    return {"class_name": "Functional", "config": config}


def in_each_other(depth: int, inner: Config, name: str = "inner") -> Config:
    """Models each of which calls the next one twice."""
    for level in range(depth):
        inner = called(name, 2, inner, name if level < depth - 1 else "model")
    return inner


def sequentials(depth: int, inner: Sequence[Config]) -> Config:
    """Models in models."""
    model = begun(inner)
    for _ in range(depth):
        model = sequential([model])
    return model


def beside(count: int, inner: Sequence[Config] = ()) -> Config:
    """Many models in one, each with these layers."""
    return begun([sequential(inner) | {"config": {"name": f"m{i}", "layers": list(inner)}} for i in range(count)])


def archive(path: Path, config: Config, arrays: Mapping[str, np.ndarray] = DENSE) -> Path:
    return write_archive(path, config, hdf5_bytes(arrays))


def h5(path: Path, config: Config, weights: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> Path:
    return write_h5(path, config, weights or {})


def linked(path: Path, config: Config, groups: int, archived: bool = False, shape: tuple[int, ...] = (1, 1)) -> Path:
    """A file with one array under many names."""
    file = h5py.File(path.with_suffix(".part"), "w", libver="latest")
    with file:
        root = file.create_group("layers" if archived else "model_weights")
        first = root.create_group("dense/vars" if archived else "w")
        first["0" if archived else "kernel:0"] = np.zeros(shape, np.float32)
        for i in range(groups):
            root[f"dense_{i + 1}" if archived else f"l{i}"] = root["dense" if archived else "w"]
        if not archived:
            file.attrs["model_config"] = np.bytes_(json.dumps(config))
            names = np.array(["w", *(f"l{i}" for i in range(groups))], "S8")
            for i, start in enumerate(range(0, len(names), 8000)):
                root.attrs[f"layer_names{i}"] = names[start : start + 8000]
            root["w"].attrs["weight_names"] = np.array(["kernel:0"], "S8")
    data = path.with_suffix(".part").read_bytes()
    path.with_suffix(".part").unlink()
    if archived:
        return write_archive(path, config, data)
    path.write_bytes(data)
    return path


def holders(count: int) -> Config:
    """Layers of a class of one's own, each of which may hold the kernel of one before it."""
    return begun([layer("Mine>Holder", f"l{i}") for i in range(count)], (1,))


def packed_kernel(path: Path, calls: int, size: int = 1000) -> Path:
    """One square kernel, stored in few bytes, of a layer that is called again and again."""
    config = called("dense", calls, layer("Dense", "dense", units=size, use_bias=False))
    config["config"]["layers"][0]["config"]["batch_input_shape"] = [None, size]
    write_h5(path, config, {"dense": {}})
    with h5py.File(path, "a") as file:
        group: Any = file["model_weights/dense"]
        values = np.arange(size * size, dtype=np.float32).reshape(size, size) // 64
        group.create_dataset("dense/kernel:0", data=values, compression="gzip", shuffle=True)
        group.attrs["weight_names"] = [b"dense/kernel:0"]
    return path


def names_again(path: Path, layers: int, weights: int) -> Path:
    """One layer and one of its arrays, each listed again and again."""
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = json.dumps(begun(dense_pair()))
        root = file.create_group("model_weights")
        root.create_group("a")["b"] = np.zeros((1, 1), np.float32)
        root.attrs["layer_names"] = np.array([b"a"] * layers)
        root["a"].attrs["weight_names"] = np.array([b"b"] * weights)
    return path


def parts_of_names(path: Path, count: int) -> Path:
    """The names of layers in as many attributes as fit."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(begun(dense_pair()))
        root = file.create_group("model_weights")
        root.create_group("a").attrs["weight_names"] = np.array([], "S1")
        for i in range(count):
            root.attrs[f"layer_names{i}"] = "a"
    return path


def groups_in_themselves(path: Path) -> Path:
    """Three groups that have each other under many names."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(begun(dense_pair()))
        root = file.create_group("model_weights")
        groups = [root.create_group(name) for name in "abc"]
        for group in groups:
            for i in range(1000):
                group[f"g{i}"] = groups[i % 3]
    return path


def many_members(path: Path, count: int) -> Path:
    return write_archive(path, begun(dense_pair()), hdf5_bytes(DENSE), **{f"{'a/' * 12}{i}": b"" for i in range(count)})


def many_outputs(count: int) -> Config:
    """A node that takes one output again and again, which a circle of calls comes back to."""
    x = layer("InputLayer", "x", batch_input_shape=[None, WIDTH]) | {"inbound_nodes": []}
    wide = [["b", 0, 0, {}]] * count
    a = layer("Dropout", "a") | {"inbound_nodes": [wide, *([["x", 0, 0, {}]] for _ in range(count))]}
    b = layer("Dropout", "b") | {"inbound_nodes": [[["a", 0, 0, {}]]]}
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["a", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": [x, a, b], **ends}}


def references(models: int, count: int) -> Config:
    """Models in a model, beside a layer with many inputs."""
    config = functional([*(sequential([]) | {"config": {"name": f"m{i}", "layers": []}} for i in range(models))], WIDTH)
    config["config"]["layers"].append(layer("Dropout", "wide") | {"inbound_nodes": [[["x", 0, 0, {}]] * count]})
    return config


def conv(count: int, size: int) -> list[Config]:
    return repeated("UpSampling2D", count, size=[size, size])


MOST_LAYERS = KERAS_LAYERS - 10
FILES: Mapping[str, Callable[[Path], Path]] = {
    "ReLU.h5": lambda path: h5(path, begun(repeated("ReLU", MOST_LAYERS))),
    "ReLU.keras": lambda path: archive(path, begun(repeated("ReLU", MOST_LAYERS))),
    "too many ReLU.h5": lambda path: h5(path, begun(repeated("ReLU", 10_000))),
    "Dropout behind each other.keras": lambda path: archive(path, functional(repeated("Dropout", MOST_LAYERS), WIDTH)),
    "unread layers.keras": lambda path: linked(path, begun(repeated("LSTM", MOST_LAYERS)), 4000, archived=True),
    "Dense of one array.keras": lambda path: linked(
        path, begun(repeated("Dense", MOST_LAYERS, units=1, use_bias=False), (1,)), MOST_LAYERS, archived=True
    ),
    "Dense of one array.h5": lambda path: linked(
        path, begun(repeated("Dense", MOST_LAYERS, units=1, use_bias=False), (1,)), MOST_LAYERS
    ),
    "layers of a class of one's own.h5": lambda path: linked(path, holders(900), 900),
    "layers of a class of one's own.keras": lambda path: linked(path, holders(900), 900, archived=True),
    "layers of different classes.h5": lambda path: linked(
        path, begun([layer(f"Mine>C{i}", f"l{i}") for i in range(900)], (1,)), 900
    ),
    "one array under 20,000 names.h5": lambda path: linked(path, begun(dense_pair()), 20_000),
    "one array under 20,000 names.keras": lambda path: linked(path, begun(dense_pair()), 20_000, archived=True),
    "groups in themselves.h5": groups_in_themselves,
    "models called twice, 10 deep.keras": lambda path: archive(path, in_each_other(10, layer("Dropout", "inner"))),
    "models called twice, 9 deep.h5": lambda path: h5(path, in_each_other(9, layer("ReLU", "inner"))),
    "models called twice, 24 deep.keras": lambda path: archive(path, in_each_other(24, layer("Dropout", "inner"))),
    "models in models, 200 deep.keras": lambda path: archive(path, sequentials(200, dense_pair())),
    "models in models, 300 deep.h5": lambda path: h5(path, sequentials(300, repeated("ReLU", 2000))),
    "models beside each other.keras": lambda path: linked(path, beside(1200, [layer("ReLU", "r")]), 4000, archived=True),
    "models beside each other.h5": lambda path: linked(path, sequential([beside(1200, [layer("ReLU", "r")])]), 4000),
    "a layer called again and again.h5": lambda path: packed_kernel(path, MOST_LAYERS),
    "a layer called again and again.keras": lambda path: archive(
        path,
        called("dense", MOST_LAYERS, layer("Dense", "dense", units=WIDTH, use_bias=False)),
        {"layers/dense/vars/0": np.eye(4)},
    ),
    "layers and weights listed 60,000 times.h5": lambda path: names_again(path, 60_000, 60_000),
    "4,000 parts of a list of names.h5": lambda path: parts_of_names(path, 4000),
    "a name of 500 kB.keras": lambda path: archive(path, begun([layer("Softmax", "l" * 500_000), *dense_pair()])),
    "2,000 long names.h5": lambda path: h5(path, begun([layer("LSTM", f"{i}" + "l" * 400) for i in range(2000)])),
    "6,000 members.keras": lambda path: many_members(path, 6000),
    "an input of 100,000 axes.h5": lambda path: h5(path, begun(repeated("ReLU", 2000), [1] * 100_000)),
    "a target of 200,000 axes.keras": lambda path: archive(
        path, begun([layer("Reshape", "r", target_shape=[1] * 200_000 + [4]), *repeated("ReLU", 2000)])
    ),
    "upsampling by 10⁹, 400 times.keras": lambda path: archive(path, begun(conv(400, 10**9), (1, 1, 1))),
    "upsampling by 10³⁰⁰, 400 times.h5": lambda path: h5(path, begun(conv(400, 10**300), (1, 1, 1))),
    "scales of channels over 10⁹ values.keras": lambda path: archive(
        path,
        begun([layer("Rescaling", "s", scale=[1.0, 2.0]), layer("MaxPooling1D", "p", pool_size=2), *dense_pair()], (10**9, 2)),
    ),
    "100,000 means.keras": lambda path: archive(
        path, begun([layer("Normalization", "n", mean=[0.5] * 80_000, variance=[1.0] * 80_000), *dense_pair()], (80_000,))
    ),
    "lists in lists, 900 deep.keras": lambda path: archive(
        path, begun([layer("Rescaling", "r", scale=json.loads("[" * 900 + "]" * 900)), *dense_pair()])
    ),
    "30,000 references in a circle.keras": lambda path: archive(path, many_outputs(20_000)),
    "models and references.keras": lambda path: archive(path, references(2000, 12_000)),
}
COSTLY: Mapping[str, Callable[[Path], Path]] = {**FILES, **GRAPHS}
