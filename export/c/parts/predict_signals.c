
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
  predictor->started = 0;
}

/* The prediction of the next value, whose reconstruction is y, and its context. */
static int32_t tae_predict(const tae_predictor *predictor, int32_t y, uint32_t *context)
{
  static const uint8_t shares[8] = {4, 3, 2, 2, 1, 1, 1, 1};
  int64_t sum = TAE_BIAS + 8192;
  uint32_t activity = 0;
  int32_t change;
  uint32_t i;
  for (i = 0; i < 16u; i++) {
    sum += (int64_t)predictor->weights[i] * predictor->differences[i];
  }
  change = (int32_t)((sum >> TAE_SUM_BITS) - (TAE_BIAS >> TAE_SUM_BITS));
  for (i = 0; i < 8u; i++) {
    activity += (uint32_t)shares[i] * predictor->magnitudes[i];
  }
  *context = activity;
  if (activity > 1u) {
    i = tae_log2(activity);
    *context = 2u * i + (activity >> (i - 1u) & 1u);
  }
  return tae_clip(y + predictor->last + change, TAE_LOWEST, TAE_HIGHEST);
}

static void tae_learn(tae_predictor *predictor, int32_t y, int32_t x, int32_t residual)
{
  int32_t now = x - y;
  int32_t sign = (residual > 0) - (residual < 0);
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
    predictor->differences[0] = now - predictor->last;
    predictor->magnitudes[0] = (tae_magnitude)tae_magnitude_of(residual);
  }
  predictor->started = 1;
  predictor->last = now;
}
