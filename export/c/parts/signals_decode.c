
int tae_samples_open(
  tae_samples *samples, const tae_header *header, const tae_frame *frame, tae_predictor *predictors, size_t count
)
{
  size_t i;
  int status;
  if (samples == NULL || header == NULL || frame == NULL) {
    return TAE_ARGUMENT;
  }
  status = tae_check_mode(header, frame);
  if (status != TAE_OK) {
    return status;
  }
  samples->predictors = predictors;
  samples->bound = header->bound;
  samples->left = frame->samples;
  samples->mode = frame->mode;
  if (frame->mode != 0) {
    if (predictors == NULL) {
      return TAE_ARGUMENT;
    }
    if (count < TAE_STREAMS) {
      return TAE_SPACE;
    }
    for (i = 0; i < TAE_STREAMS; i++) {
      tae_reset(&predictors[i], tae_block_of(frame->mode), (uint32_t)i);
    }
  }
  return tae_open_payloads(frame, &samples->codes, &samples->residuals);
}

int tae_samples_next(tae_arena *arena, tae_samples *samples, tae_value *data)
{
  size_t i;
  int status;
  if (samples == NULL || data == NULL) {
    return TAE_ARGUMENT;
  }
  if (samples->left == 0) {
    status = tae_close_payloads(samples->mode, &samples->codes, &samples->residuals);
    return status == TAE_OK ? TAE_END : status;
  }
  samples->left--;
  status = tae_take_base(arena, samples->mode, &samples->codes, data);
  if (samples->mode != 0) {
    const tae_block *block = tae_block_of(samples->mode);
    size_t wave;
    for (wave = 0; wave < TAE_WAVES; wave++) {
      for (i = tae_first_stream(wave); i < TAE_STREAMS && i <= wave && status == TAE_OK; i++) {
        status = tae_take_value(
          &samples->residuals, block, samples->bound, &samples->predictors[i], &data[(wave - i) * TAE_STREAMS + i]
        );
      }
    }
  }
  return status;
}

int tae_frame_decode(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity,
  tae_predictor *predictors, size_t count
)
{
  tae_samples samples;
  int status = tae_samples_open(&samples, header, frame, predictors, count);
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
