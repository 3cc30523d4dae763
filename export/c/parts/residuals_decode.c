
/* A number of 0 to 14 bits. */
static uint32_t tae_take_bits(tae_payload *payload, uint32_t bits)
{
  uint32_t shift = TAE_SUM_BITS - bits;
  uint32_t number = (payload->state & (TAE_SUM - 1u)) >> shift;
  tae_advance(payload, 1u << shift, number << shift);
  return number;
}

/* The next residual, in the context of a leaf. */
static int tae_take_residual(
  tae_payload *payload, const tae_block *block, uint32_t leaf, uint32_t largest, int32_t *residual
)
{
  const uint8_t *table = tae_table_of(block, leaf);
  uint32_t frequency;
  uint32_t start;
  uint32_t token = tae_scan(table, TAE_TOKENS, payload->state & (TAE_SUM - 1u), &frequency, &start);
  uint32_t magnitude;
  tae_advance(payload, frequency, start);
  if (token == TAE_TOKENS) {
    token = tae_take_bits(payload, 8);
    if (tae_scan(table, token, TAE_SUM, &frequency, &start) != TAE_TOKENS) {
      return TAE_DAMAGED;
    }
  }
  magnitude = token < TAE_ZERO_TOKEN ? TAE_ZERO_TOKEN - token : token - TAE_ZERO_TOKEN;
  if (magnitude >= 32u) {
    uint32_t bits = 2u + (magnitude - 32u) / 8u;
    magnitude = ((8u + magnitude % 8u) << bits) + tae_take_bits(payload, bits);
  }
  if (magnitude > largest) { /* as are those of all numbers that are no tokens, 0 to 8 and 248 to 255 */
    return TAE_DAMAGED;
  }
  *residual = token < TAE_ZERO_TOKEN ? -(int32_t)magnitude : (int32_t)magnitude;
  return TAE_OK;
}

/* Replace a value's reconstruction, 0 in mode 1, by the value. */
static int tae_take_value(
  tae_payload *payload, const tae_block *block, uint32_t bound, tae_predictor *predictor, tae_value *value
)
{
  int8_t features[TAE_FEATURES];
  int32_t sign;
  int32_t linked;
  int32_t residual;
  int32_t y = *value;
  int32_t prediction = tae_predict(predictor, block, y, bound, features, &sign, &linked);
  int32_t x;
  int status = tae_take_residual(
    payload, block, tae_leaf_of(block, features), (TAE_SPAN + bound) / (2u * bound + 1u), &residual
  );
  if (status != TAE_OK) {
    return status;
  }
  residual *= sign;
  x = tae_restore(prediction, residual, bound);
  tae_learn(predictor, y, x, residual, bound, linked);
  *value = (tae_value)x;
  return TAE_OK;
}

/* Begin the payloads that a frame of any mode has; the other one is empty. */
static int tae_open_payloads(const tae_frame *frame, tae_payload *codes, tae_payload *residuals)
{
  const uint8_t *bytes = frame->payload;
  size_t size = frame->size;
  codes->state = residuals->state = 0;
  codes->front = codes->back = residuals->front = residuals->back = bytes;
  if (frame->mode == 0) {
    return tae_payload_open(codes, bytes, size);
  }
  if (frame->mode == 2) {
    uint32_t first;
    int status;
    if (size < 4u || size - 4u < tae_u32(bytes)) {
      return TAE_DAMAGED;
    }
    first = tae_u32(bytes);
    status = tae_payload_open(codes, bytes + 4, first);
    if (status != TAE_OK) {
      return status;
    }
    bytes += 4u + first;
    size -= 4u + first;
  }
  return tae_payload_open(residuals, bytes, size);
}

/* Decode the reconstruction of the next sample: its codes', or 0 in mode 1. */
static int tae_take_base(tae_arena *arena, uint32_t mode, tae_payload *codes, tae_value *data)
{
  uint8_t code[TAE_UNITS];
  size_t i;
  int status;
  if (mode == 1) {
    for (i = 0; i < TAE_INPUTS; i++) {
      data[i] = 0;
    }
    return TAE_OK;
  }
  status = tae_payload_next(codes, code);
  return status == TAE_OK ? tae_decode_data(arena, code, data) : status;
}

/* Whether the payloads of a frame end behind its last sample. */
static int tae_close_payloads(uint32_t mode, const tae_payload *codes, const tae_payload *residuals)
{
  int status = mode == 1 ? TAE_OK : tae_payload_close(codes);
  return status == TAE_OK && mode != 0 ? tae_payload_close(residuals) : status;
}
