/* Floats to the model's integers and back, in scaled values. Optional: the model itself has no floats. */
#ifndef HEARTBEAT_FLOAT_H
#define HEARTBEAT_FLOAT_H

#include "heartbeat.h"

/* The bits of a float, IEEE 754 binary32, and the float of bits */
static inline uint32_t heartbeat_bits(float value)
{
  union {
    float real;
    uint32_t bits;
  } same;
  same.real = value;
  return same.bits;
}

static inline float heartbeat_real(uint32_t bits)
{
  union {
    float real;
    uint32_t bits;
  } same;
  same.bits = bits;
  return same.real;
}

static inline int heartbeat_finite(float value)
{
  return (heartbeat_bits(value) & 0x7f800000u) != 0x7f800000u;
}

/*
 * value / divisor as IEEE 754 rounds it, by a product; below 2^-126 it is 0. The divisor is not below 2^-126;
 * reciprocal: 2^48 / its 24 bits, rounded down. `whole` is the quotient's 24 bits, or one less where `rest` says so.
 */
static inline float heartbeat_divided(float value, float divisor, uint32_t reciprocal)
{
  const uint32_t given = heartbeat_bits(value), by = heartbeat_bits(divisor), sign = (given ^ by) & 0x80000000u;
  const uint32_t divided = (by & 0x7fffffu) | 0x800000u;
  uint32_t bits = given & 0x7fffffu, whole, rest;
  int32_t exponent = (int32_t)(given >> 23 & 255u) - (int32_t)(by >> 23 & 255u) + 126;
  if ((given >> 23 & 255u) - 1u > 253u) {
    if (!heartbeat_finite(value)) return heartbeat_real(sign | (given & 0x7fffffffu));
    if (bits == 0) return heartbeat_real(sign);
    for (exponent++; bits < 0x800000u; bits <<= 1) exponent--;
  }
  bits |= 0x800000u;
  if (bits < divided) {
    bits <<= 1;
    exponent--;
  }
  whole = (uint32_t)(((uint64_t)(bits << 7) * reciprocal + 0x80000000u) >> 32);
  rest = (bits << 23) + divided - whole * divided;
  if (2u * rest > 3u * divided) whole++;
  if ((uint32_t)exponent > 253u) return heartbeat_real(exponent < 0 ? sign : sign | 0x7f800000u);
  return heartbeat_real(sign | (((uint32_t)exponent << 23) + whole));
}

/* The integer nearest to steps, ties to even, plus zero_point, limited to 0 and top */
static inline uint8_t heartbeat_level(float steps, int32_t zero_point, int32_t top)
{
  const uint32_t bits = heartbeat_bits(steps), exponent = bits >> 23 & 255u;
  int32_t whole = 0;
  if (exponent > 135u) {
    whole = 512;
  } else if (exponent > 125u) {
    const uint32_t size = (bits & 0x7fffffu) | 0x800000u, shift = 150u - exponent;
    whole = (int32_t)((size + (1u << (shift - 1u)) - 1u + (size >> shift & 1u)) >> shift);
  }
  whole = zero_point + (bits >> 31 ? -whole : whole);
  return (uint8_t)(whole < 0 ? 0 : whole > top ? top : whole);
}

/*
 * x of a value, without its scaled value. Estimated as value * multiplier * 2^(126 - point) + start, in 2^-14 steps of x; 0 where
 * that is so near to a tie that the roundings to float decide, or too large.
 */
static inline int heartbeat_estimated(float value, uint32_t multiplier, int32_t point, int32_t start, int32_t top, uint8_t *x)
{
  const uint32_t bits = heartbeat_bits(value);
  const int32_t shift = point - (int32_t)(bits >> 23 & 255u);
  uint32_t size = (uint32_t)(((uint64_t)(bits << 8 | 0x80000000u) * multiplier) >> 32);
  int32_t level;
  if (shift < 2) return 0;
  size = shift > 31 ? 0 : size >> shift;
  size = 0x80000000u + (uint32_t)start + (bits >> 31 ? 0u - size : size);
  if (((size + 8u) & 0x3fffu) < 16u) return 0;
  level = (int32_t)(size >> 14) - 0x20000;
  *x = (uint8_t)(level < 0 ? 0 : level > top ? top : level);
  return 1;
}

/* scaled * multiplier * 2^(126 - point), to the nearest, ties away from 0; 2^32 or more for what is that large */
static inline int64_t heartbeat_float_units(float scaled, uint32_t multiplier, int32_t point)
{
  const uint32_t bits = heartbeat_bits(scaled);
  const uint32_t product = (uint32_t)(((uint64_t)(bits << 8 | 0x80000000u) * multiplier) >> 32);
  const int32_t shift = point - (int32_t)(bits >> 23 & 255u);
  int64_t units = 0;
  if (shift < 1) {
    units = (int64_t)((uint64_t)product << (shift < -2 ? 2 : -shift));
  } else if (shift < 33) {
    const uint32_t twice = product >> (shift - 1);
    units = (int64_t)((twice >> 1) + (twice & 1u));
  }
  return bits >> 31 ? -units : units;
}

static inline float heartbeat_scaled(size_t i, float value)
{
  (void)i;
  return value;
}

static const float heartbeat_x_scale = 0.027115164324641228f;
static inline uint8_t heartbeat_quantized(float scaled)
{
  return heartbeat_level(heartbeat_divided(scaled, heartbeat_x_scale, 19335601u), 96, 255);
}

/* Value i of data to that of x; 0 where it is not finite in scaled values */
static inline int heartbeat_convert(size_t i, float value, uint8_t *x)
{
  float scaled;
  if (heartbeat_estimated((float)value, 2474956935u, 138, 1581056, 255, x)) return 1;
  scaled = heartbeat_scaled(i, value);
  *x = heartbeat_quantized(scaled);
  return heartbeat_finite(scaled);
}

/* data[HEARTBEAT_INPUTS] to x[HEARTBEAT_INPUTS]; HEARTBEAT_ARGUMENT where a value is not finite */
static inline int heartbeat_quantize(const float *data, uint8_t *x)
{
  size_t i;
  for (i = 0; i < HEARTBEAT_INPUTS; i++) {
    if (!heartbeat_convert(i, data[i], x + i) && !heartbeat_finite(data[i])) return HEARTBEAT_ARGUMENT;
  }
  return HEARTBEAT_OK;
}

/* y[HEARTBEAT_INPUTS] to data[HEARTBEAT_INPUTS] */
static inline void heartbeat_dequantize(const uint8_t *y, float *data)
{
  size_t i;
  for (i = 0; i < HEARTBEAT_INPUTS; i++) {
    data[i] = (float)((int)y[i] - 90) * 0.024107906967401505f;
  }
}

#endif
