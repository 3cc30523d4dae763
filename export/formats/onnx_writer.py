"""Writes a program as ONNX, every kernel stored once.

A kernel is one initializer [units, inputs]: the encoder reads it by `Gemm` with transB 1, the decoder with transB 0, in the
layout of the TFLite file (ONNX Runtime is equally fast with either). Integer programs are written as QuantizeLinear /
DequantizeLinear pairs around float operations, which ONNX Runtime fuses to QGemm, QLinearSigmoid and QLinearMul. The fusion
needs uint8 activations and an explicit zero point for every kernel.

Kernels are int8. On x86-64 without VNNI, ONNX Runtime adds uint8 × int8 products in pairs that saturate at int16; kernels that
obey the pair rule (`compress.integers`) stay below that. An 8-bit kernel that breaks the rule is stored as uint8 (+ 128): exact
everywhere, slower with VNNI. Kernels of 4 bits or fewer are packed and cast to int8, which ONNX Runtime folds at load.

The fused activation of a `Dense` needs no operation if its bounds are those of uint8; else it is an exact integer `Clip`. The
graph has the signature's name; its uint8 tensors have the names of the program's tensors. Sub and Div, Mul and Add convert an
input or output in the data's unit of measure to and from `NAME.model` (see `file_io`).

Specification: https://onnx.ai/onnx/operators and, for external data, https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...compress.affine import SIGNED_SHIFT, unsigned
from ...compress.errors import ExportError
from ...compress.integers import PAIR_LIMIT
from ..file_io import MODEL, OFFSET, SCALE, FileIO
from ..operations.arithmetic import FUNCTIONS
from ..program import Program, require_signature
from ..score_graph import ANOMALY, CENTRED, SCORE, X, Y, constants, steps
from ..scoring import Detector
from .packing import INT4_BITS, is_packed, require_int4, stored_bytes, stored_kernel

OPSETS = range(13, 24)
PACKED_OPSET = 21
"""The first opset with 4-bit integers."""
PAGE = 4096
"""Alignment of kernels in external data, in bytes, for memory-mapping."""

AXES_OPSET = 18
"""The first opset in which reductions take their axes as an input."""
SCORE_OPERATORS = {
    "subtract": "Sub",
    "absolute": "Abs",
    "least": "Min",
    "multiply": "Mul",
    "pad": "Pad",
    "reshape": "Reshape",
    "mean": "ReduceMean",
    "largest": "ReduceMax",
    "at most": "LessOrEqual",
    "not": "Not",
}
"""The operator of each kind of step of a score."""

EDGE = ".quantized"
"""Suffix of the uint8 tensor behind an input or output of another dtype."""

_ELEMENTS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "float32": TensorProto.FLOAT}


def to_onnx(
    program: Program,
    *,
    signature: str = "reconstruct",
    io: FileIO | str = "auto",
    opset: int = 17,
    int4: str = "packed",
    external: str | None = None,
    detector: Detector | None = None,
) -> bytes:
    """Serialize one signature of a program as an ONNX model.

    Inputs and outputs are `x` [batch, inputs], `code` [batch, units] and `y` [batch, inputs], batch dynamic. In an integer
    program `code` is uint8 and `io` is the dtype of `x` and `y`: uint8, int8 (uint8 − 128, zero point too), float32, or auto
    (uint8 if the program's `x` is bytes, else float32). A float program is float32 throughout. Floats are in scaled values,
    or as a `FileIO` says. `external`: file name of the external data that holds the kernels (`external_kernels`). `int4`:
    storage of kernels of 4 bits or fewer, packed (two values per byte, raises the opset to 21 or later) or bytes. With a
    `detector` the signature may be `score`, see `score_graph`.

    Warns if a kernel breaks the pair rule, which costs speed. Raises InputError for an unknown signature, ExportError for an
    option out of range or a decoder in the split layout.
    """
    if detector is None or signature != SCORE:
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
    graph = OnnxGraphBuilder(program, program.file_io(io), int4)
    if detector is not None and signature == SCORE:
        source, results = graph.write_score(detector, opset)
    else:
        source, results = graph.write(signature)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            signature,
            [source],
            results,
            graph.initializers(external),
        ),
        producer_name="tiedae",
        producer_version=version("tiedae"),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", opset)]),
    )
    return model.SerializeToString(deterministic=True)


def to_onnx_pair(
    program: Program, *, io: FileIO | str = "auto", opset: int = 17, int4: str = "packed", kernels_file: str
) -> tuple[bytes, bytes, bytes]:
    """Serialize encoder and decoder as two models that share external data.

    Returns the encoder, the decoder and the content of `kernels_file`, which must be in their folder. Options as in `to_onnx`.
    """
    encoder, decoder = (
        to_onnx(program, signature=signature, io=io, opset=opset, int4=int4, external=kernels_file)
        for signature in ("encode", "decode")
    )
    return encoder, decoder, external_kernels(program, int4=int4)


def _stored(program: Program, name: str, int4: str) -> np.ndarray:
    """A kernel as stored, [units, inputs]: float32, int8, int4, or uint8 with zero point 128."""
    values = stored_kernel(program, name, int4)
    return unsigned(values) if name in program.exceeding_pairs else values


def external_kernels(program: Program, *, int4: str = "packed") -> bytes:
    """Serialize all kernels, [units, inputs] each: little-endian, in the program's order, aligned to `PAGE`."""
    data = bytearray()
    for name, (offset, _) in _places(program, int4).items():
        data += bytes(offset - len(data)) + stored_bytes(_stored(program, name, int4))
    return bytes(data)


def _places(program: Program, int4: str) -> dict[str, tuple[int, int]]:
    """(offset, length) of each kernel in external data, in bytes."""
    places, end = {}, 0
    for name in program.kernels:
        offset, length = -(-end // PAGE) * PAGE, len(stored_bytes(_stored(program, name, int4)))
        places[name] = offset, length
        end = offset + length
    return places


class OnnxGraphBuilder:
    """The nodes and constants of one model while it is written; a constant is stored once per name.

    `edges` are the dtypes of `x`, `code` and `y`.
    """

    def __init__(self, program: Program, io: FileIO, int4: str) -> None:
        self.program, self.io, self.int4 = program, io, int4
        self.edges = program.io_dtypes(io)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        self.constants[name] = np.asarray(values, dtype)
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def value_info(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, _ELEMENTS[self.edges[name]], ["batch", *self.program.tensors[name].shape])

    def write(self, signature: str) -> tuple[onnx.ValueInfoProto, list[onnx.ValueInfoProto]]:
        """Add the nodes of a signature; returns its input and its outputs."""
        operations, source, results = self.program.part(signature)
        self.enter(source)
        for operation in operations:
            operation.to_onnx(self)
        for name in results:
            self.leave(name)
        return self.value_info(source), [self.value_info(name) for name in results]

    def write_score(self, detector: Detector, opset: int) -> tuple[onnx.ValueInfoProto, list[onnx.ValueInfoProto]]:
        """Add the nodes of the signature `score`; returns its input and its outputs."""
        operations, source, _ = self.program.part("reconstruct")
        self.edges["y"] = "uint8"
        self.enter(source)
        for operation in operations:
            operation.to_onnx(self)
        size = detector.scoring.inputs
        real = "" if self.edges["x"] != "float32" else X if self.scaled_values("x") == "x" else CENTRED
        names = {X: self._real("x", X), Y: self._real("y", Y)}
        for name, values in constants(detector, "fused").items():
            self.constant(name, values, np.float32)
        for step in steps(detector, real=real):
            inputs = [names.get(name, name) for name in step.inputs]
            options: dict[str, Any] = {}
            match step.kind:
                case "reshape":
                    inputs.append(self.constant("score.shape", [-1, *step.shape], np.int64))
                case "pad":
                    inputs.append(self.constant("score.padding", [0, 0, 0, step.shape[0] - size], np.int64))
                case "mean" | "largest":
                    axis = 1 + len(step.shape)
                    options["keepdims"] = 0
                    if opset < AXES_OPSET:
                        options["axes"] = [axis]
                    else:
                        inputs.append(self.constant(f"score.axis.{axis}", [axis], np.int64))
            self.node(SCORE_OPERATORS[step.kind], inputs, step.output, **options)
        outputs = {SCORE: TensorProto.FLOAT, ANOMALY: TensorProto.BOOL}
        return self.value_info(source), [
            helper.make_tensor_value_info(name, element, ["batch"]) for name, element in outputs.items()
        ]

    def _real(self, name: str, label: str) -> str:
        """`x` as given or the integers of `y`, float32 in scaled values.

        Integers by Cast: ONNX Runtime would drop a DequantizeLinear behind the QuantizeLinear of `y`, and with it the rounding.
        """
        dtype, source = self.edges[name], self.scaled_values(name)
        if dtype == "float32":
            return source
        quantization = self.program.quantization(name)
        zero_point = quantization.zero_point - (SIGNED_SHIFT if dtype == "int8" else 0)
        whole = self.node("Cast", [source], f"{label}.integers", to=TensorProto.FLOAT)
        shifted = self.node("Sub", [whole, self.constant(f"{label}.zero", zero_point, np.float32)], f"{label}.shifted")
        return self.node("Mul", [shifted, self.constant(f"{label}.scale", quantization.scale, np.float32)], label)

    def inner(self, name: str) -> str:
        """Name, in the file, of a program tensor in the program's dtype."""
        converted = self.program.quantized and self.edges.get(name, "uint8") != "uint8"
        return name + EDGE if converted else self.scaled_values(name)

    def scaled_values(self, name: str) -> str:
        """Name of an input or output in the file's dtype, and in scaled values if it is float32."""
        return name + MODEL if name in ("x", "y") and self.io.folded is not None else name

    def affine(self, label: str, scale: Any, zero_point: Any, dtype: Any = np.uint8) -> list[str]:
        """Constants of a scale and a zero point, per tensor or per unit."""
        return [self.constant(f"{label}.scale", scale, np.float32), self.constant(f"{label}.zero", zero_point, dtype)]

    def parameters(self, name: str) -> list[str]:
        """Constants of a tensor's scale and zero point."""
        quantization = self.program.quantization(name)
        return self.affine(name, quantization.scale, quantization.zero_point)

    def signed_parameters(self, name: str) -> list[str]:
        """The same for the tensor as int8 (uint8 − 128)."""
        zero_point = self.program.quantization(name).zero_point - SIGNED_SHIFT
        return [self.parameters(name)[0], self.constant(f"{name}.signed.zero", zero_point, np.int8)]

    def dequantize(self, name: str) -> str:
        """Dequantize a uint8 tensor, for one consumer."""
        return self.node("DequantizeLinear", [self.inner(name), *self.parameters(name)], f"{name}.real")

    def quantize(self, real: str, name: str, output: str = "") -> str:
        return self.node("QuantizeLinear", [real, *self.parameters(name)], output or self.inner(name))

    def enter(self, name: str) -> None:
        """Convert the model's input to the program's unit and dtype, if they differ."""
        real = self.scaled_values(name)
        if real != name:
            self._convert(name, name, real, ("Sub", OFFSET), ("Div", SCALE))
        if self.inner(name) != real:
            if self.edges[name] == "int8":
                real = self.node("DequantizeLinear", [name, *self.signed_parameters(name)], f"{name}.edge")
            self.quantize(real, name)

    def leave(self, name: str) -> None:
        """Convert a program tensor to the model's output dtype and unit, if they differ."""
        if self.inner(name) != self.scaled_values(name):
            signed = self.edges[name] == "int8"
            inputs = [self.inner(name), *self.parameters(name)]
            real = self.node("DequantizeLinear", inputs, f"{name}.edge" if signed else self.scaled_values(name))
            if signed:
                self.node("QuantizeLinear", [real, *self.signed_parameters(name)], name)
        if self.scaled_values(name) != name:
            self._convert(name, self.scaled_values(name), name, ("Mul", SCALE), ("Add", OFFSET))

    def _convert(self, name: str, source: str, target: str, *steps: tuple[str, str]) -> None:
        """Two float operations (kind, name of the constant) between the data's unit of measure and scaled values."""
        assert self.io.folded is not None
        values: dict[str, np.ndarray] = dict(zip((OFFSET, SCALE), self.io.folded.float32, strict=True))
        for (kind, label), y in zip(steps, (f"{name}.centred", target), strict=True):
            source = self.node(kind, [source, self.constant(label, values[label], np.float32)], y)

    def kernel(self, name: str) -> str:
        """A kernel as float32, uint8 or int8, for any number of consumers."""
        values = _stored(self.program, name, self.int4)
        first = name not in self.constants
        self.constant(name, values, values.dtype)
        if not is_packed(values):
            return name
        return self.node("Cast", [name], f"{name}.int8", to=TensorProto.INT8) if first else f"{name}.int8"

    def zero_point(self, kernel: str) -> int:
        """Zero point of a kernel: 128 if it is uint8, else 0."""
        return SIGNED_SHIFT if kernel in self.program.exceeding_pairs else 0

    def function(self, name: str, x: str, y: str) -> str:
        """Add a node of an elementwise function."""
        ends = {"relu6.low": 0, "relu6.high": 6} if name == "relu6" else {}
        bounds = [self.constant(label, value, np.float32) for label, value in ends.items()]
        return self.node(FUNCTIONS[name].onnx, [x, *bounds], y)

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
