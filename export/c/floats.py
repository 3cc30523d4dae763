"""NAME_float.h: floats to the program's integers and back, and the score of float samples.

The integers are those of `interpreter.program_input`, `Scaling` and `scoring` in every bit. Of float32 that takes subtractions
of the offset alone; the rest is in integers (`parts/reals.h`), without double and without a division. Where data are float64
and not rounded to float32 first, and where samples are restored with a scale per value, the roundings are those of binary64:
there the compiler must compute in the declared types (FLT_EVAL_METHOD 0).
"""

from __future__ import annotations

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.config.sample_spec import INTEGERS
from tiedae.config.scaling import Scaling
from tiedae.program.scoring import FRACTION_BITS, LEAST_SCALE, fixed_point

from .entries import Network
from .samples import float_array, number, per_value
from .streams import float_stream_text
from .text import identifier, indented, literal, part

STEP_BITS = 14
"""Bits behind the point of `tae_estimated`."""
LEAST_POINT, LARGEST_POINT, LARGEST_SCALE = 33, 250, 2.0**100
"""Up to the largest, values that it estimates are finite less the offset and in scaled values, as they are below 2¹⁷ steps of
x; from the least on, numbers below 2⁻¹²⁶ are far below a step."""


def float_text(network: Network) -> str:
    """The text; floats are in the data's unit of measure where data are floats, else in scaled values.

    Raises ExportError where a scale is infinite or 0 in float32, or about that small.
    """
    kind, unit = _kind(network), "scaled values" if _scaling(network) is None else "the data's unit of measure"
    guard = _GUARD if _computes_in_double(network) else ""
    parts = [_HEAD.replace("UNIT", unit).replace("NAMED", identifier(network.program.name)).replace("GUARD", guard)]
    if network.encodes:
        parts[0] += part("reals.h")
        parts.append(_scaled(network, kind) + _quantize(network, kind))
    if network.restores:
        parts.append(_dequantize(network, kind))
    if network.scores:
        parts.append(_score(network, kind))
    if network.streamed is not None and not network.streamed.integers:
        parts.append(float_stream_text(network.streamed, kind))
    return "\n".join([*parts, "#endif\n"])


_HEAD = """/* Floats to the model's integers and back, in UNIT. Optional: the model itself has no floats. */
#ifndef TAE_FLOAT_H
#define TAE_FLOAT_H

GUARD#include "NAMED.h"
"""
_GUARD = """#include <float.h>
#if FLT_EVAL_METHOD != 0
#error "float and double must be rounded to their types: on x86 compile with -msse2 -mfpmath=sse"
#endif

"""


def _kind(network: Network) -> str:
    """The C type of a float sample's values."""
    return "double" if network.unit is not None and network.unit.spec.dtype == "float64" else "float"


def _scaling(network: Network) -> Scaling | None:
    """That of float data; None for others, whose floats are scaled values."""
    return None if network.unit is None or network.unit.spec.dtype in INTEGERS else network.unit.spec.scaling


def _wide(network: Network) -> bool:
    """Whether float64 data are scaled in float64, not rounded to float32 first."""
    return _kind(network) == "double" and network.unit is not None and network.unit.io.scaling is None


def _computes_in_double(network: Network) -> bool:
    scales = (_scaling(network) or Scaling()).rule != "none"
    return scales and ((network.encodes and _wide(network)) or (network.restores and _restored(network) is None))


def _scaled(network: Network, kind: str) -> str:
    """`tae_scaled`: a value in the data's unit of measure to scaled values, float."""
    scaling, arrays = _scaling(network) or Scaling(), ""
    result = "value" if kind == "float" else "(float)value"
    if scaling.rule != "none":
        wide = _wide(network)
        numbers = tuple(np.asarray(each, np.float64) for each in (scaling.offset, scaling.scale)) if wide else scaling.float32
        offset, scale = map(np.atleast_1d, numbers)
        offsets, by = per_value("tae_offset", offset)
        scales, at = per_value("tae_scale", scale)
        arrays, centred = offsets + scales, f"{result} - {by}" if offset.any() else result
        if wide:
            result = f"(float)((value - {by}) / {at})"
        else:
            reciprocals, factor = per_value("tae_reciprocal", np.array([*map(reciprocal, scale)], np.uint32))
            arrays, result = arrays + reciprocals, f"tae_divided({centred}, {at}, {factor})"
    unused = "" if "[i" in result else "  (void)i;\n"
    return f"{arrays}static inline float tae_scaled(size_t i, {kind} value)\n{{\n{unused}  return {result};\n}}\n\n"


def reciprocal(scale: float | np.float32, least: float = 2.0**-126) -> int:
    """2⁴⁸ / the 24 bits of a float32's significand, rounded down; ExportError for an infinite one, and one below `least`."""
    if not least <= abs(scale) < np.inf:
        raise ExportError(f"scale: got {float(scale)!r}, must be finite and at least {least!r}")
    return (1 << 48) // int(np.frexp(np.abs(np.float64(scale)))[0] * (1 << 24))


def _quantize(network: Network, kind: str) -> str:
    x = network.program.quantization("x")
    given = "data[i]" if kind == "float" else "(float)data[i]"
    return f"""static const float tae_x_scale = {number(x.scale, "float")};
static inline uint8_t tae_quantized(float scaled)
{{
  return tae_level(tae_divided(scaled, tae_x_scale, {reciprocal(x.scale, LEAST_SCALE)}u), {x.zero_point}, {x.top});
}}

/* Value i of data to that of x; 0 where it is not finite in scaled values */
static inline int tae_convert(size_t i, {kind} value, uint8_t *x)
{{
  float scaled;
{_estimate(network)}  scaled = tae_scaled(i, value);
  *x = tae_quantized(scaled);
  return tae_finite(scaled);
}}

/* data[TAE_INPUTS] to x[TAE_INPUTS]; TAE_ARGUMENT where a value is not finite */
static inline int tae_quantize(const {kind} *data, uint8_t *x)
{{
  size_t i;
  for (i = 0; i < TAE_INPUTS; i++) {{
    if (!tae_convert(i, data[i], x + i) && !tae_finite({given})) return TAE_ARGUMENT;
  }}
  return TAE_OK;
}}
"""


def _estimate(network: Network) -> str:
    """Text that converts most values without their scaled value, in steps of x of which 14 bits are behind the point.

    The estimate is off by less than 3 · 2⁻¹⁴: by the product 1.5, by the shift 1, by the constant 0.5. The roundings of float32
    move 2⁹ steps by less than 1.5 · 2⁻¹⁴ more. So where it is 8 · 2⁻¹⁴ off a tie, both round to the same integer.
    """
    x, scaling = network.program.quantization("x"), _scaling(network) or Scaling()
    offset, scale = (np.unique(each.astype(np.float64)) for each in scaling.float32)
    if _wide(network) or len(offset) > 1 or len(scale) > 1:
        return ""
    step = float(scale[0]) * x.scale
    start = round((x.zero_point + 0.5 - float(offset[0]) / step) * (1 << STEP_BITS))
    multiplier, point = fixed_point((1 << STEP_BITS) / step)
    finite = LEAST_POINT <= point <= LARGEST_POINT and x.scale <= LARGEST_SCALE
    if step < 0 or abs(start) >= 1 << 30 or not finite:
        return ""
    return f"  if (tae_estimated((float)value, {multiplier}u, {point}, {literal(start, 32)}, {x.top}, x)) return 1;\n"


def _restored(network: Network) -> np.ndarray | None:
    """float32 data by integer of y, where all values have one scale; None where they are computed in float64."""
    y, scaling = network.program.quantization("y"), _scaling(network) or Scaling()
    pairs = {*zip(np.atleast_1d(scaling.offset).tolist(), np.atleast_1d(scaling.scale).tolist(), strict=True)}
    if _kind(network) == "double" or len(pairs) > 1:
        return None
    (offset, scale), real = pairs.pop(), y.dequantize(np.arange(y.top + 1, dtype=np.uint8))
    with np.errstate(over="ignore"):
        restored = Scaling(scaling.rule, offset, scale).invert(real, "float32")
    return restored if np.isfinite(restored).all() else None


def _dequantize(network: Network, kind: str) -> str:
    y, scaling = network.program.quantization("y"), _scaling(network) or Scaling()
    real = f"(float)((int)y[i] - {y.zero_point}) * {number(y.scale, 'float')}"
    arrays, lines, table = "", [f"data[i] = {real};"], _restored(network)
    if scaling.rule != "none" and table is not None:
        arrays, lines = float_array("tae_restored", table), ["data[i] = tae_restored[y[i]];"]
    elif scaling.rule != "none":
        offsets, offset = per_value("tae_y_offset", np.atleast_1d(np.asarray(scaling.offset, np.float64)))
        scales, scale = per_value("tae_y_scale", np.atleast_1d(np.asarray(scaling.scale, np.float64)))
        arrays, cast = offsets + scales, "" if kind == "double" else f"({kind})"
        lines = [
            f"const float real = {real};",
            f"volatile double product = (double)real * {scale}; /* no fused multiply and add */",
            f"data[i] = {cast}(product + {offset});",
        ]
    return f"""{arrays}/* y[TAE_INPUTS] to data[TAE_INPUTS] */
static inline void tae_dequantize(const uint8_t *y, {kind} *data)
{{
  size_t i;
  for (i = 0; i < TAE_INPUTS; i++) {{
{indented(lines, 4)}
  }}
}}
"""


def _score(network: Network, kind: str) -> str:
    assert network.detector is not None
    multiplier, point = fixed_point((1 << FRACTION_BITS) / network.detector.scoring.scale)
    zero = network.program.quantization("y").zero_point << FRACTION_BITS
    parameters = f"tae_arena *arena, const {kind} *data, uint64_t *score, uint8_t *anomaly"
    return f"""\
/* The score of data[TAE_INPUTS], before it is quantized and clipped. NaN or infinity is an anomaly of the largest
   score. Here arena must not be NULL, with TAE_STATIC_ARENA neither: TAE_ARGUMENT. */
static inline int tae_score_float({parameters})
{{
  uint64_t total = 0;
  uint8_t *y, *code;
  size_t i;
  int status;
  if (arena == NULL || data == NULL || score == NULL || anomaly == NULL) return TAE_ARGUMENT;
  y = (uint8_t *)arena->words + {network.sample};
  code = (uint8_t *)arena->words + {network.code};
  for (i = 0; i < TAE_INPUTS; i++) {{
    if (!tae_convert(i, data[i], y + i)) {{
      *score = UINT64_MAX;
      *anomaly = 1;
      return TAE_OK;
    }}
  }}
  status = tae_encode(arena, y, code);
  if (status == TAE_OK) status = tae_decode(arena, code, y);
  if (status != TAE_OK) return status;
  for (i = 0; i < TAE_INPUTS; i++) {{
    const int64_t units = tae_float_units(tae_scaled(i, data[i]), {multiplier}u, {point}) + {zero};
    total = tae_score_add(total, i, units, y[i]);
  }}
  *score = total;
  *anomaly = tae_is_anomaly(total);
  return TAE_OK;
}}
"""
