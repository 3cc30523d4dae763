"""The result of a rewrite, and the comparison of both files' outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tiedae.export.duplicates import Relation
from tiedae.export.reals import Chunk
from tiedae.program.differences import differences, mismatch

if TYPE_CHECKING:
    from tiedae.runtimes.sandbox import TrialRun

Change = Literal["views", "operators", "near"]
"""Kinds of rewrite: shared bytes, other operators on the same values, or changed values."""


@dataclass(frozen=True)
class Merged:
    """A constant that no longer has its own storage.

    `how`: one line, such as "FULLY_CONNECTED → BATCH_MATMUL on a view". `saved`: bytes of stored data. `steps`: largest change
    of a value, in quantization steps; `changed`: fraction of integers changed; both 0 unless `relation` is near.
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
    """A duplicate that stays stored, with a one-line reason."""

    name: str
    original: str
    reason: str


@dataclass(frozen=True)
class Shared:
    """The rewritten file. `external`: the parts of ONNX external data by file name, views of the source where possible."""

    data: bytes = field(repr=False)
    merged: tuple[Merged, ...]
    kept: tuple[Kept, ...]
    external: Mapping[str, Sequence[Chunk]] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        """Bytes of the file and its external data."""
        return len(self.data) + sum(len(part) for parts in self.external.values() for part in parts)


@dataclass(frozen=True)
class DifferenceBound:
    """Allowed differences. `largest`, `mean`: fractions of the full scale (largest expected magnitude, 255 for 8-bit integers);
    `differing`: fraction of other integers that may differ."""

    largest: float
    mean: float
    differing: float


BOUNDS: Mapping[tuple[Change, bool], DifferenceBound] = {
    ("views", False): DifferenceBound(1e-5, 1e-5, 0.0),
    ("operators", False): DifferenceBound(1e-4, 1e-5, 0.02),
    ("views", True): DifferenceBound(1e-5, 0.0, 0.0),
    ("operators", True): DifferenceBound(8 / 255, 0.01, 0.1),
    ("near", True): DifferenceBound(24 / 255, 0.02, 0.1),
}
"""By kind of rewrite, and whether the operators are quantized, since rounding errors accumulate.

Measured on int8 files of tied autoencoders with 2 to 10 layers, from the stock converter and made: other operators change
single values by up to 1 LSB (mean 0.3), near duplicates by up to 9 LSB (mean 1.1), and float outputs of quantized files by up
to 6.6 % of their full scale (mean 1.05 %).
"""


@dataclass(frozen=True)
class OutputComparison:
    """One output of one signature in one runtime, over all runs.

    Differences are in LSB for integers, absolute for floats. `nonfinite` values are NaN or infinite, the same in both files;
    they agree and are not part of the mean. `allowed` states the bounds, `problem` how they are exceeded.
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
    nonfinite: int = 0

    @property
    def text(self) -> str:
        """The failure in one line."""
        return f"{self.signature} {self.output} in {self.runtime}: {self.problem}"

    @property
    def is_compared(self) -> bool:
        """Whether a number was compared: no output without values, or with none that is finite, says anything."""
        return self.count > self.nonfinite

    @property
    def change(self) -> tuple[float, float]:
        """The largest and mean difference as fractions of the full scale."""
        return self.largest / (self.scale or 1.0), self.mean / (self.scale or 1.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"share": self.differing / max(self.count, 1), "change": [*self.change]}


def compare_outputs(
    runtime: str,
    runs: Sequence[TrialRun],
    expected: Sequence[Mapping[str, np.ndarray] | str | None],
    got: Sequence[Mapping[str, np.ndarray] | str | None],
    bound: DifferenceBound,
) -> Iterator[OutputComparison]:
    """Compare the outputs of all signatures, except runs that the runtime rejects for the original, such as a batch size."""
    pairs: dict[tuple[str, str], list[tuple[np.ndarray, np.ndarray | str]]] = {}
    for run, one, other in zip(runs, expected, got, strict=True):
        if one is None or isinstance(one, str):
            continue
        signature = run.signature
        others = {} if other is None or isinstance(other, str) else other
        missing = other if isinstance(other, str) else "missing from the rewritten file"
        for name, values in one.items():
            pairs.setdefault((signature, name), []).append((values, others.get(name, missing)))
        for name in others.keys() - one.keys():
            pairs.setdefault((signature, name), []).append((np.empty(0), "only in the rewritten file"))
    for (signature, output), values in pairs.items():
        yield _compare(runtime, signature, output, values, bound)


def _compare(
    runtime: str, signature: str, output: str, pairs: Sequence[tuple[np.ndarray, np.ndarray | str]], bound: DifferenceBound
) -> OutputComparison:
    of = runtime, signature, output, str(pairs[0][0].dtype)
    nothing = 0, 0, 0.0, 0.0, 0.0, {}, ""
    for expected, got in pairs:
        if problem := got if isinstance(got, str) else mismatch(expected, got):
            return OutputComparison(*of, *nothing, problem)
    expected, got = (np.concatenate([np.asarray(pair[i]).ravel() for pair in pairs]) for i in (0, 1))
    agreeing = _nonfinite(expected, got)
    nonfinite = int(np.count_nonzero(agreeing))
    if nonfinite == expected.size:
        why = "not compared: none of its values is finite" if nonfinite else "not compared: it has no values"
        return OutputComparison(*of, nonfinite, 0, 0.0, 0.0, 0.0, {}, why, nonfinite=nonfinite)
    found = differences(expected[~agreeing], got[~agreeing])
    if found.problem:
        return OutputComparison(*of, *nothing, found.problem)
    scale, problem = _full_scale(expected[~agreeing]), ""
    most, usual = bound.largest * scale, bound.mean * scale
    if expected.dtype.kind == "f":
        allowed = f"{most:.2g}, mean {usual:.2g}"
        if found.largest > most or found.mean > usual:
            problem = f"largest difference {found.largest:.3g}, mean {found.mean:.3g}, allowed {allowed}"
    elif found.histogram:
        allowed = f"{int(most)} LSB, mean {usual:.3g} LSB"
        if found.largest > most or found.mean > usual:
            problem = f"largest difference {found.largest:.0f} LSB, mean {found.mean:.3g} LSB, allowed {allowed}"
    else:
        allowed = f"{bound.differing:.0%} differ"
        if found.differing > bound.differing * found.count:
            problem = f"{found.differing} of {found.count} values differ, allowed {allowed}"
    measured = found.count + nonfinite, found.differing, found.largest, found.mean, scale, found.histogram
    return OutputComparison(*of, *measured, allowed, problem, nonfinite)


def _full_scale(expected: np.ndarray) -> float:
    """255 for 8-bit integers, else the largest magnitude; 1 for values that are no numbers."""
    if expected.dtype in (np.int8, np.uint8):
        return 255.0
    return float(np.abs(expected.astype(np.float64)).max(initial=0)) if expected.dtype.kind in "fiu" else 1.0


def _nonfinite(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Where both arrays hold NaN or the same infinity."""
    if expected.dtype.kind not in "fc":
        return np.zeros(expected.shape, bool)
    return ~np.isfinite(expected) & ((expected == got) | (np.isnan(expected) & np.isnan(got)))


Statement = tuple[str, object]
"""(part of a file, what it holds)."""


def first_difference(one: Iterable[Statement], other: Iterable[Statement]) -> str:
    """The first part of which two files say something else; empty if there is none."""
    pairs = zip_longest(one, other, fillvalue=("", None))
    return next((first[0] or second[0] for first, second in pairs if first != second), "")
