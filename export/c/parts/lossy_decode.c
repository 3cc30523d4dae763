
int tae_samples_open(tae_samples *samples, const tae_header *header, const tae_frame *frame)
{
  int status;
  if (samples == NULL || header == NULL || frame == NULL) {
    return TAE_ARGUMENT;
  }
  status = tae_check_mode(header, frame);
  if (status != TAE_OK || frame->mode != 0) {
    return status == TAE_OK ? TAE_UNSUPPORTED : status;
  }
  samples->left = frame->samples;
  return tae_payload_open(&samples->codes, frame->payload, frame->size);
}

int tae_samples_next(tae_arena *arena, tae_samples *samples, tae_value *data)
{
  uint8_t code[TAE_UNITS];
  int status;
  if (samples == NULL || data == NULL) {
    return TAE_ARGUMENT;
  }
  if (samples->left == 0) {
    status = tae_payload_close(&samples->codes);
    return status == TAE_OK ? TAE_END : status;
  }
  samples->left--;
  status = tae_payload_next(&samples->codes, code);
  return status == TAE_OK ? tae_decode_data(arena, code, data) : status;
}

/* Decode a frame of codes. */
static int tae_decode_lossy(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity
)
{
  tae_samples samples;
  int status = tae_samples_open(&samples, header, frame);
  if (status != TAE_OK) {
    return status;
  }
  if (frame->samples > capacity) {
    return TAE_SPACE;
  }
  while (status == TAE_OK) {
    status = tae_samples_next(arena, &samples, data);
    data += samples.left > 0 ? TAE_INPUTS : 0;
  }
  return status == TAE_END ? TAE_OK : status;
}
