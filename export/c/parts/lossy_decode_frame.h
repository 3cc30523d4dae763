
/*
 * Decode a frame into `data`, [frame->samples][TAE_INPUTS], which holds `capacity` samples.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: the frame has more samples. TAE_DAMAGED: as above; `data` is then undetermined.
 * RAM: as tae_samples_next, and the struct.
 */
int tae_frame_decode(tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity);
