
static int tae_decode_residuals(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, tae_predictor *predictors
)
{
  const tae_block *block = tae_block_of(frame->mode);
  tae_payload codes;
  tae_payload residuals;
  size_t i;
  size_t sample;
  int status = tae_open_payloads(frame, &codes, &residuals);
  for (sample = 0; sample < frame->samples && status == TAE_OK; sample++) {
    tae_reset(&predictors[sample], block, 0);
    status = tae_take_base(arena, frame->mode, &codes, data + sample * TAE_INPUTS);
  }
  for (i = 0; i < TAE_INPUTS; i++) {
    for (sample = 0; sample < frame->samples && status == TAE_OK; sample++) {
      status = tae_take_value(
        &residuals, block, header->bound, &predictors[sample], &data[sample * TAE_INPUTS + i]
      );
    }
  }
  return status == TAE_OK ? tae_close_payloads(frame->mode, &codes, &residuals) : status;
}

int tae_frame_decode(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity,
  tae_predictor *predictors, size_t count
)
{
  int status;
  if (header == NULL || frame == NULL) {
    return TAE_ARGUMENT;
  }
  status = tae_check_mode(header, frame);
  if (status != TAE_OK || frame->mode == 0) {
    return status == TAE_OK ? tae_decode_lossy(arena, header, frame, data, capacity) : status;
  }
  if (data == NULL || predictors == NULL) {
    return TAE_ARGUMENT;
  }
  if (frame->samples > capacity || TAE_PREDICTORS(frame->samples) > count) {
    return TAE_SPACE;
  }
  return tae_decode_residuals(arena, header, frame, data, predictors);
}
