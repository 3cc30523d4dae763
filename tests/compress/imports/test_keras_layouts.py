"""Layouts of Keras files that no installed Keras writes: all give the same chain, and the same values."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from tiedae.compress.imports.chain import Chain, ChainProduct
from tiedae.compress.imports.formats import read_model

from .model_files import (
    WIDTHS,
    dense_arrays,
    dense_layers,
    dense_weights,
    functional,
    hdf5_bytes,
    kernels,
    reconstructed,
    sequential,
    write_archive,
    write_h5,
)

ARRAYS = kernels()
LAYERS = dense_layers()
RENAMED = [layer | {"config": layer["config"] | {"name": f"layer {i}"}} for i, layer in enumerate(dense_layers())]


def in_archive(path: Path, **options: Any) -> Path:
    """Arrays by path in an archive of the sequential model."""
    config, more = options.pop("config", sequential(LAYERS)), options.pop("archive", {})
    empty = options.pop("empty", ())
    return write_archive(path, config, hdf5_bytes(dense_arrays(ARRAYS, **options), empty=empty), **more)


def named(path: Path) -> Path:
    """Names beside groups that are in another order than the layers."""
    names = [layer["config"]["name"] for layer in RENAMED]
    order = [2, 0, 3, 1]
    groups = ["dense", "dense_1", "dense_2", "dense_3"]
    arrays = {f"layers/{group}/vars/{j}": ARRAYS[2 * i + j] for group, i in zip(groups, order, strict=True) for j in (0, 1)}
    beside = {f"layers/{group}/vars": names[i] for group, i in zip(groups, order, strict=True)}
    return write_archive(path, sequential(RENAMED), hdf5_bytes(arrays, beside))


def ten_or_more(path: Path) -> Path:
    """dense_10 follows dense_9, not dense_1."""
    widths = (12, *(4,) * 11, 12)
    return write_archive(path, sequential(dense_layers(widths)), hdf5_bytes(dense_arrays(kernels(widths))))


def nested_by_keras_2(path: Path) -> Path:
    """Encoder and decoder in a model, whose variables are named without them."""
    weights = dense_weights(ARRAYS)
    groups = {
        "encoder": {name: array for layer in ("dense", "dense_1") for name, array in weights[layer].items()},
        "decoder": {name: array for layer in ("dense_2", "dense_3") for name, array in weights[layer].items()},
    }
    halves = [sequential(LAYERS[:2]), sequential(LAYERS[2:])]
    for half, name in zip(halves, groups, strict=True):
        half["config"]["name"] = name
    return write_h5(path, sequential(halves), groups)


def twice_nested(path: Path) -> Path:
    """A model in a model in a model; all variables are in the group of the outermost."""
    inner = sequential(LAYERS[1:3]) | {"config": {"name": "inner", "layers": LAYERS[1:3]}}
    outer = {"class_name": "Sequential", "config": {"name": "outer", "layers": [LAYERS[0], inner, LAYERS[3]]}}
    arrays = {name: array for layer in dense_weights(ARRAYS).values() for name, array in layer.items()}
    return write_h5(path, sequential([outer]), {"outer": arrays})


def old_sequential(path: Path) -> Path:
    """A list of layers in place of a configuration, as until Keras 2.2."""
    return write_h5(path, {"class_name": "Sequential", "config": LAYERS}, dense_weights(ARRAYS), "2.0.8")


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "sequential .h5": lambda path: write_h5(path, sequential(LAYERS), dense_weights(ARRAYS)),
    "functional .h5": lambda path: write_h5(path, functional(LAYERS, WIDTHS[0]), dense_weights(ARRAYS)),
    "old sequential .h5": old_sequential,
    "names of Keras 3 .h5": lambda path: write_h5(
        path,
        sequential(LAYERS),
        {layer: {name[:-2]: array for name, array in own.items()} for layer, own in dense_weights(ARRAYS).items()},
        "3.14.0",
    ),
    "nested by Keras 2": nested_by_keras_2,
    "twice nested": twice_nested,
    "archive": in_archive,
    "names of groups by class": lambda path: in_archive(path, config=sequential(RENAMED)),
    "names beside groups": named,
    "ten or more": ten_or_more,
    "backslashes": lambda path: in_archive(path, group="layers\\{}/vars"),
    "Keras 2.13": lambda path: in_archive(path, group="_layer_checkpoint_dependencies/{}/vars", archive={"version": "2.13.1"}),
    "gaps": lambda path: in_archive(
        path, group="_layer_checkpoint_dependencies/{}/vars", step=2, empty=["_layer_checkpoint_dependencies/dense_1/vars"]
    ),
    "compressed": lambda path: in_archive(path, archive={"compression": zipfile.ZIP_DEFLATED}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_values(layout: str, tmp_path: Path) -> None:
    chain = read_model(LAYOUTS[layout](tmp_path / "model"))
    arrays = kernels((12, *(4,) * 11, 12)) if layout == "ten or more" else ARRAYS
    x = np.random.default_rng(1).normal(size=(5, 12))
    chain.require_readable()
    assert chain.shape == (12,)
    np.testing.assert_allclose(chain(x), reconstructed(arrays, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "inside", "given"),
    [
        ({"class_name": "Rescaling", "config": {"name": "r", "scale": 0.5, "offset": -1.0}}, {}, lambda x: x / 2 - 1),
        (
            {"class_name": "Normalization", "config": {"name": "n", "axis": [-1], "mean": None, "variance": None}},
            {"n/mean:0": np.arange(12.0), "n/variance:0": np.full(12, 4.0), "n/count:0": np.array(3)},
            lambda x: (x - np.arange(12)) / 2,
        ),
        ({"class_name": "Normalization", "config": {"name": "n", "mean": 1.0, "variance": 0.0}}, {}, lambda x: (x - 1) / 1e-7),
        (
            {"class_name": "Normalization", "config": {"name": "n", "mean": [1.0], "variance": [4.0], "invert": True}},
            {},
            lambda x: 2 * x + 1,
        ),
        ({"class_name": "Dropout", "config": {"name": "d", "rate": 0.5}}, {}, lambda x: x),
        ({"class_name": "GaussianNoise", "config": {"name": "d", "stddev": 0.5}}, {}, lambda x: x),
        (
            {"class_name": "ReLU", "config": {"name": "r", "max_value": 6.0, "negative_slope": 0.0}},
            {},
            lambda x: np.clip(x, 0, 6),
        ),
        ({"class_name": "Activation", "config": {"name": "a", "activation": "tanh"}}, {}, np.tanh),
        (
            {"class_name": "Activation", "config": {"name": "a", "activation": {"class_name": "ReLU", "config": {}}}},
            {},
            lambda x: np.maximum(x, 0),
        ),
        ({"class_name": "Reshape", "config": {"name": "r", "target_shape": [-1, 4]}}, {}, lambda x: x.reshape(-1, 3, 4)),
    ],
)
def test_layers_before_the_first_product(layer, inside, given, tmp_path: Path) -> None:
    layer["config"]["batch_input_shape"] = [None, 12]
    chain = read_model(write_h5(tmp_path / "m.h5", sequential([layer]), {layer["config"]["name"]: inside}))
    x = 10 * np.random.default_rng(1).normal(size=(5, 12))
    np.testing.assert_allclose(chain(x), given(x), rtol=1e-12)
    assert bool(chain.left_out) == (layer["class_name"] in ("Dropout", "GaussianNoise"))


def test_images_are_flattened_and_given_their_shape_again(tmp_path: Path) -> None:
    layers = dense_layers()
    del layers[0]["config"]["batch_input_shape"]
    flat = {
        "class_name": "Flatten",
        "config": {"name": "flatten", "batch_input_shape": [None, 3, 4], "data_format": "channels_last"},
    }
    back = {"class_name": "Reshape", "config": {"name": "reshape", "target_shape": [3, 4]}}
    chain = read_model(write_h5(tmp_path / "m.h5", sequential([flat, *layers, back]), dense_weights(ARRAYS)))
    x = np.random.default_rng(1).normal(size=(5, 3, 4))
    assert chain.shape == (3, 4)
    np.testing.assert_allclose(chain(x), reconstructed(ARRAYS, x.reshape(5, 12)).reshape(5, 3, 4), rtol=1e-12)


def products(chain: Chain) -> list[tuple[str, bool]]:
    return [(layer.kernel.variable, layer.transposed) for layer in chain.layers if isinstance(layer, ChainProduct)]


def test_a_layer_that_is_called_twice_is_twice_in_the_chain(tmp_path: Path) -> None:
    config = functional(dense_layers((12, 12, 12)), 12)
    config["config"]["layers"][1]["inbound_nodes"].append([["dense", 0, 0, {}]])
    config["config"]["layers"][2]["inbound_nodes"] = [[["dense", 1, 0, {}]]]
    chain = read_model(write_h5(tmp_path / "m.h5", config, dense_weights(kernels((12, 12, 12)))))
    assert [name for name, _ in products(chain)] == ["dense/dense/kernel:0"] * 2 + ["dense_1/dense_1/kernel:0"]


def test_arrays_are_read_when_they_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_h5(tmp_path / "m.h5", sequential(LAYERS), dense_weights(ARRAYS))
    read: list[str] = []
    given = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda self, key: read.append(self.name) or given(self, key))
    chain = read_model(path)
    assert not read
    np.testing.assert_array_equal(chain.products[1].kernel.read(), ARRAYS[2])
    assert read == ["/model_weights/dense_1/dense_1/kernel:0"]


MASK = (ARRAYS[0] > 0).astype(np.float32)


def pruned(layer: dict[str, Any]) -> dict[str, Any]:
    """TensorFlow Model Optimization's wrapper of a layer."""
    config = {
        "name": f"prune_{layer['config']['name']}",
        "layer": layer,
        "batch_input_shape": layer["config"]["batch_input_shape"],
    }
    return {"class_name": "PruneLowMagnitude", "config": config}


def pruned_h5(path: Path) -> Path:
    own = {"prune_dense/mask:0": MASK, "prune_dense/threshold:0": np.float32(0.1), "prune_dense/pruning_step:0": np.int64(5)}
    weights = dense_weights(ARRAYS)
    first = {"prune_dense": weights.pop("dense") | own}
    return write_h5(path, sequential([pruned(LAYERS[0]), *LAYERS[1:]]), first | weights)


def pruned_in_a_model(path: Path) -> Path:
    own = {"prune_dense/mask:0": MASK, "prune_dense/threshold:0": np.float32(0.1)}
    arrays = {name: array for layer in dense_weights(ARRAYS).values() for name, array in layer.items()}
    return write_h5(path, sequential([sequential([pruned(LAYERS[0]), *LAYERS[1:]])]), {"sequential": arrays | own})


def pruned_archive(path: Path) -> Path:
    first = {f"layers/prune_low_magnitude/layer/vars/{i}": ARRAYS[i] for i in (0, 1)}
    own = {
        f"layers/prune_low_magnitude/vars/{i}": array for i, array in enumerate((ARRAYS[0], MASK, np.float32(0.1), np.int64(5)))
    }
    others = {path: array for path, array in dense_arrays([ARRAYS[0], ARRAYS[1], *ARRAYS[2:]]).items() if "dense/" not in path}
    renumbered = {path.replace("dense_1/", "dense/"): array for path, array in others.items()}
    return write_archive(path, sequential([pruned(LAYERS[0]), *LAYERS[1:]]), hdf5_bytes(first | own | renumbered))


@pytest.mark.parametrize("make", [pruned_h5, pruned_in_a_model, pruned_archive])
def test_a_pruned_kernel_is_kernel_times_mask(make: Callable[[Path], Path], tmp_path: Path) -> None:
    chain = read_model(make(tmp_path / "model"))
    x = np.random.default_rng(1).normal(size=(5, 12))
    np.testing.assert_array_equal(chain.products[0].matrix(), ARRAYS[0] * MASK)
    np.testing.assert_allclose(chain(x), reconstructed([ARRAYS[0] * MASK, *ARRAYS[1:]], x), rtol=1e-12, atol=1e-12)


def test_a_long_list_of_names_is_in_parts(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "m.h5", sequential(LAYERS), dense_weights(ARRAYS))
    with h5py.File(path, "a") as file:
        for group, name in ((file["model_weights"], "layer_names"), (file["model_weights/dense"], "weight_names")):
            names: Any = group.attrs[name]
            del group.attrs[name]
            group.attrs[f"{name}0"], group.attrs[f"{name}1"] = names[:1], names[1:]
    np.testing.assert_array_equal(read_model(path).products[3].matrix(), ARRAYS[6])


def test_bfloat16_is_two_bytes_and_an_attribute(tmp_path: Path) -> None:
    def two_bytes(values: np.ndarray) -> np.ndarray:
        return values.astype(ml_dtypes.bfloat16).view("V2")

    arrays = dense_arrays(ARRAYS)
    path = tmp_path / "weights.h5"
    path.write_bytes(hdf5_bytes({name: two_bytes(array) for name, array in arrays.items()}))
    with h5py.File(path, "a") as file:
        for name in arrays:
            file[name].attrs["dtype"] = "bfloat16"
    kernel = read_model(write_archive(tmp_path / "m.keras", sequential(LAYERS), path.read_bytes())).products[0].kernel
    assert kernel.dtype == "bfloat16"
    np.testing.assert_array_equal(kernel.read(), ARRAYS[0].astype(ml_dtypes.bfloat16))


def test_bfloat16_of_a_h5_file_is_two_bytes_without_an_attribute(tmp_path: Path) -> None:
    """As `model.save("m.h5")` of Keras 3 writes a model of dtype bfloat16."""
    path = write_h5(tmp_path / "m.h5", sequential(dense_layers()), dense_weights(ARRAYS))
    with h5py.File(path, "a") as file:
        group: Any = file["model_weights/dense/dense"]
        del group["kernel:0"]
        group["kernel:0"] = ARRAYS[0].astype(ml_dtypes.bfloat16).view("V2")
    kernel = read_model(path).products[0].kernel
    assert kernel.dtype == "bfloat16"
    np.testing.assert_array_equal(kernel.read(), ARRAYS[0].astype(ml_dtypes.bfloat16))
