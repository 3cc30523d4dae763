"""The base of operations: a frozen record of names, and its two interpreters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.compress.affine import Quantization

from ..arithmetic import FUNCTIONS, IDENTITY, TIE, Interval, outwards, steps
from ..tensors import Operands, Tensor


@dataclass(frozen=True)
class Operation(ABC):
    """One operation of a program, from tensor `x` to tensor `y`.

    A subclass is one row of `OPERATIONS`. Its fields are names of tensors and constants, or small values; arrays live in
    `Program.constants`. The manifest stores the fields.
    """

    x: str
    y: str

    caption: ClassVar[str] = ""
    """Label in the drawing of the graph, a format string of the fields; defaults to the class name."""
    integer_only: ClassVar[bool] = False
    """Whether it changes only the quantization: a float program has no such operation."""
    constant_dtype: ClassVar[str] = "uint8"
    """dtype of bias, factors or gains in an integer program: one value per unit, which is an entry of the last axis of y."""

    def check(self, program: Operands) -> None:
        """Raise ExportError if a constant is missing or of the wrong type, a function is unknown, or the shapes do not fit."""
        for key in ("kernel", "bias", "factors", "gains"):
            name = getattr(self, key, None)
            if name is not None and (name not in program.constants or (key == "kernel" and name not in program.kernels)):
                raise ExportError(f"program {program.name}: there is no {key} {name!r}")
        for key in ("activation", "function"):
            name = getattr(self, key, None)
            choices = [each for each, row in FUNCTIONS.items() if (row.fused if key == "activation" else each != IDENTITY)]
            if name is not None and name not in choices:
                raise ExportError(f"{self.y}: got {key} {name!r}, must be one of {', '.join(choices)}")
        got, right = tuple(program.tensors[name].shape for name in (self.x, self.y)), self.shapes(program)
        if got != right:
            raise ExportError(f"{self.y}: the shapes of x and y are {got}, must be {right}")
        for name in filter(None, (getattr(self, key, None) for key in ("bias", "factors", "gains"))):
            values, dtype = program.constants[name], self.dtype_of(name) if program.quantized else "float32"
            if (values.shape, values.dtype) != (right[1][-1:], dtype):
                raise ExportError(f"{name}: got {values.dtype} {list(values.shape)}, must be {dtype} {list(right[1][-1:])}")

    def dtype_of(self, name: str) -> str:
        """That of a bias, of factors or gains in an integer program."""
        return self.constant_dtype

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The required shapes of x and y per sample; unconstrained by default."""
        return program.tensors[self.x].shape, program.tensors[self.y].shape

    def multiply_adds(self, x: Tensor, y: Tensor) -> int:
        """Multiplications of its kernel for one sample, zeros included."""
        return 0

    @abstractmethod
    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        """Run in an integer program: uint8 [batch, *shape of x] → uint8 [batch, *shape of y]."""

    def bounds(self, program: Operands, low: np.ndarray, high: np.ndarray) -> Interval:
        """The least and largest integers of y, for x in low…high, in a runtime that computes in binary32.

        Each is rounded to nearest, and within `TIE` of a tie either way. By default integers are moved and none is rounded.
        """
        return self.integers(program, low), self.integers(program, high)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        """Run in a float program: float32 [batch, *shape of x] → float32 [batch, *shape of y]."""
        return x


class Elementwise(Operation):
    """An operation on each value, which does not fall where x rises: x and y have the same shape."""

    @abstractmethod
    def exact(self, program: Operands, x: np.ndarray) -> np.ndarray:
        """The real y of x, float64 in both tensors' scaled values, before it is rounded and saturated."""

    def saturation(self, program: Operands) -> tuple[int, int]:
        """The least and largest integer of y."""
        return 0, program.quantization(self.y).top

    def bounds(self, program: Operands, low: np.ndarray, high: np.ndarray) -> Interval:
        source, target = program.quantization(self.x), program.quantization(self.y)
        reals = ((q.astype(np.float64) - source.zero_point) * source.scale for q in (low, high))
        ends = [self.exact(program, real) / target.scale for real in reals]
        return outwards(ends[0], ends[1], TIE, target.zero_point, *self.saturation(program))

    def shapes(self, program: Operands) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = program.tensors[self.y].shape
        return shape, shape


class WithConstant(Elementwise):
    """One with a constant per unit: in an integer program uint8 of its own `quantization`, which is None in a float program."""

    quantization: Quantization | None

    @property
    @abstractmethod
    def constant(self) -> str:
        """Its name."""

    def check(self, program: Operands) -> None:
        super().check(program)
        if (self.quantization is None) == program.quantized:
            right = "a quantization in an integer program, none in a float program"
            raise ExportError(f"{self.constant}: got {self.quantization}, must have {right}")

    def constant_steps(self, program: Operands) -> np.ndarray:
        """The constant of an integer program less its zero point, float32 [units]."""
        assert self.quantization is not None
        return steps(program.constants[self.constant], self.quantization)

    def real_constant(self, program: Operands) -> np.ndarray:
        """What the constant of an integer program stands for, float64 [units]."""
        assert self.quantization is not None
        return self.constant_steps(program).astype(np.float64) * self.quantization.scale
