
/*
 * An encoder of symbols, last to first. Words lie at the front of `out` and raw values at its end, all in the reverse of
 * their final order: tae_finish turns both around, so that the payload needs no bytes beside its own.
 */
typedef struct tae_writer {
  uint8_t *out;
  uint8_t *front;
  uint8_t *back;
  uint8_t *end;
  uint32_t state;
} tae_writer;

static tae_writer tae_begin(uint8_t *out, size_t capacity)
{
  tae_writer writer;
  writer.out = writer.front = out;
  writer.back = writer.end = out + capacity;
  writer.state = TAE_LEAST_STATE;
  return writer;
}

/* Add a byte to the words. Without space for it the writer's end is lost, for good. */
static void tae_put_byte(tae_writer *writer, uint32_t byte)
{
  if (writer->front == writer->back) {
    writer->end = NULL;
  } else {
    *writer->front++ = (uint8_t)(byte & 255u);
  }
}

static void tae_put(tae_writer *writer, uint32_t frequency, uint32_t start)
{
  uint32_t state = writer->state;
  if (state >> (32 - TAE_SUM_BITS) >= frequency) {
    tae_put_byte(writer, state >> 8);
    tae_put_byte(writer, state);
    state >>= 16;
  }
  writer->state = ((state / frequency) << TAE_SUM_BITS) + state % frequency + start;
}

/* Add a symbol, below TAE_ESCAPES, under a table. */
static void tae_put_symbol(tae_writer *writer, uint32_t table, uint32_t symbol)
{
  uint32_t place = tae_place(table, symbol);
  uint32_t frequency;
  uint32_t start;
  if (place == tae_escape(table)) {
    if (writer->front == writer->back) {
      writer->end = NULL;
    } else {
      *--writer->back = (uint8_t)symbol;
    }
  }
  tae_span(table, place, &frequency, &start);
  tae_put(writer, frequency, start);
}

/* Swap the first bytes of a range with the last ones, `count` at most. */
static void tae_turn(uint8_t *first, uint8_t *end, size_t count)
{
  for (; count > 0 && first < end; count--) {
    uint8_t byte = *first;
    *first++ = *--end;
    *end = byte;
  }
}

/* Make the payload at the writer's `out`. */
static int tae_finish(tae_writer *writer, size_t *size)
{
  size_t words;
  size_t raw;
  tae_put_byte(writer, writer->state >> 24);
  tae_put_byte(writer, writer->state >> 16);
  tae_put_byte(writer, writer->state >> 8);
  tae_put_byte(writer, writer->state);
  if (writer->end == NULL) {
    return TAE_SPACE;
  }
  words = (size_t)(writer->front - writer->out);
  raw = (size_t)(writer->end - writer->back);
  tae_turn(writer->out, writer->front, words);
  tae_turn(writer->front, writer->end, raw);
  *size = words + raw;
  return TAE_OK;
}

/* Whether these are codes of TAE_CODE_BITS bits, as TAE_OK or TAE_CODE. */
static int tae_check_codes(const uint8_t *code)
{
  uint32_t unit;
  for (unit = 0; unit < TAE_UNITS; unit++) {
    uint32_t each = code[unit];
    if (each >= TAE_ESCAPES) {
      return TAE_CODE;
    }
  }
  return TAE_OK;
}

static void tae_put_codes(tae_writer *writer, const uint8_t *code);

int tae_payload_encode(const uint8_t *codes, size_t samples, uint8_t *out, size_t capacity, size_t *size)
{
  tae_writer writer;
  if ((codes == NULL && samples > 0) || out == NULL || size == NULL) {
    return TAE_ARGUMENT;
  }
  writer = tae_begin(out, capacity);
  while (samples > 0 && writer.end != NULL) {
    samples--;
    if (tae_check_codes(codes + samples * TAE_UNITS) != TAE_OK) {
      return TAE_CODE;
    }
    tae_put_codes(&writer, codes + samples * TAE_UNITS);
  }
  return tae_finish(&writer, size);
}
