
/* The place that owns a slot, its frequency and first slot. */
static uint32_t tae_find(uint32_t table, uint32_t slot, uint32_t *frequency, uint32_t *start)
{
  const uint8_t *slots = tae_slots + tae_places[table];
  const uint8_t *buckets = tae_buckets + (table << TAE_BUCKET_BITS);
  uint32_t bucket = slot >> 8;
  uint32_t place = buckets[bucket];
  uint32_t end = bucket + 1u < 1u << TAE_BUCKET_BITS ? buckets[bucket + 1u] : tae_escape(table) + 1u;
  while (place < end && slots[place] <= (slot & 255u)) {
    place++;
  }
  place--;
  *start = slot - ((slot - slots[place]) & 255u);
  *frequency = ((uint32_t)slots[place + 1] - slots[place]) & 255u;
  return place;
}
