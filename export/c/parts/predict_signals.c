
/* Series: 16 weights for the last differences, moved by the signs of residual and difference (sign-sign LMS). */

#define TAE_BIAS ((int64_t)1 << 40) /* larger than any sum of products: shifts are of numbers above 0 */

static void tae_reset(tae_predictor *predictor, const tae_block *block)
{
  uint32_t i;
  for (i = 0; i < 16u; i++) {
    predictor->weights[i] = block->weights[i];
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

/* The prediction of the next value, whose reconstruction is y, the features before it, and the sign of its context. */
static int32_t tae_predict(const tae_predictor *predictor, int32_t y, uint32_t bound, int8_t *features, int32_t *sign)
{
  static const uint8_t shares[8] = {4, 3, 2, 2, 1, 1, 1, 1};
  int64_t sum = TAE_BIAS + 8192;
  int32_t base = y + predictor->last;
  int32_t further = 0;
  uint32_t activity = 0;
  int32_t change;
  int32_t prediction;
  uint32_t i;
  for (i = 0; i < 16u; i++) {
    sum += (int64_t)predictor->weights[i] * predictor->differences[i];
  }
  change = (int32_t)((sum >> TAE_SUM_BITS) - (TAE_BIAS >> TAE_SUM_BITS));
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
  return prediction;
}

static void tae_learn(tae_predictor *predictor, int32_t y, int32_t x, int32_t residual, uint32_t bound)
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
    predictor->differences[0] = moved;
    predictor->magnitudes[0] = (tae_magnitude)magnitude;
    predictor->slow += ((magnitude < 1023u ? magnitude : 1023u) << 8) - (predictor->slow >> 6);
    if (tae_magnitude_of(moved) > bound) {
      predictor->direction = moved < 0 ? -1 : 1;
    }
  }
  predictor->started = 1;
  predictor->last = x - y;
}
