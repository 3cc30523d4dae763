
/* Encode a frame of codes: samples last to first, so that their codes need no memory. */
static int tae_encode_lossy(
  tae_arena *arena, const tae_header *header, const tae_value *data, size_t samples, uint8_t *out, size_t capacity, size_t *size
)
{
  uint8_t code[TAE_UNITS];
  tae_writer writer;
  size_t payload;
  size_t left = samples;
  int status;
  if (header == NULL || data == NULL || out == NULL || size == NULL) {
    return TAE_ARGUMENT;
  }
  if (samples == 0 || samples > header->samples) {
    return TAE_ARGUMENT;
  }
  writer = tae_begin(out, capacity);
  while (left > 0 && writer.end != NULL) {
    left--;
    status = tae_encode_data(arena, data + left * TAE_INPUTS, code);
    if (status != TAE_OK) {
      return status;
    }
    tae_put_codes(&writer, code);
  }
  status = tae_finish(&writer, &payload);
  return status == TAE_OK ? tae_seal(header, 0, (uint32_t)samples, out, capacity, payload, size) : status;
}
