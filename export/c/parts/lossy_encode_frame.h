
/* Bytes of a frame of `samples` samples at most. */
#define TAE_FRAME_BYTES(samples) (16u + TAE_PAYLOAD_BYTES(samples))

/*
 * Encode samples, [samples][TAE_INPUTS] with 1 to `header->samples` of them, as a frame into `out`, which has `capacity` bytes.
 * `*size`: the bytes of the frame. It is an entry of an index together with `samples`.
 * TAE_ARGUMENT: a null pointer, or a number of samples out of range. TAE_SPACE: the frame is longer than `capacity`;
 * TAE_FRAME_BYTES(samples) always suffice. Other statuses are those of tae_encode_data. `out` is then undetermined.
 * RAM: `arena`, and TAE_UNITS and some 200 bytes of the stack, for any number of samples.
 */
int tae_frame_encode(
  tae_arena *arena, const tae_header *header, const tae_value *data, size_t samples, uint8_t *out, size_t capacity, size_t *size
);
