"""Layers of people's own classes in files: what their configuration says and leaves open, and what is taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import FormatError, InputError
from tiedae.compress.imports.chain import Affine
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from .model_files import WIDTHS, dense_layers, dense_weights, kernels, sequential, write_h5

ARRAYS = kernels()
OWN = Mapping[str, Any]


def own(path: Path, values: OWN) -> Path:
    """Two Dense layers, and two of one's own class that hold their kernels and have a bias, with these configured values."""
    layers = [*dense_layers()[:2], *({"class_name": "Tied", "config": {"name": name, **values}} for name in ("tied", "tied_1"))]
    held = {"tied": ("dense_1/kernel:0", ARRAYS[2]), "tied_1": ("dense/kernel:0", ARRAYS[0])}
    weights = {name: {kernel: array, f"{name}/b:0": np.ones(len(array), np.float32)} for name, (kernel, array) in held.items()}
    return write_h5(path, sequential(layers), dense_weights(ARRAYS[:4]) | weights)


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({}, ("tied (Tied), tied_1 (Tied): the file names no activation; taken as linear, its code is not read",)),
        ({"activation": "linear"}, ()),
        ({"activation": "relu", "rule": "sigmoid"}, ()),
    ],
)
def test_an_activation_that_no_file_names_is_said(values: OWN, notes: tuple[str, ...], tmp_path: Path) -> None:
    chain = read_model(own(tmp_path / "m.h5", values))
    chain.require_readable()
    assert chain.notes == notes
    assert {pair.status for pair in pairs(chain)} == {"tied"}


@pytest.mark.parametrize("value", ["sigmoid", {"class_name": "function", "config": "tanh"}])
def test_an_activation_under_another_key_is_refused(value: Any, tmp_path: Path) -> None:
    chain = read_model(own(tmp_path / "m.h5", {"rule": value}))
    with pytest.raises(InputError, match=r"tied \(Tied\): its `rule` may be its activation; a key `activation` would say so"):
        chain.require_readable()


@pytest.mark.parametrize("policy", ["float16", "bfloat16", {"class_name": "Policy", "config": {"name": "mixed_float16"}}])
def test_a_model_that_computes_in_half_precision_is_said(policy: Any, tmp_path: Path) -> None:
    name = policy if isinstance(policy, str) else "mixed_float16"
    chain = read_model(write_h5(tmp_path / "m.h5", sequential(dense_layers(dtype=policy)), dense_weights(ARRAYS)))
    assert chain.notes == (f"it computes in {name}; taken in float32",)


def test_a_function_of_code_in_an_activation_is_refused_by_name(tmp_path: Path) -> None:
    layers = dense_layers()
    layers[1]["config"]["activation"] = {"value": ["4wEAAAAAAAAAAAAAAAEAAAADAAAA", None, None]}
    chain = read_model(write_h5(tmp_path / "m.h5", sequential(layers), dense_weights(ARRAYS)))
    with pytest.raises(InputError, match=r"m\.h5: dense_1 \(Dense\): is code that the file holds"):
        chain.require_readable()
    assert len(chain.products) == 4


def test_a_scale_per_value_is_read_as_keras_3_writes_it(tmp_path: Path) -> None:
    scale = {"class_name": "__numpy__", "config": {"value": list(range(1, WIDTHS[1] + 1)), "dtype": "float64"}}
    layers = dense_layers()
    layers.insert(1, {"class_name": "Rescaling", "config": {"name": "scaled", "scale": scale, "offset": 0.5}})
    chain = read_model(write_h5(tmp_path / "m.h5", sequential(layers), dense_weights(ARRAYS)))
    (found,) = [layer for layer in chain.layers if isinstance(layer, Affine)]
    np.testing.assert_array_equal(found.scale, range(1, WIDTHS[1] + 1))


def test_square_layers_in_a_row_are_mirrored_from_the_last(tmp_path: Path) -> None:
    widths = (8, 5, 5, 5)
    arrays = kernels(widths)
    layers, names = dense_layers(widths), ("tied", "tied_1", "tied_2")
    layers += [{"class_name": "Tied", "config": {"name": name, "activation": "linear"}} for name in names]
    biases = {name: {f"{name}/b:0": np.ones(n, np.float32)} for name, n in zip(names, (5, 5, 8), strict=True)}
    chain = read_model(write_h5(tmp_path / "m.h5", sequential(layers), dense_weights(arrays) | biases))
    chain.require_readable()
    variables = [product.kernel.variable for product in chain.products]
    assert variables[3:] == variables[2::-1] and [product.transposed for product in chain.products[3:]] == [True] * 3
    assert {pair.status for pair in pairs(chain)} == {"assumed"}


@pytest.mark.parametrize(("index", "size"), [(0, 0), (0, 8), (1, 1 << 20)])
def test_texts_that_do_not_fill_their_collection_are_damage(index: int, size: int, tmp_path: Path) -> None:
    """libhdf5 1.14 searches free space of 0 bytes for ever."""
    path = own(tmp_path / "m.h5", {})
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 2], data[at + 8 : at + 16] = index.to_bytes(2, "little"), size.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"m\.h5: is damaged: .*has {size:,} for one of them at byte 16"):
        read_model(path)
