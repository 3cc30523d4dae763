"""Two files that should compute the same, on the same random inputs: are their outputs within stated bounds?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

Change = Literal["views", "operators", "near"]
"""What a rewriting did: another place for the bytes, other operators on the same values, or other values."""


@dataclass(frozen=True)
class Bound:
    """Differences that are allowed: the largest and the mean as shares of the range (of a float its largest value, of an 8-bit
    integer 255), and of other integers the share of values that differ."""

    largest: float
    mean: float
    differing: float


BOUNDS: Mapping[tuple[Change, bool], Bound] = {
    ("views", False): Bound(1e-5, 1e-5, 0.0),
    ("operators", False): Bound(1e-4, 1e-5, 0.02),
    ("views", True): Bound(1e-5, 0.0, 0.0),
    ("operators", True): Bound(1.0, 0.01, 0.1),
    ("near", True): Bound(1.0, 0.02, 0.1),
}
"""By change, and whether the operators are quantized: their roundings grow on the way out, so they are held on average."""


@dataclass(frozen=True)
class Comparison:
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
    bound: Bound,
) -> Iterator[Comparison]:
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
    runtime: str, signature: str, output: str, pairs: Sequence[tuple[np.ndarray, np.ndarray | str]], bound: Bound
) -> Comparison:
    def failed(problem: str) -> Comparison:
        return Comparison(runtime, signature, output, str(pairs[0][0].dtype), 0, 0, 0.0, 0.0, 0.0, {}, "", problem)

    for expected, got in pairs:
        if isinstance(got, str):
            return failed(got)
        if (expected.dtype, expected.shape) != (got.dtype, got.shape):
            return failed(f"{got.dtype} {list(got.shape)} instead of {expected.dtype} {list(expected.shape)}")
        if expected.dtype.kind == "f" and not (np.isfinite(expected).all() and np.isfinite(got).all()):
            return failed(f"values that are not finite: {_broken(expected)} before, {_broken(got)} after")
    expected, got = (np.concatenate([np.asarray(pair[i]).ravel() for pair in pairs]) for i in (0, 1))
    if expected.dtype.kind not in "fiub":
        same = bool((expected == got).all())
        return failed("" if same else "other values")
    return _measure(runtime, signature, output, expected, got, bound)


def _broken(values: np.ndarray) -> int:
    return int(np.count_nonzero(~np.isfinite(values)))


def _measure(runtime: str, signature: str, output: str, expected: np.ndarray, got: np.ndarray, bound: Bound) -> Comparison:
    is_float, is_byte = expected.dtype.kind == "f", expected.dtype in (np.int8, np.uint8)
    difference = got.astype(np.float64) - expected.astype(np.float64)
    gaps = np.abs(difference)
    largest, mean = float(gaps.max(initial=0)), float(gaps.mean()) if gaps.size else 0.0
    scale = float(np.abs(expected.astype(np.float64)).max(initial=0)) if is_float else 255.0
    differing = int(np.count_nonzero(gaps))
    histogram: dict[str, int] = {}
    if is_byte:
        values, counts = np.unique(difference, return_counts=True)
        histogram = {str(int(value)): int(count) for value, count in zip(values, counts, strict=True)}
    problem = ""
    if is_float:
        most, usual = bound.largest * scale, bound.mean * scale
        allowed = f"{most:.2g}, mean {usual:.2g}"
        if largest > most or mean > usual:
            problem = f"largest difference {largest:.3g}, mean {mean:.3g}, allowed {allowed}"
    elif is_byte:
        allowed = f"mean {bound.mean * scale:.3g} LSB"
        if mean > bound.mean * scale:
            problem = f"mean difference {mean:.3g} LSB, allowed {allowed}"
    else:
        allowed = f"{bound.differing:.0%} differ"
        if differing > bound.differing * gaps.size:
            problem = f"{differing} of {gaps.size} values differ, allowed {allowed}"
    return Comparison(
        runtime, signature, output, str(expected.dtype), gaps.size, differing, largest, mean, scale, histogram, allowed, problem
    )
