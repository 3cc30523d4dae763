
/* Entropy stage: rANS with a state of 32 bits and words of 16; the frequencies of a table add up to 2^14. */

#define TAE_SUM_BITS 14
#define TAE_SUM 16384u
#define TAE_LEAST_STATE 65536u
#define TAE_ESCAPES (1u << TAE_CODE_BITS) /* the first number that is no code */

/* The place of the escape: the number of codes that the table lists. */
static uint32_t tae_escape(uint32_t table)
{
  return (uint32_t)(tae_places[table + 1] - tae_places[table]) - 2u;
}
