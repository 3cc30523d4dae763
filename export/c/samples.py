"""Samples in the data's integers as C text: their conversion, and the score of anomalies. See `integer_maps` and `scoring`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tiedae.compress.sample_spec import INTEGERS, SampleSpec
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.integer_maps import IntegerMaps, LinearMap
from tiedae.program.scoring import FRACTION_BITS, LARGEST, Detector, Scoring

from .text import array, literal

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
        arrays, mapped = _mapped("tae_x_map", maps.x, "data[i]")
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
        arrays, mapped = _mapped("tae_y_map", maps.y, "y[i]")
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
    weights = array("tae_weights", np.array(scoring.weights, np.uint16)) if scoring.weights else ""
    half = 1 << FRACTION_BITS - 1
    term = {
        "mae": "return total + size;",
        "max": "return total > size ? total : size;",
        "mse": f"return total + ((size * size + {half}) >> {FRACTION_BITS});",
        "standardized": (
            f"size = (size * size + {half}) >> {FRACTION_BITS};\n"
            f"  return total + ((size * tae_weights[i] + {half}) >> {FRACTION_BITS});"
        ),
    }[scoring.kind]
    unused = "" if scoring.weights else "  (void)i;\n"
    text = f"""{weights}
uint64_t tae_score_add(uint64_t total, size_t i, int64_t units, uint8_t y)
{{
  const int64_t difference = units - ((int64_t)y * {1 << FRACTION_BITS});
  uint64_t size = difference < 0 ? (uint64_t)-difference : (uint64_t)difference;
{unused}  if (size > {LARGEST}) size = {LARGEST};
  {term}
}}

uint8_t tae_is_anomaly(uint64_t score)
{{
  return score > UINT64_C({detector.thresholds.fused});
}}
"""
    return text + (_units(scoring) if unit is not None and scoring.multiplier else "")


def _units(scoring: Scoring) -> str:
    arrays, (multiplier, addend) = _terms("tae_unit", {"multiplier": scoring.multiplier, "addend": scoring.addend})
    unused = "" if arrays else "  (void)i;\n"
    return f"""{arrays}
static int64_t tae_units(size_t i, tae_value value)
{{
{unused}  return tae_floor((int64_t)value * {multiplier} + {addend}, {scoring.shift});
}}
"""


def _mapped(name: str, values: LinearMap, value: str) -> tuple[str, str]:
    """The constant arrays of a map, and the C expression of what it makes of a value."""
    arrays, (multiplier, addend) = _terms(name, {"multiplier": values.multiplier, "addend": values.addend})
    shift = f"{name}_shift[i]" if arrays else str(values.shift[0])
    arrays += array(f"{name}_shift", np.array(values.shift, np.uint8)) if arrays else ""
    return arrays, f"tae_floor((int64_t){value} * {multiplier} + {addend}, {shift})"


def _terms(name: str, numbers: Mapping[str, Sequence[int]]) -> tuple[str, list[str]]:
    """Constant arrays of 64-bit integers, one each per value, and the C expression of each; of single ones themselves."""
    if all(len(each) == 1 for each in numbers.values()):
        return "", [literal(each[0], 64) for each in numbers.values()]
    arrays = "".join(array(f"{name}_{part}", np.array(each, np.int64)) for part, each in numbers.items())
    return arrays, [f"{name}_{part}[i]" for part in numbers]
