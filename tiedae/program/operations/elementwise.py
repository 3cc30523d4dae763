"""Elementwise operations: factors per unit, activations, requantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tiedae.compress.affine import Quantization

from ..arithmetic import FUNCTIONS, activation_table, product_multiplier, requantize, steps
from ..tensors import Operands
from .operation import Elementwise, WithConstant


class Times(WithConstant):
    """y = x · a constant per unit."""

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        assert self.quantization is not None
        product = steps(x, source) * self.constant_steps(program)  # exact: at most 255²
        multiplier = product_multiplier(source, self.quantization.scale, target)
        return requantize(product, multiplier, target.zero_point, 0, target.top)

    def exact(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return x * self.real_constant(program)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return x * program.constants[self.constant]


@dataclass(frozen=True)
class Rescale(Times):
    """One uint8 factor per unit, s_j / max(s), before a decoder product with a scale per unit."""

    integer_only: ClassVar[bool] = True
    factors: str
    quantization: Quantization | None

    @property
    def constant(self) -> str:
        return self.factors


@dataclass(frozen=True)
class Gain(Times):
    """The gain of batch normalization, one per unit, behind a `Product`; a `Dense` has its own."""

    gains: str
    quantization: Quantization | None

    @property
    def constant(self) -> str:
        return self.gains


@dataclass(frozen=True)
class Activate(Elementwise):
    """y = function(x), elementwise: sigmoid or tanh (a table of 256 entries in an integer program), relu or relu6."""

    function: str

    caption: ClassVar[str] = "{function}"

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return activation_table(self.function, program.quantization(self.x), program.quantization(self.y)).take(x)

    def exact(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.function].real(x)

    def reals(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return FUNCTIONS[self.function].real(x).astype(np.float32)


@dataclass(frozen=True)
class Requantize(Elementwise):
    """y = x in another quantization."""

    integer_only: ClassVar[bool] = True

    def integers(self, program: Operands, x: np.ndarray) -> np.ndarray:
        source, target = program.quantization(self.x), program.quantization(self.y)
        multiplier = np.float32(source.scale) / np.float32(target.scale)
        return requantize(steps(x, source), multiplier, target.zero_point, 0, target.top)

    def exact(self, program: Operands, x: np.ndarray) -> np.ndarray:
        return x
