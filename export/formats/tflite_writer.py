"""Writes a program as a .tflite file in which each kernel is one buffer.

The buffer holds the kernel transposed, [units, inputs]. The encoder's FULLY_CONNECTED and the decoder's BATCH_MATMUL have a
tensor each over that one buffer index: tensors of a .tflite file are views with a quantization of their own. One subgraph and
one signature per entry point; buffers belong to the file, so all signatures share them.

Activations of an int8 file are int8 inside: the program's uint8 value and zero point, less 128. A tensor carries the name that
it has in the program; an input or output of another dtype has the name, and the int8 tensor behind it is `NAME.int8`.

Kernels of 4 bits or fewer are packed, two values a byte. FULLY_CONNECTED reads them so; BATCH_MATMUL does not, before it
stand DEQUANTIZE and QUANTIZE to int8. A kernel with an odd number of inputs, whose rows would begin inside a byte, stays bytes:
XNNPACK leaves such a FULLY_CONNECTED to the builtin kernels, and OpenVINO reads it wrongly.

A code of less than 8 bits is written shifted to the top of int8, where saturation clamps it, and shifted back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...compress.affine import SIGNED_SHIFT, Quantization, signed
from ...compress.errors import ExportError
from ..operations.arithmetic import FUNCTIONS
from ..program import SIGNATURES, Program, require_signature
from .packing import require_int4, stored_bytes, stored_kernel
from .tflite_schema import (
    MIN_VERSION,
    Op,
    buffer_of,
    int32,
    needed_version,
    new_operator,
    pack_model,
    quantization,
    version_buffer,
)

INNER = ".int8"
"""Suffix of the int8 tensor behind an input or output of another dtype."""

SHIFTED = ".shifted"
"""Suffix of the int8 tensor before the shift that clamps a tensor of less than 8 bits."""


def to_tflite(program: Program, *, signatures: Sequence[str] = SIGNATURES, io: str = "auto", int4: str = "packed") -> bytes:
    """Write a program whose decoder is in the split layout as a .tflite file.

    `signatures`: which of encode, decode, reconstruct, in this order; the first is the file's primary subgraph.
    `io`: dtype of `x` and `y` in an int8 file, uint8, int8 or float32; auto is uint8 where `x` is bytes (`affine.BYTE`), else
    float32. `code` is uint8. A float program is float32 everywhere. The batch is dynamic.
    `int4`: how kernels of 4 bits or fewer are stored, packed (two values a byte; the decoder unpacks them) or bytes.
    Raises InputError for another signature, ExportError where the program has no such file.
    """
    for signature in signatures:
        require_signature(signature)
    if not signatures or len(set(signatures)) != len(signatures):
        raise ExportError(f"signatures: got {tuple(signatures)}, must be some of {', '.join(SIGNATURES)}, each once")
    edges = program.io_dtypes(io)
    require_int4(int4)
    empty = schema.BufferT(data=np.empty(0, np.uint8))
    model: Any = schema.ModelT(3, [], [], "tiedae", [empty], signatureDefs=[])
    for index, name in enumerate(signatures):
        graph = TfliteGraphBuilder(program, edges, int4, model).write(name)
        model.subgraphs.append(graph.table(name))
        model.signatureDefs.append(graph.signature(name, index))
    model.metadata = [schema.MetadataT(MIN_VERSION, version_buffer(model, needed_version(model)))]
    return pack_model(model)


class TfliteGraphBuilder:
    """One subgraph in the making: tensors by name, operators in order. `version` is that of most operators."""

    def __init__(self, program: Program, edges: Mapping[str, str], int4: str, model: Any) -> None:
        self.program, self.edges, self.int4 = program, edges, int4
        self.dtype, self.version = ("int8", 2) if program.quantized else ("float32", 1)
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self._model = model
        self._tensors: list[Any] = []
        self._indices: dict[str, int] = {}
        self._operators: list[Any] = []

    def outer(self, name: str) -> int:
        """The tensor that a user sees under the name of a program tensor."""
        return self._activation(name, name, self.edges[name])

    def inner(self, name: str) -> int:
        """The tensor that the operations read and write under the name of a program tensor."""
        converted = self.edges.get(name, self.dtype) != self.dtype
        return self._activation(name, name + INNER if converted else name, self.dtype)

    def _activation(self, name: str, label: str, dtype: str, shape: tuple[int, ...] = ()) -> int:
        tensor = self.program.tensors[name]
        shape = shape or tensor.shape
        table = None
        if dtype != "float32" and tensor.quantization is not None:
            zero_point = tensor.quantization.zero_point - (SIGNED_SHIFT if dtype == "int8" else 0)
            table = quantization([tensor.quantization.scale], zero_point)
        return self._tensor(label, (1, *shape), dtype, table, signature=(-1, *shape))

    def unclamped(self, name: str) -> int:
        """The tensor that an operation writes for `name`; another one than `inner` where its integers have less than 8 bits.

        It is shifted so that the largest of them is int8's largest: saturation is the clamp.
        """
        tensor = self.program.tensors[name]
        own = tensor.quantization
        if own is None or own.bits == 8:
            return self.inner(name)
        shifted = quantization([own.scale], own.zero_point + 127 - own.top)
        return self._tensor(name + SHIFTED, (1, *tensor.shape), self.dtype, shifted, signature=(-1, *tensor.shape))

    def requantized(self, name: str) -> int:
        """The tensor that a QUANTIZE writes for `name`: `y` itself where it is uint8."""
        return self.outer(name) if name == "y" and self.edges["y"] == "uint8" else self.inner(name)

    def kernel(self, name: str, label: str, scales: Sequence[float] | np.ndarray) -> int:
        """A tensor of a kernel, [units, inputs]."""
        whole_rows = self.program.kernels[name].inputs % 2 == 0
        return self.constant(label, stored_kernel(self.program, name, self.int4 if whole_rows else "bytes"), scales)

    def between(self, label: str, name: str, shape: tuple[int, ...]) -> int:
        """A tensor of the values of a program tensor in another shape."""
        return self._activation(name, label, self.dtype, shape)

    def reshape(self, source: int, target: int, shape: tuple[int, ...]) -> None:
        sizes = self.constant(f"shape.{'x'.join(map(str, shape))}", int32((-1, *shape)))
        self.add("RESHAPE", 1, [source, sizes], target)

    def constant(self, label: str, values: np.ndarray, scales: Sequence[float] | np.ndarray = (), zero_point: int = 0) -> int:
        """A tensor over the buffer of these bytes, whichever tensor brought them first; not quantized without `scales`."""
        buffer = buffer_of(self._model, stored_bytes(values))
        table = quantization(scales, zero_point) if len(scales) else None
        return self._tensor(label, values.shape, values.dtype.name, table, buffer=buffer)

    def operand(self, name: str, own: Quantization | None) -> int:
        """A constant of an elementwise operation: uint8 of the program as int8, or float32."""
        values = self.program.constants[name]
        if own is None:
            return self.constant(name, values)
        return self.constant(name, signed(values), [own.scale], own.zero_point - SIGNED_SHIFT)

    def is_packed(self, tensor: int) -> bool:
        return self._tensors[tensor].type == schema.TensorType.INT4

    def unpacked(self, packed: int) -> int:
        """An int8 tensor of the values of a packed constant."""
        tensor = self._tensors[packed]
        real = self._tensor(f"{tensor.name}.real", tensor.shape, "float32", None)
        integers = self._tensor(f"{tensor.name}{INNER}", tensor.shape, "int8", tensor.quantization)
        self.add("DEQUANTIZE", 6, [packed], real)
        self.add("QUANTIZE", 1, [real], integers)
        return integers

    def write(self, signature: str) -> TfliteGraphBuilder:
        """The operations of a signature between the conversions at its inputs and outputs."""
        operations, source, results = self.program.part(signature)
        self.enter(source)
        for operation in operations:
            operation.to_tflite(self)
            if operation.y in results:
                self.leave(operation.y)
        self.outputs.update((name, self.outer(name)) for name in results)
        return self

    def enter(self, name: str) -> None:
        """Make a program tensor an input, and convert it where the file's dtype is another."""
        self.inputs[name] = self.outer(name)
        if self.edges[name] != self.dtype:
            self.add("QUANTIZE", 1, [self.outer(name)], self.inner(name))

    def leave(self, name: str) -> None:
        """Convert an output where the file's dtype is another, unless an operation wrote it itself."""
        if name + INNER in self._indices:
            code, version = ("DEQUANTIZE", 2) if self.edges[name] == "float32" else ("QUANTIZE", 1)
            self.add(code, version, [self.inner(name)], self.outer(name))

    def _tensor(
        self,
        label: str,
        shape: tuple[int, ...],
        dtype: str,
        table: Any,
        *,
        signature: tuple[int, ...] | None = None,
        buffer: int = 0,
    ) -> int:
        if label not in self._indices:
            self._indices[label] = len(self._tensors)
            self._tensors.append(
                schema.TensorT(
                    shape=int32(shape),
                    type=getattr(schema.TensorType, dtype.upper()),
                    buffer=buffer,
                    name=label,
                    quantization=table,
                    shapeSignature=None if signature is None else int32(signature),
                    hasRank=True,
                )
            )
        return self._indices[label]

    def add(self, kind: str, version: int, inputs: Sequence[int], output: int, activation: str = "") -> None:
        """Append an operator; `activation` is the one that it ends with, where it has such an option."""
        ends = getattr(schema.ActivationFunctionType, FUNCTIONS[activation].tflite or "NONE") if activation else 0
        self._operators.append(new_operator(self._model, getattr(Op, kind), version, inputs, output, ends))

    def table(self, name: str) -> schema.SubGraphT:
        return schema.SubGraphT(
            tensors=self._tensors,
            inputs=int32(self.inputs.values()),
            outputs=int32(self.outputs.values()),
            operators=self._operators,
            name=name,
        )

    def signature(self, key: str, index: int) -> schema.SignatureDefT:
        return schema.SignatureDefT(
            inputs=[schema.TensorMapT(name=name, tensorIndex=tensor) for name, tensor in self.inputs.items()],
            outputs=[schema.TensorMapT(name=name, tensorIndex=tensor) for name, tensor in self.outputs.items()],
            signatureKey=key,
            subgraphIndex=index,
        )
