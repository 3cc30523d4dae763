"""The parity engine: how far apart two runtimes' numbers are, int8 in LSB, float in absolute difference."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .interpreter import apply
from .program import Program
from .runtime import Session


@dataclass(frozen=True)
class Parity:
    """One comparison. `problem` is not empty where dtype or shape differ or a value is not finite: always a failure.

    int8: `differing` of `count` values differ, by at most `max_lsb`; `histogram` counts the differences (got − expected).
    float: `max_abs` and `mean_abs` of the differences, `full_scale` the largest expected magnitude.
    """

    what: str
    kind: str
    count: int = 0
    differing: int = 0
    max_lsb: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    full_scale: float = 0.0
    histogram: dict[str, int] = field(default_factory=dict)
    problem: str = ""

    @property
    def equal_share(self) -> float:
        return 1.0 if self.count == 0 else 1 - self.differing / self.count

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in ("", {})} | {"share": 1 - self.equal_share}


def compare(what: str, expected: np.ndarray, got: np.ndarray) -> Parity:
    """Compare uint8 arrays in LSB or float32 arrays by absolute difference; dtype, shape and NaN are failures, not numbers."""
    kind = "int8" if expected.dtype == np.uint8 else "float"
    if expected.dtype != got.dtype or expected.shape != got.shape:
        problem = f"{what}: got {got.dtype} {list(got.shape)}, expected {expected.dtype} {list(expected.shape)}"
        return Parity(what, kind, problem=problem)
    if kind == "int8":
        difference = got.astype(np.int16) - expected
        values, counts = np.unique(difference, return_counts=True)
        histogram = {str(value): int(count) for value, count in zip(values, counts, strict=True)}
        largest = int(np.abs(values).max(initial=0))
        return Parity(what, kind, got.size, int(np.count_nonzero(difference)), largest, histogram=histogram)
    broken = ~np.isfinite(got) | ~np.isfinite(expected)
    if broken.any():
        at = tuple(int(i) for i in np.argwhere(broken)[0])
        problem = f"{what}: {int(broken.sum())} values are not finite, first at {at}: got {got[at]}, expected {expected[at]}"
        return Parity(what, kind, got.size, problem=problem)
    difference = np.abs(got.astype(np.float64) - expected)
    return Parity(
        what,
        kind,
        got.size,
        int(np.count_nonzero(difference)),
        max_abs=float(difference.max(initial=0)),
        mean_abs=float(difference.mean()) if difference.size else 0.0,
        full_scale=float(np.abs(expected).max(initial=0)),
    )


def compare_operations(session: Session, program: Program, signature: str, x: np.ndarray) -> tuple[list[Parity], list[str]]:
    """Each operation of one signature of an integer file against the program, on the inputs that the runtime itself computed.

    `x` is the signature's input in the file's dtype, [batch, size]. Returns the comparisons and the names of operations whose
    tensors the runtime does not show.
    """
    operations, source, _ = program.part(signature)
    values = session.trace(signature, x)
    if x.dtype == np.uint8:
        values = {source: x} | values
    comparisons, hidden = [], []
    for operation in operations:
        if operation.x in values and operation.y in values:
            expected = apply(program, operation, values[operation.x])
            comparisons.append(compare(f"operation {operation.y}", expected, values[operation.y]))
        else:
            hidden.append(operation.y)
    return comparisons, hidden
