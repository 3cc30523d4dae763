
/* Bytes of the payload of `samples` samples at most. */
#define TAE_PAYLOAD_BYTES(samples) (4u + (size_t)(samples) * TAE_SAMPLE_PAYLOAD)

/*
 * Encode codes, [samples][TAE_UNITS], as a payload into `out`, which has `capacity` bytes. `*size`: the bytes of the payload.
 * TAE_ARGUMENT: a null pointer. TAE_CODE: a code of more than TAE_CODE_BITS bits. TAE_SPACE: the payload is longer than
 * `capacity`; TAE_PAYLOAD_BYTES(samples) always suffices. `out` is then undetermined.
 * RAM: no more than the stack, some 100 bytes.
 */
int tae_payload_encode(const uint8_t *codes, size_t samples, uint8_t *out, size_t capacity, size_t *size);
