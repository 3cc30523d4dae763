/* Flat functions for JavaScript around NAMED.h. Pointers are addresses in the WebAssembly memory; nothing is allocated here. */
#include <stddef.h>
#include <stdint.h>

#ifdef WEB_FLOATS
#include "NAMED_float.h"
typedef WEB_FLOATS web_value;
#else
#include "NAMED.h"
typedef tae_value web_value;
#endif

#define EXPORT(name) __attribute__((export_name(name)))

static tae_arena arena;

#ifndef __wasm_bulk_memory__
void *memset(void *to, int byte, size_t size)
{
  uint8_t *bytes = to;
  size_t i;
  for (i = 0; i < size; i++) bytes[i] = (uint8_t)byte;
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
  uint8_t *bytes = to;
  const uint8_t *read = from;
  size_t i;
  for (i = 0; i < size; i++) bytes[i] = read[i];
  return to;
}
#endif

/* samples [count][TAE_INPUTS] to codes [count][TAE_UNITS] */
EXPORT("encode") int web_encode(const web_value *data, size_t count, uint8_t *code)
{
  int status = TAE_OK;
  size_t i;
  for (i = 0; i < count && status == TAE_OK; i++, data += TAE_INPUTS, code += TAE_UNITS) {
#ifdef WEB_FLOATS
    static uint8_t x[TAE_INPUTS];
    status = tae_quantize(data, x);
    if (status == TAE_OK) status = tae_encode(&arena, x, code);
#else
    status = tae_encode_data(&arena, data, code);
#endif
  }
  return status;
}

/* codes [count][TAE_UNITS] to samples [count][TAE_INPUTS] */
EXPORT("decode") int web_decode(const uint8_t *code, size_t count, web_value *data)
{
  int status = TAE_OK;
  size_t i;
  for (i = 0; i < count && status == TAE_OK; i++, code += TAE_UNITS, data += TAE_INPUTS) {
#ifdef WEB_FLOATS
    static uint8_t y[TAE_INPUTS];
    status = tae_decode(&arena, code, y);
    if (status == TAE_OK) tae_dequantize(y, data);
#else
    status = tae_decode_data(&arena, code, data);
#endif
  }
  return status;
}

#ifdef WEB_SCORES
EXPORT("score") int web_score(const web_value *data, size_t count, uint64_t *scores, uint8_t *anomalies)
{
  int status = TAE_OK;
  size_t i;
  for (i = 0; i < count && status == TAE_OK; i++, data += TAE_INPUTS) {
#ifdef WEB_FLOATS
    status = tae_score_float(&arena, data, scores + i, anomalies + i);
#else
    status = tae_score(&arena, data, scores + i, anomalies + i);
#endif
  }
  return status;
}
#endif

#ifdef WEB_FILES
static tae_header header;
static tae_file file;
static tae_frame frame;

/* Begin a file; its header goes to `out`, 32 bytes at most. The number of bytes, or minus a status. */
EXPORT("file_begin") int web_file_begin(int kind, uint32_t bound, uint32_t samples, uint8_t *out)
{
  size_t size = 0;
  int status = tae_header_make(&header, kind, bound, samples);
  if (status == TAE_OK) status = tae_header_write(&header, out, TAE_HEADER_BYTES, &size);
  return status == TAE_OK ? (int)size : -status;
}

/* Bytes that a frame of samples takes at most. */
EXPORT("frame_bytes") size_t web_frame_bytes(size_t samples)
{
  return TAE_FRAME_BYTES(samples);
}

/* Bytes of `scratch` that encoding and decoding a frame of samples take. */
EXPORT("frame_scratch") size_t web_frame_scratch(size_t samples)
{
  size_t most = samples * TAE_INPUTS;
#ifdef TAE_CELLS
  if (TAE_CELLS(samples) * sizeof(tae_cell) > most) most = TAE_CELLS(samples) * sizeof(tae_cell);
#endif
#ifdef TAE_PREDICTORS
  if (TAE_PREDICTORS(samples) * sizeof(tae_predictor) > most) most = TAE_PREDICTORS(samples) * sizeof(tae_predictor);
#endif
  return most;
}

/* Encode samples as the next frame. The number of bytes, or minus a status. */
EXPORT("frame_encode") int web_frame_encode(const web_value *data, size_t samples, uint8_t *out, size_t capacity, void *scratch)
{
  const tae_value *values;
  size_t size = 0;
  int status = TAE_OK;
#ifdef WEB_FLOATS
  size_t i;
  for (i = 0; i < samples && status == TAE_OK; i++) {
    status = tae_quantize(data + i * TAE_INPUTS, (uint8_t *)scratch + i * TAE_INPUTS);
  }
  values = scratch;
#else
  values = data;
#endif
#ifdef TAE_CELLS
  static tae_workspace workspace;
  workspace.cells = scratch;
  workspace.count = TAE_CELLS(samples);
  if (status == TAE_OK) status = tae_frame_encode(&arena, &header, values, samples, out, capacity, &size, &workspace);
#else
  if (status == TAE_OK) status = tae_frame_encode(&arena, &header, values, samples, out, capacity, &size);
#endif
  return status == TAE_OK ? (int)size : -status;
}

/* End the file by an index of entries, two numbers each: samples and bytes of a frame. The number of bytes, or minus a status. */
EXPORT("file_end") int web_file_end(const tae_entry *entries, size_t count, uint8_t *out, size_t capacity)
{
  size_t size = 0;
  const int status = tae_index_write(&header, entries, count, out, capacity, &size);
  return status == TAE_OK ? (int)size : -status;
}

/* Open a file; `facts`: kind, bound, whether frames are those of an index, and whether sample numbers are known. Returns a status. */
EXPORT("file_open") int web_file_open(const uint8_t *bytes, size_t size, uint32_t *facts)
{
  const int status = tae_file_open(&file, bytes, size);
  if (status == TAE_OK) {
    facts[0] = file.header.kind;
    facts[1] = file.header.bound;
    facts[2] = file.entry > 0;
    facts[3] = file.placed;
  }
  return status;
}

/* The next frame; `facts`: its samples, the number of the first one, where it or the damage begins, and where that ends. */
EXPORT("file_next") int web_file_next(uint32_t *facts)
{
  const size_t start = file.at;
  const int status = tae_file_next(&file, &frame);
  facts[0] = frame.samples;
  facts[1] = (uint32_t)frame.first;
  facts[2] = (uint32_t)start;
  facts[3] = (uint32_t)file.at;
  return status;
}

/* Decode the frame of `file_next` into `data`, which has place for its samples. */
EXPORT("frame_decode") int web_frame_decode(web_value *data, void *scratch)
{
  int status;
#ifdef WEB_FLOATS
  size_t i;
  status = tae_frame_decode(&arena, &file.header, &frame, scratch, frame.samples);
  for (i = 0; i < frame.samples && status == TAE_OK; i++) {
    tae_dequantize((uint8_t *)scratch + i * TAE_INPUTS, data + i * TAE_INPUTS);
  }
#elif defined TAE_PREDICTORS
  status = tae_frame_decode(
      &arena, &file.header, &frame, data, frame.samples, scratch, TAE_PREDICTORS(frame.samples));
#else
  (void)scratch;
  status = tae_frame_decode(&arena, &file.header, &frame, data, frame.samples);
#endif
  return status;
}
#endif
