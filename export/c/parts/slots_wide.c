
/* First slots of a table's symbols: codes from tae_first[table] on, then the escape, then TAE_SUM. */

/* Whether a place has frequency 0. */
static int tae_empty(uint32_t table, uint32_t place)
{
  const uint16_t *slots = tae_slots + tae_places[table] + place;
  return slots[0] == slots[1];
}
