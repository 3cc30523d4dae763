"""What an operation of a program is: a frozen record of names, and what every interpreter and writer does with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ...compress.errors import ExportError
from .arithmetic import FUNCTIONS

if TYPE_CHECKING:
    from ..formats.onnx_writer import OnnxGraphBuilder
    from ..formats.tflite_writer import TfliteGraphBuilder
    from ..program import Program


@dataclass(frozen=True)
class Operation(ABC):
    """One step of a program, from tensor `x` to tensor `y`.

    A subclass is one row of `OPERATIONS`. Its fields name tensors and constants or are small values; arrays live in
    `Program.constants`. The manifest holds the fields as they are.
    """

    x: str
    y: str

    caption: ClassVar[str] = ""
    """What a drawing calls it, with its fields in braces; without one, its name in `OPERATIONS`."""
    integer_only: ClassVar[bool] = False
    """Whether only a quantization changes from `x` to `y`: the float program of the same layers has no such operation."""
    constant_dtype: ClassVar[str] = "uint8"
    """dtype of its bias or factors in an integer program."""

    def check(self, program: Program) -> None:
        """Raise ExportError where the program lacks a constant, there is no such function, or the tensors do not fit."""
        for key in ("kernel", "bias", "factors"):
            name = getattr(self, key, None)
            if name is not None and (name not in program.constants or (key == "kernel" and name not in program.kernels)):
                raise ExportError(f"program {program.name}: there is no {key} {name!r}")
        for key in ("activation", "function"):
            name = getattr(self, key, None)
            choices = [each for each, row in FUNCTIONS.items() if (row.fused if key == "activation" else row.onnx)]
            if name is not None and name not in choices:
                raise ExportError(f"{self.y}: got {key} {name!r}, must be one of {', '.join(choices)}")
        got, right = tuple(program.tensors[name].shape for name in (self.x, self.y)), self.shapes(program)
        if got != right:
            raise ExportError(f"{self.y}: the shapes of x and y are {got}, must be {right}")
        for name in filter(None, (getattr(self, key, None) for key in ("bias", "factors"))):
            values, dtype = program.constants[name], self.constant_dtype if program.quantized else "float32"
            if (values.shape, values.dtype) != (right[1], dtype):
                raise ExportError(f"{name}: got {values.dtype} {list(values.shape)}, must be {dtype} {list(right[1])}")

    def shapes(self, program: Program) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes per sample that x and y must have; any, unless a subclass says more."""
        return program.tensors[self.x].shape, program.tensors[self.y].shape

    @abstractmethod
    def integers(self, program: Program, x: np.ndarray) -> np.ndarray:
        """Run it in an integer program: uint8 [batch, *shape of x] → uint8 [batch, *shape of y]."""

    def reals(self, program: Program, x: np.ndarray) -> np.ndarray:
        """Run it in a float program: float32 → float32."""
        return x

    @abstractmethod
    def to_tflite(self, graph: TfliteGraphBuilder) -> None:
        """Append its operators to a subgraph; ExportError where TFLite cannot express it."""

    def to_onnx(self, graph: OnnxGraphBuilder) -> None:
        """Append its nodes; ExportError where the ONNX writer does not take it."""
        got = f"got {type(self).__name__} writing {self.y!r}"
        raise ExportError(f"program {graph.program.name}: the ONNX writer takes a decoder in the fused layout, {got}")


class Elementwise(Operation):
    """An operation on each value by itself: x and y have the same shape."""

    def shapes(self, program: Program) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = program.tensors[self.y].shape
        return shape, shape
