"""Writes a program as ONNX, every kernel stored once.

A kernel is one initializer [units, inputs] that both directions read: `Gemm` with transB 1 encodes, with transB 0 decodes.
(ONNX Runtime is equally fast with the transposed layout; this one is the layout of the TFLite file.) Integer programs are
written as QuantizeLinear / DequantizeLinear pairs around float operations, the form that ONNX Runtime fuses to QGemm,
QLinearSigmoid and QLinearMul. That fusion wants uint8 activations, and an explicit zero point of every kernel.
Kernels are int8. On x86-64 without VNNI, ONNX Runtime adds products of uint8 and int8 in pairs that saturate at int16: kernels
that obey the pair rule (`compress.integers`) cannot reach that. One of 8 bits that breaks the rule is uint8, 128 more than the
program's integers: exact everywhere, and slower with VNNI. Kernels of 4 bits or fewer are packed, two values a byte, and go
through one Cast to int8, which ONNX Runtime does at load.

The fused activation of a `Dense` needs no operation where its bounds are those of uint8; elsewhere it is a `Clip` of the
integers, which is exact. The graph carries the signature's name, its uint8 tensors the names of the program's tensors.

Specification: https://onnx.ai/onnx/operators and, for external data, https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...compress.errors import ExportError
from ...compress.integers import PAIR_LIMIT
from ..interpreter import clamp
from ..program import BYTE, Activate, Dense, Interleave, Program, Quantization, Requantize, Rescale, require_signature
from .contents import UNSIGNED
from .packing import INT4_BITS, is_packed, require_int4, stored_bytes, stored_kernel

OPSETS = range(13, 24)
PACKED_OPSET = 21
"""The first that has 4-bit integers."""
PAGE = 4096
"""Kernels start at multiples of this in external data, so that a runtime can map them into memory."""

EDGE = ".quantized"
"""Ends the name of the uint8 tensor behind an input or output of another dtype."""

IO = ("auto", "uint8", "int8", "float32")
_ELEMENTS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


def to_onnx(
    program: Program,
    *,
    signature: str = "reconstruct",
    io: str = "auto",
    opset: int = 17,
    int4: str = "packed",
    external: str | None = None,
) -> bytes:
    """Serialize one signature of a program as an ONNX model.

    Inputs and outputs are `x` [batch, inputs], `code` [batch, units] and `y` [batch, inputs], batch dynamic. In an integer
    program `code` is uint8 and `io` is the dtype of `x` and `y`: uint8, int8 (uint8 − 128, zero point too), float32, or auto:
    uint8 where the program's `x` is bytes, else float32. A float program is float32 throughout. With `external`, a file name,
    the kernels are left out and referred to at their place in that file, `external_kernels`. `int4`: how kernels of 4 bits or
    fewer are stored, packed (two values a byte; the opset is then 21 or later) or bytes.

    Warns where a kernel breaks the pair rule, which costs speed. Raises InputError for another signature, ExportError for
    another option out of its range or a decoder in the split form.
    """
    require_signature(signature)
    for name, count in program.exceeding_pairs.items():
        text = f"{name}: {count:,} pairs of neighbours add to more than {PAIR_LIMIT}; uint8 in .onnx, slower with VNNI"
        warnings.warn(text, stacklevel=2)
    if opset not in OPSETS:
        raise ExportError(f"opset: got {opset!r}, must be in {OPSETS[0]}…{OPSETS[-1]}")
    if external is not None and (not external or external in (".", "..") or set(external) & set("/\\")):
        raise ExportError(f"external data: got {external!r}, must be a file name without a folder")
    require_int4(int4)
    if int4 == "packed" and program.quantized and any(kernel.bits <= INT4_BITS for kernel in program.kernels.values()):
        opset = max(opset, PACKED_OPSET)
    graph = _Graph(program, _edge_dtype(program, io), int4)
    operations, source, results = program.part(signature)
    table = _INTEGER if program.quantized else _FLOAT
    graph.enter(source)
    for operation in operations:
        if type(operation) not in table:
            form = "the ONNX writer takes a decoder in the fused form, got"
            raise ExportError(f"program {program.name}: {form} {type(operation).__name__} writing {operation.y!r}")
        table[type(operation)](graph, operation)
    for name in results:
        graph.leave(name)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, signature, [graph.port(source)], [graph.port(name) for name in results], graph.initializers(external)
        ),
        producer_name="tiedae",
        producer_version=version("tiedae"),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
    )
    return model.SerializeToString(deterministic=True)


def to_onnx_pair(
    program: Program, *, io: str = "auto", opset: int = 17, int4: str = "packed", kernels_file: str
) -> tuple[bytes, bytes, bytes]:
    """Serialize encoder and decoder as two models over one file of kernels.

    Returns the encoder model, the decoder model and the content of `kernels_file`, which must lie beside both.
    """
    encoder, decoder = (
        to_onnx(program, signature=signature, io=io, opset=opset, int4=int4, external=kernels_file)
        for signature in ("encode", "decode")
    )
    return encoder, decoder, external_kernels(program, int4=int4)


def _stored(program: Program, name: str, int4: str) -> np.ndarray:
    """A kernel as the file holds it, [units, inputs]: float32, int8, int4, or uint8 of zero point `UNSIGNED`."""
    values = stored_kernel(program, name, int4)
    return (values.view(np.uint8) ^ UNSIGNED) if name in program.exceeding_pairs else values


def external_kernels(program: Program, *, int4: str = "packed") -> bytes:
    """All kernels, [units, inputs] each, little-endian and in the program's order, each from the start of a page."""
    data = bytearray()
    for name, (offset, _) in _places(program, int4).items():
        data += bytes(offset - len(data)) + stored_bytes(_stored(program, name, int4))
    return bytes(data)


def _places(program: Program, int4: str) -> dict[str, tuple[int, int]]:
    """Offset and length of each kernel in external data."""
    places, end = {}, 0
    for name in program.kernels:
        offset, length = -(-end // PAGE) * PAGE, len(stored_bytes(_stored(program, name, int4)))
        places[name] = offset, length
        end = offset + length
    return places


def _edge_dtype(program: Program, io: str) -> str:
    if io not in IO:
        raise ExportError(f"io: got {io!r}, must be one of {', '.join(IO)}")
    if not program.quantized:
        if io not in ("auto", "float32"):
            raise ExportError(f"io: got {io!r}, must be float32 in a float program")
        return "float32"
    if io != "auto":
        return io
    return "uint8" if program.tensors["x"].quantization == BYTE else "float32"


class _Graph:
    """The nodes and constants of one model while it is written; a constant is stored once per name.

    `edge` is the dtype of `x` and `y`.
    """

    def __init__(self, program: Program, edge: str, int4: str) -> None:
        self.program, self.edge, self.int4 = program, edge, int4
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def quantization(self, name: str) -> Quantization:
        quantization = self.program.tensors[name].quantization
        if quantization is None:
            raise ExportError(f"program {self.program.name}: tensor {name!r} of an integer program has no quantization")
        return quantization

    def dtype(self, name: str) -> str:
        """The dtype of an input or output of the model."""
        if name in ("x", "y"):
            return self.edge
        return "uint8" if self.program.quantized else "float32"

    def port(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, _ELEMENTS[self.dtype(name)], ["batch", *self.program.tensors[name].shape])

    def inner(self, name: str) -> str:
        """The name, in the file, of a tensor of the program in the program's own dtype."""
        converted = self.program.quantized and name in ("x", "y") and self.edge != "uint8"
        return name + EDGE if converted else name

    def parameters(self, name: str) -> list[str]:
        """The constants of a tensor's scale and zero point."""
        quantization = self.quantization(name)
        return [
            self.constant(f"{name}.scale", quantization.scale, np.float32),
            self.constant(f"{name}.zero", quantization.zero_point, np.uint8),
        ]

    def signed_parameters(self, name: str) -> list[str]:
        """The same for the int8 tensor that is 128 less."""
        zero_point = self.quantization(name).zero_point - 128
        return [self.parameters(name)[0], self.constant(f"{name}.signed.zero", zero_point, np.int8)]

    def dequantize(self, name: str) -> str:
        """The real values of a uint8 tensor, for one consumer."""
        return self.node("DequantizeLinear", [self.inner(name), *self.parameters(name)], f"{name}.real")

    def quantize(self, real: str, name: str, output: str = "") -> str:
        return self.node("QuantizeLinear", [real, *self.parameters(name)], output or self.inner(name))

    def enter(self, name: str) -> None:
        """Convert the model's input to the program's tensor, where their dtypes differ."""
        if self.inner(name) == name:
            return
        if self.edge == "int8":
            real = self.node("DequantizeLinear", [name, *self.signed_parameters(name)], f"{name}.edge")
            self.quantize(real, name)
        else:
            self.quantize(name, name)

    def leave(self, name: str) -> None:
        """Convert the program's tensor to the model's output, where their dtypes differ."""
        if self.inner(name) == name:
            return
        if self.edge == "int8":
            real = self.node("DequantizeLinear", [self.inner(name), *self.parameters(name)], f"{name}.edge")
            self.node("QuantizeLinear", [real, *self.signed_parameters(name)], name)
        else:
            self.node("DequantizeLinear", [self.inner(name), *self.parameters(name)], name)

    def kernel(self, name: str) -> str:
        """The values of a kernel, float32, uint8 or int8, for any number of consumers."""
        values = _stored(self.program, name, self.int4)
        first = name not in self.constants
        self.constant(name, values, values.dtype)
        if not is_packed(values):
            return name
        return self.node("Cast", [name], f"{name}.int8", to=TensorProto.INT8) if first else f"{name}.int8"

    def initializers(self, external: str | None) -> list[TensorProto]:
        places = {} if external is None else _places(self.program, self.int4)
        tensors = []
        for name, values in self.constants.items():
            tensor = numpy_helper.from_array(values, name)
            if name in places:
                offset, length = places[name]
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in (("location", external), ("offset", offset), ("length", length)):
                    tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
        return tensors


def _dense(graph: _Graph, operation: Dense) -> None:
    program, name = graph.program, operation.kernel
    kernel = program.kernels[name]
    scales = np.array(kernel.decode_scales if operation.transposed else kernel.encode_scales, np.float32)
    suffix = ".unit" if len(scales) > 1 else ""
    if not suffix:
        scales = scales[0]
    zero, dtype = (UNSIGNED, np.uint8) if name in program.exceeding_pairs else (0, np.int8)
    inputs = [
        graph.kernel(name),
        graph.constant(f"{name}{suffix}.scale", scales, np.float32),
        graph.constant(f"{name}{suffix}.zero", np.full_like(scales, zero), dtype),
    ]
    axis = {"axis": 0} if scales.ndim else {}
    operands = [graph.dequantize(operation.x), graph.node("DequantizeLinear", inputs, f"{operation.y}.kernel", **axis)]
    if operation.bias is not None:
        bias = graph.constant(operation.bias, program.constants[operation.bias], np.int32)
        unit = graph.constant(f"{bias}.scale", np.float32(graph.quantization(operation.x).scale) * scales, np.float32)
        operands.append(graph.node("DequantizeLinear", [bias, unit], f"{bias}.real", **axis))
    real = graph.node("Gemm", operands, f"{operation.y}.sum", transB=int(not operation.transposed))
    low, high = clamp(operation.activation, graph.quantization(operation.y))
    if (low, high) == (0, 255):
        graph.quantize(real, operation.y)
        return
    bounds = [graph.constant(f"{operation.y}.{bound}", value, np.uint8) for bound, value in (("low", low), ("high", high))]
    free = graph.quantize(real, operation.y, f"{operation.y}.free")
    graph.node("Clip", [free, *bounds], graph.inner(operation.y))


def _rescale(graph: _Graph, operation: Rescale) -> None:
    name, quantization = operation.factors, operation.quantization
    inputs = [
        graph.constant(name, graph.program.constants[name], np.uint8),
        graph.constant(f"{name}.scale", quantization.scale, np.float32),
        graph.constant(f"{name}.zero", quantization.zero_point, np.uint8),
    ]
    factors = graph.node("DequantizeLinear", inputs, f"{name}.real")
    graph.quantize(graph.node("Mul", [graph.dequantize(operation.x), factors], f"{operation.y}.product"), operation.y)


def _function(graph: _Graph, function: str, x: str, y: str) -> str:
    if function == "relu6":
        bounds = [graph.constant("relu6.low", 0, np.float32), graph.constant("relu6.high", 6, np.float32)]
        return graph.node("Clip", [x, *bounds], y)
    return graph.node({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[function], [x], y)


def _activate(graph: _Graph, operation: Activate) -> None:
    real = _function(graph, operation.function, graph.dequantize(operation.x), f"{operation.y}.function")
    graph.quantize(real, operation.y)


def _requantize(graph: _Graph, operation: Requantize) -> None:
    graph.quantize(graph.dequantize(operation.x), operation.y)


def _interleave(graph: _Graph, operation: Interleave) -> None:
    (size,) = graph.program.tensors[operation.x].shape
    shapes = {"parts": (0, operation.ways, size // operation.ways), "row": (0, size)}  # 0: the batch as it is
    parts, row = (graph.constant(f"{operation.y}.{end}", shape, np.int64) for end, shape in shapes.items())
    split = graph.node("Reshape", [graph.inner(operation.x), parts], f"{operation.y}.split")
    turned = graph.node("Transpose", [split], f"{operation.y}.turned", perm=(0, 2, 1))
    graph.node("Reshape", [turned, row], graph.inner(operation.y))


def _float_dense(graph: _Graph, operation: Dense) -> None:
    operands = [operation.x, graph.kernel(operation.kernel)]
    if operation.bias is not None:
        operands.append(graph.constant(operation.bias, graph.program.constants[operation.bias], np.float32))
    linear = operation.activation == "linear"
    total = graph.node("Gemm", operands, operation.y if linear else f"{operation.y}.sum", transB=int(not operation.transposed))
    if not linear:
        _function(graph, operation.activation, total, operation.y)


def _float_activate(graph: _Graph, operation: Activate) -> None:
    _function(graph, operation.function, operation.x, operation.y)


_INTEGER: Mapping[type, Callable[..., None]] = {
    Dense: _dense,
    Rescale: _rescale,
    Activate: _activate,
    Requantize: _requantize,
    Interleave: _interleave,
}
_FLOAT: Mapping[type, Callable[..., None]] = {Dense: _float_dense, Activate: _float_activate, Interleave: _interleave}
