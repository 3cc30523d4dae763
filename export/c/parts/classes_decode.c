
/* The class of the next sample. */
static uint32_t tae_next_class(tae_payload *payload)
{
  uint32_t slot = payload->state & (TAE_SUM - 1u);
  uint32_t place = 0;
  while (tae_class_slots[place + 1] <= slot) {
    place++;
  }
  tae_advance(payload, (uint32_t)tae_class_slots[place + 1] - tae_class_slots[place], tae_class_slots[place]);
  return place;
}

int tae_payload_next(tae_payload *payload, uint8_t *code)
{
  tae_payload own;
  uint32_t unit;
  size_t row;
  if (payload == NULL || code == NULL) {
    return TAE_ARGUMENT;
  }
  own = *payload;
  row = (size_t)tae_next_class(&own) * TAE_UNITS;
  for (unit = 0; unit < TAE_UNITS; unit++) {
    uint32_t symbol = tae_next_symbol(&own, tae_table_at(row + unit));
    if (symbol >= TAE_ESCAPES) {
      return TAE_DAMAGED;
    }
    code[unit] = (uint8_t)((symbol + tae_means[row + unit] + TAE_ESCAPES / 2u) & (TAE_ESCAPES - 1u));
  }
  *payload = own;
  return own.state == 0 ? TAE_DAMAGED : TAE_OK;
}
