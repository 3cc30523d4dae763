
/* The frequency and first slot of a place. */
static void tae_span(uint32_t table, uint32_t place, uint32_t *frequency, uint32_t *start)
{
  const uint8_t *slots = tae_slots + tae_places[table] + place;
  const uint8_t *buckets = tae_buckets + (table << TAE_BUCKET_BITS);
  uint32_t bucket = 0;
  uint32_t step;
  for (step = 1u << (TAE_BUCKET_BITS - 1); step > 0; step >>= 1) {
    if (buckets[bucket + step] <= place) {
      bucket += step;
    }
  }
  *start = bucket << 8 | slots[0];
  *frequency = ((uint32_t)slots[1] - slots[0]) & 255u;
}
