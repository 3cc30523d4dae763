"""The signature `score` of a file: `x` → `score`, float32 [batch], and `anomaly`, bool [batch].

It has the operations of `reconstruct`, then those of `steps` in float32, on `x` as given, before it is quantized and clipped, and
on the integers of `y`. The score is that of `scoring` in model units, without its roundings: float32 and integers agree to a
relative difference of `TOLERANCE`. `anomaly` is not (score ≤ threshold), so NaN is an anomaly, as infinity is.

A file with integer `x` of data that are no bytes scores these integers: its caller has clipped the samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .scoring import FRACTION_BITS, LARGEST, Detector

SCORE, ANOMALY = "score", "anomaly"
"""The outputs; the signature is named as the first one."""
X, Y = "score.x", "score.y"
"""`x` as given and `y`, float32 in model units."""
LIMIT, WEIGHTS, UNIT, THRESHOLD = "score.limit", "score.weights", "score.unit", "score.threshold"
"""The constants, see `constants`."""
CONSTANTS = (LIMIT, WEIGHTS, UNIT, THRESHOLD)
TOLERANCE = 1e-5
"""Relative difference of scores, and how near to the threshold flags may differ."""

Kind = Literal["subtract", "absolute", "least", "multiply", "pad", "reshape", "mean", "largest", "at most", "not"]


@dataclass(frozen=True)
class Step:
    """One operation: `inputs` are names of steps before, of `X`, `Y` or of constants.

    `shape`: of the output, per sample. `mean` and `largest` reduce the last axis, `pad` adds zeros at its end.
    """

    kind: Kind
    inputs: tuple[str, ...]
    output: str
    shape: tuple[int, ...] = ()

    @property
    def dtype(self) -> Literal["float32", "bool"]:
        return "bool" if self.kind in ("at most", "not") else "float32"


def constants(detector: Detector, layout: str) -> Mapping[str, np.ndarray]:
    """The constants of a file whose decoder has this layout, float32: scalars, and the weights [inputs].

    LIMIT is the largest error of a value. WEIGHTS and UNIT are those of `standardized`; UNIT also undoes the zeros of a mean.
    """
    scoring = detector.scoring
    found = {LIMIT: LARGEST * scoring.scale / (1 << FRACTION_BITS), THRESHOLD: detector.threshold(layout)}
    if scoring.weights:
        found |= {WEIGHTS: scoring.weights}
    if _unit(detector) != 1:
        found |= {UNIT: _unit(detector)}
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def _unit(detector: Detector) -> float:
    """The factor of the mean."""
    scoring = detector.scoring
    rows, columns = grid(scoring.inputs)
    return 1.0 if scoring.kind == "max" else scoring.unit_weight * rows * columns / scoring.inputs


def grid(inputs: int) -> tuple[int, int]:
    """(rows, columns) in which values are averaged, columns first: nearly square, and if it can be, without zeros at the end.

    Some runtimes sum one value after the other in float32, whose error grows with their number.
    """
    least = math.isqrt(inputs - 1) + 1
    columns = next((size for size in range(least, 2 * least) if inputs % size == 0), least)
    return -(-inputs // columns), columns


def steps(detector: Detector, *, finite: bool) -> list[Step]:
    """The operations from `X` and `Y` to the outputs. Unless `x` is `finite`, as integers are, NaN and infinity give a score of
    NaN: not every runtime keeps them in a minimum or maximum, but all do in x − x.
    """
    kind, full = detector.scoring.kind, (detector.scoring.inputs,)
    found = [
        Step("subtract", (X, Y), "score.difference", full),
        Step("absolute", ("score.difference",), "score.distance", full),
        Step("least", ("score.distance", LIMIT), "score.error", full),
    ]
    if kind in ("mse", "standardized"):
        found.append(Step("multiply", ("score.error", "score.error"), "score.square", full))
    if kind == "standardized":
        found.append(Step("multiply", ("score.square", WEIGHTS), "score.weighted", full))
    total = SCORE if finite else "score.finite"
    if kind == "max":
        found.append(Step("largest", (found[-1].output,), total))
    else:
        unit = _unit(detector) != 1
        found += _mean(found[-1].output, "score.mean" if unit else total, full)
        found += [Step("multiply", ("score.mean", UNIT), total)] if unit else []
    if not finite:
        found += [Step("subtract", (X, X), "score.zero", full), Step("mean", ("score.zero",), "score.missing")]
        found += [Step("subtract", (total, "score.missing"), SCORE)]
    found += [Step("at most", (SCORE, THRESHOLD), "score.normal"), Step("not", ("score.normal",), ANOMALY)]
    return found


def _mean(source: str, output: str, full: tuple[int]) -> Iterator[Step]:
    """The mean of a row of `grid`, then that of its columns."""
    rows, columns = grid(*full)
    if rows * columns != full[0]:
        yield Step("pad", (source,), "score.padded", (rows * columns,))
        source = "score.padded"
    yield Step("reshape", (source,), "score.grid", (rows, columns))
    yield Step("mean", ("score.grid",), "score.rows", (rows,))
    yield Step("mean", ("score.rows",), output)
