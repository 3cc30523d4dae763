"""Editing the tables of a .tflite file: who reads a constant, and operators that take the place of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .tflite_schema import RUNTIME_VERSIONS, int32, version_key

Type = schema.TensorType
DTYPES = {Type.FLOAT32: np.dtype("<f4"), Type.FLOAT16: np.dtype("<f2"), Type.INT8: np.dtype("i1"), Type.INT32: np.dtype("<i4")}
"""Element types whose constants are read as numbers here."""
OPERATORS = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
SMALLEST = 1e-20
"""Scales below this, or above its inverse, are damage."""
MIN_VERSION = b"min_runtime_version"
OPERATOR_INDICES = b"model_control_dependencies"
"""Metadata that names operators by their place in the graph, which new operators would shift."""


@dataclass(frozen=True, eq=False)
class Use:
    """One place where a tensor is read: input `slot` of `operator` in `graph`."""

    graph: Graph
    operator: Any
    slot: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A subgraph of a model in the making."""

    model: Any
    table: Any

    def tensor(self, index: int) -> Any:
        return self.table.tensors[index]

    def code(self, operator: Any) -> int:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)

    def operator_name(self, operator: Any) -> str:
        number = self.code(operator)
        custom = self.model.operatorCodes[operator.opcodeIndex].customCode
        is_custom = number == schema.BuiltinOperator.CUSTOM and custom
        return custom.decode(errors="replace") if is_custom else OPERATORS.get(number, f"operator {number}")

    def uses(self, index: int) -> Iterator[Use]:
        for operator in self.table.operators or []:
            for slot, read in enumerate(operator.inputs if operator.inputs is not None else ()):
                if read == index:
                    yield Use(self, operator, slot)

    def is_port(self, index: int) -> bool:
        """Whether a tensor is an input or output of the subgraph."""
        return any(ports is not None and index in list(ports) for ports in (self.table.inputs, self.table.outputs))

    def values(self, index: int) -> np.ndarray | None:
        """The numbers of a constant in its shape; None where the tensor is none or of another type."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if tensor.type not in DTYPES or tensor.sparsity is not None or not data.size:
            return None
        return data.view(DTYPES[tensor.type]).reshape(shape_of(tensor))

    def add_tensor(self, tensor: Any) -> int:
        self.table.tensors.append(tensor)
        return len(self.table.tensors) - 1

    def add_like(self, index: int, suffix: bytes, scale: float | None = None, zero_point: int = 0) -> int:
        """An activation of the shape and type of tensor `index`, with a quantization of its own."""
        like = self.tensor(index)
        return self.add_tensor(
            schema.TensorT(
                shape=like.shape,
                type=like.type,
                buffer=empty_buffer(self.model),
                name=(like.name or b"") + suffix,
                quantization=like.quantization if scale is None else quantization([scale], [zero_point]),
                shapeSignature=like.shapeSignature,
                hasRank=like.hasRank,
            )
        )

    def add_constant(self, name: bytes, values: np.ndarray, table: Any, *, instead: int = -1) -> int:
        """A constant of int8 or int32 `values` with the quantization `table`, in the place of `instead` where no other operator
        reads that, else as a new tensor."""
        tensor = schema.TensorT(
            shape=int32(values.shape),
            type=Type.INT8 if values.dtype == np.int8 else Type.INT32,
            buffer=buffer_of(self.model, values.tobytes()),
            name=name,
            quantization=table,
            hasRank=True,
        )
        if instead < 0 or len(list(self.uses(instead))) > 1:
            return self.add_tensor(tensor)
        self.table.tensors[instead] = tensor
        return instead

    def operator(self, code: int, version: int, inputs: Sequence[int], output: int, options: Any = None, kind: int = 0) -> Any:
        return schema.OperatorT(
            opcodeIndex=_operator_code(self.model, code, version),
            inputs=int32(inputs),
            outputs=int32([output]),
            builtinOptionsType=kind,
            builtinOptions=options,
        )

    def replace(self, old: Any, new: Sequence[Any]) -> None:
        """Put operators in the place of one; the last, which writes its output, keeps its debug metadata."""
        at = self.table.operators.index(old)
        new[-1].debugMetadataIndex = old.debugMetadataIndex
        self.table.operators[at : at + 1] = new


def shape_of(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def name_of(tensor: Any) -> str:
    return (tensor.name or b"").decode(errors="replace")


def swap_axes(tensor: Any) -> None:
    """Swap the last two axes of a tensor's shape."""
    shape = shape_of(tensor)
    tensor.shape = int32((*shape[:-2], shape[-1], shape[-2]))


def quantization(scales: Sequence[float], zero_points: Sequence[int], axis: int = 0) -> Any:
    table = schema.QuantizationParametersT(scale=np.array(scales, np.float32), zeroPoint=np.array(zero_points, np.int64))
    table.quantizedDimension = axis
    return table


def scales_of(tensor: Any) -> np.ndarray:
    """float32 [1] or [channels]; empty where the tensor is not quantized."""
    found = tensor.quantization
    return np.empty(0, np.float32) if found is None or found.scale is None else np.asarray(found.scale, np.float32)


def zero_points_of(tensor: Any) -> np.ndarray:
    found = tensor.quantization
    return np.zeros(1, np.int64) if found is None or found.zeroPoint is None else np.asarray(found.zeroPoint, np.int64)


def is_int8(tensor: Any) -> bool:
    """Whether the tensor is int8 with a scale and zero point per tensor: what an activation of an int8 operator is."""
    zero_points = zero_points_of(tensor)
    fits = zero_points.size == 1 and -128 <= zero_points[0] <= 127
    return tensor.type == Type.INT8 and scales_of(tensor).size == 1 and fits and has_scales(tensor)


def has_scales(tensor: Any) -> bool:
    """Whether the tensor has scales that are numbers an int8 operator can work with."""
    scales = scales_of(tensor)
    return bool(scales.size and np.all((scales > SMALLEST) & (scales < 1 / SMALLEST)))


def buffer_of(model: Any, data: bytes) -> int:
    """The index of a buffer of these bytes, a new one if there is none. Buffers keep their places."""
    for index, buffer in enumerate(model.buffers):
        if index and buffer.data.size == len(data) and buffer.data.tobytes() == data:
            return index
    model.buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
    return len(model.buffers) - 1


def empty_buffer(model: Any) -> int:
    """The index of a buffer without data: 0 by the schema."""
    return 0 if not model.buffers[0].data.size else buffer_of(model, b"")


def _operator_code(model: Any, code: int, version: int) -> int:
    """The index of an operator code; what is new raises the minimum runtime version that the file states."""
    deprecated = min(code, 127)
    for index, found in enumerate(model.operatorCodes):
        if (max(found.builtinCode, found.deprecatedBuiltinCode), found.version) == (code, version):
            return index
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=deprecated, version=version, builtinCode=code))
    _raise_min_version(model, RUNTIME_VERSIONS[code, version])
    return len(model.operatorCodes) - 1


def _raise_min_version(model: Any, needed: str) -> None:
    for entry in model.metadata or []:
        if entry.name == MIN_VERSION:
            stated = model.buffers[entry.buffer].data.tobytes().rstrip(b"\0").decode(errors="replace")
            if not stated.replace(".", "").isdigit() or version_key(stated) < version_key(needed):
                entry.buffer = buffer_of(model, needed.encode().ljust(16, b"\0"))


def names_operators(model: Any) -> bool:
    """Whether metadata refers to operators by their index."""
    return any(entry.name == OPERATOR_INDICES for entry in model.metadata or [])
