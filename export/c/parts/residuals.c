
/* Residuals: what a predictor leaves of a value, as tokens under the table of a context. */

#define TAE_TOKENS 256u     /* the escape of tokens */
#define TAE_ZERO_TOKEN 128u

static int32_t tae_clip(int32_t value, int32_t lowest, int32_t highest)
{
  return value < lowest ? lowest : value > highest ? highest : value;
}

static uint32_t tae_magnitude_of(int32_t value)
{
  return (uint32_t)(value < 0 ? -value : value);
}

/*
 * Go through a table, first and last token, then frequencies in 1 or 2 bytes each, to a token that has a frequency, or to the
 * one that owns a slot. Its frequency and first slot are those of the escape, TAE_TOKENS, where there is none.
 */
static uint32_t tae_scan(const uint8_t *table, uint32_t token, uint32_t slot, uint32_t *frequency, uint32_t *start)
{
  uint32_t each = *table++;
  uint32_t last = *table++;
  *start = 0;
  for (; each <= last; each++) {
    *frequency = *table++;
    if (*frequency > 127u) {
      *frequency = (*frequency & 127u) | (uint32_t)*table++ << 7;
    }
    if (*frequency > 0 && (each == token || slot < *start + *frequency)) {
      return each;
    }
    *start += *frequency;
  }
  *frequency = TAE_SUM - *start;
  return TAE_TOKENS;
}

static const uint8_t *tae_table_of(const tae_block *block, uint32_t context)
{
  return block->tables + block->places[block->contexts[context]];
}

/* The value of a prediction and a residual. */
static int32_t tae_restore(int32_t prediction, int32_t residual, uint32_t bound)
{
  return tae_clip(prediction + residual * (2 * (int32_t)bound + 1), TAE_LOWEST, TAE_HIGHEST);
}
