"""The worst values in every number, list and text that a model's layers and operations have: each is read, or one line."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tiedae.base.errors import TiedaeError
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.dedupe.models import inspect_model

from . import conv_graphs, onnx_graphs
from .layer_files import LAYERS
from .model_files import dense_layers, functional, hdf5_bytes, kernels, sequential, write_archive, write_h5

WORST: tuple[Any, ...] = (None, -1, 0, 1.5, 10**400, -(10**400), float("nan"), "x", "", [], [[]], {}, True, 2**63, [1.5, "x"])
WORST += (json.loads("[" * 200 + "]" * 200), [10**400], {"class_name": "x"}, [[1], [1, 2]])
MISSING = object()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container of a configuration with each of its keys."""
    for key, inner in (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from places(inner)


def changed(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configuration with each of its values missing or the worst, and what was changed."""
    for i in range(len(list(places(config)))):
        for value in (MISSING, *WORST):
            whole = copy.deepcopy(config)
            container, key = list(places(whole))[i]
            if value is MISSING:
                del container[key]
            else:
                container[key] = value
            yield f"{key} = {'missing' if value is MISSING else repr(value)[:40]}", whole


def ended(path: Path) -> str:
    """How a reader of a file ends where that is no value and no line: the error."""
    try:
        with warnings.catch_warnings(action="error"):
            inspect_model(path)
            chain = read_model(path)
            mirror(chain, tie=None).weights()
    except TiedaeError as error:
        return f"several lines: {error}" if "\n" in str(error) else ""
    except Exception as error:  # noqa: BLE001 (what this looks for)
        return repr(error)[:200]
    return ""


@pytest.mark.ci
@pytest.mark.parametrize("name", LAYERS)
def test_the_worst_values_of_a_configuration_are_read_or_one_line(name: str, tmp_path: Path) -> None:
    layers, arrays = LAYERS[name]
    weights = hdf5_bytes(arrays)
    bad = {}
    for what, config in changed(sequential(layers)):
        if error := ended(write_archive(tmp_path / "m.keras", config, weights)):
            bad[what] = error
    assert not bad


@pytest.mark.ci
def test_the_worst_values_of_a_configuration_in_hdf5(tmp_path: Path) -> None:
    """The same configuration, of a model that calls its layers, and its arrays by name."""
    arrays = kernels((4, 2, 4))
    weights = {
        name: {f"{name}/kernel:0": arrays[i], f"{name}/bias:0": arrays[i + 1]} for i, name in ((0, "dense"), (2, "dense_1"))
    }
    configs = changed(functional(dense_layers((4, 2, 4)), 4))
    bad = {what: error for what, config in configs if (error := ended(write_h5(tmp_path / "m.h5", config, weights)))}
    assert not bad


INTEGERS = (-1, 0, 1, 2, 3, 2**31, 2**63 - 1, -(2**63))
REALS = (0.0, -1.0, 1.5, float("nan"), float("inf"), -float("inf"))


def worst_attribute(attribute: onnx.AttributeProto) -> Iterator[onnx.AttributeProto]:
    """An attribute with the worst values of its type; lists also empty, long, and with one value more."""
    for field, values in (("ints", INTEGERS), ("floats", REALS)):
        before = list(getattr(attribute, field))
        lists = [[value] * count for value in values for count in (len(before), 1)] if before else []
        for each in [*lists, [], before[:-1], [*before, *before[:1]], [*before, 2**31 - 1] * 20] if before else []:
            found = copy.deepcopy(attribute)
            del getattr(found, field)[:]
            getattr(found, field).extend(each)
            yield found
    for kind, field, values in (
        ("INT", "i", INTEGERS),
        ("FLOAT", "f", REALS),
        ("STRING", "s", (b"", b"\xff\xfe", b"SAME_UPPER", b"x")),
    ):
        for value in values if attribute.type == onnx.AttributeProto.AttributeType.Value(kind) else ():
            found = copy.deepcopy(attribute)
            setattr(found, field, value)
            yield found


def worst_constants(values: np.ndarray) -> Iterator[np.ndarray]:
    """A constant with the worst values of its dtype, and of other shapes."""
    worst = INTEGERS if values.dtype.kind == "i" else REALS
    kept = [
        each for each in worst if values.dtype.kind == "f" or np.iinfo(values.dtype).min <= each <= np.iinfo(values.dtype).max
    ]
    yield from (np.full_like(values, each) for each in kept)
    yield from (
        values.ravel(),
        values[..., None],
        values.ravel()[:0],
        values.ravel()[:1],
        values.ravel()[0],
        np.tile(values.ravel(), 3),
    )
    yield values.astype(np.float64 if values.dtype.kind == "i" else np.int64)


def moving() -> onnx_graphs.Graph:
    """Operations that move, add and repeat axes, and edges of a transposed convolution."""
    graph = conv_graphs.Torch(3, 8)
    graph.add("Unsqueeze", graph.array([2])).add("Squeeze", graph.array([2])).add("Transpose", perm=[0, 2, 1])
    graph.add("Unsqueeze", graph.array([2])).add("Tile", graph.array([1, 1, 2, 1])).view(16, 3).add("Transpose", perm=[0, 2, 1])
    graph.convolution(graph.floats(3, 2, 4), stride=2, back=True)
    graph.add("Slice", graph.array([1]), graph.array([-1]), graph.array([2]), graph.array([1]))
    graph.add("Pad", graph.array([0, 0, 0, 0, 0, 0]), mode="constant").add("Clip", graph.array(np.float32(0)))
    size = graph.weight("Slice", graph.weight("Shape", graph.value), graph.array([0]), graph.array([1]))
    graph.add("Reshape", graph.weight("Concat", size, graph.array([-1]), axis=0)).add("Max", graph.array(np.float32(0)))
    return graph


def constants() -> onnx_graphs.Graph:
    """Operations of constants alone."""
    graph = onnx_graphs.Graph()
    kernel = graph.weight("Squeeze", graph.weight("Unsqueeze", graph.floats(8, 4), graph.array([0])), graph.array([0]))
    for op in ("Add", "Mul", "Max", "Min", "Sub", "Div"):
        kernel = graph.weight(op, kernel, graph.floats(8, 4))
    kernel = graph.weight("Max", kernel, graph.floats(8, 4), graph.floats(8, 4))
    graph.add("MatMul", graph.weight("Flatten", graph.weight("Neg", kernel), axis=1))
    part = graph.weight("Gather", graph.array([4, 4]), graph.array(0), axis=0)
    shape = graph.weight("Concat", graph.array([-1]), graph.weight("Unsqueeze", part, graph.array([0])), axis=0)
    return graph.add("Reshape", shape).add("Gemm", graph.floats(4, 8), graph.floats(8), alpha=0.5, beta=2.0, transB=0, transA=0)


def graphs() -> dict[str, onnx.ModelProto]:
    nets = {f"random net {seed}": onnx_graphs.random_net(seed) for seed in (1, 2, 5)}
    nets |= {"an image": conv_graphs.torch_image(), "axes that move": moving(), "constants": constants()}
    return {name: graph.model() for name, graph in nets.items()}


@pytest.mark.ci
@pytest.mark.parametrize("name", graphs())
def test_the_worst_values_of_a_graph_are_read_or_one_line(name: str, tmp_path: Path) -> None:
    """Each attribute, operand and constant of each node."""
    model, bad, path = graphs()[name], {}, tmp_path / "m.onnx"

    def tried(what: str, changed: onnx.ModelProto) -> None:
        path.write_bytes(changed.SerializeToString())
        if error := ended(path):
            bad[what] = error

    for i, node in enumerate(model.graph.node):
        for j, attribute in enumerate(node.attribute):
            for found in worst_attribute(attribute):
                whole = copy.deepcopy(model)
                whole.graph.node[i].attribute[j].CopyFrom(found)
                tried(f"{node.op_type}.{attribute.name} = {onnx.helper.get_attribute_value(found)!r:.60}", whole)
            whole = copy.deepcopy(model)
            del whole.graph.node[i].attribute[j]
            tried(f"{node.op_type} without {attribute.name}", whole)
        for j in range(len(node.input)):
            for other in ("", "x", *(node.input[:1])):
                whole = copy.deepcopy(model)
                whole.graph.node[i].input[j] = other
                tried(f"{node.op_type} of {other!r} as input {j}", whole)
            whole = copy.deepcopy(model)
            del whole.graph.node[i].input[j]
            tried(f"{node.op_type} without input {j}", whole)
    for i, tensor in enumerate(model.graph.initializer):
        for values in worst_constants(numpy_helper.to_array(tensor)):
            whole = copy.deepcopy(model)
            whole.graph.initializer[i].CopyFrom(numpy_helper.from_array(np.asarray(values), tensor.name))
            tried(f"{tensor.name} = {values!r:.60}", whole)
    assert not bad
