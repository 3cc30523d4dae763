/* heartbeat: a tied autoencoder in integers. Each kernel is stored once and read in both directions.
 *
 * Tensors: real value = (integer - zero point) * scale
 *   x: 0 to 255, scale 0.027115164324641228, zero point 96
 *   code: 0 to 255, scale 0.05243994668126106, zero point 133
 *   y: 0 to 255, scale 0.024107906967401505, zero point 90
 * Requantizations: 4 by shift; each is exact.
 *
 * Pointers must not overlap. A function changes nothing beside what it is given: threads may call it, each with its arena.
 * With HEARTBEAT_STATIC_ARENA defined for this model's C file, NULL is an arena that all calls without one use.
 */
#ifndef HEARTBEAT_H
#define HEARTBEAT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEARTBEAT_INPUTS 64
#define HEARTBEAT_UNITS 16
#define HEARTBEAT_CODE_BITS 8

/* Memory for one call, in bytes: encode 480, decode 480. Its content need not be kept between calls. */
#define HEARTBEAT_ARENA_BYTES 544
typedef struct {
  int32_t words[HEARTBEAT_ARENA_BYTES / 4];
} heartbeat_arena;

/* A value of the data in its own unit of measure. */
typedef int16_t heartbeat_value;

/* What every function returns. */
enum {
  HEARTBEAT_OK = 0,
  HEARTBEAT_END = 1,         /* there is nothing more */
  HEARTBEAT_ARGUMENT = 2,    /* a pointer is NULL, or a number is out of range */
  HEARTBEAT_SPACE = 3,       /* the output or the workspace is too small */
  HEARTBEAT_CODE = 4,        /* a code has more bits than the model's */
  HEARTBEAT_DAMAGED = 5,     /* bytes that no encoder writes, or a wrong checksum */
  HEARTBEAT_OTHER_MODEL = 6, /* a file of another model, or of other tables */
  HEARTBEAT_UNSUPPORTED = 7  /* a version or mode that this file does not decode */
};

/* x[HEARTBEAT_INPUTS] to code[HEARTBEAT_UNITS] */
int heartbeat_encode(heartbeat_arena *arena, const uint8_t *x, uint8_t *code);

/* code[HEARTBEAT_UNITS] to y[HEARTBEAT_INPUTS] */
int heartbeat_decode(heartbeat_arena *arena, const uint8_t *code, uint8_t *y);

/* both */
int heartbeat_reconstruct(heartbeat_arena *arena, const uint8_t *x, uint8_t *code, uint8_t *y);

/* the same of data[HEARTBEAT_INPUTS] */
int heartbeat_encode_data(heartbeat_arena *arena, const heartbeat_value *data, uint8_t *code);

/* the same of data[HEARTBEAT_INPUTS] */
int heartbeat_decode_data(heartbeat_arena *arena, const uint8_t *code, heartbeat_value *data);

/* Time steps of a window, and values of a step. */
#define HEARTBEAT_STREAM_STEPS 64
#define HEARTBEAT_STREAM_CHANNELS 1

/*
 * Time steps, in pieces of any size, to windows, one each `hop` steps. Only `window` is to be read: a sample,
 * [HEARTBEAT_STREAM_STEPS][HEARTBEAT_STREAM_CHANNELS], after a push that returned HEARTBEAT_OK and until the next one.
 */
typedef struct heartbeat_stream {
  size_t hop;
  size_t filled; /* steps of `window` */
  heartbeat_value window[HEARTBEAT_INPUTS];
} heartbeat_stream;

/* Begin a stream. HEARTBEAT_ARGUMENT: a null pointer, or a hop that is not 1 to HEARTBEAT_STREAM_STEPS. */
int heartbeat_stream_init(heartbeat_stream *stream, size_t hop);

/*
 * Take steps, [count][HEARTBEAT_STREAM_CHANNELS], up to the end of a window. `*used`: how many were taken.
 * HEARTBEAT_OK: stream->window is full. Encode or score it, or write it as a frame of one sample where `hop` is the window;
 * then push the rest.
 * HEARTBEAT_END: all steps were taken, and no window is full.
 * HEARTBEAT_ARGUMENT: a null pointer. The stream is then as before.
 */
int heartbeat_stream_push(heartbeat_stream *stream, const heartbeat_value *steps, size_t count, size_t *used);
#define HEARTBEAT_SAMPLE_BYTES 128u
#define HEARTBEAT_SAMPLE_PAYLOAD 48u
#define HEARTBEAT_KINDS 1u
#define HEARTBEAT_FLAGS 0u
#define HEARTBEAT_STEPS 64u

/* Files and frames of the .tae format. */

/* Bytes of a header at most. */
#define HEARTBEAT_HEADER_BYTES 32

/* What a file promises of its samples: nothing, an error of `bound` at most in every value, or no error. */
enum { HEARTBEAT_LOSSY = 0, HEARTBEAT_BOUNDED = 1, HEARTBEAT_LOSSLESS = 2 };

/* What all frames of a file have in common. Where only frames are sent, both ends make the same one with heartbeat_header_make. */
typedef struct heartbeat_header {
  uint32_t checksum;
  uint32_t samples; /* most samples of a frame */
  uint32_t bound;   /* largest error of a value, in the data's unit of measure; 0 unless the kind is HEARTBEAT_BOUNDED */
  uint8_t kind;     /* HEARTBEAT_LOSSY, HEARTBEAT_BOUNDED or HEARTBEAT_LOSSLESS */
  uint8_t size;     /* bytes of the header in a file */
} heartbeat_header;

/*
 * State what a file's frames have in common: its kind, the bound (1 to 65,535 for HEARTBEAT_BOUNDED, else 0), and the most samples
 * of a frame, 1 to 65,535; samples of more than 1 take 64 MiB together at most.
 * HEARTBEAT_ARGUMENT: a null pointer or a number out of range. HEARTBEAT_UNSUPPORTED: a kind that this code was not made for.
 */
int heartbeat_header_make(heartbeat_header *header, int kind, uint32_t bound, uint32_t samples);

/* Codes: the entropy stage alone, sample by sample. */

/* A payload that is being decoded. It points into the payload's bytes, which must stay where they are. */
typedef struct heartbeat_payload {
  const uint8_t *front;
  const uint8_t *back;
  uint32_t state;
} heartbeat_payload;

/*
 * Begin a payload of `size` bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_DAMAGED: the bytes begin with no state.
 * RAM: the struct, no more.
 */
int heartbeat_payload_open(heartbeat_payload *payload, const uint8_t *bytes, size_t size);

/*
 * Decode the codes of the next sample into `code`, HEARTBEAT_UNITS bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_DAMAGED: the payload is not what an encoder makes; `code` is then undetermined.
 */
int heartbeat_payload_next(heartbeat_payload *payload, uint8_t *code);

/*
 * After the last sample: HEARTBEAT_OK where the payload ends here as an encoder ends it, else HEARTBEAT_DAMAGED.
 * The codes are those that were encoded only if this returns HEARTBEAT_OK. Of damaged payloads about 1 in 65,536 passes: a file
 * has checksums.
 */
int heartbeat_payload_close(const heartbeat_payload *payload);

/* Read a file: its header, its frames one after the other or from a sample on. */

/*
 * Read the header at the start of a file's bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_DAMAGED: it is no whole header. HEARTBEAT_OTHER_MODEL: the file is another model's.
 * HEARTBEAT_UNSUPPORTED: another version of the format, or a kind that this code was not made for.
 */
int heartbeat_header_read(heartbeat_header *header, const uint8_t *bytes, size_t size);

/* A frame in the bytes of a file, which must stay where they are. */
typedef struct heartbeat_frame {
  const uint8_t *payload;
  size_t size;      /* bytes of the payload */
  uint64_t first;   /* the number of its first sample in the file; 0 for a frame alone */
  uint32_t samples; /* 0 for bytes that are no frame */
  uint8_t mode;
  uint8_t ends;     /* 1: a record ends behind it; as `padding`, of heartbeat_file_next alone */
  uint32_t padding; /* last time steps that are no part of the record, below HEARTBEAT_STEPS */
} heartbeat_frame;

/*
 * Read the frame that begins at `bytes`. `*used`: its bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_END: the bytes end before the frame does. HEARTBEAT_DAMAGED: no frame begins there, or its
 * checksum is wrong; then `*used` is 0, or the bytes that it states to have.
 */
int heartbeat_frame_read(const heartbeat_header *header, const uint8_t *bytes, size_t size, heartbeat_frame *frame, size_t *used);

/*
 * Read the end of a record that begins at `bytes`. `*padding`: as that of heartbeat_frame. `*used`: its bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_DAMAGED: no whole end is there.
 */
int heartbeat_end_read(const heartbeat_header *header, const uint8_t *bytes, size_t size, uint32_t *padding, size_t *used);

/* A whole file in memory. */
typedef struct heartbeat_file {
  heartbeat_header header;
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
} heartbeat_file;

/*
 * Open a file of `size` bytes; `file->header` is then its header. Frames are those that the index lists, or, where it is
 * missing or damaged, those that are found by their markers and checksums.
 * The statuses of heartbeat_header_read. RAM: the struct, no more.
 */
int heartbeat_file_open(heartbeat_file *file, const uint8_t *bytes, size_t size);

/*
 * The next whole frame. HEARTBEAT_END: there is none, and nothing was lost. HEARTBEAT_ARGUMENT: a null pointer.
 * HEARTBEAT_DAMAGED: something was lost: a frame that the index lists (`frame->samples` says how many samples it has), bytes that are
 * no frame (`frame->samples` is 0), or, once at the end, the index. Call again for what follows.
 */
int heartbeat_file_next(heartbeat_file *file, heartbeat_frame *frame);

/*
 * Go to the frame that holds a sample, so that heartbeat_file_next returns it.
 * HEARTBEAT_ARGUMENT: a null pointer, or a sample that the file does not have. HEARTBEAT_DAMAGED: the file has no whole index.
 */
int heartbeat_file_seek(heartbeat_file *file, uint64_t sample);

/* A frame of codes that is being decoded sample by sample. */
typedef struct heartbeat_samples {
  heartbeat_payload codes;
  uint32_t left;
} heartbeat_samples;

/*
 * Begin the samples of a frame of a lossy file. Its payload must stay where it is.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_UNSUPPORTED: a frame of residuals, which heartbeat_frame_decode may decode.
 * HEARTBEAT_DAMAGED: a mode that files of its kind do not have, or a damaged payload. RAM: the struct, no more.
 */
int heartbeat_samples_open(heartbeat_samples *samples, const heartbeat_header *header, const heartbeat_frame *frame);

/*
 * Decode the next sample into `data`, HEARTBEAT_INPUTS values.
 * HEARTBEAT_END: there was no other, and the frame ends as it should. HEARTBEAT_DAMAGED: the frame is damaged, its earlier samples too.
 * HEARTBEAT_ARGUMENT: a null pointer. RAM: `arena`, and HEARTBEAT_UNITS and some 100 bytes of the stack.
 */
int heartbeat_samples_next(heartbeat_arena *arena, heartbeat_samples *samples, heartbeat_value *data);

/*
 * Decode a frame into `data`, [frame->samples][HEARTBEAT_INPUTS], which holds `capacity` samples.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_SPACE: the frame has more samples. HEARTBEAT_DAMAGED: as above; `data` is then undetermined.
 * RAM: as heartbeat_samples_next, and the struct.
 */
int heartbeat_frame_decode(heartbeat_arena *arena, const heartbeat_header *header, const heartbeat_frame *frame, heartbeat_value *data, size_t capacity);

/* Bytes of the payload of `samples` samples at most. */
#define HEARTBEAT_PAYLOAD_BYTES(samples) (4u + (size_t)(samples) * HEARTBEAT_SAMPLE_PAYLOAD)

/*
 * Encode codes, [samples][HEARTBEAT_UNITS], as a payload into `out`, which has `capacity` bytes. `*size`: the bytes of the payload.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_CODE: a code of more than HEARTBEAT_CODE_BITS bits. HEARTBEAT_SPACE: the payload is longer than
 * `capacity`; HEARTBEAT_PAYLOAD_BYTES(samples) always suffices. `out` is then undetermined.
 * RAM: no more than the stack, some 100 bytes.
 */
int heartbeat_payload_encode(const uint8_t *codes, size_t samples, uint8_t *out, size_t capacity, size_t *size);

/* Write a file: a header, frames, an index. */

/* Bytes of an index at most. */
#define HEARTBEAT_INDEX_BYTES(frames) (10u + (size_t)(frames) * 10u)

/*
 * Write the header, by which a file begins. `*size`: its bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_SPACE: it takes more than `capacity` bytes; HEARTBEAT_HEADER_BYTES suffice.
 */
int heartbeat_header_write(const heartbeat_header *header, uint8_t *out, size_t capacity, size_t *size);

/*
 * Write the end of a record, behind its last frame; the index lists its bytes with 0 samples. `padding`: as in heartbeat_frame.
 * HEARTBEAT_ARGUMENT: a null pointer, or a padding of HEARTBEAT_STEPS or more. HEARTBEAT_SPACE: more than `capacity` bytes; HEARTBEAT_END_BYTES suffice.
 */
#define HEARTBEAT_END_BYTES 11u
int heartbeat_end_write(const heartbeat_header *header, uint32_t padding, uint8_t *out, size_t capacity, size_t *size);

/* What an index lists of a frame: its samples, and its bytes in the file. 0 samples: bytes to skip, such as an earlier index. */
typedef struct heartbeat_entry {
  uint32_t samples;
  uint32_t bytes;
} heartbeat_entry;

/*
 * Write the index, by which a file ends, of `count` frames in the order of the file. `*size`: its bytes.
 * HEARTBEAT_ARGUMENT: a null pointer. HEARTBEAT_SPACE: it takes more than `capacity` bytes; HEARTBEAT_INDEX_BYTES(count) suffice.
 */
int heartbeat_index_write(const heartbeat_header *header, const heartbeat_entry *entries, size_t count, uint8_t *out, size_t capacity, size_t *size);

/* Bytes of a frame of `samples` samples at most. */
#define HEARTBEAT_FRAME_BYTES(samples) (16u + HEARTBEAT_PAYLOAD_BYTES(samples))

/*
 * Encode samples, [samples][HEARTBEAT_INPUTS] with 1 to `header->samples` of them, as a frame into `out`, which has `capacity` bytes.
 * `*size`: the bytes of the frame. It is an entry of an index together with `samples`.
 * HEARTBEAT_ARGUMENT: a null pointer, or a number of samples out of range. HEARTBEAT_SPACE: the frame is longer than `capacity`;
 * HEARTBEAT_FRAME_BYTES(samples) always suffice. Other statuses are those of heartbeat_encode_data. `out` is then undetermined.
 * RAM: `arena`, and HEARTBEAT_UNITS and some 200 bytes of the stack, for any number of samples.
 */
int heartbeat_frame_encode(
  heartbeat_arena *arena, const heartbeat_header *header, const heartbeat_value *data, size_t samples, uint8_t *out, size_t capacity, size_t *size
);

#ifdef __cplusplus
}
#endif

#endif
