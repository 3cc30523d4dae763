/* the first pair of inputs from `i` on that are not both 0 */
static size_t tae_next(const uint8_t *x, size_t i, size_t inputs)
{
  while (i < inputs && (x[i] | x[i + 1]) == 0) i += 2;
  return i;
}

#if defined(TAE_SIMD32)
/* two bytes of each of two rows: an instruction each, as compilers have it */
typedef union {
  uint32_t word;
  uint16_t halves[2];
} tae_halves;

static inline uint32_t tae_low(uint32_t a, uint32_t b)
{
  tae_halves both;
  both.word = a;
  both.halves[1] = (uint16_t)b;
  return both.word;
}

static inline uint32_t tae_high(uint32_t a, uint32_t b)
{
  tae_halves both;
  both.word = b;
  both.halves[0] = (uint16_t)(a >> 16);
  return both.word;
}

/*
 * sums += x * rows, four units at a time; the units that it did. `x` has the inputs of rows 0 and 1, and of 2 and 3, whose first is
 * `third` behind row 0
 */
TAE_ROWS size_t tae_add_words(const uint32_t *x, const int8_t *row, size_t third, size_t units, int32_t *sums)
{
  const uint32_t ab = x[0], cd = x[1];
  const size_t fourth = third + units;
  const int8_t *end = row + (units - units % 4);
  while (row < end) {
    const uint32_t l = tae_word(row + units), m = tae_word(row + third), n = tae_word(row + fourth), k = tae_word(row);
    const uint32_t kl = tae_low(k, l), kl2 = tae_high(k, l), mn = tae_low(m, n), mn2 = tae_high(m, n);
    row += 4;
    sums[0] = tae_add_even(tae_add_even(sums[0], kl, ab), mn, cd);
    sums[1] += tae_add_odd(tae_odd(kl, ab), mn, cd) >> 8;
    sums[2] = tae_add_even(tae_add_even(sums[2], kl2, ab), mn2, cd);
    sums[3] += tae_add_odd(tae_odd(kl2, ab), mn2, cd) >> 8;
    sums += 4;
  }
  return units - units % 4;
}
#endif

/*
 * sums += x * kernel [inputs, units], four rows at a time, of two pairs of neighbours; with `pairs` int16_t holds the sum of the two
 * products of a pair
 */
TAE_ROWS void tae_add_rows(const uint8_t *x, const int8_t *kernel, size_t inputs, size_t units, int pairs, int32_t *sums)
{
  const size_t even = inputs - inputs % 2;
  size_t first, second, j;
  (void)pairs;
  for (first = tae_next(x, 0, even); first < even; first = tae_next(x, second + 2, even)) {
    const int8_t *r = kernel + first * units, *s = r;
    int32_t a = x[first], b = x[first + 1], c = 0, d = 0;
    second = tae_next(x, first + 2, even);
    if (second < even) {
      c = x[second];
      d = x[second + 1];
      s = kernel + second * units;
    }
    j = 0;
#if defined(TAE_SIMD32)
    {
      const uint32_t both[2] = {(uint32_t)(a | b << 16), (uint32_t)(c | d << 16)};
      j = tae_add_words(both, r, (size_t)(s - r), units, sums);
    }
#elif defined(TAE_COMPILER_VECTORS)
    for (; pairs && j < units; j++)
      sums[j] += (int16_t)(a * r[j] + b * r[units + j]) + (int16_t)(c * s[j] + d * s[units + j]);
#elif defined(__thumb__) && !defined(__thumb2__) /* few registers */
    for (; j < units; j++) sums[j] += a * r[j] + b * r[units + j];
    for (j = 0; j < units; j++) sums[j] += c * s[j] + d * s[units + j];
#endif
    for (; j < units; j++) sums[j] += a * r[j] + b * r[units + j] + c * s[j] + d * s[units + j];
  }
  for (j = 0; even < inputs && j < units; j++) sums[j] += (int32_t)x[even] * kernel[even * units + j];
}
