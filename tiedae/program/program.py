"""The program: the description of a model that every writer reads.

A program is two lists of operations, the encoder (`x` → `code`) and the decoder (`code` → `y`), over named tensors and
constants. Operations are frozen records of names; arrays live in `Program.constants`. With quantization parameters it is the
exact integer program, without them the float program.

Conventions
    activations   uint8 with a scale and a zero point in 0…255 (for int8 activations a target subtracts 128 from both); a code
                  of b < 8 bits lies in 0…2ᵇ − 1
    kernels       int8 [inputs, units] in −127…127, or −2ᵇ⁻¹…2ᵇ⁻¹ − 1 for b < 8 bits; no zero point, one scale or one per unit
    biases        int32 in `Dense` (scale = scale of x · scale of the kernel), uint8 with their own quantization in `AddBias`
    real value    (q − zero_point) · scale
Scales are float32 values, bit for bit the same in the program, the manifest and every file.

The decoder has two layouts: `fused` has the bias inside `Dense` (ONNX Gemm, C, TFLite's view), `split` is a `Product` followed
by `AddBias` (TFLite BATCH_MATMUL and ADD). Kernels, encoder and codes are the same in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from tiedae.base.errors import ExportError, InputError
from tiedae.compress.affine import BYTE, Quantization, io_dtype
from tiedae.compress.integers import exceeding_pairs

from .arithmetic import FloatKernel
from .file_io import FileIO
from .operations import Operation, Product
from .tensors import Kernel, Tensor

if TYPE_CHECKING:
    from tiedae.compress.quantizers import DecoderLayout

SIGNATURES = ("encode", "decode", "reconstruct")


def require_signature(signature: str) -> None:
    """Raise InputError unless this is one of `SIGNATURES`."""
    if signature not in SIGNATURES:
        raise InputError(f"signature: got {signature!r}, must be one of {', '.join(SIGNATURES)}")


@dataclass(frozen=True, eq=False)
class Program:
    """A tied autoencoder as operations. Raises ExportError if operations, tensors, kernels and constants do not fit.

    `tensors` and `kernels` are keyed by name; the tensors `x`, `code` and `y` always exist. `constants` holds the kernels
    ([inputs, units]), biases and factors.
    """

    name: str
    tensors: Mapping[str, Tensor]
    kernels: Mapping[str, Kernel]
    encoder: tuple[Operation, ...]
    decoder: tuple[Operation, ...]
    constants: Mapping[str, np.ndarray] = field(repr=False)

    def __post_init__(self) -> None:
        known = {"x"}
        for operation in self.operations:
            if operation.x not in known:
                raise ExportError(f"program {self.name}: {operation} reads {operation.x!r} before it is written")
            known.add(operation.y)
        if known != set(self.tensors):
            raise ExportError(f"program {self.name}: tensors {sorted(self.tensors)} but operations use {sorted(known)}")
        if not {"x", "code", "y"} <= known:
            raise ExportError(f"program {self.name}: needs tensors x, code and y, got {sorted(known)}")
        if len({tensor.quantization is None for tensor in self.tensors.values()}) > 1:
            raise ExportError(f"program {self.name}: some tensors are quantized, must be all or none")
        lost = self.kernels.keys() - self.constants.keys()
        if lost:
            raise ExportError(f"program {self.name}: there are no constants of {', '.join(sorted(lost))}")
        for name, kernel in self.kernels.items():
            values = self.constants[name]
            if values.shape != (kernel.inputs, kernel.units):
                raise ExportError(f"kernel {name}: shape {values.shape} in constants, {(kernel.inputs, kernel.units)} declared")
            if len(kernel.scales) not in ((1, kernel.units) if self.quantized else (0,)):
                right = f"1 or {kernel.units}, one per unit" if self.quantized else "none in a float program"
                raise ExportError(f"kernel {name}: {len(kernel.scales)} scales, must be {right}")
            if kernel.scales:
                _require_integers(kernel, values)
        for operation in self.operations:
            operation.check(self)

    @property
    def operations(self) -> Iterator[Operation]:
        yield from self.encoder
        yield from self.decoder

    @property
    def multiply_adds(self) -> int:
        """For one sample, zeros of pruned kernels included."""
        return sum(each.multiply_adds(self.tensors[each.x], self.tensors[each.y]) for each in self.operations)

    @property
    def layout(self) -> DecoderLayout:
        """That of the decoder."""
        return "split" if any(isinstance(operation, Product) for operation in self.decoder) else "fused"

    @property
    def quantized(self) -> bool:
        return self.tensors["code"].quantization is not None

    @cached_property
    def _float_kernels(self) -> Mapping[str, FloatKernel]:
        return {name: FloatKernel.of(self.constants[name]) for name in self.kernels}

    def float_kernel(self, name: str) -> FloatKernel:
        """A kernel of an integer program as float32, kept as long as the program: four times the int8 kernel."""
        return self._float_kernels[name]

    @cached_property
    def exceeding_pairs(self) -> Mapping[str, int]:
        """Pairs that break the pair rule (see `compress.integers`), by kernel; only 8-bit kernels that have any."""
        kernels = [name for name, kernel in self.kernels.items() if self.quantized and kernel.bits == 8]
        counts = {name: exceeding_pairs(self.constants[name]) for name in kernels}
        return {name: count for name, count in counts.items() if count}

    def quantization(self, tensor: str) -> Quantization:
        """The quantization of a tensor; ExportError if it has none."""
        return self.tensors[tensor].affine

    def file_io(self, io: FileIO | str) -> FileIO:
        """`x` and `y` in a file, `auto` resolved; ExportError for a dtype that `io_dtype` refuses, or too many scales."""
        io = FileIO.parse(io)
        if io.scaling is not None and io.scaling.float32[1].shape not in ((), (self.tensors["x"].size,)):
            got, right = len(io.scaling.float32[1]), self.tensors["x"].size
            raise ExportError(f"scaling: got {got} offsets and scales, must be one, or {right}, one per input")
        dtype = io_dtype(io.dtype, self.tensors["x"].quantization == BYTE, quantized=self.quantized)
        return FileIO(dtype, io.scaling)

    def io_dtypes(self, io: FileIO) -> dict[str, str]:
        """The dtypes of `x`, `code` and `y` in a file."""
        return {"x": io.dtype, "code": "uint8" if self.quantized else "float32", "y": io.dtype}

    def part(self, signature: str) -> tuple[tuple[Operation, ...], str, tuple[str, ...]]:
        """The operations, the input and the outputs of a signature of `SIGNATURES`; InputError for another."""
        require_signature(signature)
        return {
            "encode": (self.encoder, "x", ("code",)),
            "decode": (self.decoder, "code", ("y",)),
            "reconstruct": (self.encoder + self.decoder, "x", ("code", "y")),
        }[signature]


def _require_integers(kernel: Kernel, values: np.ndarray) -> None:
    least, largest = kernel.bounds
    right = f"kernel {kernel.name}: a kernel of {kernel.bits} bits holds int8 in −{-least}…{largest}"
    if values.dtype != np.int8:
        raise ExportError(f"{right}, got {values.dtype}")
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < least or high > largest:
        raise ExportError(f"{right}, got {low}…{high}")
