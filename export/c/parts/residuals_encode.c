
#define TAE_CONTEXT_BITS 7 /* of a cell: the leaf, above it the residual */

static void tae_put_bits(tae_writer *writer, uint32_t number, uint32_t bits)
{
  tae_put(writer, 1u << (TAE_SUM_BITS - bits), number << (TAE_SUM_BITS - bits));
}

/* Add a residual, in a context: extra bits, the token of an escape, the symbol. The last ones are decoded first. */
static void tae_put_residual(tae_writer *writer, const tae_block *block, tae_cell cell)
{
  const uint8_t *table = tae_table_of(block, cell & ((1u << TAE_CONTEXT_BITS) - 1u));
  int32_t residual = (int32_t)(cell >> TAE_CONTEXT_BITS) - (int32_t)TAE_SPAN;
  uint32_t magnitude = tae_magnitude_of(residual);
  uint32_t frequency;
  uint32_t start;
  if (magnitude >= 32u) {
    uint32_t bits = tae_log2(magnitude) - 3u;
    uint32_t leading = magnitude >> bits;
    tae_put_bits(writer, magnitude - (leading << bits), bits);
    magnitude = 32u + (bits - 2u) * 8u + (leading - 8u);
  }
  magnitude = residual < 0 ? TAE_ZERO_TOKEN - magnitude : TAE_ZERO_TOKEN + magnitude;
  if (tae_scan(table, magnitude, TAE_SUM, &frequency, &start) == TAE_TOKENS) {
    tae_put_bits(writer, magnitude, 8);
  }
  tae_put(writer, frequency, start);
}

/* The cell of a residual in its context. The predictor learns the value that is decoded. */
static tae_cell tae_quantize(tae_predictor *predictor, const tae_block *block, int32_t y, int32_t x, uint32_t bound)
{
  int8_t features[TAE_FEATURES];
  int32_t sign;
  int32_t linked;
  int32_t prediction = tae_predict(predictor, block, y, bound, features, &sign, &linked);
  int32_t residual = tae_quanta(x - prediction, bound);
  tae_learn(predictor, y, tae_restore(prediction, residual, bound), residual, bound, linked);
  return (tae_cell)((uint32_t)(sign * residual + (int32_t)TAE_SPAN) << TAE_CONTEXT_BITS | tae_leaf_of(block, features));
}

/* Fill the cells with the residuals of all samples, and behind them, in mode 2, with their codes. */
static int tae_fill_cells(
  tae_arena *arena, uint32_t mode, uint32_t bound, const tae_value *data, size_t samples, tae_workspace *workspace
)
{
  const tae_block *block = tae_block_of(mode);
  tae_cell *cell = workspace->cells;
  tae_cell *codes = workspace->cells + samples * TAE_INPUTS;
  size_t sample;
  size_t wave;
  size_t i;
  for (i = 0; i < TAE_INPUTS; i++) {
    workspace->values[i] = 0;
  }
  for (sample = 0; sample < samples; sample++) {
    if (mode == 2) {
      uint8_t code[TAE_UNITS];
      int status = tae_encode_data(arena, data, code);
      if (status == TAE_OK) {
        status = tae_decode_data(arena, code, workspace->values);
      }
      if (status != TAE_OK) {
        return status;
      }
      for (i = 0; i < TAE_UNITS; i++) {
        *codes++ = code[i];
      }
    }
    if (sample == 0 || TAE_IMAGES) {
      for (i = 0; i < TAE_STREAMS; i++) {
        tae_reset(&workspace->predictors[i], block, (uint32_t)i);
      }
    }
    for (wave = 0; wave < TAE_WAVES; wave++) {
      for (i = tae_first_stream(wave); i < TAE_STREAMS && i <= wave; i++) {
        size_t place = (wave - i) * TAE_STREAMS + i;
        *cell++ = tae_quantize(&workspace->predictors[i], block, workspace->values[place], data[place], bound);
      }
    }
    data += TAE_INPUTS;
  }
  return TAE_OK;
}

/* Write the codes that lie behind the residuals, and before them their bytes. */
static int tae_write_codes(size_t samples, uint8_t *out, size_t capacity, size_t *size, const tae_workspace *workspace)
{
  const tae_cell *codes = workspace->cells + samples * TAE_INPUTS;
  tae_writer writer;
  int status;
  if (capacity < 4u) {
    return TAE_SPACE;
  }
  writer = tae_begin(out + 4, capacity - 4u);
  while (samples > 0) {
    uint8_t code[TAE_UNITS];
    size_t i;
    samples--;
    for (i = 0; i < TAE_UNITS; i++) {
      code[i] = (uint8_t)codes[samples * TAE_UNITS + i];
    }
    tae_put_codes(&writer, code);
  }
  status = tae_finish(&writer, size);
  if (status == TAE_OK) {
    tae_put_u32(out, (uint32_t)*size);
    *size += 4u;
  }
  return status;
}

/* Write the payload of a mode. */
static int tae_write_mode(
  tae_arena *arena, const tae_header *header, uint32_t mode, const tae_value *data, size_t samples, uint8_t *out,
  size_t capacity, size_t *size, tae_workspace *workspace
)
{
  const tae_block *block = tae_block_of(mode);
  tae_writer writer;
  size_t codes = 0;
  size_t left = samples * TAE_INPUTS;
  int status = tae_fill_cells(arena, mode, header->bound, data, samples, workspace);
  if (status == TAE_OK && mode == 2) {
    status = tae_write_codes(samples, out, capacity, &codes, workspace);
  }
  if (status != TAE_OK) {
    return status;
  }
  writer = tae_begin(out + codes, capacity - codes);
  while (left > 0 && writer.end != NULL) {
    left--;
    tae_put_residual(
      &writer, block, workspace->cells[TAE_IMAGES ? left % samples * TAE_INPUTS + left / samples : left]
    );
  }
  status = tae_finish(&writer, size);
  *size += codes;
  return status;
}

int tae_frame_encode(
  tae_arena *arena, const tae_header *header, const tae_value *data, size_t samples, uint8_t *out, size_t capacity,
  size_t *size, tae_workspace *workspace
)
{
  uint32_t mode = 1;
  size_t first = 0;
  size_t second = 0;
  int status;
  if (header == NULL || header->kind == TAE_LOSSY) {
    return tae_encode_lossy(arena, header, data, samples, out, capacity, size);
  }
  if (data == NULL || out == NULL || size == NULL || workspace == NULL || workspace->cells == NULL) {
    return TAE_ARGUMENT;
  }
  if (samples == 0 || samples > header->samples) {
    return TAE_ARGUMENT;
  }
  if (workspace->count / ((size_t)TAE_INPUTS + TAE_UNITS) < samples) {
    return TAE_SPACE;
  }
  status = tae_write_mode(arena, header, 1, data, samples, out, capacity, &first, workspace);
  if (status != TAE_OK && status != TAE_SPACE) {
    return status;
  }
  if (status == TAE_SPACE) {
    first = SIZE_MAX;
  }
  status = tae_write_mode(arena, header, 2, data, samples, out, capacity, &second, workspace);
  if (status == TAE_OK && second < first) {
    mode = 2;
  } else if ((status == TAE_OK || status == TAE_SPACE) && first != SIZE_MAX) {
    status = tae_write_mode(arena, header, 1, data, samples, out, capacity, &second, workspace);
  }
  return status == TAE_OK ? tae_seal(header, mode, (uint32_t)samples, out, capacity, second, size) : status;
}
