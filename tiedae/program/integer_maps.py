"""Integer samples to a program's integers and back, in integers alone.

The exported files scale integer samples in float32, and each runtime quantizes the result in its own way. `fit` finds a map
in integers that equals all of these ways for every value of the dtype. Where a value lies on a tie, at which they differ, it
first moves the offset by a small part of a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta
from msgspec.structs import replace

from tiedae.base.errors import ExportError
from tiedae.base.records import Record, require
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.config.scaling import Rule, Scaling

from .interpreter import CONVERSIONS, input_integers

LARGEST_SHIFT = 40
LARGEST = 1 << 62
"""No product plus addend of a map reaches it, for any value of the dtype."""
NUDGES = 128
"""Offsets that are tried above, and as many below, the one given."""
NUDGE = 1 / 256
"""Their distance, in parts of the data's unit of measure or of a step of `x`, whichever is less."""

Values = Annotated[tuple[int, ...], Meta(min_length=1)]


class LinearMap(Record, frozen=True):
    """value ↦ (value · multiplier + addend) >> shift, rounded down, then limited to the range of the result.

    One multiplier, addend and shift for all features, or one each per feature. 64 bits are enough.
    """

    multiplier: Values
    addend: Values
    shift: Values

    def __post_init__(self) -> None:
        sizes = [len(self.multiplier), len(self.addend), len(self.shift)]
        require(len(set(sizes)) == 1, "multiplier, addend, shift", sizes, "equally many")
        require(all(0 <= shift <= LARGEST_SHIFT for shift in self.shift), "shift", self.shift, f"in 0…{LARGEST_SHIFT}")
        within = all(
            abs(multiplier) * (1 << 16) + abs(addend) < LARGEST
            for multiplier, addend in zip(self.multiplier, self.addend, strict=True)
        )
        require(within, "multiplier, addend", [self.multiplier, self.addend], "such that no sum reaches 2⁶²")

    def apply(self, values: np.ndarray, low: int, high: int) -> np.ndarray:
        """Integers [n, features], or of any shape where there is one map → integers in `low`…`high`, int64, same shape."""
        multiplier, addend, shift = (np.array(each, np.int64) for each in (self.multiplier, self.addend, self.shift))
        return np.clip((values.astype(np.int64) * multiplier + addend) >> shift, low, high)


class IntegerMaps(Record, frozen=True):
    """`x`: a sample in the data's dtype → the program's `x`, 0…255. `y`: the program's `y` → a sample in the data's dtype."""

    x: LinearMap
    y: LinearMap

    def program_input(self, samples: np.ndarray) -> np.ndarray:
        """Integers [n, inputs] → uint8."""
        return self.x.apply(samples, 0, 255).astype(np.uint8)

    def samples(self, y: np.ndarray, dtype: str) -> np.ndarray:
        """uint8 [n, inputs] → integers of the data's dtype."""
        limits = np.iinfo(dtype)
        return self.y.apply(y, int(limits.min), int(limits.max)).astype(dtype)


def fit(spec: SampleSpec, x: Quantization, y: Quantization) -> tuple[IntegerMaps | None, Scaling]:
    """The maps of integer samples for a program's `x` and `y`, and the scaling that they belong to.

    The scaling is that of `spec`, with the offset of a feature moved by a small part of a step where it has to be. Floats have
    no maps, and bytes of the rule `byte` need none. Raises ExportError where no offset near the given one has maps.
    """
    scaling, dtype = spec.scaling, spec.dtype
    if dtype not in INTEGERS or scaling.is_bytes(dtype):
        return None, scaling
    offsets, scales = (np.atleast_1d(np.asarray(each, np.float64)).tolist() for each in (scaling.offset, scaling.scale))
    pairs = list(zip(offsets, scales, strict=True))
    found = {pair: _of_feature(*pair, scaling.rule, dtype, x, y) for pair in dict.fromkeys(pairs)}
    rows = [found[pair] for pair in pairs]
    maps = IntegerMaps(_joined([row[1] for row in rows]), _joined([row[2] for row in rows]))
    moved = tuple(row[0] for row in rows)
    if moved == tuple(offsets):
        return maps, scaling
    rule = "minmax" if scaling.rule in ("none", "byte") else scaling.rule
    offset = moved if isinstance(scaling.offset, tuple) else moved[0]
    return maps, replace(scaling, rule=rule, offset=offset)


def differing(maps: IntegerMaps, spec: SampleSpec, x: Quantization, y: Quantization) -> int:
    """Values of the dtype, and integers of `y`, for which a way of the files differs from the maps; over all features."""
    scaling = spec.scaling
    columns = [scaling.offset, scaling.scale, *(getattr(each, name) for each in (maps.x, maps.y) for name in _PARTS)]
    values, rows = _values(spec.dtype), np.broadcast_arrays(*(np.atleast_1d(np.array(each, object)) for each in columns))
    count = 0
    for row, features in Counter(zip(*(each.tolist() for each in rows), strict=True)).items():
        one, own = Scaling(scaling.rule, *row[:2]), IntegerMaps(_single(row[2:5]), _single(row[5:]))
        expected = own.program_input(values), own.samples(_OUTPUTS, spec.dtype)
        ways = _inputs(values, one, x), _outputs(one, spec.dtype, y)
        count += features * sum(
            int(np.any([way != wanted for way in each], axis=0).sum()) for each, wanted in zip(ways, expected, strict=True)
        )
    return count


_PARTS = ("multiplier", "addend", "shift")


def _single(row: Sequence[int]) -> LinearMap:
    return LinearMap(*((value,) for value in row))


_OUTPUTS = np.arange(256, dtype=np.uint8)


def _values(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype)


def _of_feature(
    offset: float, scale: float, rule: Rule, dtype: str, x: Quantization, y: Quantization
) -> tuple[float, LinearMap, LinearMap]:
    """The offset, and both maps; of the least move of the offset that has them."""
    values, limits = _values(dtype), np.iinfo(dtype)
    for moved in _nudged(offset, min(1.0, abs(scale) * x.scale) * NUDGE):
        one = Scaling(rule if moved == offset else "minmax", moved, scale)
        own = _agreed(_inputs(values, one, x)), _agreed(_outputs(one, dtype, y))
        if own[0] is None or own[1] is None:
            continue
        encode = _linear(values.astype(np.int64), own[0], 1 / (float(one.float32[1]) * x.scale), 0, x.top)
        decode = _linear(_OUTPUTS.astype(np.int64), own[1], float(one.float32[1]) * y.scale, int(limits.min), int(limits.max))
        if encode is not None and decode is not None:
            return moved, encode, decode
    raise ExportError(
        f"scaling: no offset near {offset:g} with scale {scale:g} maps every {dtype} value to x and back in integers as the "
        "files do in float32; scale the data otherwise, or give them as float32"
    )


def _nudged(offset: float, step: float) -> Iterator[float]:
    yield offset
    for i in range(1, NUDGES + 1):
        yield offset + i * step
        yield offset - i * step


def _inputs(values: np.ndarray, scaling: Scaling, x: Quantization) -> list[np.ndarray]:
    """`x` of every value, uint8, in each of the ways of the runtimes, and of those who quantize in float64."""
    scaled = scaling.apply(values[:, None])[:, 0]
    return [*(input_integers(x, scaled, conversion) for conversion in CONVERSIONS), x.quantize(scaled)]


def _outputs(scaling: Scaling, dtype: str, y: Quantization) -> list[np.ndarray]:
    """The sample of every `y`: the file's float32 rounded, with product and sum rounded apart or together; and in float64."""
    real = y.dequantize(_OUTPUTS)
    offset, scale = (each.astype(np.float64) for each in scaling.float32)
    fused = (real.astype(np.float64) * scale + offset).astype(np.float32)
    same = Scaling()
    return [same.invert(each, dtype) for each in (scaling.restore(real), fused)] + [scaling.invert(real, dtype)]


def _agreed(ways: Sequence[np.ndarray]) -> np.ndarray | None:
    first, *others = ways
    return first.astype(np.int64) if all(np.array_equal(first, each) for each in others) else None


def _linear(values: np.ndarray, results: np.ndarray, slope: float, low: int, high: int) -> LinearMap | None:
    """The map of the least shift that gives these results, int64 [n], for ascending values; None where there is none.

    A value v of result r needs r · 2ˢ ≤ v · M + A < (r + 1) · 2ˢ, without the first at `low` and the second at `high`, where
    the map is limited. M is the nearest integer to slope · 2ˢ. The ends of the runs of equal results decide.
    """
    change = np.flatnonzero(np.diff(results)) + 1
    ends = np.unique(np.concatenate([[0, len(values) - 1], change, change - 1]))
    v, r = values[ends], results[ends]
    for shift in range(LARGEST_SHIFT + 1):
        multiplier = round(slope * 2**shift)
        if abs(multiplier) << 17 >= LARGEST:
            return None
        lower = ((r << shift) - v * multiplier)[r > low]
        upper = ((r + 1 << shift) - 1 - v * multiplier)[r < high]
        least = int(lower.max() if lower.size else upper.min())
        most = int(upper.min() if upper.size else least)
        if least <= most:
            return LinearMap((multiplier,), ((least + most) // 2,), (shift,))
    return None


def _joined(maps: Sequence[LinearMap]) -> LinearMap:
    return LinearMap(*(sum((getattr(each, name) for each in maps), ()) for name in _PARTS))
