#include "heartbeat_app.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "heartbeat.h"
#include "heartbeat_check.h"

#define FRAME 64u /* samples of a frame */

/* What a sample is computed in. */
typedef struct {
  heartbeat_arena arena;
  uint8_t bytes[HEARTBEAT_INPUTS];
  uint8_t code[HEARTBEAT_UNITS];
} work_memory;

int heartbeat_app_check(char *text, size_t size)
{
  size_t at = 0;
  const char *what = heartbeat_check(&at);
  if (what != NULL) snprintf(text, size, "%s differs at %lu", what, (unsigned long)at);
  return what != NULL;
}

static int encode_sample(work_memory *work, const heartbeat_sample *sample, uint8_t *code)
{
  return heartbeat_encode_data(&work->arena, sample, code);
}

int heartbeat_app_encode(const heartbeat_sample *samples, size_t count, uint8_t *codes)
{
  work_memory *work = malloc(sizeof *work);
  int status = HEARTBEAT_OK;
  size_t i;
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (i = 0; i < count && status == HEARTBEAT_OK; i++) {
    status = encode_sample(work, samples + i * HEARTBEAT_INPUTS, codes + i * HEARTBEAT_UNITS);
  }
  free(work);
  return status;
}

static int decode_sample(work_memory *work, const uint8_t *code, heartbeat_sample *sample)
{
  return heartbeat_decode_data(&work->arena, code, sample);
}

int heartbeat_app_decode(const uint8_t *codes, size_t count, heartbeat_sample *samples)
{
  work_memory *work = malloc(sizeof *work);
  int status = HEARTBEAT_OK;
  size_t i;
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (i = 0; i < count && status == HEARTBEAT_OK; i++) {
    status = decode_sample(work, codes + i * HEARTBEAT_UNITS, samples + i * HEARTBEAT_INPUTS);
  }
  free(work);
  return status;
}

int heartbeat_app_reconstruct(const heartbeat_sample *samples, size_t count, heartbeat_sample *reconstructed)
{
  work_memory *work = malloc(sizeof *work);
  int status = HEARTBEAT_OK;
  size_t i;
  if (work == NULL) return HEARTBEAT_NO_MEMORY;
  for (i = 0; i < count && status == HEARTBEAT_OK; i++) {
    status = encode_sample(work, samples + i * HEARTBEAT_INPUTS, work->code);
    if (status == HEARTBEAT_OK) status = decode_sample(work, work->code, reconstructed + i * HEARTBEAT_INPUTS);
  }
  free(work);
  return status;
}

/* Bytes that grow. */
typedef struct {
  uint8_t *bytes;
  size_t size;
  size_t capacity;
} growing;

static int reserve(growing *out, size_t more)
{
  size_t capacity = out->capacity;
  uint8_t *bytes;
  if (more <= capacity - out->size) return HEARTBEAT_OK;
  if (more > SIZE_MAX / 2 - out->size || capacity > SIZE_MAX / 2) return HEARTBEAT_NO_MEMORY;
  capacity = 2 * capacity > out->size + more ? 2 * capacity : out->size + more;
  bytes = realloc(out->bytes, capacity);
  if (bytes == NULL) return HEARTBEAT_NO_MEMORY;
  out->bytes = bytes;
  out->capacity = capacity;
  return HEARTBEAT_OK;
}

/* What frames are encoded in. */
typedef struct {
  work_memory work;
  growing out;
  heartbeat_entry *entries;
} encoder;

static int write_frame(encoder *made, const heartbeat_header *header, const heartbeat_sample *samples, uint32_t count, heartbeat_entry *entry)
{
  size_t size = 0;
  int status = reserve(&made->out, HEARTBEAT_FRAME_BYTES(count));
  const heartbeat_value *values = samples;
  if (status == HEARTBEAT_OK) {
    status = heartbeat_frame_encode(
      &made->work.arena, header, values, count, made->out.bytes + made->out.size, made->out.capacity - made->out.size,
      &size
    );
  }
  if (status != HEARTBEAT_OK) return status;
  entry->samples = count;
  entry->bytes = (uint32_t)size;
  made->out.size += size;
  return HEARTBEAT_OK;
}

static int write_file(encoder *made, const heartbeat_sample *samples, size_t count, int kind, uint32_t bound)
{
  const size_t frames = count / FRAME + (count % FRAME != 0);
  heartbeat_header header;
  size_t size = 0;
  size_t i;
  int status = heartbeat_header_make(&header, kind, bound, FRAME);
  if (status == HEARTBEAT_OK) status = reserve(&made->out, HEARTBEAT_HEADER_BYTES);
  if (status == HEARTBEAT_OK) status = heartbeat_header_write(&header, made->out.bytes, made->out.capacity, &size);
  made->out.size = size;
  for (i = 0; i < frames && status == HEARTBEAT_OK; i++) {
    const size_t first = i * FRAME;
    const uint32_t held = count - first < FRAME ? (uint32_t)(count - first) : FRAME;
    status = write_frame(made, &header, samples + first * HEARTBEAT_INPUTS, held, made->entries + i);
  }
  if (status == HEARTBEAT_OK) status = reserve(&made->out, HEARTBEAT_INDEX_BYTES(frames));
  if (status != HEARTBEAT_OK) return status;
  status = heartbeat_index_write(
    &header, made->entries, frames, made->out.bytes + made->out.size, made->out.capacity - made->out.size, &size
  );
  made->out.size += size;
  return status;
}

int heartbeat_app_compress(const heartbeat_sample *samples, size_t count, int kind, uint32_t bound, uint8_t **file, size_t *size)
{
  encoder *made;
  int status = HEARTBEAT_NO_MEMORY;
  if (count == 0) return HEARTBEAT_ARGUMENT;
  made = calloc(1, sizeof *made);
  if (made == NULL) return status;
  made->entries = calloc(count / FRAME + 1, sizeof *made->entries);
  if (made->entries != NULL) status = write_file(made, samples, count, kind, bound);
  free(made->entries);
  if (status == HEARTBEAT_OK) {
    *file = made->out.bytes;
    *size = made->out.size;
  } else {
    free(made->out.bytes);
  }
  free(made);
  return status;
}

void heartbeat_app_free(uint8_t *file)
{
  free(file);
}

int heartbeat_app_count(const uint8_t *file, size_t size, size_t *count)
{
  heartbeat_file opened;
  heartbeat_frame frame;
  int damaged = 0;
  int status = heartbeat_file_open(&opened, file, size);
  *count = 0;
  if (status != HEARTBEAT_OK) return status;
  while ((status = heartbeat_file_next(&opened, &frame)) != HEARTBEAT_END) {
    if (status == HEARTBEAT_OK) {
      if (frame.samples > SIZE_MAX / sizeof(heartbeat_sample) / HEARTBEAT_INPUTS - *count) return HEARTBEAT_SPACE;
      *count += frame.samples;
    } else if (status == HEARTBEAT_DAMAGED) {
      damaged = 1;
    } else {
      return status;
    }
  }
  return damaged ? HEARTBEAT_DAMAGED : HEARTBEAT_OK;
}

/* What frames are decoded in. */
typedef struct {
  work_memory work;
} decoder;

static int read_frame(decoder *made, const heartbeat_header *header, const heartbeat_frame *frame, heartbeat_sample *samples)
{
  return heartbeat_frame_decode(&made->work.arena, header, frame, samples, frame->samples);
}

int heartbeat_app_decompress(const uint8_t *file, size_t size, heartbeat_sample *samples, size_t capacity, size_t *count)
{
  heartbeat_file opened;
  heartbeat_frame frame;
  int damaged = 0;
  int status = heartbeat_file_open(&opened, file, size);
  decoder *made;
  *count = 0;
  if (status != HEARTBEAT_OK) return status;
  made = calloc(1, sizeof *made);
  if (made == NULL) return HEARTBEAT_NO_MEMORY;
  while ((status = heartbeat_file_next(&opened, &frame)) != HEARTBEAT_END) {
    if (status == HEARTBEAT_OK && frame.samples > capacity - *count) {
      status = HEARTBEAT_SPACE;
      break;
    }
    if (status == HEARTBEAT_OK) status = read_frame(made, &opened.header, &frame, samples + *count * HEARTBEAT_INPUTS);
    if (status == HEARTBEAT_OK) {
      *count += frame.samples;
    } else if (status == HEARTBEAT_DAMAGED) {
      damaged = 1;
    } else {
      break;
    }
  }
  free(made);
  if (status != HEARTBEAT_END) return status;
  return damaged ? HEARTBEAT_DAMAGED : HEARTBEAT_OK;
}
