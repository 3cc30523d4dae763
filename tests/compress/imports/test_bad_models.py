"""Bad files of models: one line that names the thing, what it is and what would do, before any array is read."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError, InputError, TiedaeError
from tiedae.compress.imports.chain import Refused
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from .model_files import (
    WIDTHS,
    dense_arrays,
    dense_layers,
    dense_weights,
    functional,
    hdf5_bytes,
    kernels,
    sequential,
    write_archive,
    write_h5,
)

ARRAYS = kernels()
GOOD = sequential(dense_layers())


def h5(path: Path, change: Callable[[h5py.File], object] = lambda file: None, config: Any = GOOD) -> Path:
    """A .h5 file of the model, changed."""
    write_h5(path, config, dense_weights(ARRAYS))
    with h5py.File(path, "a") as file:
        change(file)
    return path


def archive(path: Path, config: Any = GOOD, arrays: dict[str, np.ndarray] | None = None, **options: Any) -> Path:
    return write_archive(path, config, hdf5_bytes(dense_arrays(ARRAYS) if arrays is None else arrays), **options)


def cut(path: Path, share: float) -> Path:
    """Without the end."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def spoiled(path: Path, found: bytes) -> Path:
    """With other bytes where some are found first."""
    data = path.read_bytes()
    path.write_bytes(data.replace(found, bytes(len(found)), 1))
    return path


def replaced(path: Path, value: Callable[[h5py.Group], object]) -> Path:
    """With something else in the place of the first kernel."""

    def change(file: h5py.File) -> None:
        group: Any = file["model_weights/dense/dense"]
        del group["kernel:0"]
        value(group)

    return h5(path, change)


def virtual(group: h5py.Group) -> None:
    layout = h5py.VirtualLayout((12, 6), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (12, 6))
    group.create_virtual_dataset("kernel:0", layout)


def references(group: h5py.Group) -> None:
    group.create_dataset("kernel:0", data=np.array([[group.ref] * 6] * 12, h5py.ref_dtype))


def unstored(group: h5py.Group) -> None:
    group.create_dataset("kernel:0", (1 << 20, 1 << 12), "f4", chunks=(1024, 1024))


def own_group(file: h5py.File) -> None:
    """A group that holds itself."""
    file["model_weights/again"] = file["model_weights"]


def archive_with(path: Path, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    archive(path)
    with zipfile.ZipFile(path, "a", compression) as file, warnings.catch_warnings(action="ignore"):
        file.writestr(name, data)
    return path


def bomb(path: Path, name: str) -> Path:
    """An archive whose member is 64 MiB of zeros."""
    members = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""} | {name: bytes(64 << 20)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, data in members.items():
            file.writestr(member, data)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def other(change: Callable[[list[dict[str, Any]]], object]) -> dict[str, Any]:
    """The model with changed layers."""
    layers = copy.deepcopy(dense_layers())
    change(layers)
    return sequential(layers)


def deep(file: h5py.File) -> None:
    """Models in models, more than the stack holds."""
    file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": [' * 999 + "]}}" * 999


def saved_weights(path: Path) -> Path:
    """What `save_weights` of Keras 2 writes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        file["dense/dense/kernel:0"] = ARRAYS[0]
    return path


TORCH = {"data.pkl": pickle.dumps(1), "version": b"3"}


def torch(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in TORCH.items():
            file.writestr(f"model/{name}", data)
    return path


WHOLE = 'model.save("model.keras") writes would do'
BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "not there": (lambda path: path, "no such file"),
    "empty": (lambda path: written(path, b""), "is no model that can be read: SavedModel, HDF5, .keras, .onnx"),
    "a folder": (lambda path: path.mkdir() or path, "is a folder, must be a file or a SavedModel"),
    "a text": (lambda path: written(path, b"weights"), "is no model that can be read"),
    "JSON named .h5": (
        lambda path: written(path, json.dumps(GOOD).encode()),
        f"is JSON: a topology without weights; the file that {WHOLE}",
    ),
    "a pickle": (lambda path: written(path, pickle.dumps({})), "is a pickle, which is code and is not read"),
    "a model of PyTorch": (torch, "holds a pickle, which is code; torch.onnx.export writes a file that can be read"),
    "another archive": (
        lambda path: archive_with(path, "model.weights.h5", b""),
        "has 2 members model.weights.h5, must have 1",
    ),
    "weights of Keras 2": (saved_weights, f"it has weights and no topology; the file that {WHOLE}"),
    "weights of Keras 3": (lambda path: written(path, hdf5_bytes(dense_arrays(ARRAYS))), "it has weights and no topology"),
    "weights of a class of one's own": (
        lambda path: written(path, hdf5_bytes({"encoder_part/vars/0": ARRAYS[0]})),
        f"it has weights and no topology; the file that {WHOLE}",
    ),
    "HDF5 of something else": (lambda path: written(path, hdf5_bytes({"a/b": ARRAYS[0]})), "holds no Keras model"),
    "cut .h5": (lambda path: cut(h5(path), 0.5), "is damaged: "),
    "cut archive": (lambda path: cut(archive(path), 0.9), "is damaged: "),
    "damaged configuration": (lambda path: spoiled(archive(path), b'"units"'), "is damaged: Bad CRC-32 for file 'config.json'"),
    "damaged weights": (lambda path: written(path, archive(path).read_bytes().replace(b"\x89HDF", b"\x00HDF")), "is damaged: "),
    "bomb of a configuration": (
        lambda path: bomb(path, "config.json"),
        "config.json would take 67,108,864 bytes, of which the archive has 65,",
    ),
    "bomb of weights": (lambda path: bomb(path, "model.weights.h5"), "would take 67,108,864 bytes"),
    "path that climbs out": (
        lambda path: archive_with(path, "../../evil", b"x"),
        "its member ../../evil lies outside the archive",
    ),
    "path of Windows": (lambda path: archive_with(path, "..\\evil", b"x"), "lies outside the archive"),
    "absolute path": (lambda path: archive_with(path, "/etc/passwd", b"x"), "its member /etc/passwd lies outside the archive"),
    "external link": (
        lambda path: replaced(path, lambda group: group.__setitem__("kernel:0", h5py.ExternalLink("other.h5", "/x"))),
        "dense/dense/kernel:0: is a link to other.h5:/x, which is not followed",
    ),
    "soft link": (
        lambda path: replaced(path, lambda group: group.__setitem__("kernel:0", h5py.SoftLink("/model_weights/dense_3"))),
        "is a link to this file:/model_weights/dense_3, which is not followed",
    ),
    "references": (lambda path: replaced(path, references), "kernel:0: holds object references, must hold numbers"),
    "texts": (lambda path: replaced(path, lambda group: group.__setitem__("kernel:0", b"text")), "must hold numbers"),
    "complex numbers": (
        lambda path: replaced(path, lambda group: group.__setitem__("kernel:0", ARRAYS[0] * 1j)),
        "must hold numbers",
    ),
    "external storage": (
        lambda path: replaced(path, lambda group: group.create_dataset("kernel:0", (12, 6), "f4", external="other.bin")),
        "has its values in another file, which is not read",
    ),
    "virtual array": (lambda path: replaced(path, virtual), "has its values in another file, which is not read"),
    "bomb of HDF5": (lambda path: replaced(path, unstored), "would take 34,359,738,368 bytes, of which the file has 0"),
    "a group in itself": (lambda path: h5(path, own_group), "is one of more than 50000 arrays, or more than 64 deep"),
    "wrong shape": (
        lambda path: replaced(path, lambda group: group.__setitem__("kernel:0", ARRAYS[0].T)),
        "dense (Dense): kernel has shape [6, 12], must have [12, 6]",
    ),
    "missing array": (lambda path: replaced(path, lambda group: None), "dense: dense/kernel:0 is missing"),
    "missing layer": (
        lambda path: archive(path, arrays=dense_arrays(ARRAYS[:6])),
        "dense_3 (Dense): kernel is missing: the file has no array",
    ),
    "missing bias": (
        lambda path: archive(
            path, arrays={name: array for name, array in dense_arrays(ARRAYS).items() if name != "layers/dense/vars/1"}
        ),
        "dense (Dense): bias is missing: the file has 0 of it",
    ),
    "units that are a text": (
        lambda path: h5(path, config=other(lambda layers: layers[0]["config"].update(units="6"))),
        "dense (Dense): units: got '6', must be int",
    ),
    "no units": (
        lambda path: h5(path, config=other(lambda layers: layers[0]["config"].pop("units"))),
        "dense (Dense): units: got none, must be int",
    ),
    "a layer that is a number": (
        lambda path: h5(path, config=sequential([5])),
        "sequential (Sequential): got 5, must be a layer with its class_name",
    ),
    "a list": (lambda path: h5(path, config=[1]), "its configuration is a list, must be an object"),
    "no JSON": (
        lambda path: h5(path, lambda file: file.attrs.__setitem__("model_config", "{")),
        "its configuration is no JSON",
    ),
    "a configuration that is a number": (
        lambda path: h5(path, lambda file: file.attrs.__setitem__("model_config", 5)),
        "model_config is int64, must be a text",
    ),
    "nested JSON": (
        lambda path: h5(path, lambda file: file.attrs.__setitem__("model_config", "[" * 10_000)),
        "its configuration is nested too deep",
    ),
    "nested models": (lambda path: h5(path, deep), "its configuration is nested too deep"),
    "shape of other size": (
        lambda path: h5(
            path,
            config=other(lambda layers: layers.append({"class_name": "Reshape", "config": {"name": "r", "target_shape": [5]}})),
        ),
        "r (Reshape): target_shape [5], must have the 12 values of [12]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(name: str, tmp_path: Path) -> None:
    make, text = BAD[name]
    path = make(tmp_path / "model.h5")
    with pytest.raises(FormatError) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_first_bytes_decide_and_not_the_name(tmp_path: Path) -> None:
    assert read_model(h5(tmp_path / "a.keras")).format == "Keras 2.4.0 (HDF5)"
    assert read_model(archive(tmp_path / "a.h5")).format == "Keras 3.10.0 (.keras)"


def test_weights_that_are_no_numbers_are_refused_when_they_are_read(tmp_path: Path) -> None:
    arrays = [ARRAYS[0].copy(), *ARRAYS[1:]]
    arrays[0][3, 4] = np.nan
    chain = read_model(write_h5(tmp_path / "m.h5", GOOD, dense_weights(arrays)))
    with pytest.raises(InputError, match=r"dense/dense/kernel:0: got NaN or infinity, weights must be finite"):
        chain(np.zeros((1, 12)))
    assert [pair.status for pair in pairs(chain)] == ["unknown", "untied"]


REFUSED = {
    "LSTM": (
        {"class_name": "LSTM", "config": {"name": "l", "units": 4}},
        "is recurrent; a dense autoencoder of windows would do",
    ),
    "Lambda": (
        {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEA", None, None]}},
        "is code that the file holds",
    ),
    "LeakyReLU": (
        {"class_name": "LeakyReLU", "config": {"name": "l", "alpha": 0.3}},
        'replace = {LeakyReLU = "relu"} would do',
    ),
    "ReLU with a slope": ({"class_name": "ReLU", "config": {"name": "l", "negative_slope": 0.1}}, 'replace = {ReLU = "relu"}'),
    "elu": ({"class_name": "Activation", "config": {"name": "l", "activation": "elu"}}, 'replace = {elu = "relu"} would do'),
    "a function": (
        {"class_name": "Activation", "config": {"name": "l", "activation": {"class_name": "function", "config": "mine"}}},
        'replace = {mine = "relu"} would do',
    ),
    "Conv3D": ({"class_name": "Conv3D", "config": {"name": "l", "filters": 4}}, "is over three axes; Conv1D or Conv2D"),
    "channels first": (
        {"class_name": "Conv2D", "config": {"name": "l", "data_format": "channels_first"}},
        "is channels_first; the model with data_format='channels_last' would do",
    ),
    "Add": ({"class_name": "Add", "config": {"name": "l"}}, "joins or moves tensors"),
    "BatchNormalization of another axis": (
        {"class_name": "BatchNormalization", "config": {"name": "l", "axis": [2]}},
        "normalizes axis 2, must be the last one",
    ),
    "Normalization of another axis": (
        {"class_name": "Normalization", "config": {"name": "l", "axis": [2], "mean": 0.0, "variance": 1.0}},
        "normalizes axis [2], must be the last one or none",
    ),
    "quantized": (
        {"class_name": "Dense", "config": {"name": "l", "units": 4, "quantization_config": {"class_name": "Int8"}}},
        "is quantized; the float model that it was made of would do",
    ),
    "an operation": (
        {"class_name": "TrueDivide", "module": "keras.src.ops.numpy", "config": {"name": "l"}},
        "is no layer that a chain",
    ),
    "clusters": (
        {"class_name": "ClusterWeights", "config": {"name": "l", "layer": dense_layers()[1]}},
        "is quantization or clustering in training; the model after tfmot's strip_clustering",
    ),
    "a class of one's own": (
        {"class_name": "Mine>Dense", "config": {"name": "l", "units": 4}},
        "is a class whose code is not read",
    ),
    "a package of one's own": (
        {"class_name": "Dense", "module": "mine", "config": {"name": "l", "units": 4}},
        "is a class whose code is not read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_no_chain_has_is_refused_by_name(name: str, tmp_path: Path) -> None:
    layer, text = REFUSED[name]
    config = other(lambda layers: layers.insert(1, layer))
    chain = read_model(h5(tmp_path / "m.h5", config=config))
    with pytest.raises(InputError) as caught:
        chain.require_readable()
    assert str(caught.value).startswith(f"{tmp_path / 'm.h5'}: l (")
    assert text in str(caught.value)
    assert len(chain.products) == 4


def joined(layers: list[dict[str, Any]]) -> None:
    """The last product takes the sum of two layers."""
    add = {"class_name": "Add", "config": {"name": "add"}, "inbound_nodes": [[["dense", 0, 0, {}], ["dense_2", 0, 0, {}]]]}
    layers[-1]["inbound_nodes"] = [[["add", 0, 0, {}]]]
    layers.insert(-1, add)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (joined, "add (Add): takes 2 tensors; each layer of a chain takes 1 and gives 1"),
        (lambda layers: layers[2].update(inbound_nodes=[[["dense", 0, 1, {}]]]), "dense (Dense): gives 2 tensors"),
    ],
)
def test_what_is_no_chain_is_refused_by_name_and_shows_its_products(change, text, tmp_path: Path) -> None:
    config = functional(dense_layers(), WIDTHS[0])
    change(config["config"]["layers"])
    chain = read_model(h5(tmp_path / "m.h5", config=config))
    with pytest.raises(InputError, match=text.replace("(", r"\(").replace(")", r"\)")):
        chain.require_readable()
    assert [pair.status for pair in pairs(chain)] == ["untied", "untied"]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ([["dense_3", 0, 0], ["dense_1", 0, 0]], "model (Functional): has 2 outputs, must have 1"),
        ([["dense_3", 5, 0]], "refers to call 5 of dense_3, which it does not have"),
        ([["nothing", 0, 0]], "refers to call 0 of nothing, which it does not have"),
    ],
)
def test_outputs_of_a_model(output, text, tmp_path: Path) -> None:
    config = functional(dense_layers(), WIDTHS[0])
    config["config"]["output_layers"] = output
    with pytest.raises(InputError) as caught:
        read_model(h5(tmp_path / "m.h5", config=config)).require_readable()
    assert text in str(caught.value)


def test_layers_that_take_each_other_are_no_model(tmp_path: Path) -> None:
    config = functional(dense_layers(), WIDTHS[0])
    config["config"]["layers"][1]["inbound_nodes"] = [[["dense_3", 0, 0, {}]]]
    with pytest.raises(FormatError, match=r"refers to call 0 of"):
        read_model(h5(tmp_path / "m.h5", config=config))


def test_a_sample_of_free_size_is_refused(tmp_path: Path) -> None:
    config = other(lambda layers: layers[0]["config"].update(batch_input_shape=[None, None]))
    chain = read_model(h5(tmp_path / "m.h5", config=config))
    assert isinstance(chain.layers[0], Refused) and "no stated size" in chain.layers[0].reason


def test_a_free_size_is_said_beside_other_reasons(tmp_path: Path) -> None:
    config = other(lambda layers: layers[0]["config"].update(batch_input_shape=[None, None]))
    config["config"]["layers"].append({"class_name": "Softmax", "config": {"name": "last"}})
    reasons = [layer.reason for layer in read_model(h5(tmp_path / "m.h5", config=config)).layers if isinstance(layer, Refused)]
    assert len(reasons) == 2 and "no stated size" in reasons[1]


SCALARS = st.none() | st.booleans() | st.integers(-3, 20) | st.floats(allow_nan=False) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=5
)
CONFIGS = (
    GOOD,
    functional(dense_layers(), WIDTHS[0]),
    sequential([layer for layer, _ in REFUSED.values()]),
    sequential([GOOD]),
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container of a configuration with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_configuration_is_read_or_refused(data: st.DataObject, tmp_path: Path) -> None:
    config = copy.deepcopy(data.draw(st.sampled_from(CONFIGS)))
    container, key = data.draw(st.sampled_from(places(config)))
    container[key] = data.draw(VALUES)
    path = h5(tmp_path / "m.h5", config=config) if data.draw(st.booleans()) else archive(tmp_path / "m.keras", config)
    try:
        chain = read_model(path)
        pairs(chain)
    except TiedaeError as error:
        assert str(path) in str(error)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("make", [h5, archive])
def test_a_changed_byte_is_read_or_refused(data: st.DataObject, make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "m")
    values = bytearray(path.read_bytes())
    values[data.draw(st.integers(0, len(values) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(values)
    try:
        chain = read_model(path)
        chain(np.zeros((1, *chain.shape)))
    except TiedaeError as error:
        assert str(error)
