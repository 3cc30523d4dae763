
int tae_payload_next(tae_payload *payload, uint8_t *code)
{
  tae_payload own;
  uint32_t unit;
  if (payload == NULL || code == NULL) {
    return TAE_ARGUMENT;
  }
  own = *payload;
  for (unit = 0; unit < TAE_UNITS; unit++) {
    uint32_t symbol = tae_next_symbol(&own, unit);
    if (symbol >= TAE_ESCAPES) {
      return TAE_DAMAGED;
    }
    code[unit] = (uint8_t)symbol;
  }
  *payload = own;
  return own.state == 0 ? TAE_DAMAGED : TAE_OK;
}
