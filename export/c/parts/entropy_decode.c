
static uint32_t tae_u32(const uint8_t *bytes)
{
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* Take a symbol off the state. Without a word where one is due the state becomes 0 and stays so. */
static void tae_advance(tae_payload *payload, uint32_t frequency, uint32_t start)
{
  uint32_t state = frequency * (payload->state >> TAE_SUM_BITS) + (payload->state & (TAE_SUM - 1u)) - start;
  if (state < TAE_LEAST_STATE) {
    if (payload->back - payload->front < 2) {
      state = 0;
    } else {
      state = state << 16 | (uint32_t)payload->front[1] << 8 | payload->front[0];
      payload->front += 2;
    }
  }
  payload->state = state;
}

/* The next symbol of a table, the raw value of an escape included; TAE_ESCAPES where that is none. */
static uint32_t tae_next_symbol(tae_payload *payload, uint32_t table)
{
  uint32_t escape = tae_escape(table);
  uint32_t symbol;
  uint32_t frequency;
  uint32_t start;
  uint32_t place = tae_find(table, payload->state & (TAE_SUM - 1u), &frequency, &start);
  tae_advance(payload, frequency, start);
  if (place < escape) {
    return tae_first[table] + place;
  }
  if (payload->front == payload->back) {
    return TAE_ESCAPES;
  }
  payload->back--;
  symbol = *payload->back;
  return symbol < TAE_ESCAPES && tae_place(table, symbol) == escape ? symbol : TAE_ESCAPES;
}

int tae_payload_open(tae_payload *payload, const uint8_t *bytes, size_t size)
{
  if (payload == NULL || bytes == NULL) {
    return TAE_ARGUMENT;
  }
  if (size < 4u || tae_u32(bytes) < TAE_LEAST_STATE) {
    return TAE_DAMAGED;
  }
  payload->state = tae_u32(bytes);
  payload->front = bytes + 4;
  payload->back = bytes + size;
  return TAE_OK;
}

int tae_payload_close(const tae_payload *payload)
{
  if (payload == NULL) {
    return TAE_ARGUMENT;
  }
  return payload->state == TAE_LEAST_STATE && payload->front == payload->back ? TAE_OK : TAE_DAMAGED;
}
