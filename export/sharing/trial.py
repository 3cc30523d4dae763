"""Two files that should compute the same, on the same random inputs: are their outputs within stated bounds?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from ...compress.errors import FormatError
from ..differences import differences, mismatch
from ..formats.contents import Contents, Port

BATCHES = (1, 3)
"""What free dimensions become, one run each."""
FEW = 8
"""Integers below this are fed where nothing says what they index."""

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
class Ranges:
    """What the graph says of its inputs: `ids`, the fewest rows of a table that integers index; `floats` by (signature, port),
    (least, greatest)."""

    ids: int = FEW
    floats: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)


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


def random_inputs(contents: Contents, ranges: Ranges, seed: int) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(signature, inputs by name), each signature once per size of its free dimensions.

    8-bit integers have their full range, wider ones stay below `ranges.ids`, floats are in their known range or −1…1. Raises
    FormatError for an input of a type that has no random values.
    """
    rng = np.random.default_rng(seed)
    return [
        (signature.name, {port.name: random_values(port, ranges, signature.name, size, rng) for port in signature.inputs})
        for signature in contents.signatures
        for size in BATCHES
    ]


def random_values(port: Port, ranges: Ranges, signature: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Values of one input of `signature`, of the port's shape and dtype, with `size` for its free dimensions."""
    shape = tuple(size if length is None else length for length in port.shape)
    try:
        dtype = np.dtype(port.dtype)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "fiub" or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > 1 << 30:
        raise FormatError(f"{signature}: no random values for the input {port.name} of {port.dtype} {list(shape)}")
    if dtype.kind == "f":
        low, high = ranges.floats.get((signature, port.name), (-1.0, 1.0))
        return rng.uniform(low, high, shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.itemsize == 1:
        limits = np.iinfo(dtype.name)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return rng.integers(0, ranges.ids, shape).astype(dtype)


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
    return Comparison(runtime, signature, output, str(expected.dtype), *measured, allowed, problem)
