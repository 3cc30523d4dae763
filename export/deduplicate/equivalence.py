"""What a rewriting did, and whether both files compute the same: outputs on random inputs, within stated bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ..differences import differences, mismatch
from ..formats.duplicates import Relation

Change = Literal["views", "operators", "near"]
"""What a rewriting did: another place for the bytes, other operators on the same values, or other values."""


@dataclass(frozen=True)
class Merged:
    """A constant that no longer has storage of its own.

    `how` is one line, such as "FULLY_CONNECTED → BATCH_MATMUL on a view". `saved` in bytes of stored data, 0 where another view
    of the same storage counts them. `steps`: how far its values moved, in quantization steps, and `changed`: the fraction of
    integers that became others; both 0 unless `relation` is near.
    """

    name: str
    original: str
    relation: Relation
    how: str
    saved: int
    steps: float = 0.0
    changed: float = 0.0


@dataclass(frozen=True)
class Kept:
    """A duplicate that stays stored, and in one line why."""

    name: str
    original: str
    reason: str


@dataclass(frozen=True)
class Shared:
    """The rewritten file. `external`: bytes of the files that lie beside it, by file name (external data of ONNX)."""

    data: bytes = field(repr=False)
    merged: tuple[Merged, ...]
    kept: tuple[Kept, ...]
    external: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class DifferenceBound:
    """Allowed differences: the largest and the mean as fractions of the range (of a float its largest value, of an 8-bit
    integer 255), and of other integers the fraction of values that differ."""

    largest: float
    mean: float
    differing: float


BOUNDS: Mapping[tuple[Change, bool], DifferenceBound] = {
    ("views", False): DifferenceBound(1e-5, 1e-5, 0.0),
    ("operators", False): DifferenceBound(1e-4, 1e-5, 0.02),
    ("views", True): DifferenceBound(1e-5, 0.0, 0.0),
    ("operators", True): DifferenceBound(1.0, 0.01, 0.1),
    ("near", True): DifferenceBound(1.0, 0.02, 0.1),
}
"""By change, and whether the operators are quantized: their roundings grow on the way out, so they are held on average."""


@dataclass(frozen=True)
class OutputComparison:
    """One output of one signature in one runtime, over all runs.

    Integers: differences in LSB (steps of the integer). Floats: absolute. `allowed` says the bounds, `problem` what breaks
    them, if anything does.
    """

    runtime: str
    signature: str
    output: str
    dtype: str
    count: int
    differing: int
    largest: float
    mean: float
    scale: float
    histogram: Mapping[str, int]
    allowed: str
    problem: str = ""

    @property
    def text(self) -> str:
        """The failure."""
        return f"{self.signature} {self.output} in {self.runtime}: {self.problem}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.differing / max(self.count, 1)}


def compare_outputs(
    runtime: str,
    runs: Sequence[tuple[str, Any]],
    expected: Sequence[Mapping[str, np.ndarray] | str],
    got: Sequence[Mapping[str, np.ndarray] | str],
    bound: DifferenceBound,
) -> Iterator[OutputComparison]:
    """The outputs of every signature; runs that the runtime refuses with the first file, such as a batch, are left out."""
    pairs: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray | str]]] = {}
    for (signature, _), one, other in zip(runs, expected, got, strict=True):
        if isinstance(one, str):
            continue
        others = {} if isinstance(other, str) else other
        missing = other if isinstance(other, str) else "the rewritten file does not give it"
        for name, values in one.items():
            pairs.setdefault((signature, name), []).append((values, others.get(name, missing)))
        for name in others.keys() - one.keys():
            pairs.setdefault((signature, name), []).append((np.empty(0), "only the rewritten file gives it"))
    for (signature, output), values in pairs.items():
        yield _compare(runtime, signature, output, values, bound)


def _compare(
    runtime: str, signature: str, output: str, pairs: Sequence[tuple[np.ndarray, np.ndarray | str]], bound: DifferenceBound
) -> OutputComparison:
    def failed(problem: str) -> OutputComparison:
        return OutputComparison(runtime, signature, output, str(pairs[0][0].dtype), 0, 0, 0.0, 0.0, 0.0, {}, "", problem)

    for expected, got in pairs:
        if problem := got if isinstance(got, str) else mismatch(expected, got):
            return failed(problem)
    expected, got = (np.concatenate([np.asarray(pair[i]).ravel() for pair in pairs]) for i in (0, 1))
    found = differences(expected, got)
    if found.problem:
        return failed(found.problem)
    scale, problem = found.full_scale if expected.dtype.kind == "f" else 255.0, ""
    most, usual = bound.largest * scale, bound.mean * scale
    if expected.dtype.kind == "f":
        allowed = f"{most:.2g}, mean {usual:.2g}"
        if found.largest > most or found.mean > usual:
            problem = f"largest difference {found.largest:.3g}, mean {found.mean:.3g}, allowed {allowed}"
    elif found.histogram:
        allowed = f"mean {usual:.3g} LSB"
        if found.mean > usual:
            problem = f"mean difference {found.mean:.3g} LSB, allowed {allowed}"
    else:
        allowed = f"{bound.differing:.0%} differ"
        if found.differing > bound.differing * found.count:
            problem = f"{found.differing} of {found.count} values differ, allowed {allowed}"
    measured = found.count, found.differing, found.largest, found.mean, scale, found.histogram
    return OutputComparison(runtime, signature, output, str(expected.dtype), *measured, allowed, problem)
