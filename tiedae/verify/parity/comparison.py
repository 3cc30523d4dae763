"""Comparison of two runtimes' outputs: integers in LSB, floats by absolute difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tiedae.bundle.results import Kind, Parity, Precision
from tiedae.compress.affine import Quantization
from tiedae.compress.blocks import blocks
from tiedae.program.differences import LEAST_SCALE, differences
from tiedae.program.interpreter import apply
from tiedae.program.program import Program


def compare(
    kind: Kind,
    tensor: str,
    expected: np.ndarray,
    got: np.ndarray,
    *,
    quantization: Quantization | None = None,
    tolerance: float | None = None,
    **identity: str,
) -> Parity:
    """Compare uint8 arrays in LSB or float32 arrays by absolute difference. Mismatches and NaN are failures, not numbers.

    `quantization` of uint8 values, for SQNR and cosine. `tolerance` of floats is relative to full scale, the largest expected
    magnitude, at least `LEAST_SCALE`. `identity`: further fields of the row, such as `reference` and `file`.
    """
    found = differences(expected, got)
    precision = Precision.INT8 if expected.dtype == np.uint8 else Precision.F32
    row: dict[str, Any] = {"count": found.count, "differing": found.differing, "samples": found.samples}
    if precision is Precision.F32:
        row |= {"atol": None if tolerance is None else LEAST_SCALE * tolerance, "rtol": tolerance}
    if found.problem:
        row |= {"problem": found.problem}
    elif precision is Precision.INT8:
        row |= {"max_lsb": int(found.largest), "histogram": dict(found.histogram)}
        if quantization is not None:
            centred = _centred(expected, quantization), _centred(got, quantization)
            row["sqnr_db"], row["cosine"] = similarity(*centred)
    else:
        row |= {"max_abs": found.largest, "mean_abs": found.mean, "full_scale": found.full_scale}
        row["sqnr_db"], row["cosine"] = similarity(expected, got)
    return Parity(kind=kind, precision=precision, tensor=tensor, **identity, **row)


def similarity(expected: np.ndarray, got: np.ndarray) -> tuple[float | None, float | None]:
    """(SQNR in dB, cosine similarity) of real values against a reference.

    SQNR = 10 · log₁₀(Σ expected² / Σ (got − expected)²); None without noise or signal. The cosine is None if one array is zero.
    """
    expected, got = expected.ravel(), got.ravel()
    signal = power = noise = product = 0.0
    for part in blocks(expected):
        want, have = expected[part].astype(np.float64), got[part].astype(np.float64)
        signal, power, product = signal + _product(want, want), power + _product(have, have), product + _product(want, have)
        noise += _product(have - want, have - want)
    if noise == 0:
        return None, 1.0 if signal > 0 else None
    sqnr_db = float(10 * np.log10(signal / noise)) if signal > 0 else None
    cosine = product / math.sqrt(signal) / math.sqrt(power) if signal > 0 and power > 0 else None
    return sqnr_db, None if cosine is None else min(1.0, max(-1.0, cosine))


def _product(a: np.ndarray, b: np.ndarray) -> float:
    """Σ a · b in one thread; the arrays are too small for more."""
    return float(np.einsum("i,i->", a, b))


def _centred(q: np.ndarray, quantization: Quantization) -> np.ndarray:
    """Real values up to the scale, which cancels."""
    return q.astype(np.int16) - quantization.zero_point


def compare_traced(
    traced: Mapping[str, np.ndarray],
    program: Program,
    signature: str,
    x: np.ndarray,
    known: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[Parity], list[str]]:
    """Compare each operation of an integer file with the program, on the inputs that the runtime computed.

    `traced`: the result of a session's `trace` of `x`, the signature's input in the file's dtype, [batch, size]. `known`: the
    program's tensors for some input, reused for operations with the same input. Returns the comparisons, and the operations
    whose tensors the runtime does not expose.
    """
    known = known or {}
    operations, start, _ = program.part(signature)
    values = {start: x, **traced} if x.dtype == np.uint8 else traced
    comparisons, hidden = [], []
    for operation in operations:
        if operation.x in values and operation.y in values:
            source, got = values[operation.x], values[operation.y]
            same = operation.y in known and np.array_equal(source, known[operation.x])
            expected = known[operation.y] if same else apply(program, operation, source)
            meaning = program.quantization(operation.y)
            comparisons.append(compare(Kind.OPERATIONS, operation.y, expected, got, quantization=meaning))
        else:
            hidden.append(operation.y)
    return comparisons, hidden
