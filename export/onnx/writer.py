"""Writes a program as ONNX, every kernel stored once.

A kernel is one initializer [units, inputs]: the encoder reads it by `Gemm` with transB 1, the decoder with transB 0, in the
layout of the TFLite file (ONNX Runtime is equally fast with either). Integer programs are written as QuantizeLinear /
DequantizeLinear pairs around float operations, which ONNX Runtime fuses to QGemm and QLinearSigmoid. The fusion
needs uint8 activations and an explicit zero point for every kernel.

A kernel of convolutions is one initializer [units, channels, *sizes], which Conv and ConvTranspose both read (`convolution`).
Between convolutions, pooling and upsampling tensors stay planes, [batch, channels, *lengths], which a file calls NAME.planes;
ONNX Runtime moves the transposes to where none is left in the encoder, and one at each end of the decoder.

Kernels are int8. On x86-64 without VNNI, ONNX Runtime adds uint8 × int8 products in pairs that saturate at int16; kernels that
obey the pair rule (`compress.integers`) stay below that. An 8-bit kernel that breaks the rule is stored as uint8 (+ 128): exact
everywhere, slower with VNNI. Kernels of 4 bits or fewer are packed and cast to int8, which ONNX Runtime folds at load.

The fused activation of a `Dense` needs no operation if its bounds are those of uint8; else it is an exact integer `Clip`. The
graph has the signature's name; its uint8 tensors have the names of the program's tensors, other values numbers. Sub and Div,
Mul and Add convert an input or output in the data's unit of measure to and from `NAME.model` (see `file_io`).

Specification: https://onnx.ai/onnx/operators and, for external data, https://onnx.ai/onnx/repo-docs/ExternalData.html
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tiedae.base.errors import ExportError
from tiedae.compress.integers import PAIR_LIMIT
from tiedae.program.file_io import FileIO
from tiedae.program.program import Program, require_signature
from tiedae.program.score_graph import ANOMALY, CENTRED, SCORE, X, Y, constants, steps
from tiedae.program.scoring import Detector

from ..packing import INT4_BITS, require_int4
from .builder import OnnxGraphBuilder
from .kernels import external_kernels
from .operations import ONNX_OPERATIONS

OPSETS = range(13, 24)
PACKED_OPSET = 21
"""The first opset with 4-bit integers."""
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

    Inputs and outputs are `x`, `code` and `y`, each [batch, *shape], batch dynamic. In an integer program `code` is uint8 and
    `io` is the dtype of `x` and `y`: uint8, int8 (uint8 − 128, zero point too), float32, or auto (uint8 if the program's `x` is
    bytes, else float32). A float program is float32 throughout. Floats are in scaled values, or as a `FileIO` says. `external`:
    file name of the external data that holds the kernels (`external_kernels`). `int4`: storage of kernels of 4 bits or fewer,
    packed (two values per byte, raises the opset to 21 or later) or bytes. With a `detector` the signature may be `score`, see
    `score_graph`.

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
        source, results = _write_score(graph, detector, opset)
    else:
        source, results = _write(graph, signature)
    model = helper.make_model(
        graph.proto(signature, source, results, external),
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


def _write(graph: OnnxGraphBuilder, signature: str) -> tuple[onnx.ValueInfoProto, list[onnx.ValueInfoProto]]:
    """Add the nodes of a signature; returns its input and its outputs."""
    source, results = _write_operations(graph, signature)
    for name in results:
        graph.leave(name)
    return graph.value_info(source), [graph.value_info(name) for name in results]


def _write_operations(graph: OnnxGraphBuilder, signature: str) -> tuple[str, tuple[str, ...]]:
    operations, source, results = graph.program.part(signature)
    graph.enter(source)
    for operation in operations:
        ONNX_OPERATIONS.write(graph, operation)
    for name in results:
        graph.inner(name)
    return source, results


def _write_score(
    graph: OnnxGraphBuilder, detector: Detector, opset: int
) -> tuple[onnx.ValueInfoProto, list[onnx.ValueInfoProto]]:
    """Add the nodes of the signature `score`; returns its input and its outputs."""
    graph.edges["y"] = "uint8"
    source, _ = _write_operations(graph, "reconstruct")
    size = detector.scoring.inputs
    real = "" if graph.edges["x"] != "float32" else X if graph.scaled_values("x") == "x" else CENTRED
    names = {X: graph.real("x", X), Y: graph.real("y", Y)}
    for name, values in constants(detector, "fused").items():
        graph.constant(name, values, np.float32)
    for step in steps(detector, graph.program.tensors["x"].shape, real=real):
        inputs = [names.get(name, name) for name in step.inputs]
        options: dict[str, Any] = {}
        match step.kind:
            case "reshape":
                label = "score.flat" if len(step.shape) == 1 else "score.shape"
                inputs.append(graph.constant(label, [-1, *step.shape], np.int64))
            case "pad":
                inputs.append(graph.constant("score.padding", [0, 0, 0, step.shape[0] - size], np.int64))
            case "mean" | "largest":
                axis = 1 + len(step.shape)
                options["keepdims"] = 0
                if opset < AXES_OPSET:
                    options["axes"] = [axis]
                else:
                    inputs.append(graph.constant(f"score.axis.{axis}", [axis], np.int64))
        graph.node(SCORE_OPERATORS[step.kind], inputs, step.output, **options)
    outputs = {SCORE: TensorProto.FLOAT, ANOMALY: TensorProto.BOOL}
    return graph.value_info(source), [
        helper.make_tensor_value_info(name, element, ["batch"]) for name, element in outputs.items()
    ]
