
/* The frequency and first slot of a place. */
static void tae_span(uint32_t table, uint32_t place, uint32_t *frequency, uint32_t *start)
{
  const uint16_t *slots = tae_slots + tae_places[table] + place;
  *start = slots[0];
  *frequency = (uint32_t)slots[1] - slots[0];
}
