
/* Read a file: its header, its frames one after the other or from a sample on. */

/*
 * Read the header at the start of a file's bytes.
 * TAE_ARGUMENT: a null pointer. TAE_DAMAGED: it is no whole header. TAE_OTHER_MODEL: the file is another model's.
 * TAE_UNSUPPORTED: another version of the format, or a kind that this code was not made for.
 */
int tae_header_read(tae_header *header, const uint8_t *bytes, size_t size);

/* A frame in the bytes of a file, which must stay where they are. */
typedef struct tae_frame {
  const uint8_t *payload;
  size_t size;      /* bytes of the payload */
  uint64_t first;   /* the number of its first sample in the file; 0 for a frame alone */
  uint32_t samples; /* 0 for bytes that are no frame */
  uint8_t mode;
  uint8_t ends;     /* 1: a record ends behind it; as `padding`, of tae_file_next alone */
  uint32_t padding; /* last time steps that are no part of the record, below TAE_STEPS */
} tae_frame;

/*
 * Read the frame that begins at `bytes`. `*used`: its bytes.
 * TAE_ARGUMENT: a null pointer. TAE_END: the bytes end before the frame does. TAE_DAMAGED: no frame begins there, or its
 * checksum is wrong; then `*used` is 0, or the bytes that it states to have.
 */
int tae_frame_read(const tae_header *header, const uint8_t *bytes, size_t size, tae_frame *frame, size_t *used);

/*
 * Read the end of a record that begins at `bytes`. `*padding`: as that of tae_frame. `*used`: its bytes.
 * TAE_ARGUMENT: a null pointer. TAE_DAMAGED: no whole end is there.
 */
int tae_end_read(const tae_header *header, const uint8_t *bytes, size_t size, uint32_t *padding, size_t *used);

/* A whole file in memory. */
typedef struct tae_file {
  tae_header header;
  const uint8_t *bytes;
  size_t size;
  size_t at;        /* where the next frame is looked for */
  size_t entry;     /* where the next entry of the index is; 0 without an index */
  size_t entries;   /* where the entries end */
  uint64_t samples; /* samples in all, as the index lists them; 0 without an index */
  uint64_t first;   /* the number of the next frame's first sample */
  int64_t work;
  uint8_t placed;   /* 0 where damage hides which samples are where: numbers then count the samples that were found */
  uint8_t ended;
} tae_file;

/*
 * Open a file of `size` bytes; `file->header` is then its header. Frames are those that the index lists, or, where it is
 * missing or damaged, those that are found by their markers and checksums.
 * The statuses of tae_header_read. RAM: the struct, no more.
 */
int tae_file_open(tae_file *file, const uint8_t *bytes, size_t size);

/*
 * The next whole frame. TAE_END: there is none, and nothing was lost. TAE_ARGUMENT: a null pointer.
 * TAE_DAMAGED: something was lost: a frame that the index lists (`frame->samples` says how many samples it has), bytes that are
 * no frame (`frame->samples` is 0), or, once at the end, the index. Call again for what follows.
 */
int tae_file_next(tae_file *file, tae_frame *frame);

/*
 * Go to the frame that holds a sample, so that tae_file_next returns it.
 * TAE_ARGUMENT: a null pointer, or a sample that the file does not have. TAE_DAMAGED: the file has no whole index.
 */
int tae_file_seek(tae_file *file, uint64_t sample);
