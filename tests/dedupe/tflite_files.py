"""Small .tflite files of other shapes than ours, for the tests of `dedupe`."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.export.tflite.schema import int32, pack_model

from ..runtimes.opening import open_tflite

Op = schema.BuiltinOperator
Activation = schema.ActivationFunctionType
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "bool": 6, "int8": 9}
KINDS = {
    schema.FullyConnectedOptionsT: schema.BuiltinOptions.FullyConnectedOptions,
    schema.BatchMatMulOptionsT: schema.BuiltinOptions.BatchMatMulOptions,
    schema.AddOptionsT: schema.BuiltinOptions.AddOptions,
    schema.IfOptionsT: schema.BuiltinOptions.IfOptions,
    schema.WhileOptionsT: schema.BuiltinOptions.WhileOptions,
    schema.GatherOptionsT: schema.BuiltinOptions.GatherOptions,
    schema.Conv2DOptionsT: schema.BuiltinOptions.Conv2DOptions,
}


class File:
    """A file of one or more subgraphs, a signature each, in which every constant has a buffer of its own."""

    def __init__(self) -> None:
        self.buffers: list[bytes] = [b""]
        self.codes: list[tuple[int, int]] = []
        self.graphs: list[schema.SubGraphT] = []
        self.metadata: list[schema.MetadataT] = []

    def graph(self, name: str) -> Graph:
        self.graphs.append(schema.SubGraphT(tensors=[], operators=[], name=name))
        return Graph(self, self.graphs[-1])

    def note(self, name: str, content: bytes) -> None:
        self.buffers.append(content)
        self.metadata.append(schema.MetadataT(name=name, buffer=len(self.buffers) - 1))

    def data(self, **fields) -> bytes:
        model = schema.ModelT(
            version=3,
            operatorCodes=[schema.OperatorCodeT(min(code, 127), None, version, code) for code, version in self.codes],
            subgraphs=self.graphs,
            description="of the tests",
            buffers=[schema.BufferT(np.frombuffer(data, np.uint8)) for data in self.buffers],
            metadata=self.metadata,
            signatureDefs=[self._signature(index, graph) for index, graph in enumerate(self.graphs)],
            **fields,
        )
        return pack_model(model)

    def _signature(self, index: int, graph: schema.SubGraphT) -> schema.SignatureDefT:
        inputs, outputs = (
            [schema.TensorMapT(name=graph.tensors[i].name, tensorIndex=int(i)) for i in indices]
            for indices in (graph.inputs, graph.outputs)
        )
        return schema.SignatureDefT(inputs=inputs, outputs=outputs, signatureKey=graph.name, subgraphIndex=index)


class Graph:
    def __init__(self, file: File, table: Any) -> None:
        self.file, self.table = file, table

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32", scale=None, zero_point=0, **fields) -> int:
        """An activation; its first dimension is free where it is -1."""
        fixed = tuple(max(size, 1) for size in shape)
        free = int32(shape) if -1 in shape else None
        table = _quantization(scale, zero_point)
        kind = TYPES[dtype]
        fields = {"buffer": 0, "hasRank": True} | fields
        self.table.tensors.append(
            schema.TensorT(shape=int32(fixed), type=kind, name=name, quantization=table, shapeSignature=free, **fields)
        )
        return len(self.table.tensors) - 1

    def constant(self, name: str, values: np.ndarray, scale=None, zero_point=0, **fields) -> int:
        self.file.buffers.append(values.tobytes())
        buffer = len(self.file.buffers) - 1
        return self.tensor(name, values.shape, values.dtype.name, scale, zero_point, buffer=buffer, **fields)

    def add(self, code: int, inputs: list[int], outputs: list[int], options=None, version: int = 1) -> None:
        if (code, version) not in self.file.codes:
            self.file.codes.append((code, version))
        kind = KINDS[type(options)] if options is not None else 0
        index = self.file.codes.index((code, version))
        self.table.operators.append(
            schema.OperatorT(index, int32(inputs), int32(outputs), builtinOptionsType=kind, builtinOptions=options)
        )

    def set_io(self, inputs: list[int], outputs: list[int]) -> None:
        self.table.inputs, self.table.outputs = int32(inputs), int32(outputs)


def _quantization(scale, zero_point) -> schema.QuantizationParametersT | None:
    if scale is None:
        return None
    scales = np.atleast_1d(np.asarray(scale, np.float32))
    return schema.QuantizationParametersT(scale=scales, zeroPoint=np.full(scales.size, zero_point, np.int64))


def tied_pair(*, bias=True, activation=Activation.NONE, rank=2, seed=0, metadata=(), sizes=(12, 8), **options) -> bytes:
    """x → FULLY_CONNECTED(W) → h → FULLY_CONNECTED(Wᵀ, bias, activation) → y in float32, W stored in both orders."""
    rng, file = np.random.default_rng(seed), File()
    inputs, units = sizes
    kernel = rng.normal(size=(units, inputs)).astype(np.float32)
    graph = file.graph("main")
    lead = (-1,) + (2,) * (rank - 2)
    x, h, y = (graph.tensor(name, (*lead, size)) for name, size in (("x", inputs), ("h", units), ("y", inputs)))
    first = graph.constant("first", kernel)
    second = graph.constant("second", np.ascontiguousarray(kernel.T))
    last = graph.constant("bias", rng.normal(size=inputs).astype(np.float32)) if bias else -1
    graph.add(Op.FULLY_CONNECTED, [x, first, -1], [h], schema.FullyConnectedOptionsT(keepNumDims=rank > 2))
    options = {"keepNumDims": rank > 2, "fusedActivationFunction": activation} | options
    graph.add(Op.FULLY_CONNECTED, [h, second, last], [y], schema.FullyConnectedOptionsT(**options))
    graph.set_io([x], [y])
    for name in metadata:
        file.note(name, b"notes")
    return file.data()


def int8_pair(*, bias: float, activation=Activation.NONE, scales=1, noise=0.0, sizes=(40, 24), seed=0, low=None) -> bytes:
    """The same in int8: per tensor, or (`scales` > 1) a scale per unit of the first, the second quantized on its own.

    `bias` is the standard deviation of the second's bias, in the unit of `y`, whose range starts at 0 where that is its `low`.
    """
    rng, file = np.random.default_rng(seed), File()
    inputs, units = sizes
    real = rng.normal(size=(units, inputs)) * (rng.uniform(0.4, 1, (units, 1)) if scales > 1 else 1)
    steps = [np.abs(kernel).max(1 if scales > 1 else None, keepdims=True) / 127 for kernel in (real, real.T + noise)]
    stored = [np.rint(k / s).astype(np.int8) for k, s in zip((real, real.T + noise), steps, strict=True)]
    graph = file.graph("main")
    x = graph.tensor("x", (-1, inputs), "int8", 1 / 64, 3)
    h = graph.tensor("h", (-1, units), "int8", 0.15, -5)
    low = (0 if activation else -1) if low is None else low
    y = graph.tensor("y", (-1, inputs), "int8", 0.5, -128 if low == 0 else 0)
    first = graph.constant("first", stored[0], steps[0].ravel())
    second = graph.constant("second", stored[1], steps[1].ravel())
    unit = 0.15 * steps[1].ravel().astype(np.float32)
    offsets = np.rint(rng.normal(0, bias, inputs) / unit).astype(np.int32)
    last = graph.constant("bias", offsets, unit) if bias else -1
    graph.add(Op.FULLY_CONNECTED, [x, first, -1], [h], schema.FullyConnectedOptionsT(), 4)
    graph.add(Op.FULLY_CONNECTED, [h, second, last], [y], schema.FullyConnectedOptionsT(fusedActivationFunction=activation), 4)
    graph.set_io([x], [y])
    return file.data()


def hybrid_pair(*, scales=1, near=False, bias=True, asymmetric=False, activation=Activation.NONE, sizes=(40, 24)) -> bytes:
    """The same with float activations and int8 kernels (dynamic range), of which the second has its own `scales` per unit.

    The second's integers are those of the first; if `near`, it is quantized on its own.
    """
    rng, file = np.random.default_rng(0), File()
    inputs, units = sizes
    real = rng.normal(size=(units, inputs)) * rng.uniform(0.4, 1, (units, 1))
    steps = [np.abs(each).max(1 if scales > 1 else None, keepdims=True) / 127 for each in (real, real.T)]
    stored = np.rint(real / steps[0]).astype(np.int8)
    other = np.rint(real.T / steps[1]).astype(np.int8) if near else np.ascontiguousarray(stored.T)
    graph = file.graph("main")
    x, h, y = (graph.tensor(name, (-1, size)) for name, size in (("x", inputs), ("h", units), ("y", inputs)))
    first, second = (
        graph.constant(*each) for each in (("first", stored, steps[0].ravel()), ("second", other, steps[1].ravel()))
    )
    last = graph.constant("bias", rng.normal(size=inputs).astype(np.float32)) if bias else -1
    options = {"asymmetricQuantizeInputs": asymmetric}
    graph.add(Op.FULLY_CONNECTED, [x, first, -1], [h], schema.FullyConnectedOptionsT(**options), 9)
    options["fusedActivationFunction"] = activation
    graph.add(Op.FULLY_CONNECTED, [h, second, last], [y], schema.FullyConnectedOptionsT(**options), 9)
    graph.set_io([x], [y])
    return file.data()


def run(data: bytes, signature: str, x: np.ndarray, runtime: str = "litert-xnnpack") -> dict[str, np.ndarray]:
    return open_tflite(runtime, data).run(signature, x)


def convolution():
    options = schema.Conv2DOptionsT()
    options.padding, options.strideW, options.strideH = schema.Padding.VALID, 1, 1
    return options
