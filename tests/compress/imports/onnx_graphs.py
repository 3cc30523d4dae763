"""Graphs of .onnx files while a test writes them: layers as torch and tf2onnx write them, and random nets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiedae.compress.imports.chain import Chain
from tiedae.compress.imports.formats import read_model

FULL_SCALE = 1e-5


class Graph:
    """A graph while a test writes it: each operation reads the value before it first."""

    def __init__(
        self, shape: tuple[Any, ...] = ("n", 8), *, opset: int = 18, seed: int = 0, dtype: int = TensorProto.FLOAT
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.opset, self.dtype = shape, opset, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.value, self.outputs = "x", []

    def array(self, values: Any, name: str = "") -> str:
        name = name or f"w{len(self.arrays)}"
        self.arrays[name] = np.asarray(values)
        return name

    def floats(self, *shape: int, low: float = -1, high: float = 1) -> str:
        return self.array(self.rng.uniform(low, high, shape).astype(np.float32))

    def add(self, op: str, *inputs: str, first: bool = True, **attributes: Any) -> Self:
        """Append an operation of the value before; not `first`: of `inputs` alone, which may name it."""
        output = f"v{len(self.nodes)}"
        names = [self.value, *inputs] if first else list(inputs)
        self.nodes.append(helper.make_node(op, names, [output], name=f"n{len(self.nodes)}", **attributes))
        self.value = output
        return self

    def weight(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append an operation of constants; its output."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def model(self) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*self.outputs, self.value)]
        start = helper.make_tensor_value_info("x", self.dtype, self.shape)
        arrays = [numpy_helper.from_array(values, name) for name, values in self.arrays.items()]
        graph = helper.make_graph(self.nodes, "net", [start], ends, arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def save(self, folder: Path) -> Path:
        onnx.save(self.model(), folder / "net.onnx")
        return folder / "net.onnx"

    def read(self, folder: Path) -> Chain:
        return read_model(self.save(folder))


def run(path: Path, x: np.ndarray) -> np.ndarray:
    from onnxruntime import InferenceSession

    return np.asarray(InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[-1])


def close(path: Path, chain: Chain, *, seed: int = 0) -> bool:
    """Whether a chain gives what ONNX Runtime gives, of full scale."""
    x = np.random.default_rng(seed).uniform(-2, 2, (16, *chain.shape)).astype(np.float32)
    wanted = run(path, x)
    given = chain(x)
    return given.shape == wanted.shape and bool(np.abs(given - wanted).max() <= FULL_SCALE * np.abs(wanted).max())


# What writers make of layers: torch (Gemm with transB, MatMul by a transposed weight, views) and tf2onnx.


def linear(graph: Graph, width: int, units: int) -> None:
    graph.add("Gemm", graph.floats(units, width), graph.floats(units), transB=1)


def linear_scaled(graph: Graph, width: int, units: int) -> None:
    graph.add("Gemm", graph.floats(width, units), graph.floats(1, units), alpha=0.5, beta=2.0)


def linear_without_bias(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.weight("Transpose", graph.floats(units, width), perm=[1, 0]))


def linear_exported_by_dynamo(graph: Graph, width: int, units: int) -> None:
    transposed = graph.weight("Transpose", graph.weight("Identity", graph.floats(width, units)))
    graph.add("Gemm", transposed, graph.weight("Reshape", graph.floats(1, units), graph.array(np.array([-1]))), transB=1)


def dense(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.floats(width, units)).add("Add", graph.floats(units))


def dense_bias_first(graph: Graph, width: int, units: int) -> None:
    graph.add("MatMul", graph.floats(width, units)).add("Add", graph.floats(1, units), graph.value, first=False)


PRODUCTS = (linear, linear_scaled, linear_without_bias, linear_exported_by_dynamo, dense, dense_bias_first)


def relu6(graph: Graph, width: int) -> None:
    graph.add("Clip", graph.array(np.float32(0)), graph.array(np.float32(6)))


def relu_by_clip(graph: Graph, width: int) -> None:
    graph.add("Clip", graph.array(np.float32(0)))


def relu6_by_min(graph: Graph, width: int) -> None:
    graph.add("Relu").add("Min", graph.array(np.float32(6)))


def batch_norm(graph: Graph, width: int) -> None:
    gamma, beta, mean = (graph.floats(width) for _ in range(3))
    graph.add("BatchNormalization", gamma, beta, mean, graph.floats(width, low=0.1), epsilon=0.001)


def scaled(graph: Graph, width: int) -> None:
    graph.add("Sub", graph.floats(width)).add("Mul", graph.floats(width)).add("Div", graph.floats(1, low=0.5)).add("Neg")


def reversed_operands(graph: Graph, width: int) -> None:
    graph.add("Sub", graph.floats(width), graph.value, first=False).add(
        "Mul", graph.array(np.float32(0.5)), graph.value, first=False
    )


def dropout(graph: Graph, width: int) -> None:
    graph.add("Dropout", graph.array(np.float32(0.5))).add("Identity").add("Cast", to=TensorProto.FLOAT)


def view(graph: Graph, width: int) -> None:
    """x.view(x.size(0), -1, 1).flatten(1), as torch writes it."""
    size = graph.weight("Gather", graph.weight("Shape", graph.value), graph.array(np.int64(0)), axis=0)
    size = graph.weight("Unsqueeze", size, graph.array(np.array([0])))
    shape = graph.weight("Concat", size, graph.array(np.array([-1])), graph.array(np.array([1])), axis=0)
    graph.add("Reshape", shape).add("Flatten", axis=1)


def reshape(graph: Graph, width: int) -> None:
    start = graph.weight("Shape", graph.value, start=0, end=1)
    graph.add("Reshape", graph.weight("Concat", start, graph.array(np.array([1, width])), axis=0))
    graph.add("Reshape", graph.array(np.array([0, -1])))


BETWEEN: tuple[Callable[[Graph, int], Any], ...] = (
    lambda graph, width: graph.add("Relu"),
    lambda graph, width: graph.add("Tanh"),
    lambda graph, width: graph.add("Sigmoid"),
    relu6,
    relu_by_clip,
    relu6_by_min,
    batch_norm,
    scaled,
    reversed_operands,
    dropout,
    view,
    reshape,
)


def random_net(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    graph, width = Graph(seed=seed), 8
    for _ in range(rng.integers(1, 6)):
        for i in rng.permutation(len(BETWEEN))[: rng.integers(0, 4)]:
            BETWEEN[i](graph, width)
        units = int(rng.integers(1, 12))
        PRODUCTS[rng.integers(len(PRODUCTS))](graph, width, units)
        width = units
    return graph


def tied_by_transposing(graph: Graph, kernel: str) -> None:
    """F.linear(F.linear(x, w), w.t())."""
    graph.add("Gemm", kernel, transB=1).add("Gemm", graph.weight("Transpose", kernel, perm=[1, 0]), transB=1)
