#if TAE_LANES == 1
#include <wasm_simd128.h>

/* sums += a * r0 + b * r1 + c * r2 + d * r3 for 4 units: each int16 pair has the values of two rows */
static void tae_add_pairs(int32_t *sums, v128_t ab, v128_t r01, v128_t cd, v128_t r23)
{
  const v128_t added = wasm_i32x4_add(wasm_i32x4_dot_i16x8(ab, r01), wasm_i32x4_dot_i16x8(cd, r23));
  wasm_v128_store(sums, wasm_i32x4_add(wasm_v128_load(sums), added));
}

static v128_t tae_low_pairs(v128_t a, v128_t b)
{
  return wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

static v128_t tae_high_pairs(v128_t a, v128_t b)
{
  return wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

/* sums += x * kernel [inputs, units]; `pairs` has a place for each two inputs */
static __attribute__((noinline)) void tae_add_vectors(
    const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int32_t *sums, int32_t *mixed, uint32_t *pairs
)
{
  const size_t whole = units - units % 16, even = inputs - inputs % 2;
  size_t count = 0, i, j;
  (void)mixed;
  for (i = 0; i < even; i += 2) {
    pairs[count] = (uint32_t)i;
    count += (x[i] | x[i + 1]) != 0;
  }
  for (i = 0; i < count; i += 2) {
    const size_t first = pairs[i], second = i + 1 < count ? pairs[i + 1] : first;
    const int32_t a = x[first], b = x[first + 1], c = second == first ? 0 : x[second], d = second == first ? 0 : x[second + 1];
    const v128_t ab = wasm_i32x4_splat(a | b << 16), cd = wasm_i32x4_splat(c | d << 16);
    const int8_t *r0 = kernel + first * units, *r1 = r0 + units, *r2 = kernel + second * units, *r3 = r2 + units;
    for (j = 0; j < whole; j += 16) {
      const v128_t v0 = wasm_v128_load(r0 + j), v1 = wasm_v128_load(r1 + j), v2 = wasm_v128_load(r2 + j), v3 = wasm_v128_load(r3 + j);
      const v128_t low01 = tae_low_pairs(v0, v1), high01 = tae_high_pairs(v0, v1);
      const v128_t low23 = tae_low_pairs(v2, v3), high23 = tae_high_pairs(v2, v3);
      tae_add_pairs(sums + j, ab, wasm_i16x8_extend_low_i8x16(low01), cd, wasm_i16x8_extend_low_i8x16(low23));
      tae_add_pairs(sums + j + 4, ab, wasm_i16x8_extend_high_i8x16(low01), cd, wasm_i16x8_extend_high_i8x16(low23));
      tae_add_pairs(sums + j + 8, ab, wasm_i16x8_extend_low_i8x16(high01), cd, wasm_i16x8_extend_low_i8x16(high23));
      tae_add_pairs(sums + j + 12, ab, wasm_i16x8_extend_high_i8x16(high01), cd, wasm_i16x8_extend_high_i8x16(high23));
    }
    for (j = whole; j < units; j++) sums[j] += a * r0[j] + b * r1[j] + c * r2[j] + d * r3[j];
  }
  for (j = 0; j < units && even < inputs; j++) sums[j] += (int32_t)x[even] * kernel[even * units + j];
}

/* the sum of each of four vectors */
static v128_t tae_sum_four(v128_t a, v128_t b, v128_t c, v128_t d)
{
  const v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 4, 1, 5), wasm_i32x4_shuffle(a, b, 2, 6, 3, 7));
  const v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 4, 1, 5), wasm_i32x4_shuffle(c, d, 2, 6, 3, 7));
  return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 1, 4, 5), wasm_i32x4_shuffle(ab, cd, 2, 3, 6, 7));
}

/* sum += x * row for 16 inputs */
static v128_t tae_dot(v128_t sum, v128_t low, v128_t high, const int8_t *row)
{
  const v128_t first = wasm_i32x4_dot_i16x8(low, wasm_i16x8_load8x8(row));
  return wasm_i32x4_add(sum, wasm_i32x4_add(first, wasm_i32x4_dot_i16x8(high, wasm_i16x8_load8x8(row + 8))));
}

/* sums += x * rows, a multiple of 4 */
static __attribute__((noinline)) void tae_dot_vectors(const uint8_t *x, const int8_t *row, size_t inputs, size_t count, int32_t *sums)
{
  const size_t whole = inputs - inputs % 16;
  size_t i, j, k;
  for (i = 0; i < count; i += 4, row += 4 * inputs) {
    v128_t s0 = wasm_i32x4_splat(0), s1 = s0, s2 = s0, s3 = s0;
    for (j = 0; j < whole; j += 16) {
      const v128_t low = wasm_u16x8_load8x8(x + j), high = wasm_u16x8_load8x8(x + j + 8);
      s0 = tae_dot(s0, low, high, row + j);
      s1 = tae_dot(s1, low, high, row + inputs + j);
      s2 = tae_dot(s2, low, high, row + 2 * inputs + j);
      s3 = tae_dot(s3, low, high, row + 3 * inputs + j);
    }
    wasm_v128_store(sums + i, wasm_i32x4_add(wasm_v128_load(sums + i), tae_sum_four(s0, s1, s2, s3)));
    for (k = 0; k < 4; k++)
      for (j = whole; j < inputs; j++) sums[i + k] += x[j] * row[k * inputs + j];
  }
}
#endif
