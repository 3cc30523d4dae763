#define TAE_TILE 4
#include <string.h>

/* sums [4, units] = x [4, inputs] * kernel [inputs, units]: a multiple of 4, at least 64 */
static void tae_add_tile(const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int32_t *sums)
{
  size_t b, i, k, s;
  for (b = 0; b < units; b += 64) {
    const size_t first = b + 64 <= units ? b : units - 64;
    const int8_t *row = kernel + first;
    __m512i held[4][4] = {{_mm512_setzero_si512()}};
    int32_t mixed[4][4][4][4];
    for (i = 0; i < inputs; i += 4, row += 4 * units) {
      uint32_t bytes[4];
      for (s = 0; s < 4; s++) memcpy(bytes + s, x + s * inputs + i, 4);
      if ((bytes[0] | bytes[1] | bytes[2] | bytes[3]) != 0) {
        const __m512i r0 = _mm512_loadu_si512(row), r1 = _mm512_loadu_si512(row + units);
        const __m512i r2 = _mm512_loadu_si512(row + 2 * units), r3 = _mm512_loadu_si512(row + 3 * units);
        const __m512i low0 = _mm512_unpacklo_epi8(r0, r1), high0 = _mm512_unpackhi_epi8(r0, r1);
        const __m512i low2 = _mm512_unpacklo_epi8(r2, r3), high2 = _mm512_unpackhi_epi8(r2, r3);
        const __m512i w[4] = {
            _mm512_unpacklo_epi16(low0, low2), _mm512_unpackhi_epi16(low0, low2),
            _mm512_unpacklo_epi16(high0, high2), _mm512_unpackhi_epi16(high0, high2)
        };
        for (s = 0; s < 4; s++)
          for (k = 0; k < 4; k++) held[s][k] = _mm512_dpbusd_epi32(held[s][k], _mm512_set1_epi32((int)bytes[s]), w[k]);
      }
    }
    memcpy(mixed, held, sizeof(mixed));
    for (s = 0; s < 4; s++)
      for (i = 0; i < 16; i++) memcpy(sums + s * units + first + 4 * i, mixed[s][i % 4][i / 4], 16);
  }
}

/* sums [4, outputs] = x [4, inputs] * rows [outputs, inputs]; fast if the sizes are literals */
static inline __attribute__((always_inline)) void tae_dot_tile(
    const uint8_t *x, const int8_t *row, size_t inputs, size_t outputs, int32_t *sums
)
{
  size_t i, j, s;
  for (i = 0; i < outputs; i++, row += inputs) {
    int32_t held[4] = {0, 0, 0, 0};
    for (j = 0; j < inputs; j++)
      for (s = 0; s < 4; s++) held[s] += x[s * inputs + j] * row[j];
    for (s = 0; s < 4; s++) sums[s * outputs + i] = held[s];
  }
}
