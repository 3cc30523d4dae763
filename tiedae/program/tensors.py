"""The tensors and tied kernels of a program, and what an operation reads of one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tiedae.base.errors import DataError, ExportError
from tiedae.compress.affine import Quantization
from tiedae.compress.integers import Bounds, kernel_bounds

from .arithmetic import FloatKernel


@dataclass(frozen=True)
class Tensor:
    """An activation of `shape` per sample; uint8, or float32 if `quantization` is None.

    Raises ExportError for a shape that is not one or more positive integers.
    """

    name: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None

    def __post_init__(self) -> None:
        if not self.shape or not all(isinstance(length, int) and length > 0 for length in self.shape):
            raise ExportError(f"tensor {self.name}: got shape {self.shape}, must be one or more positive integers")

    @property
    def size(self) -> int:
        """Values per sample."""
        return math.prod(self.shape)

    @property
    def affine(self) -> Quantization:
        """The quantization; ExportError if it has none."""
        if self.quantization is None:
            raise ExportError(f"tensor {self.name} is not quantized")
        return self.quantization

    @property
    def dtype(self) -> str:
        return "float32" if self.quantization is None else "uint8"

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """Values of a batch as [batch, *shape]; the inverse of `flat`."""
        return values.reshape(len(values), *self.shape)

    def require(self, values: np.ndarray, source: str) -> None:
        """Raise DataError, starting with `source`, unless values are [batch, *shape] of the tensor's dtype and range."""
        dtype = self.dtype
        right = f"{source}: {self.name} must be {dtype} [batch, {', '.join(map(str, self.shape))}]"
        if not isinstance(values, np.ndarray):
            raise DataError(f"{right}, got {type(values).__name__}")
        if values.dtype != dtype or values.shape[1:] != self.shape:
            hint = f"; program.quantization({self.name!r}).quantize converts real values" if dtype == "uint8" else ""
            raise DataError(f"{right}, got {values.dtype} {list(values.shape)}{hint if values.dtype != dtype else ''}")
        if self.quantization is None:
            if not np.isfinite(values).all():
                raise DataError(f"{right} and finite, got {values[~np.isfinite(values)][0]}")
        elif values.max(initial=0) > self.quantization.top:
            top, bits = self.quantization.top, self.quantization.bits
            raise DataError(f"{right} in 0…{top} ({bits} bits), got {values.max()}")


@dataclass(frozen=True)
class Kernel:
    """A tied kernel, [inputs, units], of products over the last axis.

    `scales` has one float32 value or one per unit; it is empty in a float program.
    Its values are `Program.constants[name]`: int8 within `bounds`, or float32.
    """

    name: str
    inputs: int
    units: int
    scales: tuple[float, ...] = ()
    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in range(2, 9):
            raise ExportError(f"kernel {self.name}: bits must lie in 2…8, got {self.bits!r}")
        for scale in self.scales:
            if not isinstance(scale, float | int) or not 0 < scale < float("inf"):
                raise ExportError(f"kernel {self.name}: scale must be positive and finite, got {scale!r}")

    @property
    def bounds(self) -> Bounds:
        return kernel_bounds(self.bits)

    @property
    def encode_scales(self) -> tuple[float, ...]:
        """The scales of the encoder's product."""
        return self.scales

    @property
    def decode_scales(self) -> tuple[float, ...]:
        """The scale of the decoder's product: the largest (`Rescale` holds the factors per unit)."""
        return (max(self.scales),) if self.scales else ()


def flat(values: np.ndarray) -> np.ndarray:
    """[batch, *shape] → [batch, size]."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


class Operands(Protocol):
    """What an operation reads of the program that it belongs to."""

    @property
    def name(self) -> str: ...
    @property
    def tensors(self) -> Mapping[str, Tensor]: ...
    @property
    def kernels(self) -> Mapping[str, Kernel]: ...
    @property
    def constants(self) -> Mapping[str, np.ndarray]: ...
    @property
    def quantized(self) -> bool: ...
    def float_kernel(self, name: str) -> FloatKernel:
        """A kernel of an integer program as float32, for its products."""
        ...

    def quantization(self, tensor: str) -> Quantization:
        """The quantization of a tensor; ExportError if it has none."""
        ...
