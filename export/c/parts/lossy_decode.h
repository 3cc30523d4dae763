
/* A frame that is being decoded sample by sample. */
typedef struct tae_samples {
    tae_payload codes;
    uint32_t left;
} tae_samples;

/*
 * Begin the samples of a frame. Its payload must stay where it is.
 * TAE_ARGUMENT: a null pointer. TAE_UNSUPPORTED: a frame of bounded float data. TAE_DAMAGED: another mode than that of lossy
 * files, or a damaged payload.
 * RAM: the struct, no more.
 */
int tae_samples_open(tae_samples *samples, const tae_header *header, const tae_frame *frame);

/*
 * Decode the next sample into `data`, TAE_INPUTS values.
 * TAE_END: there was no other, and the frame ends as it should. TAE_DAMAGED: the frame is damaged, its earlier samples too.
 * TAE_ARGUMENT: a null pointer. RAM: `arena`, and TAE_UNITS and some 100 bytes of the stack.
 */
int tae_samples_next(tae_arena *arena, tae_samples *samples, tae_value *data);

/*
 * Decode a frame into `data`, [frame->samples][TAE_INPUTS], which holds `capacity` samples.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: the frame has more samples. TAE_DAMAGED: as above; `data` is then undetermined.
 * RAM: as tae_samples_next, and the struct.
 */
int tae_frame_decode(tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity);
