"""NAME_float.h: floats to the program's integers and back, and the score of float samples.

The roundings are those of `interpreter.program_input`, `Scaling` and `scoring`, one for each operation. So processors that
follow IEEE 754 give the same integers, where the compiler computes in the declared types (FLT_EVAL_METHOD 0).
"""

from __future__ import annotations

import numpy as np
from tiedae.compress.sample_spec import INTEGERS
from tiedae.compress.scaling import Scaling
from tiedae.program.scoring import FRACTION_BITS

from .entries import Network
from .streams import float_stream_text
from .text import comment, identifier, indented

LARGEST_UNITS = 40
"""The power of two that limits the units of a sample in `scoring.real_units`."""


def float_text(network: Network) -> str:
    """The text; floats are in the data's unit of measure where data are floats, else in scaled values."""
    kind, unit = _kind(network), "scaled values" if _scaling(network) is None else "the data's unit of measure"
    parts = [_HEAD.replace("UNIT", unit).replace("NAMED", identifier(network.program.name))]
    if network.encodes:
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

#include <float.h>

#include "NAMED.h"

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


def _scaled(network: Network, kind: str) -> str:
    """`tae_scaled`: a value in the data's unit of measure to scaled values, float."""
    scaling, wide = _scaling(network) or Scaling(), kind
    given = "value"
    if kind == "double" and network.unit is not None and network.unit.io.scaling is not None:
        given, wide = "(float)value", "float"
    if scaling.rule == "none":
        return f"static inline float tae_scaled(size_t i, {kind} value)\n{{\n  (void)i;\n  return (float)value;\n}}\n\n"
    arrays = _numbers("tae_offset", scaling.offset, wide) + _numbers("tae_scale", scaling.scale, wide)
    at = "[i]" if isinstance(scaling.scale, tuple) else ""
    unused = "" if at else "  (void)i;\n"
    lines = f"  const {wide} centred = {given} - tae_offset{at};\n  return (float)(centred / tae_scale{at});\n"
    return f"{arrays}static inline float tae_scaled(size_t i, {kind} value)\n{{\n{unused}{lines}}}\n\n"


def _quantize(network: Network, kind: str) -> str:
    x = network.program.quantization("x")
    low, high = -x.zero_point, x.top - x.zero_point
    return f"""{_nearest("float", "int32_t", "tae_nearest_float")}
static inline uint8_t tae_quantized(float scaled)
{{
  const float steps = scaled / {number(x.scale, "float")};
  if (!(steps > {low - 1}.0f)) return 0;
  if (steps > {high + 1}.0f) return {x.top};
  {{
    const int32_t whole = tae_nearest_float(steps) + {x.zero_point};
    return (uint8_t)(whole < 0 ? 0 : whole > {x.top} ? {x.top} : whole);
  }}
}}

/* data[TAE_INPUTS] to x[TAE_INPUTS]; TAE_ARGUMENT where a value is not finite */
static inline int tae_quantize(const {kind} *data, uint8_t *x)
{{
  size_t i;
  for (i = 0; i < TAE_INPUTS; i++) {{
    const float value = (float)data[i];
    if (!(value - value == 0.0f)) return TAE_ARGUMENT;
    x[i] = tae_quantized(tae_scaled(i, data[i]));
  }}
  return TAE_OK;
}}
"""


def _dequantize(network: Network, kind: str) -> str:
    y, scaling = network.program.quantization("y"), _scaling(network) or Scaling()
    real = f"(float)((int)y[i] - {y.zero_point}) * {number(y.scale, 'float')}"
    arrays, lines = "", [f"data[i] = {real};"]
    if scaling.rule != "none":
        at = "[i]" if isinstance(scaling.scale, tuple) else ""
        arrays = _numbers("tae_y_offset", scaling.offset, "double") + _numbers("tae_y_scale", scaling.scale, "double")
        cast = "" if kind == "double" else f"({kind})"
        lines = [
            f"const float real = {real};",
            f"volatile double product = (double)real * tae_y_scale{at}; /* no fused multiply and add */",
            f"data[i] = {cast}(product + tae_y_offset{at});",
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
    y, most = network.program.quantization("y"), float(1 << LARGEST_UNITS)
    title = (
        "The score of data[TAE_INPUTS], before it is quantized and clipped. NaN or infinity is an anomaly of the largest score."
        " Here arena must not be NULL, with TAE_STATIC_ARENA neither: TAE_ARGUMENT."
    )
    return f"""{_nearest("double", "int64_t", "tae_nearest_double")}
{comment(title)}static inline int tae_score_float(tae_arena *arena, const {kind} *data, uint64_t *score, uint8_t *anomaly)
{{
  uint64_t total = 0;
  uint8_t *y, *code;
  size_t i;
  int status;
  if (arena == NULL || data == NULL || score == NULL || anomaly == NULL) return TAE_ARGUMENT;
  y = (uint8_t *)arena->words + {network.sample};
  code = (uint8_t *)arena->words + {network.code};
  for (i = 0; i < TAE_INPUTS; i++) {{
    const float scaled = tae_scaled(i, data[i]);
    if (!(scaled - scaled == 0.0f)) {{
      *score = UINT64_MAX;
      *anomaly = 1;
      return TAE_OK;
    }}
    y[i] = tae_quantized(scaled);
  }}
  status = tae_encode(arena, y, code);
  if (status == TAE_OK) status = tae_decode(arena, code, y);
  if (status != TAE_OK) return status;
  for (i = 0; i < TAE_INPUTS; i++) {{
    volatile double real = (double)tae_scaled(i, data[i]) / {number(y.scale, "double")};
    double units = (real + {y.zero_point}.0) * {1 << FRACTION_BITS}.0;
    units = units < -{most} ? -{most} : units > {most} ? {most} : units;
    total = tae_score_add(total, i, tae_nearest_double(units), y[i]);
  }}
  *score = total;
  *anomaly = tae_is_anomaly(total);
  return TAE_OK;
}}
"""


def _nearest(kind: str, integer: str, name: str) -> str:
    """A function that rounds to the nearest integer, ties to even."""
    return f"""static inline {integer} {name}({kind} value)
{{
  const {integer} whole = ({integer})value;
  const {kind} rest = value - ({kind})whole;
  const int odd = (int)(whole % 2 != 0);
  if (rest > ({kind})0.5 || (rest == ({kind})0.5 && odd)) return whole + 1;
  if (rest < -({kind})0.5 || (rest == -({kind})0.5 && odd)) return whole - 1;
  return whole;
}}
"""


def _numbers(name: str, values: float | tuple[float, ...], kind: str) -> str:
    if not isinstance(values, tuple):
        return f"static const {kind} {name} = {number(values, kind)};\n"
    return f"static const {kind} {name}[TAE_INPUTS] = {{\n{', '.join(number(each, kind) for each in values)}\n}};\n"


def number(value: float, kind: str) -> str:
    """A decimal that is read as the same number; for float, the nearest binary32."""
    text = repr(float(np.float32(value))) if kind == "float" else repr(float(value))
    return text + ("f" if kind == "float" else "")
