/* inputs that are held as int16_t at once, on the stack; int32_t holds 256 times the sum of half of the products of 512 */
#define TAE_WIDE 128

/* sums += x * rows for the first `size` of the inputs, TAE_WIDE at most */
TAE_ROWS void tae_dot_block(const uint8_t *x, const int8_t *row, size_t inputs, size_t count, size_t size, int32_t *sums)
{
  size_t i, j;
#if defined(TAE_SIMD32)
  uint32_t wide[TAE_WIDE / 2];
  const size_t whole = size - size % 4;
  for (j = 0; j < whole; j += 4) {
    const uint32_t word = tae_word(x + j);
    wide[j / 2] = word & 0x00ff00ffu;
    wide[j / 2 + 1] = word >> 8 & 0x00ff00ffu;
  }
  for (i = 0; i < count; i += 2) {
    const size_t next = i + 1 < count ? inputs : 0;
    const uint32_t *pair = wide;
    const int8_t *r = row, *end = row + whole;
    int32_t a = 0, odd_a = 0, b = 0, odd_b = 0;
    while (r < end) {
      const uint32_t l = tae_word(r + next), k = tae_word(r), x02 = pair[0], x13 = pair[1];
      r += 4;
      pair += 2;
      a = tae_add_even(a, k, x02);
      b = tae_add_even(b, l, x02);
      odd_a = tae_add_odd(odd_a, k, x13);
      odd_b = tae_add_odd(odd_b, l, x13);
    }
    a += odd_a >> 8;
    b += odd_b >> 8;
    for (j = whole; j < size; j++, r++) {
      a += (int32_t)x[j] * r[0];
      b += (int32_t)x[j] * r[next];
    }
    sums[i] += a;
    if (next) sums[i + 1] += b;
    row += inputs + next;
  }
#elif defined(TAE_COMPILER_VECTORS)
  int16_t wide[TAE_WIDE];
  for (j = 0; j < size; j++) wide[j] = x[j];
  for (i = 0; i < count; i++) {
    int32_t sum = 0;
    for (j = 0; j < size; j++) sum += (int32_t)wide[j] * (int16_t)row[i * inputs + j];
    sums[i] += sum;
  }
#else
  for (i = 0; i < count; i += 2) {
    const size_t next = i + 1 < count ? inputs : 0;
    const int8_t *other = row + next;
    int32_t a = 0, b = 0;
    for (j = 0; j < size; j++) {
      a += (int32_t)x[j] * row[j];
      b += (int32_t)x[j] * other[j];
    }
    sums[i] += a;
    if (next) sums[i + 1] += b;
    row += inputs + next;
  }
#endif
}

/* sums += x * rows */
TAE_ROWS void tae_dot_rows(const uint8_t *x, const int8_t *row, size_t inputs, size_t count, int32_t *sums)
{
  const size_t rest = inputs % TAE_WIDE;
  size_t block;
  for (block = 0; block < inputs - rest; block += TAE_WIDE)
    tae_dot_block(x + block, row + block, inputs, count, TAE_WIDE, sums);
  if (rest != 0) tae_dot_block(x + block, row + block, inputs, count, rest, sums);
}
