"""A program with another scale of its codes: kernels and their integers stay, codes and the biases behind them follow.

The encoder's last product rounds to the new scale, the decoder's first reads it. A coarser scale costs fewer bits per code and
some error, as the step of a quantizer does in any transform codec (Sullivan & Wiegand, "Rate-Distortion Optimization for Video
Compression", IEEE Signal Processing Magazine 15, 1998).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..compress.affine import Quantization
from ..compress.errors import InputError
from .operations import Activate, Dense, Operation, Product
from .program import Program
from .targets import Programs

FLOORED = ("relu", "relu6")
"""Functions whose codes start at the zero point."""


def with_step(programs: Programs, codes: np.ndarray, step: float) -> Programs:
    """The programs with the scale of their codes times `step`; above 1 is coarser.

    `codes`: those of training samples under `programs`, uint8 [samples, units]. The new zero point puts the middle of their
    range in the middle of 0…2ᵇ − 1; behind relu and relu6 it stays.

    Raises InputError for a step that is no positive number, is too fine or too coarse for the program's products, or for codes
    whose scale their activation fixes.
    """
    if not (math.isfinite(step) and step > 0):
        raise InputError(f"step: got {step:g}, must be a number above 0: the factor on the scale of the codes")
    reference = programs.reference
    _require_free(reference)
    finest, coarsest = step_limits(programs)
    if not finest <= step <= coarsest:
        raise InputError(f"step: got {step:g}, must lie in {finest:.3g}…{coarsest:.3g}, which the program's products allow")
    code = reference.quantization("code")
    floored = getattr(reference.encoder[-1], "activation", getattr(reference.encoder[-1], "function", "")) in FLOORED
    zero_point = code.zero_point if floored else _centred(code, codes, step)
    scaled = Quantization(float(np.float32(code.scale * step)), zero_point, code.bits)
    return Programs(*(with_code(program, scaled) for program in (programs.split, programs.fused)))


def with_code(program: Program, code: Quantization) -> Program:
    """The program whose codes have this quantization; int32 biases of operations that read codes change with the scale.

    Raises ExportError for a float program, InputError for biases that a 32-bit accumulator cannot hold.
    """
    before = program.quantization("code")
    tensors = {**program.tensors, "code": replace(program.tensors["code"], quantization=code)}
    constants = dict(program.constants)
    for operation in program.decoder:
        if operation.x == "code" and isinstance(operation, Dense) and operation.bias is not None:
            bias = np.rint(constants[operation.bias] * (np.float64(before.scale) / code.scale))
            terms = program.kernels[operation.kernel].units
            if np.abs(bias).max(initial=0) > 2**31 - 1 - terms * 255 * 127:
                raise InputError(f"step: {operation.y}: {terms} products and the bias can overflow a 32-bit accumulator")
            constants[operation.bias] = bias.astype(np.int32)
    return replace(program, tensors=tensors, constants=constants)


def step_limits(programs: Programs) -> tuple[float, float]:
    """The finest and the coarsest step: no product's accumulator may be coarser than its output, as in `Lowering.output`."""
    finest, coarsest = [], []
    for program in (programs.split, programs.fused):
        for operation in program.operations:
            if ratio := _accumulator_ratio(program, operation):
                finest += [ratio] if operation.y == "code" else []
                coarsest += [1 / ratio] if operation.x == "code" else []
    return min(1.0, max(finest, default=0.0)), max(1.0, min(coarsest, default=math.inf))


def _accumulator_ratio(program: Program, operation: Operation) -> float:
    """The scale of a product's accumulator over that of its output; 0 for other operations."""
    dense = operation.dense if isinstance(operation, Product) else operation
    if not isinstance(dense, Dense):
        return 0.0
    source, target = program.quantization(dense.x), program.quantization(dense.y)
    return float(source.scale * dense.scales(program).max() / target.scale)


def _require_free(program: Program) -> None:
    if not program.quantized:
        raise InputError(f"program {program.name}: is float, must be an integer program: float codes have no scale")
    last = program.encoder[-1]
    if isinstance(last, Activate) and last.function not in FLOORED:
        raise InputError(f"step: {last.function} fixes the scale of the codes; a step needs codes of linear, relu or relu6")


def _centred(code: Quantization, codes: np.ndarray, step: float) -> int:
    low, high = (int(end) - code.zero_point for end in (codes.min(), codes.max()))
    return int(np.clip(np.rint((code.top - (low + high) / step) / 2), 0, code.top))
