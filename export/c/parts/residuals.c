
/* Residuals: what a predictor leaves of a value, as tokens under the table of a context, a leaf of a tree. */

#define TAE_TOKENS 256u     /* the escape of tokens */
#define TAE_ZERO_TOKEN 128u
#define TAE_LEAF 128u       /* a child of a node from this number on is a leaf */
#define TAE_FEATURES 10     /* of channels; others have 9 */

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

static const uint8_t *tae_table_of(const tae_block *block, uint32_t leaf)
{
  return block->tables + block->places[leaf];
}

static uint32_t tae_leaf_of(const tae_block *block, const int8_t *features)
{
  uint32_t child = 0;
  do {
    const tae_node *node = &block->nodes[child];
    child = features[node->feature] >= node->threshold ? node->above : node->below;
  } while (child < TAE_LEAF);
  return child - TAE_LEAF;
}

/* The feature of a magnitude below 2^20: twice its logarithm. */
static int8_t tae_half_octaves(uint32_t magnitude)
{
  uint32_t octave;
  if (magnitude < 2u) {
    return (int8_t)magnitude;
  }
  octave = tae_log2(magnitude);
  return (int8_t)(2u * octave + (magnitude >> (octave - 1u) & 1u));
}

/* The feature of a difference of values: the eighths of a quantum that it reaches, on a coarse scale. */
static int8_t tae_distance(int32_t difference, uint32_t bound)
{
  static const uint16_t eighths[13] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256};
  uint32_t magnitude = 8u * tae_magnitude_of(difference);
  int32_t reached = 0;
  while (reached < 13 && magnitude >= eighths[reached] * (2u * bound + 1u)) {
    reached++;
  }
  return (int8_t)(difference < 0 ? -reached : reached);
}

/* The feature of a bound: its bits. */
static int8_t tae_bound_level(uint32_t bound)
{
  return (int8_t)(bound > 0 ? tae_log2(bound) + 1u : 0);
}

/* The value of a prediction and a residual. */
static int32_t tae_restore(int32_t prediction, int32_t residual, uint32_t bound)
{
  return tae_clip(prediction + residual * (2 * (int32_t)bound + 1), TAE_LOWEST, TAE_HIGHEST);
}
