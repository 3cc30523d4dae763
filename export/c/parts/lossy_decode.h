
/* A frame of codes that is being decoded sample by sample. */
typedef struct tae_samples {
  tae_payload codes;
  uint32_t left;
} tae_samples;

/*
 * Begin the samples of a frame of a lossy file. Its payload must stay where it is.
 * TAE_ARGUMENT: a null pointer. TAE_UNSUPPORTED: a frame of residuals, which tae_frame_decode may decode.
 * TAE_DAMAGED: a mode that files of its kind do not have, or a damaged payload. RAM: the struct, no more.
 */
int tae_samples_open(tae_samples *samples, const tae_header *header, const tae_frame *frame);

/*
 * Decode the next sample into `data`, TAE_INPUTS values.
 * TAE_END: there was no other, and the frame ends as it should. TAE_DAMAGED: the frame is damaged, its earlier samples too.
 * TAE_ARGUMENT: a null pointer. RAM: `arena`, and TAE_UNITS and some 100 bytes of the stack.
 */
int tae_samples_next(tae_arena *arena, tae_samples *samples, tae_value *data);
