"""Roundings as C text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .rounding import MANTISSA_BITS, IntegerRounding
from .text import ConstantTable

EMULATION = """/* sum * mantissa * 2^exponent: rounded as two binary32 operations do, then to an integer, ties to even */
static uint64_t tae_shifted(uint64_t value, int bits)
{
  uint64_t half, rest, whole;
  if (bits <= 0) return value;
  if (bits > 62) return 0;
  half = (uint64_t)1 << (bits - 1);
  rest = value & (2 * half - 1);
  whole = value >> bits;
  return whole + (rest > half || (rest == half && (whole & 1) != 0));
}

static int tae_excess(uint64_t value)
{
  int bits = 0;
  while (value >> bits > 16777215) bits++;
  return bits;
}

static int32_t tae_round(int32_t sum, uint32_t mantissa, int exponent)
{
  uint64_t value = sum < 0 ? (uint64_t)-(int64_t)sum : (uint64_t)sum;
  int bits = tae_excess(value);
  value = tae_shifted(value, bits) * mantissa;
  exponent += bits;
  bits = tae_excess(value);
  value = tae_shifted(value, bits);
  exponent += bits;
  while (exponent > 0 && value != 0 && value < 1048576) { value <<= 1; exponent--; }
  value = tae_shifted(value, -exponent);
  if (value > 1048576) value = 1048576;
  return sum < 0 ? -(int32_t)value : (int32_t)value;
}
"""


def tables(name: str, rounding: IntegerRounding) -> tuple[ConstantTable, ConstantTable]:
    """The multipliers and what is added to the products; of an emulation, mantissas and exponents."""
    if rounding.form == "emulation":
        mantissas, exponents = _parts(rounding.steps.multiplier)
        return ConstantTable(f"{name}_mantissas", mantissas), ConstantTable(f"{name}_exponents", exponents)
    return ConstantTable(f"{name}_multipliers", rounding.multiplier), ConstantTable(f"{name}_addends", rounding.addend)


def loop(
    name: str, rounding: IntegerRounding, count: int, source: str = "sums[j]", target: str = "y[j]", unit: str = "j"
) -> list[str]:
    """Lines that round `count` accumulators, `source`, to outputs, `target`; `unit`: the number of each."""
    low, span = rounding.steps.low, rounding.steps.high - rounding.steps.low
    listed = rounding.exceptions if len(rounding.steps.least) == 1 else ()
    lines, bits, shifted = [f"for (j = 0; j < {count}; j++) {{"], rounding.bits, rounding.shifted_bits
    if listed and source != "sums[j]":  # the output may take the place of the input
        lines.append(f"  const int32_t acc = {source};")
        source = "acc"
    if rounding.form == "emulation":
        lines += _emulated(name, rounding, source, target, unit)
    else:
        multiplier, addend = (table.at(unit, bits) for table in tables(name, rounding))
        wide = source if bits == 32 else f"(int64_t){source}"
        lines += [
            f"  const int{bits}_t sum = {wide} * {multiplier} + {addend}, t = sum < 0 ? 0 : sum;",
            f"  const int{shifted}_t u = (int{shifted}_t)((uint{bits}_t)t >> {rounding.shift});",
            f"  {target} = (uint8_t)({low} + (u < {span} ? u : {span}));",
        ]
        lines += [f"  if ({source} == {a}) {target} = {value};" for _, a, value in listed]
    lines.append("}")
    return lines


def exception_tables(name: str, rounding: IntegerRounding) -> tuple[ConstantTable, ...]:
    """The sums that a rounding with a multiplier per unit lists, and of each 256 · unit + output; none without any."""
    if len(rounding.steps.least) == 1 or not rounding.exceptions:
        return ()
    units, sums, outputs = np.array(rounding.exceptions, np.int64).T
    return ConstantTable(f"{name}_sums", sums), ConstantTable(f"{name}_outputs", 256 * units + outputs)


def unit_exceptions(name: str, rounding: IntegerRounding, count: int = 0) -> list[str]:
    """Lines for the exceptions of a rounding with a multiplier per unit; of `count` units from `first` on, if it is not 0."""
    listed = exception_tables(name, rounding)
    if not listed:
        return []
    sums, outputs = (table.at("j") for table in listed)
    first, within, unit = (" - first", f"unit < {count} && ", "first + unit") if count else ("", "", "unit")
    return [
        f"for (j = 0; j < {len(rounding.exceptions)}; j++) {{",
        f"  const uint32_t place = (uint32_t){outputs};",
        f"  const size_t unit = (size_t)(place >> 8){first};",
        f"  if ({within}sums[unit] == {sums}) y[{unit}] = (uint8_t)(place & 255);",
        "}",
    ]


def described(rounding: IntegerRounding) -> str:
    """How it rounds, in words."""
    count = len(rounding.exceptions)
    return {
        "shift": f"(a * M + R) >> {rounding.shift}, {rounding.bits} bits",
        "exceptions": f"(a * M + R) >> {rounding.shift}, {rounding.bits} bits, and {count} sums listed",
        "emulation": "two binary32 roundings in integers",
    }[rounding.form]


def _emulated(name: str, rounding: IntegerRounding, source: str, target: str, unit: str) -> Sequence[str]:
    steps = rounding.steps
    mantissa, exponent = (table.at(unit) for table in tables(name, rounding))
    return [
        f"  int32_t t = tae_round({source}, (uint32_t){mantissa}, {exponent}) + {steps.zero_point};",
        f"  t = t < {steps.low} ? {steps.low} : t;",
        f"  {target} = (uint8_t)(t < {steps.high} ? t : {steps.high});",
    ]


def _parts(multiplier: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float32 multipliers, at most 2²⁴, as mantissa · 2^exponent: integers [n] each."""
    fraction, exponent = np.frexp(np.minimum(multiplier, np.float32(1 << MANTISSA_BITS)).astype(np.float64))
    return (fraction * (1 << MANTISSA_BITS)).astype(np.int32), (exponent - MANTISSA_BITS).astype(np.int16)
