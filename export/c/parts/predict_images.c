
/* Images: the median edge detector of LOCO-I, in the image and in its difference from the network's reconstruction. */

static int32_t tae_median(int32_t a, int32_t b, int32_t c)
{
  return b < c ? tae_clip(a, b, c) : tae_clip(a, c, b);
}

static int32_t tae_edge(int32_t left, int32_t up, int32_t corner)
{
  return tae_median(left, up, left + up - corner);
}

static void tae_reset(tae_predictor *predictor, const tae_block *block, uint32_t stream)
{
  (void)block;
  (void)stream;
  predictor->step = 0;
}

/* The value that came `back` values ago. */
static const tae_pixel *tae_before(const tae_predictor *predictor, uint32_t back)
{
  return &predictor->pixels[(predictor->step - back) % TAE_RING];
}

/* The prediction of the next value, whose reconstruction is y, the features before it, and the sign of its context, 1. */
static int32_t tae_predict(
  const tae_predictor *predictor, const tae_block *block, int32_t y, uint32_t bound, int8_t *features, int32_t *sign,
  int32_t *linked
)
{
  static const tae_pixel outside = {0, 0, 0};
  uint32_t column = predictor->step % TAE_ROW;
  uint32_t first = column < TAE_CHANNELS;
  uint32_t last = column + TAE_CHANNELS >= TAE_ROW;
  const tae_pixel *left;
  const tae_pixel *up;
  const tae_pixel *corner;
  const tae_pixel *right;
  int32_t prediction;
  uint32_t activity;
  uint32_t level;
  if (predictor->step < TAE_ROW) {
    left = up = corner = right = first ? &outside : tae_before(predictor, TAE_CHANNELS);
  } else {
    up = tae_before(predictor, TAE_ROW);
    corner = first ? up : tae_before(predictor, TAE_ROW + TAE_CHANNELS);
    left = first ? up : tae_before(predictor, TAE_CHANNELS);
    right = last ? up : tae_before(predictor, TAE_ROW - TAE_CHANNELS);
  }
  prediction = tae_median(
    tae_edge(left->x, up->x, corner->x),
    y + tae_edge((int32_t)left->x - left->y, (int32_t)up->x - up->y, (int32_t)corner->x - corner->y),
    y
  );
  prediction = tae_clip(prediction, TAE_LOWEST, TAE_HIGHEST);
  activity = 2u * (uint32_t)left->q + 2u * (uint32_t)up->q + corner->q + right->q;
  activity += tae_magnitude_of((int32_t)left->x - corner->x) + tae_magnitude_of((int32_t)up->x - corner->x);
  activity += tae_magnitude_of((int32_t)up->x - right->x);
  level = (uint32_t)(prediction - TAE_LOWEST);
  level = (uint32_t)(level >= 1u) + (level >= 4u) + (level >= 16u) + (level >= 64u) + (level >= 192u);
  (void)block;
  *linked = 0;
  *sign = 1;
  features[0] = tae_half_octaves(activity);
  features[1] = (int8_t)level;
  features[2] = tae_distance(left->x - prediction, bound);
  features[3] = tae_distance(up->x - prediction, bound);
  features[4] = tae_distance(right->x - prediction, bound);
  features[5] = tae_distance(y - prediction, bound);
  features[6] = (int8_t)(left->q < 8 ? left->q : 8);
  features[7] = (int8_t)(up->q < 8 ? up->q : 8);
  features[8] = tae_bound_level(bound);
  return prediction;
}

static void tae_learn(
  tae_predictor *predictor, int32_t y, int32_t x, int32_t residual, uint32_t bound, int32_t linked
)
{
  tae_pixel *pixel = &predictor->pixels[predictor->step % TAE_RING];
  pixel->x = (tae_value)x;
  pixel->y = (tae_value)y;
  pixel->q = (tae_magnitude)tae_magnitude_of(residual);
  predictor->step++;
  (void)bound;
  (void)linked;
}
