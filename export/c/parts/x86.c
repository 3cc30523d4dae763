/* The same sums with vectors of x86-64 or WebAssembly, where the compiler may use them; define TAE_PORTABLE to leave them out. */
#if defined(TAE_PORTABLE) || !defined(__GNUC__)
#define TAE_LANES 0u
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__)
#define TAE_LANES 4u
#elif defined(__AVX2__)
#define TAE_LANES 2u
#elif defined(__wasm_simd128__)
#define TAE_LANES 1u
#else
#define TAE_LANES 0u
#endif

#if TAE_LANES > 1
#include <immintrin.h>

#define TAE_BLOCK (16u * TAE_LANES)

#if TAE_LANES == 4
/* mixed += x0 * r0 + x1 * r1 + x2 * r2 + x3 * r3 for `blocks` blocks of units; x0 to x3 are the bytes of x */
static void tae_add_four(int32_t *mixed, const int8_t *const *rows, uint32_t x, size_t blocks)
{
  const __m512i bytes = _mm512_set1_epi32((int)x);
  size_t b;
  for (b = 0; b < blocks; b++, mixed += TAE_BLOCK) {
    const __m512i r0 = _mm512_loadu_si512(rows[0] + b * TAE_BLOCK), r1 = _mm512_loadu_si512(rows[1] + b * TAE_BLOCK);
    const __m512i r2 = _mm512_loadu_si512(rows[2] + b * TAE_BLOCK), r3 = _mm512_loadu_si512(rows[3] + b * TAE_BLOCK);
    const __m512i low0 = _mm512_unpacklo_epi8(r0, r1), high0 = _mm512_unpackhi_epi8(r0, r1);
    const __m512i low2 = _mm512_unpacklo_epi8(r2, r3), high2 = _mm512_unpackhi_epi8(r2, r3);
    _mm512_storeu_si512(mixed, _mm512_dpbusd_epi32(_mm512_loadu_si512(mixed), bytes, _mm512_unpacklo_epi16(low0, low2)));
    _mm512_storeu_si512(mixed + 16, _mm512_dpbusd_epi32(_mm512_loadu_si512(mixed + 16), bytes, _mm512_unpackhi_epi16(low0, low2)));
    _mm512_storeu_si512(mixed + 32, _mm512_dpbusd_epi32(_mm512_loadu_si512(mixed + 32), bytes, _mm512_unpacklo_epi16(high0, high2)));
    _mm512_storeu_si512(mixed + 48, _mm512_dpbusd_epi32(_mm512_loadu_si512(mixed + 48), bytes, _mm512_unpackhi_epi16(high0, high2)));
  }
}
#else
/* As above. int16_t holds sums of two products: rows 0 and 1, and rows 2 and 3, are neighbours, see the kernels. */
static void tae_add_sums(int32_t *mixed, __m256i first, __m256i second)
{
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i *low = (__m256i *)(void *)mixed, *high = (__m256i *)(void *)(mixed + 8);
  const __m256i sums = _mm256_madd_epi16(_mm256_unpacklo_epi16(first, second), ones);
  const __m256i more = _mm256_madd_epi16(_mm256_unpackhi_epi16(first, second), ones);
  _mm256_storeu_si256(low, _mm256_add_epi32(_mm256_loadu_si256(low), sums));
  _mm256_storeu_si256(high, _mm256_add_epi32(_mm256_loadu_si256(high), more));
}

static __m256i tae_row(const int8_t *row)
{
  return _mm256_loadu_si256((const __m256i *)(const void *)row);
}

static void tae_add_four(int32_t *mixed, const int8_t *const *rows, uint32_t x, size_t blocks)
{
  const __m256i bytes0 = _mm256_set1_epi16((short)x), bytes2 = _mm256_set1_epi16((short)(x >> 16));
  size_t b;
  for (b = 0; b < blocks; b++, mixed += TAE_BLOCK) {
    const __m256i r0 = tae_row(rows[0] + b * TAE_BLOCK), r1 = tae_row(rows[1] + b * TAE_BLOCK);
    const __m256i r2 = tae_row(rows[2] + b * TAE_BLOCK), r3 = tae_row(rows[3] + b * TAE_BLOCK);
    tae_add_sums(
        mixed, _mm256_maddubs_epi16(bytes0, _mm256_unpacklo_epi8(r0, r1)), _mm256_maddubs_epi16(bytes2, _mm256_unpacklo_epi8(r2, r3))
    );
    tae_add_sums(
        mixed + 16, _mm256_maddubs_epi16(bytes0, _mm256_unpackhi_epi8(r0, r1)), _mm256_maddubs_epi16(bytes2, _mm256_unpackhi_epi8(r2, r3))
    );
  }
}

/* sums += the sum of each of four vectors */
static void tae_sum_four(const __m256i *s, int32_t *sums)
{
  const __m256i two = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
  const __m128i one = _mm_add_epi32(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
  __m128i *four = (__m128i *)(void *)sums;
  _mm_storeu_si128(four, _mm_add_epi32(_mm_loadu_si128(four), one));
}

/* adds products to four sums; int16_t holds the sums of two neighbouring ones, see the kernels */
static size_t tae_dot_four(const uint8_t *x, const int8_t *row, size_t inputs, int32_t *sums)
{
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i s[4];
  size_t j, k;
  for (k = 0; k < 4; k++) s[k] = _mm256_setzero_si256();
  for (j = 0; j + 32 <= inputs; j += 32) {
    const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(x + j));
    for (k = 0; k < 4; k++)
      s[k] = _mm256_add_epi32(s[k], _mm256_madd_epi16(_mm256_maddubs_epi16(v, tae_row(row + k * inputs + j)), ones));
  }
  tae_sum_four(s, sums);
  return j;
}

/* sums += x * rows, a multiple of 4 */
__attribute__((unused)) static void tae_dot_vectors(const uint8_t *x, const int8_t *row, size_t inputs, size_t count, int32_t *sums)
{
  size_t i, j, k;
  for (i = 0; i < count; i += 4, row += 4 * inputs) {
    const size_t done = tae_dot_four(x, row, inputs, sums + i);
    for (k = 0; k < 4; k++)
      for (j = done; j < inputs; j++) sums[i + k] += x[j] * row[k * inputs + j];
  }
}
#endif

/*
 * sums += x * kernel [inputs, units]. `mixed` holds the sums of whole blocks, in the order that four interleaved rows have; `pairs`
 * has a place for each two inputs.
 */
__attribute__((unused)) static void tae_add_vectors(
    const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int32_t *sums, int32_t *mixed, uint32_t *pairs
)
{
  const size_t blocks = units / TAE_BLOCK, whole = blocks * TAE_BLOCK, even = inputs - inputs % 2;
  const int8_t *rows[4] = {kernel, kernel, kernel, kernel};
  size_t count = 0, i, j, lane, part;
  for (j = 0; j < whole; j++) mixed[j] = 0;
  for (i = 0; i < even; i += 2) {
    pairs[count] = (uint32_t)i;
    count += (x[i] | x[i + 1]) != 0;
  }
  for (i = 0; i < count; i += 2) {
    const size_t first = pairs[i], second = i + 1 < count ? pairs[i + 1] : first;
    const uint32_t a = x[first], b = x[first + 1], c = second == first ? 0u : x[second], d = second == first ? 0u : x[second + 1];
    rows[0] = kernel + first * units;
    rows[1] = rows[0] + units;
    rows[2] = kernel + second * units;
    rows[3] = rows[2] + units;
    tae_add_four(mixed, rows, a | b << 8 | c << 16 | d << 24, blocks);
    for (j = whole; j < units; j++)
      sums[j] += (int32_t)a * rows[0][j] + (int32_t)b * rows[1][j] + (int32_t)c * rows[2][j] + (int32_t)d * rows[3][j];
  }
  for (j = 0; j < units && even < inputs; j++) sums[j] += (int32_t)x[even] * kernel[even * units + j];
  for (i = 0; i < whole; i += TAE_BLOCK)
    for (lane = 0; lane < TAE_LANES; lane++)
      for (part = 0; part < 4; part++)
        for (j = 0; j < 4; j++) sums[i + lane * 16 + part * 4 + j] += mixed[i + part * 4 * TAE_LANES + lane * 4 + j];
}
#endif
