
/* Predictors that a frame of residuals takes: residuals come value by value, and in a value image by image. */
#define TAE_PREDICTORS(samples) (samples)

/*
 * Decode a frame into `data`, [frame->samples][TAE_INPUTS], which holds `capacity` samples, with `count` predictors. Frames of
 * lossy files take no predictors.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: the frame has more samples, or there are fewer predictors than
 * TAE_PREDICTORS(frame->samples). TAE_DAMAGED: a mode that files of its kind do not have, or a damaged payload; `data` is then
 * undetermined. TAE_UNSUPPORTED: a frame of bounded float data. RAM: the predictors, `arena`, and TAE_UNITS and some 300 bytes
 * of the stack.
 */
int tae_frame_decode(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity,
  tae_predictor *predictors, size_t count
);
