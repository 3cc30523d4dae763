"""The signature `score` of a file: `x` → `score`, float32 [batch], and `anomaly`, bool [batch].

It has the operations of `reconstruct`, then those of `steps` in float32: on `x` as given, before it is quantized and clipped,
and on the integers of `y`. The score is that of `scoring` in scaled values, without its roundings: float32 and integers agree
to a relative difference of `TOLERANCE`. `anomaly` is not (score ≤ threshold), so NaN is one: the score of a sample with NaN
or infinity.

A file with integer `x` of data that are no bytes scores these integers: its caller has clipped the samples.

`Scored` is what the integer program gives for a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tiedae.compress.affine import BYTE

from .arithmetic import Interval
from .file_io import FileIO
from .program import Program
from .scoring import FRACTION_BITS, LARGEST, Detector
from .tensors import flat

SCORE, ANOMALY = "score", "anomaly"
"""The outputs; the signature is named as the first one."""
X, Y = "score.x", "score.y"
"""`x` as given and `y`, float32 in scaled values."""
GIVEN, CENTRED = "x", "x.centred"
"""`x` and x − offset of a file in the data's unit of measure."""
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

    LIMIT is the largest error of a value. THRESHOLD is half of `TOLERANCE` above that of the integers: scores that equal it are
    normal, which float32 may round up; of the largest errors of bytes they are many. WEIGHTS and UNIT are those of
    `standardized`; UNIT also undoes the zeros of a mean.
    """
    scoring = detector.scoring
    found = {LIMIT: LARGEST * scoring.scale / (1 << FRACTION_BITS), THRESHOLD: detector.threshold(layout) * (1 + TOLERANCE / 2)}
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


def steps(detector: Detector, shape: tuple[int, ...], *, real: str) -> list[Step]:
    """The operations from `X` and `Y`, of this shape per sample, to the outputs.

    `real`: float32 samples, `X` or `CENTRED`; empty if `x` is integers.

    NaN and infinity there give a score of NaN: not every runtime keeps them in a minimum or maximum, but all do in x − x.
    Behind `CENTRED` that is `GIVEN`, since kernels of TFLite and TFLM clip infinity − offset to the largest float. `CENTRED`
    must have a second use as well. With a single one OpenVINO computes (x − offset) / scale as x · (1 / scale) −
    offset / scale, which float32 holds badly where the offset is many times the scale.
    """
    kind, full = detector.scoring.kind, (detector.scoring.inputs,)
    found = _flat([Step("subtract", (X, Y), "score.difference", shape)], "score.values")
    found += [
        Step("absolute", (found[-1].output,), "score.distance", full),
        Step("least", ("score.distance", LIMIT), "score.error", full),
    ]
    if kind in ("mse", "standardized"):
        found.append(Step("multiply", ("score.error", "score.error"), "score.square", full))
    if kind == "standardized":
        found.append(Step("multiply", ("score.square", WEIGHTS), "score.weighted", full))
    total = "score.finite" if real else SCORE
    if kind == "max":
        found.append(Step("largest", (found[-1].output,), total))
    else:
        unit = _unit(detector) != 1
        found += _mean(found[-1].output, "score.mean" if unit else total, full)
        found += [Step("multiply", ("score.mean", UNIT), total)] if unit else []
    if real:
        found.append(Step("subtract", (real, real), "score.zero", shape))
        if real == CENTRED:
            found += [Step("subtract", (GIVEN, GIVEN), "score.gap", shape)]
            found += [Step("subtract", ("score.gap", "score.zero"), "score.gaps", shape)]
        found = _flat(found, "score.zeros")
        found.append(Step("mean", (found[-1].output,), "score.missing"))
        found += [Step("subtract", (total, "score.missing"), SCORE)]
    found += [Step("at most", (SCORE, THRESHOLD), "score.normal"), Step("not", ("score.normal",), ANOMALY)]
    return found


def _flat(found: list[Step], name: str) -> list[Step]:
    """These steps, and the last one's output on one axis as `name` where it has more."""
    shape = found[-1].shape
    return found if len(shape) == 1 else [*found, Step("reshape", (found[-1].output,), name, (math.prod(shape),))]


def _mean(source: str, output: str, full: tuple[int]) -> Iterator[Step]:
    """The mean of a row of `grid`, then that of its columns."""
    rows, columns = grid(*full)
    if rows * columns != full[0]:
        yield Step("pad", (source,), "score.padded", (rows * columns,))
        source = "score.padded"
    yield Step("reshape", (source,), "score.grid", (rows, columns))
    yield Step("mean", ("score.grid",), "score.rows", (rows,))
    yield Step("mean", ("score.rows",), output)


COARSE = 2
"""Errors up to this many LSB of y are held to an absolute difference."""
ROWS = 1024
"""Samples that are scored together."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The integer scores of samples: S, int64 [n], by `detector` with a decoder of `layout`."""

    detector: Detector
    layout: str
    totals: np.ndarray

    @classmethod
    def between(
        cls,
        detector: Detector,
        layout: str,
        program: Program,
        io: FileIO,
        samples: np.ndarray,
        scaled: np.ndarray,
        x: np.ndarray,
        y: Interval,
    ) -> tuple[Scored, Scored]:
        """The least and the largest scores of samples [n, inputs] in the data's unit of measure and dtype, finite.

        `io`: that of the file. `scaled`: the samples in scaled values, float32; `x` and both ends of `y`: the program's
        integers, uint8 [n, *shape].
        """
        scoring, quantization, x, y = detector.scoring, program.quantization("x"), flat(x), (flat(y[0]), flat(y[1]))
        clipped = program.file_io(io).dtype != "float32" and quantization != BYTE
        totals = [np.zeros((2, 0), np.int64)]
        for start in range(0, len(samples), ROWS):
            rows = slice(start, start + ROWS)
            units = (
                scoring.real_units(quantization.dequantize(x[rows])) if clipped else scoring.units(samples[rows], scaled[rows])
            )
            most, least = (scoring.errors(units, ends[rows]) for ends in y)
            nearest = np.clip(0, least, most)
            totals.append(np.stack([scoring.totals(nearest), scoring.totals(np.maximum(np.abs(least), np.abs(most)))]))
        low, high = np.concatenate(totals, axis=1)
        return cls(detector, layout, low), cls(detector, layout, high)

    @property
    def score(self) -> np.ndarray:
        """float64 [n]."""
        return self.totals * self.detector.scoring.factor

    @property
    def anomaly(self) -> np.ndarray:
        """bool [n]."""
        return self.totals > getattr(self.detector.thresholds, self.layout)

    @property
    def outputs(self) -> dict[str, np.ndarray]:
        """What files give: `score` as float32, `anomaly`."""
        return {SCORE: self.score.astype(np.float32), ANOMALY: self.anomaly}

    def relative(self, score: np.ndarray) -> np.ndarray:
        """The relative difference of a file's scores, float64 [n].

        Relative to the score, or where that is less, to that of an error of `COARSE` steps of y in every value: float32 and X
        hold `x` to a small part of a step, not of an error that is smaller still.
        """
        return np.maximum(self.below(score), self.above(score))

    def below(self, score: np.ndarray) -> np.ndarray:
        """How far a file's scores are below, relative as `relative`; negative where they are above."""
        return (self.score - score.astype(np.float64)) / np.maximum(self.score, self._least)

    def above(self, score: np.ndarray) -> np.ndarray:
        """How far a file's scores are above, relative as `relative`; negative where they are below."""
        return -self.below(score)

    @property
    def near(self) -> np.ndarray:
        """Whether a score lies so near to the threshold that a flag may differ, bool [n]."""
        threshold = self.detector.threshold(self.layout)
        return np.abs(self.score - threshold) <= TOLERANCE * max(threshold, self._least)

    @property
    def _least(self) -> float:
        scoring = self.detector.scoring
        return float(scoring.totals(np.full((1, scoring.inputs), COARSE << FRACTION_BITS))[0] * scoring.factor)
