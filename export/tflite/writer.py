"""Writes a program as a .tflite file in which each kernel is one buffer.

The buffer holds the kernel transposed, [units, inputs]. The encoder's FULLY_CONNECTED and the decoder's BATCH_MATMUL each have
a tensor over that buffer: a tensor of a .tflite file is a view with its own shape and quantization. There is one subgraph and
one signature per entry point; all of them share the file's buffers.

Activations of an int8 file are int8: the program's uint8 value and zero point − 128. Tensors have the program's names. An input
or output of another dtype has the name, and the int8 tensor behind it is `NAME.int8`, by way of `NAME.real` where XNNPACK alone
runs the file. SUB and DIV, MUL and ADD convert an input or output in the data's unit of measure to and from `NAME.model` (see
`file_io`).

Kernels of 4 bits or fewer are packed, two values per byte. FULLY_CONNECTED reads them directly, BATCH_MATMUL after DEQUANTIZE
and QUANTIZE to int8. A kernel with an odd number of inputs, whose rows would start inside a byte, is stored as bytes: XNNPACK
leaves its FULLY_CONNECTED to the builtin kernels, and OpenVINO reads it wrongly.

A code of fewer than 8 bits is written shifted to the top of int8, where saturation clamps it, and shifted back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import ExportError
from tiedae.config.config import Kernels
from tiedae.program.file_io import FileIO
from tiedae.program.operations import Operation
from tiedae.program.program import SIGNATURES, Program, require_signature
from tiedae.program.score_graph import ANOMALY, CENTRED, GIVEN, SCORE, Step, X, Y, constants, steps
from tiedae.program.scoring import Detector

from ..packing import require_int4
from .builder import INNER, TfliteGraphBuilder
from .operations import TFLITE_OPERATIONS
from .schema import MIN_VERSION, int32, needed_version, pack_model, version_buffer
from .views import has_large_views

SCORE_OPERATORS = {
    "subtract": "SUB",
    "absolute": "ABS",
    "least": "MINIMUM",
    "multiply": "MUL",
    "pad": "PAD",
    "mean": "MEAN",
    "largest": "REDUCE_MAX",
    "at most": "LESS_EQUAL",
    "not": "LOGICAL_NOT",
}
"""The operator of each kind of step of a score."""


def to_tflite(
    program: Program,
    *,
    signatures: Sequence[str] = SIGNATURES,
    io: FileIO | str = "auto",
    int4: str = "packed",
    kernels: Kernels = "view",
    detector: Detector | None = None,
) -> bytes:
    """Serialize a program as a .tflite file with a dynamic batch.

    `signatures`: some of encode, decode, reconstruct; the first is the primary subgraph.
    `io`: dtype of `x` and `y` in an int8 file, uint8, int8 or float32; auto is uint8 if `x` is bytes (`affine.BYTE`), else
    float32. `code` is uint8. A float program is float32 throughout. Floats are in scaled values, or as a `FileIO` says.
    `int4`: storage of kernels of 4 bits or fewer, packed (two values per byte; the decoder unpacks them) or bytes.
    `kernels`: how an operator of the decoder reads a kernel whose axes it needs in another order than the encoder's: a view of
    the buffer (DENSIFY), portable (TRANSPOSE of the constant, which TFLM and OpenVINO have too) or copies (stored twice).
    sparse is view, where a kernel of convolutions or of a view decoder has its values that are not zero and their places
    alone if that is smaller; both directions read it by DENSIFY.
    `detector`: adds the signature `score`, see `score_graph`, to an int8 file.
    Raises InputError for an unknown signature, ExportError for an option or program that has no such file.
    """
    for signature in signatures:
        require_signature(signature)
    if not signatures or len(set(signatures)) != len(signatures):
        raise ExportError(f"signatures: got {tuple(signatures)}, must be some of {', '.join(SIGNATURES)}, each once")
    io = program.file_io(io)
    require_int4(int4)
    if kernels not in get_args(Kernels):
        raise ExportError(f"kernels: got {kernels!r}, must be one of {', '.join(get_args(Kernels))}")
    empty = schema.BufferT(data=np.empty(0, np.uint8))
    model: Any = schema.ModelT(3, [], [], "tiedae", [empty], signatureDefs=[])
    for index, name in enumerate((*signatures, SCORE) if detector else signatures):
        graph = TfliteGraphBuilder(program, io, int4, model, kernels)
        decode = signatures.index("decode") if "decode" in signatures else 0
        if detector and name == SCORE:
            _write_score(graph, detector, decode)
        else:
            _write(graph, name, decode)
        model.subgraphs.append(graph.table(name))
        model.signatureDefs.append(graph.signature(name, index))
    model.metadata = [schema.MetadataT(MIN_VERSION, version_buffer(model, needed_version(model)))]
    return pack_model(model)


def _write(graph: TfliteGraphBuilder, signature: str, decode: int) -> None:
    """Add the operations of a signature and the conversions at its inputs and outputs."""
    operations, source, results = graph.program.part(signature)
    calls = signature == "reconstruct" and _calls(graph, decode)
    graph.enter(source)
    _write_operations(graph, graph.program.encoder if calls else operations, results)
    if calls:
        graph.call(decode, "code", "y")
    graph.outputs.update((name, graph.outer(name)) for name in results)


def _calls(graph: TfliteGraphBuilder, decode: int) -> bool:
    """Whether other signatures call `decode`, the subgraph of this index: it reads large views, and each subgraph unpacks its
    own. Not the primary one, whose place others take for runtimes that run no other, see `with_primary`."""
    return decode > 0 and graph.reads_views and has_large_views(graph.program)


def _write_operations(graph: TfliteGraphBuilder, operations: Sequence[Operation], results: Sequence[str] = ()) -> None:
    for operation in operations:
        TFLITE_OPERATIONS.write(graph, operation)
        if operation.y in results:
            graph.leave(operation.y)


def _write_score(graph: TfliteGraphBuilder, detector: Detector, decode: int) -> None:
    """Add the operations of the signature `score`. `y` is uint8 where it is requantized: XNNPACK rounds that as int8
    in another way. A `decode` whose `y` is uint8 is called."""
    operations, source, _ = graph.program.part("reconstruct")
    calls = graph.edges["y"] == "uint8" and _calls(graph, decode)
    graph.edges["y"] = "uint8"
    graph.enter(source)
    if calls:
        _write_operations(graph, graph.program.encoder, ("code",))
        graph.call(decode, "code", "y")
    else:
        _write_operations(graph, operations)
    x, centred = graph.scaled_values("x"), graph.find(CENTRED)
    real = "" if graph.edges["x"] != "float32" else X if centred is None else CENTRED
    x = x if real else graph.real(x, "x", X)
    inner = graph.find("y" + INNER)
    tensors = {X: x, Y: graph.real(graph.outer("y") if inner is None else inner, "y", Y)}
    tensors |= {} if centred is None else {GIVEN: graph.outer("x"), CENTRED: centred}
    tensors |= {name: graph.constant(name, values) for name, values in constants(detector, graph.program.layout).items()}
    for step in steps(detector, graph.program.tensors["x"].shape, real=real):
        tensors[step.output] = _score_step(graph, step, [tensors[name] for name in step.inputs])
    graph.outputs.update((name, tensors[name]) for name in (SCORE, ANOMALY))


def _score_step(graph: TfliteGraphBuilder, step: Step, inputs: list[int]) -> int:
    output, size = graph.plain(step.output, step.shape, step.dtype), graph.shape(inputs[0])
    match step.kind:
        case "reshape":
            graph.reshape(inputs[0], output, step.shape)
            return output
        case "mean" | "largest":
            inputs = [*inputs, graph.constant(f"score.axis.{len(size)}", int32([len(size)]))]
        case "pad":
            zeros = np.array([[0, 0], [0, step.shape[0] - size[0]]], np.int32)
            inputs = [*inputs, graph.constant("score.padding", zeros)]
    graph.add(SCORE_OPERATORS[step.kind], 1, inputs, output)
    return output
