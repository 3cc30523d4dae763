"""The tensors and tied kernels of a program, and what an operation reads of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tiedae.compress.affine import Quantization
from tiedae.compress.errors import DataError, ExportError
from tiedae.compress.integers import Bounds, kernel_bounds

from .arithmetic import FloatKernel


@dataclass(frozen=True)
class Tensor:
    """An activation of `shape` per sample; uint8, or float32 if `quantization` is None."""

    name: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None

    @property
    def dtype(self) -> str:
        return "float32" if self.quantization is None else "uint8"

    def require(self, values: np.ndarray, source: str) -> None:
        """Raise DataError, starting with `source`, unless values are [batch, *shape] of the tensor's dtype and range."""
        dtype = "float32" if self.quantization is None else "uint8"
        right = f"{source}: {self.name} must be {dtype} [batch, {', '.join(map(str, self.shape))}]"
        if not isinstance(values, np.ndarray):
            raise DataError(f"{right}, got {type(values).__name__}")
        if values.dtype != dtype or values.shape[1:] != self.shape:
            hint = f"; program.quantization({self.name!r}).quantize converts real values" if dtype == "uint8" else ""
            raise DataError(f"{right}, got {values.dtype} {list(values.shape)}{hint if values.dtype != dtype else ''}")
        if self.quantization is None:
            if not np.isfinite(values).all():
                raise DataError(f"{right} and finite, got {values[~np.isfinite(values)][0]}")
        elif self.quantization.bits < 8 and values.max(initial=0) > self.quantization.top:
            top, bits = self.quantization.top, self.quantization.bits
            raise DataError(f"{right} in 0…{top} ({bits} bits), got {values.max()}")


@dataclass(frozen=True)
class Kernel:
    """A tied kernel, [inputs, units]. `scales` has one float32 value or one per unit; it is empty in a float program.

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
