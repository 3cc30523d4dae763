
/* Entropy stage: rANS with a state of 32 bits and words of 16; the frequencies of a table add up to 2^14. */

#define TAE_SUM_BITS 14
#define TAE_SUM 16384u
#define TAE_LEAST_STATE 65536u
#define TAE_ESCAPES (1u << TAE_CODE_BITS) /* the first number that is no code */

/* First slots of a table's symbols: codes from tae_first[table] on, then the escape, then TAE_SUM. */
static const uint16_t *tae_table(uint32_t table)
{
  return tae_slots + tae_places[table];
}

/* The place of the escape: the number of codes that the table lists. */
static uint32_t tae_escape(uint32_t table)
{
  return (uint32_t)(tae_places[table + 1] - tae_places[table]) - 2u;
}

/* The place of a symbol in its table, that of the escape for one of frequency 0. */
static uint32_t tae_place(uint32_t table, uint32_t symbol)
{
  const uint16_t *slots = tae_table(table);
  uint32_t escape = tae_escape(table);
  uint32_t place = symbol - tae_first[table];
  return symbol >= tae_first[table] && place < escape && slots[place] != slots[place + 1] ? place : escape;
}
