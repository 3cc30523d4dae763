"""Crafted .onnx files of at most 1 MB that take much of a reader."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.limits import GRAPH_LAYERS

Node = onnx.NodeProto
LAYERS = GRAPH_LAYERS - 10
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def node(op: str, inputs: list[str], *outputs: str, **attributes: Any) -> Node:
    return helper.make_node(op, inputs, outputs, **attributes)


def write(
    path: Path,
    nodes: list[Node],
    arrays: Mapping[str, np.ndarray] | None = None,
    shape: tuple[Any, ...] = ("n", 4),
    outputs: tuple[str, ...] = ("y",),
    imports: int = 1,
) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in (arrays or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.opset_import.extend([helper.make_opsetid("a", 1)] * (imports - 1))
    onnx.save(model, path)
    return path


def chained(op: str, count: int, *others: str, **attributes: Any) -> list[Node]:
    """An operation of the samples, again and again."""
    names = ["x", *(format(i, "x") for i in range(1, count)), "y"]
    pairs = itertools.pairwise(names)
    return [node(op, [before, *others], after, **attributes) for before, after in pairs]


def constants(op: str, count: int, first: str, *others: str, last: str = "w", **attributes: Any) -> list[Node]:
    """An operation of a constant, again and again; then the samples times the last one."""
    names = [first, *(format(i, "x") for i in range(1, count)), last]
    made = [node(op, [a, *others], b, **attributes) for a, b in itertools.pairwise(names)]
    return [*made, node("MatMul", ["x", last], "y")]


def moved(count: int) -> list[Node]:
    """A constant that is transposed and reshaped in turn."""
    made, name = [], "a"
    for i in range(count):
        made += [node("Transpose", [name], f"t{i}"), node("Reshape", [f"t{i}", "s"], f"r{i}")]
        name = f"r{i}"
    return [*made, node("MatMul", ["x", name], "y")]


def subtracted(count: int) -> list[Node]:
    """Products behind a subtraction, as a decoder that subtracts the encoder's bias."""
    made, name = [], "x"
    for i in range(count):
        last = "y" if i == count - 1 else f"p{i}"
        made += [node("Sub", [name, "b"], f"s{i}"), node("MatMul", [f"s{i}", "k"], last)]
        name = last
    return made


def branches(count: int) -> list[Node]:
    """A chain, each of whose second half is a branch of its own, and all of them joined."""
    trunk = chained("Relu", count)
    ends = [f"b{i}" for i in range(count)]
    return [*trunk, *(node("Tanh", ["y"], end) for end in ends), node("Concat", ends, "z", axis=1)]


def outputs(count: int) -> tuple[list[Node], tuple[str, ...]]:
    nodes = chained("Relu", count)
    return nodes, tuple(each.output[0] for each in nodes)


def twice(depth: int) -> list[Node]:
    """Two sums that are each other's double, depth times."""
    made = []
    for side in "ab":
        name = "c"
        for i in range(depth):
            made.append(node("Add", [name, name], f"{side}{i}"))
            name = f"{side}{i}"
    return made


FOUR = np.eye(4, dtype=np.float32)
S = np.array([4, 4])
LONG = "v" * 300_000


def _outputs(path: Path, count: int) -> Path:
    nodes, names = outputs(count)
    return write(path, nodes, outputs=names)


GRAPHS: Mapping[str, Callable[[Path], Path]] = {
    "Relu.onnx": lambda path: write(path, chained("Relu", LAYERS)),
    "30,000 Relu.onnx": lambda path: write(path, chained("Relu", 30_000)),
    "MatMul of one kernel.onnx": lambda path: write(path, chained("MatMul", LAYERS, "k"), {"k": FOUR}),
    "12,000 Dropout.onnx": lambda path: write(path, chained("Dropout", 12_000)),
    "15,000 Neg behind a large scale.onnx": lambda path: write(
        path,
        [node("Mul", ["x", "c"], "m"), *chained("Neg", 15_000)],
        {"c": np.ones(200_000, np.uint8)},
        ("n", 200_000),
    ),
    "10,000 Add of a large constant.onnx": lambda path: write(
        path, chained("Add", 10_000, "c"), {"c": np.ones(500_000, np.uint8)}, ("n", 500_000)
    ),
    "1,000 Add of constants.onnx": lambda path: write(
        path,
        constants("Add", 1000, "a", "a"),
        {"a": np.ones((4, 60_000), np.float32)},
    ),
    "10,000 Add of small constants.onnx": lambda path: write(path, constants("Add", 10_000, "a", "a"), {"a": FOUR}),
    "Transpose and Reshape.onnx": lambda path: write(path, moved(5000), {"a": FOUR, "s": S}),
    "12,000 Reshape of a constant.onnx": lambda path: write(path, constants("Reshape", 12_000, "a", "s"), {"a": FOUR, "s": S}),
    "Reshape to a long shape.onnx": lambda path: write(
        path, constants("Reshape", 3000, "a", "s"), {"a": FOUR, "s": np.ones(90_000, np.int64)}
    ),
    "12,000 Unsqueeze.onnx": lambda path: write(path, chained("Unsqueeze", 12_000, "s"), {"s": np.array([1])}),
    "subtractions and products.onnx": lambda path: write(
        path, subtracted(LAYERS // 2), {"b": np.ones(4, np.float32), "k": FOUR}
    ),
    "branches of many layers.onnx": lambda path: write(path, branches(LAYERS)),
    "many outputs.onnx": lambda path: _outputs(path, LAYERS),
    "an operand 300,000 times.onnx": lambda path: write(path, [node("Concat", ["x"] * 300_000, "y", axis=1)]),
    "100,000 opsets.onnx": lambda path: write(path, chained("Relu", LAYERS), imports=90_000),
    "an input of 60,000 axes.onnx": lambda path: write(path, chained("Relu", 10_000), shape=("n", *[1] * 60_000)),
    "Resize to 10⁹ places.onnx": lambda path: write(
        path,
        [node("Resize", ["x", "", "f"], "y", **NEAREST)],
        {"f": np.array([1, 1, 2], np.float32)},
        ("n", 2, 10**9),
    ),
    "Resize again and again.onnx": lambda path: write(
        path,
        chained("Resize", 5000, "", "f", **NEAREST),
        {"f": np.array([1, 1, 2], np.float32)},
        ("n", 2, 1),
    ),
    "a name of 900 kB.onnx": lambda path: write(path, [node("Relu", ["x"], LONG), node("LSTM", [LONG, "w", "r"], "y")]),
    "Transpose behind each other.onnx": lambda path: write(
        path, chained("Transpose", 10_000, perm=[0, 2, 1]), shape=("n", 3, 4)
    ),
    "doubled 2,000 times.onnx": lambda path: write(
        path,
        [*twice(2000), node("Mul", ["x", "a1999"], "m"), node("Add", ["m", "b1999"], "y")],
        {"c": np.ones(4, np.float32)},
    ),
    "transposes between many layers.onnx": lambda path: write(
        path,
        [each for i in range(LAYERS // 4) for each in between(i)],
        {"k": FOUR, "p": np.array([-1, 4]), "q": np.array([-1, 2, 2])},
        outputs=(f"y{LAYERS // 4 - 1}",),
    ),
}


def between(i: int) -> list[Node]:
    """A reshape, a transpose and a product."""
    return [
        node("Reshape", ["x" if i == 0 else f"y{i - 1}", "q"], f"q{i}"),
        node("Transpose", [f"q{i}"], f"t{i}", perm=[0, 2, 1]),
        node("Reshape", [f"t{i}", "p"], f"p{i}"),
        node("MatMul", [f"p{i}", "k"], f"y{i}"),
    ]
