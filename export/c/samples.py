"""Samples in the data's integers as C text: their conversion, and the score of anomalies. See `integer_maps` and `scoring`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.integer_maps import IntegerMaps
from tiedae.program.scoring import FRACTION_BITS, LARGEST, Detector, Scoring

from .text import WIDTH, array, literal

FLOOR = """/* value / 2^bits, rounded down */
static int64_t tae_floor(int64_t value, unsigned bits)
{
  return value < 0 ? -(int64_t)((uint64_t)-(value + 1) >> bits) - 1 : (int64_t)((uint64_t)value >> bits);
}
"""


@dataclass(frozen=True)
class DataUnit:
    """How data are scaled: `maps` of integer samples that are not the program's integers; `io` of the bundle's files."""

    spec: SampleSpec
    maps: IntegerMaps | None = None
    io: FileIO = SCALED_IO

    @property
    def integers(self) -> bool:
        return self.spec.dtype in INTEGERS

    @property
    def value(self) -> str:
        """The C type of a value: that of the data's integers, or of the program's `y` for floats."""
        return f"{self.spec.dtype if self.integers else 'uint8'}_t"


def conversion_text(unit: DataUnit, maps: IntegerMaps, *, encodes: bool, decodes: bool) -> str:
    """Functions `tae_to_x` and `tae_from_y`, of the directions that are wanted."""
    inputs, limits, parts = unit.spec.inputs, np.iinfo(unit.spec.dtype), []
    if encodes:
        arrays, mapped = _mapped("tae_x_map", "data[i]", maps.x.multiplier, maps.x.addend, maps.x.shift)
        parts.append(f"""{arrays}
static void tae_to_x(const tae_value *data, uint8_t *x)
{{
  size_t i;
  for (i = 0; i < {inputs}; i++) {{
    const int64_t t = {mapped};
    x[i] = (uint8_t)(t < 0 ? 0 : t > 255 ? 255 : t);
  }}
}}
""")
    if decodes:
        low, high = literal(int(limits.min), 32), literal(int(limits.max), 32)
        arrays, mapped = _mapped("tae_y_map", "y[i]", maps.y.multiplier, maps.y.addend, maps.y.shift)
        parts.append(f"""{arrays}
/* y may lie in the last bytes of data: value i is written after y i is read */
static void tae_from_y(const uint8_t *y, tae_value *data)
{{
  size_t i;
  for (i = 0; i < {inputs}; i++) {{
    const int64_t t = {mapped};
    data[i] = (tae_value)(t < {low} ? {low} : t > {high} ? {high} : t);
  }}
}}
""")
    return "\n".join(parts)


def score_text(detector: Detector, unit: DataUnit | None) -> str:
    """`tae_score_add` and `tae_is_anomaly`; and `tae_units`, of integer samples."""
    scoring = detector.scoring
    weights, weight = per_value("tae_weights", np.array(scoring.weights or (1,), np.uint16))
    half = 1 << FRACTION_BITS - 1
    square = f"((uint64_t)size * size + {half}) >> {FRACTION_BITS}"
    term = {
        "mae": "return total + size;",
        "max": "return total > size ? total : size;",
        "mse": f"return total + ({square});",
        "standardized": f"return total + ((({square}) * {weight} + {half}) >> {FRACTION_BITS});",
    }[scoring.kind]
    unused = "" if "[i" in term else "  (void)i;\n"
    text = f"""{weights}
uint64_t tae_score_add(uint64_t total, size_t i, int64_t units, uint8_t y)
{{
  const int64_t difference = units - ((int64_t)y * {1 << FRACTION_BITS});
  const uint64_t distance = difference < 0 ? (uint64_t)-difference : (uint64_t)difference;
  const uint32_t size = distance > {LARGEST} ? {LARGEST} : (uint32_t)distance;
{unused}  {term}
}}

uint8_t tae_is_anomaly(uint64_t score)
{{
  return score > UINT64_C({detector.thresholds.fused});
}}
"""
    return text + (_units(scoring) if unit is not None and scoring.multiplier else "")


def _units(scoring: Scoring) -> str:
    arrays, mapped = _mapped("tae_unit", "value", scoring.multiplier, scoring.addend, (scoring.shift,))
    unused = "" if arrays else "  (void)i;\n"
    return f"""{arrays}
static int64_t tae_units(size_t i, tae_value value)
{{
{unused}  return {mapped};
}}
"""


def _mapped(name: str, value: str, multiplier: Sequence[int], addend: Sequence[int], shift: Sequence[int]) -> tuple[str, str]:
    """The constant arrays of a linear map, and the C expression of what it makes of a value."""
    multipliers, by = per_value(f"{name}_multiplier", np.array(multiplier, np.int64))
    addends, plus = per_value(f"{name}_addend", np.array(addend, np.int64))
    shifts, down = per_value(f"{name}_shift", np.array(shift, np.uint8))
    return multipliers + addends + shifts, f"tae_floor((int64_t){value} * {by} + {plus}, {down})"


def per_value(name: str, values: np.ndarray) -> tuple[str, str]:
    """Constants, one per value of a sample: their definition, and the C expression of the one of value i.

    Integers have the narrowest type that holds them all. Numbers that repeat, as those of a record's channels, are stored once;
    a single integer is the expression.
    """
    period = next(size for size in range(1, len(values) + 1) if np.array_equal(values[size:], values[:-size]))
    kept = values[:period]
    if period == 1:
        if values.dtype.kind == "f":
            return f"static const {_kind(values)} {name} = {number(values[0], _kind(values))};\n", name
        return "", f"INT64_C({values[0]})" if values.dtype.kind == "i" else f"{values[0]}u"
    at = f"{name}[i]" if period == len(values) else f"{name}[i % {period}u]"
    if kept.dtype.kind == "f":
        return float_array(name, kept), at
    kept_types = [np.min_scalar_type(each) for each in (kept.min(), kept.max())]
    narrow = np.result_type(*kept_types, *([np.int16] if kept.min() < 0 else []))  # int8 is that of kernels
    return array(name, kept if narrow.itemsize == 8 else kept.astype(narrow)), at


def float_array(name: str, values: np.ndarray) -> str:
    """The definition of a constant array of float or double."""
    lines = textwrap.fill(", ".join(number(value, _kind(values)) for value in values), WIDTH)
    return f"static const {_kind(values)} {name}[{values.size}] = {{\n{lines}\n}};\n"


def number(value: float, kind: str) -> str:
    """A decimal that is read as the same number; for float, the nearest binary32."""
    text = repr(float(np.float32(value))) if kind == "float" else repr(float(value))
    return text + ("f" if kind == "float" else "")


def _kind(values: np.ndarray) -> str:
    return "float" if values.dtype == np.float32 else "double"
