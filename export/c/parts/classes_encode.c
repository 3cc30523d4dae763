
/* The symbol of a code, less the mean of its unit. */
static uint32_t tae_centred(uint32_t code, uint32_t mean)
{
  return (code - mean + TAE_ESCAPES / 2u) & (TAE_ESCAPES - 1u);
}

/* The class of the least cost, the lowest of equal ones. */
static uint32_t tae_cheapest(const uint8_t *code)
{
  uint32_t best = 0;
  uint32_t least = UINT32_MAX;
  size_t at = 0;
  uint32_t number;
  for (number = 0; number < TAE_CLASSES; number++) {
    uint32_t cost = tae_class_costs[number];
    uint32_t unit;
    for (unit = 0; unit < TAE_UNITS; unit++) {
      uint32_t table = tae_table_at(at);
      cost += tae_costs[tae_places[table] + tae_place(table, tae_centred(code[unit], tae_means[at]))];
      at++;
    }
    if (cost < least) {
      least = cost;
      best = number;
    }
  }
  return best;
}

/* Add the class and the codes of a sample. */
static void tae_put_codes(tae_writer *writer, const uint8_t *code)
{
  uint32_t number = tae_cheapest(code);
  size_t row = (size_t)number * TAE_UNITS;
  uint32_t unit = TAE_UNITS;
  while (unit > 0) {
    unit--;
    tae_put_symbol(writer, tae_table_at(row + unit), tae_centred(code[unit], tae_means[row + unit]));
  }
  tae_put(writer, (uint32_t)tae_class_slots[number + 1] - tae_class_slots[number], tae_class_slots[number]);
}
