
/* The place of a symbol in its table, that of the escape for one of frequency 0. */
static uint32_t tae_place(uint32_t table, uint32_t symbol)
{
  uint32_t escape = tae_escape(table);
  uint32_t place = symbol - tae_first[table];
  return symbol >= tae_first[table] && place < escape && !tae_empty(table, place) ? place : escape;
}
