
/*
 * The low 8 bits of the first slots of a table's symbols: codes from tae_first[table] on, then the escape, then TAE_SUM. No
 * frequency exceeds 255, so two neighbours give it. tae_buckets has the first place of each 256 slots.
 */

/* Whether a place has frequency 0. */
static int tae_empty(uint32_t table, uint32_t place)
{
  const uint8_t *slots = tae_slots + tae_places[table] + place;
  return slots[0] == slots[1];
}
