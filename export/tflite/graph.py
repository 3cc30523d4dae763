"""Edits the tables of a .tflite file: finds the readers of a constant and replaces operators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from .schema import OPERATORS, Op, Type, buffer_of, int32, new_operator, quantization, vector

DTYPES = {Type.FLOAT32: np.dtype("<f4"), Type.FLOAT16: np.dtype("<f2"), Type.INT8: np.dtype("i1"), Type.INT32: np.dtype("<i4")}
"""Element types that `TfliteGraph.values` reads."""
SMALLEST = 1e-20
"""Scales below this or above its inverse count as damage."""
OPERATOR_INDICES = b"model_control_dependencies"
"""Metadata that refers to operators by index, which new operators would shift."""


@dataclass(frozen=True, eq=False)
class TfliteUse:
    """One read of a tensor: input `slot` of `operator`."""

    graph: TfliteGraph
    operator: Any
    slot: int


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """A subgraph of a model that is being edited."""

    model: Any
    table: Any

    def tensor(self, index: int) -> Any:
        return self.table.tensors[index]

    def code(self, operator: Any) -> int:
        code = self.model.operatorCodes[operator.opcodeIndex]
        return max(code.builtinCode, code.deprecatedBuiltinCode)

    def operator_name(self, operator: Any) -> str:
        number, custom = self.code(operator), self.model.operatorCodes[operator.opcodeIndex].customCode
        return (
            custom.decode(errors="replace") if number == Op.CUSTOM and custom else OPERATORS.get(number, f"operator {number}")
        )

    def uses(self, index: int) -> Iterator[TfliteUse]:
        for operator in self.table.operators or []:
            for slot, read in enumerate(vector(operator.inputs)):
                if read == index:
                    yield TfliteUse(self, operator, slot)

    def is_input_or_output(self, index: int) -> bool:
        """Whether a tensor is an input or output of the subgraph."""
        return index in vector(self.table.inputs) + vector(self.table.outputs)

    def values(self, index: int) -> np.ndarray | None:
        """Values of a constant; None for an activation or an unsupported type."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if tensor.type not in DTYPES or tensor.sparsity is not None or not data.size:
            return None
        return data.view(DTYPES[tensor.type]).reshape(shape_of(tensor))

    def add_tensor(self, tensor: Any) -> int:
        self.table.tensors.append(tensor)
        return len(self.table.tensors) - 1

    def add_like(self, index: int, suffix: bytes, scale: float | None = None, zero_point: int = 0) -> int:
        """Add an activation with the shape and type of tensor `index`, and its quantization unless `scale` is given."""
        like = self.tensor(index)
        return self.add_tensor(
            schema.TensorT(
                shape=like.shape,
                type=like.type,
                buffer=0 if not self.model.buffers[0].data.size else buffer_of(self.model, b""),
                name=(like.name or b"") + suffix,
                quantization=like.quantization if scale is None else quantization([scale], [zero_point]),
                shapeSignature=like.shapeSignature,
                hasRank=like.hasRank,
            )
        )

    def add_constant(self, name: bytes, values: np.ndarray, table: Any = None, *, instead: int = -1) -> int:
        """Add a constant with quantization `table`, replacing tensor `instead` if it has no other reader."""
        tensor = schema.TensorT(
            shape=int32(values.shape),
            type=next(kind for kind, dtype in DTYPES.items() if dtype == values.dtype),
            buffer=buffer_of(self.model, values.tobytes()),
            name=name,
            quantization=table,
            hasRank=True,
        )
        if instead < 0 or len(list(self.uses(instead))) > 1:
            return self.add_tensor(tensor)
        self.table.tensors[instead] = tensor
        return instead

    def operator(self, code: int, version: int, inputs: Sequence[int], output: int, activation: int = 0) -> Any:
        return new_operator(self.model, code, version, inputs, output, activation)

    def replace(self, old: Any, new: Sequence[Any]) -> None:
        """Replace one operator by several; the last one keeps its debug metadata."""
        at = self.table.operators.index(old)
        new[-1].debugMetadataIndex = old.debugMetadataIndex
        self.table.operators[at : at + 1] = new


def shape_of(tensor: Any) -> tuple[int, ...]:
    return tuple(vector(tensor.shape))


def name_of(tensor: Any) -> str:
    return (tensor.name or b"").decode(errors="replace")


def swap_axes(tensor: Any) -> None:
    """Swap the last two axes of a tensor's shape."""
    shape = shape_of(tensor)
    tensor.shape = int32((*shape[:-2], shape[-1], shape[-2]))


def scales_of(tensor: Any) -> np.ndarray:
    """float32 [1] or [channels]; empty if the tensor is not quantized."""
    found = tensor.quantization
    return np.empty(0, np.float32) if found is None or found.scale is None else np.asarray(found.scale, np.float32)


def zero_points_of(tensor: Any) -> np.ndarray:
    found = tensor.quantization
    return np.zeros(1, np.int64) if found is None or found.zeroPoint is None else np.asarray(found.zeroPoint, np.int64)


def is_int8(tensor: Any) -> bool:
    """Whether the tensor is int8 with one valid scale and zero point, as activations of int8 operators are."""
    zero_points = zero_points_of(tensor)
    fits = zero_points.size == 1 and -128 <= zero_points.item() <= 127
    return tensor.type == Type.INT8 and scales_of(tensor).size == 1 and fits and has_scales(tensor)


def has_scales(tensor: Any) -> bool:
    """Whether the tensor has scales, all in range."""
    scales = scales_of(tensor)
    return bool(scales.size and np.all((scales > SMALLEST) & (scales < 1 / SMALLEST)))


def names_operators(model: Any) -> bool:
    """Whether metadata refers to operators by their index."""
    return any(entry.name == OPERATOR_INDICES for entry in model.metadata or [])
