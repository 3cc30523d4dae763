"""Interleaving: neighbouring rows of the first kernel belong to inputs from different parts of a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tiedae.base.errors import ExportError

from ..tensors import Operands
from .operation import Operation


@dataclass(frozen=True)
class Interleave(Operation):
    """y = x reshaped to (ways, size / ways), transposed, in the shape of x. Its inverse has size / ways groups."""

    ways: int

    def check(self, program: Operands) -> None:
        x, y = program.tensors[self.x], program.tensors[self.y]
        if not isinstance(self.ways, int) or self.ways < 1 or x.size % self.ways:
            raise ExportError(f"interleave to {y.name}: got {self.ways!r} groups, must be a divisor of {x.size}")
        if (x.shape, x.quantization) != (y.shape, y.quantization):
            raise ExportError(f"interleave to {y.name}: its shape and quantization must be those of {x.name}")

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return interleaved(x, self.ways)

    reals = integers


def interleaved(x: np.ndarray, groups: int) -> np.ndarray:
    """Each sample of n values reshaped to (groups, n / groups), transposed, and back. The inverse has n / groups groups."""
    return x.reshape(len(x), groups, math.prod(x.shape[1:]) // groups).swapaxes(1, 2).reshape(x.shape)
