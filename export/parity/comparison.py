"""The parity engine: how far apart two runtimes' numbers are, int8 in LSB, float in absolute difference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...compress.affine import Quantization
from ..differences import Sample, differences, place
from ..interpreter import apply
from ..program import Program
from ..runtimes.session import Session

LEAST_SCALE = 0.1
"""A full scale counts as this at least: an activation may leave little of sums that were rounded at their own magnitude."""
NAMES: Mapping[str, str] = {"program": "the program", "keras": "Keras", "float program": "the float program"}
"""How a text calls a reference."""


@dataclass(frozen=True)
class Parity:
    """One comparison. `problem` is not empty where dtype or shape differ or a value is not finite: always a failure.

    `reference` names what was expected: `program`, `keras`, `float program`, or another runtime. `operation` is the tensor that
    an operation writes, by its name in the program.
    int8: `differing` of `count` values differ, by at most `max_lsb`; `histogram` counts the differences (got − expected).
    float: `max_abs` and `mean_abs` of the differences, `full_scale` the largest expected magnitude; `atol` and `rtol` are the
    tolerances that it was held to: |got − expected| ≤ max(atol, rtol · full_scale).
    `sqnr_db` and `cosine` compare real values, see `similarity`. `samples` are the largest differences.
    """

    what: str
    kind: str
    reference: str = "program"
    operation: str = ""
    count: int = 0
    differing: int = 0
    max_lsb: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    full_scale: float = 0.0
    sqnr_db: float | None = None
    cosine: float | None = None
    atol: float | None = None
    rtol: float | None = None
    histogram: dict[str, int] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    problem: str = ""

    @property
    def equal_share(self) -> float:
        return 1.0 if self.count == 0 else 1 - self.differing / self.count

    @property
    def mean_lsb(self) -> float:
        """The mean magnitude of int8 differences, over all values."""
        return sum(abs(int(lsb)) * count for lsb, count in self.histogram.items()) / max(self.count, 1)

    @property
    def layer(self) -> str:
        """The layer that the operation belongs to: `y` for `y.product`."""
        return self.operation.split(".")[0]

    @property
    def text(self) -> str:
        """What was found, in one line: the problem, or how many values differ, by how much and where most."""
        if self.problem:
            return self.problem
        whose = NAMES.get(self.reference, self.reference)
        if self.kind == "float":
            where = f"; largest at {place(self.samples[0])}" if self.samples and not self.close() else ""
            share = f"{self.relative:.2g} of full scale {self.full_scale:.3g}"
            return f"{self.what} differs from {whose} by at most {self.max_abs:.2g}, {share}{where}"
        if self.differing == 0:
            return f"{self.what}: all {self.count:,} values equal those of {whose}"
        gap = f"{self.differing:,} of {self.count:,} values differ from {whose}, by at most {self.max_lsb} LSB"
        return f"{self.what}: {gap}; largest at {place(self.samples[0])}"

    def within(self, *, max_lsb: int, equal_share: float = 0.0) -> bool:
        """Whether an int8 comparison holds: no problem, few values differ, none by more."""
        return not self.problem and self.max_lsb <= max_lsb and self.equal_share >= equal_share

    def close(self) -> bool:
        """Whether a float comparison holds its own tolerances."""
        return not self.problem and self.max_abs <= self.allowed

    @property
    def relative(self) -> float:
        """The largest float difference over the full scale."""
        return relative(self.max_abs, self.full_scale)

    @property
    def allowed(self) -> float:
        return max(self.atol or 0.0, (self.rtol or 0.0) * self.full_scale)

    def to_json(self) -> dict[str, Any]:
        """The row of metrics.json, without what is not there; `layer` beside `operation`, `share` of values that differ."""
        stated = {key: value for key, value in vars(self).items() if value not in ("", {}, (), None)}
        layer = {"layer": self.layer} if self.operation else {}
        samples = {"samples": [list(sample) for sample in self.samples]} if self.samples else {}
        return stated | layer | samples | {"share": 1 - self.equal_share}


def compare(
    what: str,
    expected: np.ndarray,
    got: np.ndarray,
    *,
    reference: str = "program",
    operation: str = "",
    quantization: Quantization | None = None,
    tolerance: float | None = None,
) -> Parity:
    """Compare uint8 arrays in LSB or float32 arrays by absolute difference; dtype, shape and NaN are failures, not numbers.

    `quantization` says what uint8 values mean, for SQNR and cosine. `tolerance` of floats is relative to the full scale, the
    largest expected magnitude, which counts as `LEAST_SCALE` at least.
    """
    found = differences(expected, got)
    kind = "int8" if expected.dtype == np.uint8 else "float"
    identity: dict[str, Any] = {"what": what, "kind": kind, "reference": reference, "operation": operation}
    identity |= {"count": found.count, "differing": found.differing, "samples": found.samples}
    if kind == "float":
        identity |= {"atol": None if tolerance is None else LEAST_SCALE * tolerance, "rtol": tolerance}
    if found.problem:
        return Parity(**identity, problem=f"{what}: {found.problem}")
    if kind == "int8":
        sqnr_db = cosine = None
        if quantization is not None:
            sqnr_db, cosine = similarity(_centred(expected, quantization), _centred(got, quantization))
        identity |= {"max_lsb": int(found.largest), "histogram": dict(found.histogram)}
        return Parity(**identity, sqnr_db=sqnr_db, cosine=cosine)
    sqnr_db, cosine = similarity(expected, got)
    identity |= {"max_abs": found.largest, "mean_abs": found.mean, "full_scale": found.full_scale}
    return Parity(**identity, sqnr_db=sqnr_db, cosine=cosine)


def relative(max_abs: float, full_scale: float) -> float:
    """A difference over the full scale, which counts as `LEAST_SCALE` at least."""
    return max_abs / max(full_scale, LEAST_SCALE)


def similarity(expected: np.ndarray, got: np.ndarray) -> tuple[float | None, float | None]:
    """(SQNR in dB, cosine) of real values against a reference, over all of them.

    SQNR = 10 · log₁₀(Σ expected² / Σ (got − expected)²); None where there is no noise or no signal. The cosine of the angle
    between the two as vectors; None where one of them is zero.
    """
    expected, got = expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()
    signal, power, noise = _product(expected, expected), _product(got, got), _product(got - expected, got - expected)
    if noise == 0:
        return None, 1.0 if signal > 0 else None
    sqnr_db = float(10 * np.log10(signal / noise)) if signal > 0 else None
    cosine = _product(expected, got) / math.sqrt(signal) / math.sqrt(power) if signal > 0 and power > 0 else None
    return sqnr_db, None if cosine is None else min(1.0, max(-1.0, cosine))


def _product(a: np.ndarray, b: np.ndarray) -> float:
    """Σ a · b, in one thread: matrices for which it pays to start more are not compared here."""
    return float(np.einsum("i,i->", a, b))


def _centred(q: np.ndarray, quantization: Quantization) -> np.ndarray:
    """The real values up to their scale, which cancels."""
    return q.astype(np.int16) - quantization.zero_point


def compare_operations(session: Session, program: Program, signature: str, x: np.ndarray) -> tuple[list[Parity], list[str]]:
    """Each operation of one signature of an integer file against the program, on the inputs that the runtime itself computed.

    `x` is the signature's input in the file's dtype, [batch, size]. Returns the comparisons and the names of operations whose
    tensors the runtime does not show.
    """
    return compare_traced(session.trace(signature, x), program, signature, x)


def compare_traced(
    traced: Mapping[str, np.ndarray],
    program: Program,
    signature: str,
    x: np.ndarray,
    known: Mapping[str, np.ndarray] | None = None,
) -> tuple[list[Parity], list[str]]:
    """`compare_operations` of what a session's `trace` gave for `x`.

    `known`: tensors of the program for some input; where an operation reads the same, what it writes is known.
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
            name = f"operation {operation.y}"
            comparisons.append(compare(name, expected, got, operation=operation.y, quantization=meaning))
        else:
            hidden.append(operation.y)
    return comparisons, hidden
