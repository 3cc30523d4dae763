
/* Write a file: a header, frames, an index. */

/* Bytes of an index at most. */
#define TAE_INDEX_BYTES(frames) (10u + (size_t)(frames) * 10u)

/*
 * Write the header, by which a file begins. `*size`: its bytes.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: it takes more than `capacity` bytes; TAE_HEADER_BYTES suffice.
 */
int tae_header_write(const tae_header *header, uint8_t *out, size_t capacity, size_t *size);

/*
 * Write the end of a record, behind its last frame; the index lists its bytes with 0 samples. `padding`: as in tae_frame.
 * TAE_ARGUMENT: a null pointer, or a padding of TAE_STEPS or more. TAE_SPACE: more than `capacity` bytes; TAE_END_BYTES suffice.
 */
#define TAE_END_BYTES 11u
int tae_end_write(const tae_header *header, uint32_t padding, uint8_t *out, size_t capacity, size_t *size);

/* What an index lists of a frame: its samples, and its bytes in the file. 0 samples: bytes to skip, such as an earlier index. */
typedef struct tae_entry {
  uint32_t samples;
  uint32_t bytes;
} tae_entry;

/*
 * Write the index, by which a file ends, of `count` frames in the order of the file. `*size`: its bytes.
 * TAE_ARGUMENT: a null pointer. TAE_SPACE: it takes more than `capacity` bytes; TAE_INDEX_BYTES(count) suffice.
 */
int tae_index_write(const tae_header *header, const tae_entry *entries, size_t count, uint8_t *out, size_t capacity, size_t *size);
