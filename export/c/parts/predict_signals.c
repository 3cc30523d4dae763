
/* Series: 16 weights for the last differences, moved by the signs of residual and difference (sign-sign LMS). */

#define TAE_LINK_BITS 20
#define TAE_BIAS ((int64_t)1 << 56) /* larger than any sum of products: shifts are of numbers above 0 */

static int32_t tae_rounded(int64_t sum)
{
  int64_t half = (int64_t)1 << (TAE_LINK_BITS - 1);
  return (int32_t)(((sum + half + TAE_BIAS) >> TAE_LINK_BITS) - (TAE_BIAS >> TAE_LINK_BITS));
}

#if TAE_LINKED
/* The next change as predicted from other channels, in parts of 2^20. `predictor` is one of an array, by channel. */
static int64_t tae_linked(const tae_predictor *predictor, const tae_block *block)
{
  const int64_t limit = (int64_t)1 << 37;
  const tae_link *link = &block->links[predictor->channel * TAE_LINKS];
  int64_t sum = 0;
  uint32_t i;
  for (i = 0; i < TAE_LINKS; i++, link++) {
    const tae_predictor *other = predictor + link->distance;
    sum += (int64_t)link->weight * other->changes[(predictor->step - link->lag) & (TAE_DEPTH - 1u)];
  }
  return sum < -limit ? -limit : sum >= limit ? limit - 1 : sum;
}
#else
static int64_t tae_linked(const tae_predictor *predictor, const tae_block *block)
{
  (void)predictor;
  (void)block;
  return 0;
}
#endif

static void tae_reset(tae_predictor *predictor, const tae_block *block, uint32_t stream)
{
  const int16_t *weights = block->weights;
  uint32_t i;
#if TAE_LINKED
  weights += 16u * stream;
  for (i = 0; i < TAE_DEPTH; i++) {
    predictor->changes[i] = 0;
  }
  predictor->step = 0;
  predictor->channel = (uint16_t)stream;
#else
  (void)stream;
#endif
  for (i = 0; i < 16u; i++) {
    predictor->weights[i] = weights[i];
    predictor->differences[i] = 0;
  }
  for (i = 0; i < 8u; i++) {
    predictor->magnitudes[i] = 0;
  }
  predictor->last = 0;
  predictor->slow = 0;
  predictor->direction = 1;
  predictor->started = 0;
}

/*
 * The prediction of the next value, whose reconstruction is y, the features before it, and the sign of its context. `linked`:
 * the change predicted from other channels.
 */
static int32_t tae_predict(
  const tae_predictor *predictor, const tae_block *block, int32_t y, uint32_t bound, int8_t *features, int32_t *sign,
  int32_t *linked
)
{
  static const uint8_t shares[8] = {4, 3, 2, 2, 1, 1, 1, 1};
  int64_t expected = tae_linked(predictor, block);
  int64_t sum = 0;
  int32_t base = y + predictor->last;
  int32_t further = 0;
  uint32_t activity = 0;
  int32_t change;
  int32_t prediction;
  uint32_t i;
  for (i = 0; i < 16u; i++) {
    sum += (int64_t)predictor->weights[i] * predictor->differences[i];
  }
  change = tae_rounded(sum * ((int64_t)1 << (TAE_LINK_BITS - 14)) + expected);
  *linked = tae_rounded(expected);
  prediction = tae_clip(base + tae_quanta(change, bound) * (2 * (int32_t)bound + 1), TAE_LOWEST, TAE_HIGHEST);
  for (i = 0; i < 8u; i++) {
    activity += (uint32_t)shares[i] * predictor->magnitudes[i];
  }
  *sign = predictor->direction;
  features[0] = tae_half_octaves(activity);
  features[1] = tae_half_octaves(predictor->slow >> 6);
  features[2] = tae_distance(*sign * (base + change - prediction), bound);
  features[3] = tae_distance(*sign * change, bound);
  features[4] = tae_distance(*sign * predictor->differences[0], bound);
  features[5] = tae_distance(*sign * predictor->differences[1], bound);
  for (i = 0; i < 16u; i++) {
    further += predictor->differences[i];
    if (i == 3u) {
      features[6] = tae_distance(*sign * further, bound);
    }
  }
  features[7] = tae_distance(*sign * further, bound);
  features[8] = tae_bound_level(bound);
#if TAE_LINKED
  features[9] = (int8_t)(predictor->channel < 127u ? predictor->channel : 127u);
#endif
  return prediction;
}

static void tae_learn(
  tae_predictor *predictor, int32_t y, int32_t x, int32_t residual, uint32_t bound, int32_t linked
)
{
  int32_t moved = x - y - predictor->last;
  int32_t sign = (residual > 0) - (residual < 0);
  uint32_t magnitude = tae_magnitude_of(residual);
  uint32_t i;
  if (predictor->started) {
    for (i = 0; i < 16u; i++) {
      int32_t difference = predictor->differences[i];
      int32_t weight = predictor->weights[i] + 16 * sign * ((difference > 0) - (difference < 0));
      predictor->weights[i] = (int16_t)tae_clip(weight, -32767 - 1, 32767);
    }
    for (i = 15; i > 0; i--) {
      predictor->differences[i] = predictor->differences[i - 1u];
    }
    for (i = 7; i > 0; i--) {
      predictor->magnitudes[i] = predictor->magnitudes[i - 1u];
    }
    predictor->differences[0] = moved - linked;
    predictor->magnitudes[0] = (tae_magnitude)magnitude;
    predictor->slow += ((magnitude < 1023u ? magnitude : 1023u) << 8) - (predictor->slow >> 6);
    if (tae_magnitude_of(moved) > bound) {
      predictor->direction = moved < 0 ? -1 : 1;
    }
  }
#if TAE_LINKED
  predictor->changes[predictor->step++ & (TAE_DEPTH - 1u)] = predictor->started ? moved : 0;
#endif
  predictor->started = 1;
  predictor->last = x - y;
}
