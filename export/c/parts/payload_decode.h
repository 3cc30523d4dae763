
/* Codes: the entropy stage alone, sample by sample. */

/* A payload that is being decoded. It points into the payload's bytes, which must stay where they are. */
typedef struct tae_payload {
  const uint8_t *front;
  const uint8_t *back;
  uint32_t state;
} tae_payload;

/*
 * Begin a payload of `size` bytes.
 * TAE_ARGUMENT: a null pointer. TAE_DAMAGED: the bytes begin with no state.
 * RAM: the struct, no more.
 */
int tae_payload_open(tae_payload *payload, const uint8_t *bytes, size_t size);

/*
 * Decode the codes of the next sample into `code`, TAE_UNITS bytes.
 * TAE_ARGUMENT: a null pointer. TAE_DAMAGED: the payload is not what an encoder makes; `code` is then undetermined.
 */
int tae_payload_next(tae_payload *payload, uint8_t *code);

/*
 * After the last sample: TAE_OK where the payload ends here as an encoder ends it, else TAE_DAMAGED.
 * The codes are those that were encoded only if this returns TAE_OK. Of damaged payloads about 1 in 65,536 passes: a file
 * has checksums.
 */
int tae_payload_close(const tae_payload *payload);
