
/* The place that owns a slot, its frequency and first slot; the search begins at a place at or below it. */
static uint32_t tae_find(uint32_t table, uint32_t slot, uint32_t *frequency, uint32_t *start)
{
  const uint16_t *slots = tae_slots + tae_places[table];
  uint32_t place = tae_buckets[(table << TAE_BUCKET_BITS) + (slot >> (TAE_SUM_BITS - TAE_BUCKET_BITS))];
  while (slots[place + 1] <= slot) {
    place++;
  }
  *start = slots[place];
  *frequency = (uint32_t)slots[place + 1] - slots[place];
  return place;
}
