"""A program with another scale of its codes: kernels and their integers stay, codes and the biases behind them follow.

The encoder's last product rounds to the new scale, the decoder's first reads it. A coarser scale costs fewer bits per code and
some error, as the step of a quantizer does in any transform codec (Sullivan & Wiegand, "Rate-Distortion Optimization for Video
Compression", IEEE Signal Processing Magazine 15, 1998).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tiedae.base.errors import InputError
from tiedae.compress.affine import Quantization
from tiedae.program.arithmetic import FUNCTIONS
from tiedae.program.interpreter import execute
from tiedae.program.operations import Activate, Dense, Operation, Product
from tiedae.program.program import Program

from .targets import Programs

FLOORED = ("relu", "relu6")
"""Activations whose codes start at the zero point."""


def with_factor(programs: Programs, x: np.ndarray, factor: float) -> Programs:
    """The programs with the scale of their codes times `factor`; above 1 is coarser.

    `x`: training samples as the programs' input, uint8 [samples, *shape]. The new zero point puts the middle of their codes'
    range in the middle of 0…2ᵇ − 1; behind relu and relu6 it stays.

    Raises InputError for a factor that is no positive number, too fine or too coarse for the program's products, or by which a
    unit has one code for all samples; for codes whose scale their activation fixes, and for a float program.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise InputError(f"factor: got {factor:g}, must be a number above 0: the factor on the scale of the codes")
    before = programs.reference
    require_free_scale(before)
    finest, coarsest = factor_limits(programs)
    if not finest <= factor <= coarsest:
        raise InputError(f"factor: got {factor:g}, must lie in {finest:.3g}…{coarsest:.3g}, which the program's products allow")
    code = before.quantization("code")
    spread, zero_point = _wide_steps(before, x), code.zero_point
    if _function(before) not in FLOORED:
        middle = (int(spread.min()) + int(spread.max())) / 2
        zero_point = int(np.clip(np.rint(code.top / 2 - middle / factor), 0, code.top))
    scaled = Quantization(float(np.float32(code.scale * factor)), zero_point, code.bits)
    found = replace(programs, split=with_code(programs.split, scaled), fused=with_code(programs.fused, scaled))
    codes, spread = (each.reshape(-1, each.shape[-1]) for each in (execute(found.reference, "encode", x)["code"], spread))
    constant = (np.ptp(codes, axis=0) == 0) & (np.ptp(spread, axis=0) > 0)
    if constant.any():
        got = f"{np.count_nonzero(constant)} of {len(constant)} units have one code for all training samples"
        raise InputError(f"factor: got {factor:g}, by which {got}; must be nearer to 1")
    return found


def _wide_steps(program: Program, x: np.ndarray) -> np.ndarray:
    """Codes less the zero point, in steps of their scale, int64 [samples, *shape]: without the saturation of values up to half
    a range beyond the codes' own, and to even numbers."""
    code = program.quantization("code")
    wide = Quantization(float(np.float32(2 * code.scale)), (code.zero_point + code.top // 2) // 2, code.bits)
    return 2 * (execute(with_code(program, wide), "encode", x)["code"].astype(np.int64) - wide.zero_point)


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
                raise InputError(f"factor: {operation.y}: {terms} products and the bias can overflow a 32-bit accumulator")
            constants[operation.bias] = bias.astype(np.int32)
    return replace(program, tensors=tensors, constants=constants)


def factor_limits(programs: Programs) -> tuple[float, float]:
    """The finest and the coarsest factor: no product's accumulator may be coarser than its output, as in `Lowering.output`."""
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


def require_free_scale(program: Program) -> None:
    """Raise InputError unless codes of the program can have another scale."""
    if not program.quantized:
        raise InputError(f"program {program.name}: is float, must be an integer program: float codes have no scale")
    function = _function(program)
    if FUNCTIONS[function].output is not None:
        raise InputError(f"factor: {function} fixes the scale of the codes; a factor needs codes of linear, relu or relu6")


def _function(program: Program) -> str:
    """The activation of the codes."""
    last = program.encoder[-1]
    return last.function if isinstance(last, Activate) else getattr(last, "activation", "linear")
