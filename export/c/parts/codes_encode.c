
/* Add the codes of a sample. */
static void tae_put_codes(tae_writer *writer, const uint8_t *code)
{
  tae_writer own = *writer;
  uint32_t unit = TAE_UNITS;
  while (unit > 0) {
    unit--;
    tae_put_symbol(&own, unit, code[unit]);
  }
  *writer = own;
}
