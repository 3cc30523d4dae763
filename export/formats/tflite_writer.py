"""Writes a program as a .tflite file in which each kernel is one buffer.

The buffer holds the kernel transposed, [units, inputs]. The encoder's FULLY_CONNECTED and the decoder's BATCH_MATMUL have a
tensor each over that one buffer index: tensors of a .tflite file are views with a quantization of their own. One subgraph and
one signature per entry point; buffers belong to the file, so all signatures share them.

Activations of an int8 file are int8 inside: the program's uint8 value and zero point, less 128. A tensor carries the name that
it has in the program; where a port needs another dtype, the port has the name and the int8 tensor behind it is `NAME.int8`.

Kernels of 4 bits or fewer are packed, two values a byte. FULLY_CONNECTED reads them so; BATCH_MATMUL does not, before it
stand DEQUANTIZE and QUANTIZE to int8. A kernel with an odd number of inputs, whose rows would begin inside a byte, stays bytes:
XNNPACK leaves such a FULLY_CONNECTED to the builtin kernels, and OpenVINO reads it wrongly.

A code of less than 8 bits is written shifted to the top of int8, where saturation clamps it, and shifted back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...compress.errors import ExportError
from ..program import (
    BYTE,
    SIGMOID_OUTPUT,
    SIGNATURES,
    TANH_OUTPUT,
    Activate,
    AddBias,
    Dense,
    Interleave,
    Operation,
    Product,
    Program,
    Quantization,
    Requantize,
    Rescale,
    require_signature,
)
from .packing import is_packed, require_int4, stored_bytes, stored_kernel
from .tflite_schema import (
    AddOptions,
    BatchMatMulOptions,
    Buffers,
    FullyConnectedOptions,
    MulOptions,
    Op,
    Operator,
    OperatorCodes,
    Tensor,
    TensorMap,
    int32,
    pack,
)
from .tflite_schema import Quantization as QuantizationTable

IO = ("auto", "uint8", "int8", "float32")
INNER = ".int8"
"""Suffix of the int8 tensor behind a port of another dtype."""

SHIFTED = ".shifted"
"""Suffix of the int8 tensor before the shift that clamps a tensor of less than 8 bits."""

_TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "int4": schema.TensorType.INT4,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}
_FUSED = {
    "linear": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_FUNCTIONS = {"sigmoid": Op.LOGISTIC, "tanh": Op.TANH, "relu": Op.RELU, "relu6": Op.RELU6}
_FIXED_OUTPUTS = {"sigmoid": SIGMOID_OUTPUT, "tanh": TANH_OUTPUT}


def to_tflite(program: Program, *, signatures: Sequence[str] = SIGNATURES, io: str = "auto", int4: str = "packed") -> bytes:
    """Write a program whose decoder is in the split form as a .tflite file.

    `signatures`: which of encode, decode, reconstruct, in this order; the first is the file's primary subgraph.
    `io`: dtype of `x` and `y` in an int8 file, uint8, int8 or float32; auto is uint8 where `x` is bytes (`program.BYTE`), else
    float32. `code` is uint8. A float program is float32 everywhere. The batch is dynamic.
    `int4`: how kernels of 4 bits or fewer are stored, packed (two values a byte; the decoder unpacks them) or bytes.
    Raises InputError for another signature, ExportError where the program has no such file.
    """
    for signature in signatures:
        require_signature(signature)
    if not signatures or len(set(signatures)) != len(signatures):
        raise ExportError(f"signatures: got {tuple(signatures)}, must be some of {', '.join(SIGNATURES)}, each once")
    if io not in IO:
        raise ExportError(f"io: got {io!r}, must be one of {', '.join(IO)}")
    if not program.quantized and io not in ("auto", "float32"):
        raise ExportError(f"io: got {io!r}, but a float program has float32 inputs and outputs")
    require_int4(int4)
    edges = _edges(program, io)
    buffers, codes = Buffers(), OperatorCodes()
    graphs = [_lower(program, name, _Graph(program, edges, int4, buffers, codes)) for name in signatures]
    return pack(
        [graph.table(name) for graph, name in zip(graphs, signatures, strict=True)],
        [graph.signature(name, index) for index, (graph, name) in enumerate(zip(graphs, signatures, strict=True))],
        buffers,
        codes,
        "tiedae",
    )


def _edges(program: Program, io: str) -> Mapping[str, str]:
    """The dtype of each port."""
    if not program.quantized:
        return {"x": "float32", "code": "float32", "y": "float32"}
    if io == "auto":
        io = "uint8" if program.tensors["x"].quantization == BYTE else "float32"
    return {"x": io, "code": "uint8", "y": io}


class _Graph:
    """One subgraph in the making: tensors by name, operators in order."""

    def __init__(self, program: Program, edges: Mapping[str, str], int4: str, buffers: Buffers, codes: OperatorCodes) -> None:
        self.program, self.edges, self.int4 = program, edges, int4
        self.dtype = "int8" if program.quantized else "float32"
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self._buffers, self._codes = buffers, codes
        self._tensors: list[Tensor] = []
        self._indices: dict[str, int] = {}
        self._operators: list[Operator] = []

    def port(self, name: str) -> int:
        """The tensor that a user sees under the name of a program tensor."""
        return self._activation(name, name, self.edges[name])

    def inner(self, name: str) -> int:
        """The tensor that the operations read and write under the name of a program tensor."""
        behind_port = self.edges.get(name, self.dtype) != self.dtype
        return self._activation(name, name + INNER if behind_port else name, self.dtype)

    def _activation(self, name: str, label: str, dtype: str, shape: tuple[int, ...] = ()) -> int:
        tensor = self.program.tensors[name]
        shape = shape or tensor.shape
        quantization = None
        if dtype != "float32" and tensor.quantization is not None:
            zero_point = tensor.quantization.zero_point - (128 if dtype == "int8" else 0)
            quantization = _quantization([tensor.quantization.scale], [zero_point])
        return self._tensor(label, (1, *shape), dtype, quantization, signature=(-1, *shape))

    def unclamped(self, name: str) -> int:
        """The tensor that an operation writes for `name`; another one than `inner` where its integers have less than 8 bits.

        It is shifted so that the largest of them is int8's largest: saturation is the clamp.
        """
        tensor = self.program.tensors[name]
        own = tensor.quantization
        if own is None or own.bits == 8:
            return self.inner(name)
        shifted = _quantization([own.scale], [own.zero_point + 127 - own.top])
        return self._tensor(name + SHIFTED, (1, *tensor.shape), self.dtype, shifted, signature=(-1, *tensor.shape))

    def kernel(self, name: str) -> np.ndarray:
        """The values of a kernel as the file holds them, [units, inputs]."""
        whole_rows = self.program.kernels[name].inputs % 2 == 0
        return stored_kernel(self.program, name, self.int4 if whole_rows else "bytes")

    def between(self, label: str, name: str, shape: tuple[int, ...]) -> int:
        """A tensor of the values of a program tensor in another shape."""
        return self._activation(name, label, self.dtype, shape)

    def reshape(self, source: int, target: int, shape: tuple[int, ...]) -> None:
        sizes = self.constant(f"shape.{'x'.join(map(str, shape))}", int32((-1, *shape)))
        self.add(Op.RESHAPE, 1, [source, sizes], target)

    def constant(self, label: str, values: np.ndarray, quantization: QuantizationTable | None = None) -> int:
        """A tensor over the buffer of these bytes, whichever tensor brought them first."""
        buffer = self._buffers.index(stored_bytes(values))
        return self._tensor(label, values.shape, values.dtype.name, quantization, buffer=buffer)

    def unpacked(self, label: str, shape: tuple[int, ...], packed: int, quantization: QuantizationTable) -> int:
        """An int8 tensor of the values of a packed constant."""
        real = self._tensor(f"{label}.real", shape, "float32", None)
        integers = self._tensor(f"{label}{INNER}", shape, "int8", quantization)
        self.add(Op.DEQUANTIZE, 6, [packed], real)
        self.add(Op.QUANTIZE, 1, [real], integers)
        return integers

    def _tensor(
        self,
        label: str,
        shape: tuple[int, ...],
        dtype: str,
        quantization: QuantizationTable | None,
        *,
        signature: tuple[int, ...] | None = None,
        buffer: int = 0,
    ) -> int:
        if label not in self._indices:
            self._indices[label] = len(self._tensors)
            self._tensors.append(
                Tensor(
                    shape=int32(shape),
                    type=_TYPES[dtype],
                    buffer=buffer,
                    name=label,
                    quantization=quantization,
                    shapeSignature=None if signature is None else int32(signature),
                    hasRank=True,
                )
            )
        return self._indices[label]

    def add(self, code: int, version: int, inputs: Sequence[int], output: int, options: Any = None, kind: int = 0) -> None:
        """Append an operator; `kind` is the union member of its options."""
        self._operators.append(
            Operator(
                opcodeIndex=self._codes.index(code, version),
                inputs=int32(inputs),
                outputs=int32([output]),
                builtinOptionsType=kind,
                builtinOptions=options,
            )
        )

    def table(self, name: str) -> schema.SubGraphT:
        return schema.SubGraphT(
            tensors=self._tensors,
            inputs=int32(self.inputs.values()),
            outputs=int32(self.outputs.values()),
            operators=self._operators,
            name=name,
        )

    def signature(self, name: str, index: int) -> schema.SignatureDefT:
        return schema.SignatureDefT(
            inputs=[TensorMap(name=port, tensorIndex=tensor) for port, tensor in self.inputs.items()],
            outputs=[TensorMap(name=port, tensorIndex=tensor) for port, tensor in self.outputs.items()],
            signatureKey=name,
            subgraphIndex=index,
        )


def _quantization(scales: Sequence[float], zero_points: Sequence[int]) -> QuantizationTable:
    return QuantizationTable(scale=np.array(scales, np.float32), zeroPoint=np.array(zero_points, np.int64))


def _int8(values: np.ndarray) -> np.ndarray:
    """A uint8 constant of the program as the file's int8."""
    return (values.astype(np.int16) - 128).astype(np.int8)


def _int8_constant(graph: _Graph, name: str, quantization: Quantization) -> int:
    table = _quantization([quantization.scale], [quantization.zero_point - 128])
    return graph.constant(name, _int8(graph.program.constants[name]), table)


def _lower(program: Program, signature: str, graph: _Graph) -> _Graph:
    """The graph of one signature: its operations between the conversions at the ports."""
    operations, source, results = program.part(signature)
    edges = graph.edges
    graph.inputs[source] = graph.port(source)
    if edges[source] != graph.dtype:
        graph.add(Op.QUANTIZE, 1, [graph.port(source)], graph.inner(source))
    for operation in operations:
        last = operation.y == "y" and edges["y"] == "uint8"
        if isinstance(operation, Requantize) and last:
            graph.add(Op.QUANTIZE, 1, [graph.inner(operation.x)], graph.port("y"))
            continue
        _OPERATIONS[type(operation)](graph, operation)
        if operation.y in results and edges[operation.y] != graph.dtype:
            code, version = (Op.DEQUANTIZE, 2) if edges[operation.y] == "float32" else (Op.QUANTIZE, 1)
            graph.add(code, version, [graph.inner(operation.y)], graph.port(operation.y))
    graph.outputs.update((name, graph.port(name)) for name in results)
    return graph


def _scaled(scales: Sequence[float]) -> QuantizationTable | None:
    return _quantization(scales, [0] * len(scales)) if scales else None


def _dense(graph: _Graph, operation: Dense) -> None:
    program = graph.program
    if operation.transposed:
        raise ExportError(
            f"{operation.y}: TFLite needs the decoder in the split form (Product and AddBias), got a transposed Dense"
        )
    kernel = program.kernels[operation.kernel]
    values = graph.kernel(kernel.name)
    inputs = [graph.inner(operation.x), graph.constant(kernel.name, values, _scaled(kernel.encode_scales)), -1]
    if operation.bias is not None:
        quantization = None
        source = program.tensors[operation.x].quantization
        if source is not None:
            scales = np.float32(source.scale) * np.array(kernel.encode_scales, np.float32)
            quantization = _quantization(scales.tolist(), [0] * len(scales))
        inputs[2] = graph.constant(operation.bias, program.constants[operation.bias], quantization)
    options = FullyConnectedOptions(fusedActivationFunction=_fused(operation))
    version = 1 if not program.quantized else 10 if is_packed(values) else 4
    kind = schema.BuiltinOptions.FullyConnectedOptions
    output = graph.unclamped(operation.y)
    graph.add(Op.FULLY_CONNECTED, version, inputs, output, options, kind)
    if output != graph.inner(operation.y):
        graph.add(Op.QUANTIZE, 1, [output], graph.inner(operation.y))


def _product(graph: _Graph, operation: Product) -> None:
    kernel = graph.program.kernels[operation.kernel]
    values, label = graph.kernel(kernel.name), f"{kernel.name}.decode"
    quantization = _scaled(kernel.decode_scales)
    right = graph.constant(label, values, quantization)
    if quantization is not None and is_packed(values):
        right = graph.unpacked(label, values.shape, right, quantization)
    inputs = [graph.inner(operation.x), right]
    version = 2 if graph.program.quantized else 1
    kind = schema.BuiltinOptions.BatchMatMulOptions
    graph.add(Op.BATCH_MATMUL, version, inputs, graph.inner(operation.y), BatchMatMulOptions(), kind)


def _add_bias(graph: _Graph, operation: AddBias) -> None:
    if operation.quantization is None:
        bias = graph.constant(operation.bias, graph.program.constants[operation.bias])
    else:
        bias = _int8_constant(graph, operation.bias, operation.quantization)
    options = AddOptions(fusedActivationFunction=_fused(operation))
    version = 2 if graph.program.quantized else 1
    kind = schema.BuiltinOptions.AddOptions
    graph.add(Op.ADD, version, [graph.inner(operation.x), bias], graph.inner(operation.y), options, kind)


def _rescale(graph: _Graph, operation: Rescale) -> None:
    source, target = (graph.program.tensors[name].quantization for name in (operation.x, operation.y))
    if source is None or target is None:
        raise ExportError(f"{operation.y}: Rescale belongs to a quantized program, got a float one")
    factors = _int8_constant(graph, operation.factors, operation.quantization)
    version = 3 if source.scale * operation.quantization.scale / target.scale >= 1 else 2
    kind = schema.BuiltinOptions.MulOptions
    graph.add(Op.MUL, version, [graph.inner(operation.x), factors], graph.inner(operation.y), MulOptions(), kind)


def _activate(graph: _Graph, operation: Activate) -> None:
    if operation.function not in _FUNCTIONS:
        raise ExportError(f"{operation.y}: got activation {operation.function!r}, must be one of {', '.join(_FUNCTIONS)}")
    target, fixed = graph.program.tensors[operation.y].quantization, _FIXED_OUTPUTS.get(operation.function)
    if target is not None and fixed is not None and target != fixed:
        raise ExportError(f"{operation.y}: TFLite fixes the output of {operation.function} to {fixed}, got {target}")
    version = 2 if graph.program.quantized else 1
    source = graph.program.tensors[operation.x].quantization
    if source is not None and operation.function in _FUSED:
        # XNNPACK has no int8 RELU of its own and would hand it back to the builtin kernels; fused into ADD it has.
        zero = graph.constant(f"{operation.x}.zero", np.zeros(1, np.int8), _quantization([source.scale], [0]))
        options = AddOptions(fusedActivationFunction=_FUSED[operation.function])
        inputs, kind = [graph.inner(operation.x), zero], schema.BuiltinOptions.AddOptions
        graph.add(Op.ADD, version, inputs, graph.inner(operation.y), options, kind)
    else:
        graph.add(_FUNCTIONS[operation.function], version, [graph.inner(operation.x)], graph.inner(operation.y))


def _requantize(graph: _Graph, operation: Requantize) -> None:
    graph.add(Op.QUANTIZE, 1, [graph.inner(operation.x)], graph.inner(operation.y))


def _interleave(graph: _Graph, operation: Interleave) -> None:
    (size,) = graph.program.tensors[operation.x].shape
    rows = size // operation.ways
    parts = graph.between(f"{operation.y}.split", operation.x, (operation.ways, rows))
    turned = graph.between(f"{operation.y}.turned", operation.x, (rows, operation.ways))
    graph.reshape(graph.inner(operation.x), parts, (operation.ways, rows))
    axes = graph.constant("axes", int32((0, 2, 1)))
    graph.add(Op.TRANSPOSE, 2 if graph.program.quantized else 1, [parts, axes], turned)
    graph.reshape(turned, graph.inner(operation.y), (size,))


def _fused(operation: Dense | AddBias) -> int:
    if operation.activation not in _FUSED:
        raise ExportError(
            f"{operation.y}: got fused activation {operation.activation!r}, must be one of {', '.join(_FUSED)}; "
            "others are an Activate of their own"
        )
    return _FUSED[operation.activation]


_OPERATIONS: Mapping[type[Operation], Callable[[_Graph, Any], None]] = {
    Dense: _dense,
    Product: _product,
    AddBias: _add_bias,
    Rescale: _rescale,
    Activate: _activate,
    Requantize: _requantize,
    Interleave: _interleave,
}
