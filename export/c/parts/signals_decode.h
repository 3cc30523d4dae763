
/* Predictors that a frame of residuals takes, whatever its number of samples. */
#define TAE_PREDICTORS(samples) TAE_STREAMS

/* A frame that is being decoded sample by sample. */
typedef struct tae_samples {
  tae_payload codes;
  tae_payload residuals;
  tae_predictor *predictors;
  uint32_t bound;
  uint32_t left;
  uint8_t mode;
} tae_samples;

/*
 * Begin the samples of a frame. Its payload and the `count` predictors must stay where they are.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: fewer predictors than TAE_PREDICTORS(frame->samples); frames of lossy files take none.
 * TAE_DAMAGED: a mode that files of its kind do not have, or a damaged payload. TAE_UNSUPPORTED: a frame of bounded float data.
 * RAM: the struct and the predictors, no more.
 */
int tae_samples_open(
  tae_samples *samples, const tae_header *header, const tae_frame *frame, tae_predictor *predictors, size_t count
);

/*
 * Decode the next sample into `data`, TAE_INPUTS values.
 * TAE_END: there was no other, and the frame ends as it should. TAE_DAMAGED: the frame is damaged, its earlier samples too.
 * TAE_ARGUMENT: a null pointer. RAM: `arena`, and TAE_UNITS and some 200 bytes of the stack.
 */
int tae_samples_next(tae_arena *arena, tae_samples *samples, tae_value *data);

/*
 * Decode a frame into `data`, [frame->samples][TAE_INPUTS], which holds `capacity` samples.
 * TAE_SPACE: the frame has more samples, or there are too few predictors. Others as above; after TAE_DAMAGED `data` is
 * undetermined. RAM: as tae_samples_next, and the struct.
 */
int tae_frame_decode(
  tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity,
  tae_predictor *predictors, size_t count
);
