#include "NAMED_check.h"

#include <string.h>

#include "NAMED_golden.h"

static tae_arena arena;

size_t tae_check_samples(void)
{
  return GOLDEN_SAMPLES;
}

#ifdef GOLDEN_ENCODES
static const char *check_encode(size_t i)
{
  uint8_t code[TAE_UNITS];
  if (tae_encode_data(&arena, golden_data + i * TAE_INPUTS, code) != TAE_OK) return "status of encode";
  return memcmp(code, golden_code + i * TAE_UNITS, sizeof code) == 0 ? NULL : "code";
}
#endif

#ifdef GOLDEN_DECODES
static const char *check_decode(size_t i)
{
  static tae_value data[TAE_INPUTS];
  if (tae_decode_data(&arena, golden_code + i * TAE_UNITS, data) != TAE_OK) return "status of decode";
  return memcmp(data, golden_decoded + i * TAE_INPUTS, sizeof data) == 0 ? NULL : "decoded sample";
}
#endif

#ifdef GOLDEN_SCORES
static const char *check_score(size_t i)
{
  uint64_t score;
  uint8_t anomaly;
#ifdef GOLDEN_FLOATS
  if (tae_score_float(&arena, golden_float_data + i * TAE_INPUTS, &score, &anomaly) != TAE_OK) return "status of score";
#else
  if (tae_score(&arena, golden_data + i * TAE_INPUTS, &score, &anomaly) != TAE_OK) return "status of score";
#endif
  if (score != (uint64_t)golden_scores[i]) return "score";
  return anomaly == golden_anomalies[i] ? NULL : "anomaly";
}
#endif

#if defined GOLDEN_FLOATS && defined GOLDEN_ENCODES
static const char *check_quantize(size_t i)
{
  static uint8_t x[TAE_INPUTS];
  if (tae_quantize(golden_float_data + i * TAE_INPUTS, x) != TAE_OK) return "status of quantize";
  return memcmp(x, golden_data + i * TAE_INPUTS, sizeof x) == 0 ? NULL : "quantized sample";
}
#endif

#if defined GOLDEN_FLOATS && defined GOLDEN_DECODES
static const char *check_dequantize(size_t i)
{
  static golden_float data[TAE_INPUTS];
  tae_dequantize(golden_decoded + i * TAE_INPUTS, data);
  return memcmp(data, golden_float_decoded + i * TAE_INPUTS, sizeof data) == 0 ? NULL : "dequantized sample";
}
#endif

#if defined GOLDEN_FILES && defined GOLDEN_ENCODES
static uint8_t frame_bytes[TAE_FRAME_BYTES(GOLDEN_PER_FRAME)];
static uint8_t index_bytes[TAE_INDEX_BYTES(GOLDEN_FRAMES)];
static tae_entry entries[GOLDEN_FRAMES];
#ifdef TAE_CELLS
static tae_cell cells[TAE_CELLS(GOLDEN_PER_FRAME)];
static tae_workspace workspace;
#endif

/* Whether the bytes are those of a file from *at on, which is moved behind them. */
static int follows(const golden_file *file, const uint8_t *bytes, size_t size, size_t *at)
{
  if (size > file->size - *at || memcmp(file->bytes + *at, bytes, size) != 0) return 0;
  *at += size;
  return 1;
}

static const char *check_encoder(const golden_file *file, size_t *at)
{
  tae_header header;
  uint8_t bytes[TAE_HEADER_BYTES];
  size_t frame, count, size;
  *at = 0;
  if (tae_header_make(&header, file->kind, file->bound, GOLDEN_PER_FRAME) != TAE_OK) return file->name;
  if (tae_header_write(&header, bytes, sizeof bytes, &size) != TAE_OK || !follows(file, bytes, size, at)) return file->name;
  for (frame = 0; frame < GOLDEN_FRAMES; frame++) {
    const tae_value *data = golden_data + frame * GOLDEN_PER_FRAME * TAE_INPUTS;
    int status;
    count = frame + 1u < GOLDEN_FRAMES ? GOLDEN_PER_FRAME : GOLDEN_SAMPLES - frame * GOLDEN_PER_FRAME;
#ifdef TAE_CELLS
    workspace.cells = cells;
    workspace.count = TAE_CELLS(GOLDEN_PER_FRAME);
    status = tae_frame_encode(&arena, &header, data, count, frame_bytes, sizeof frame_bytes, &size, &workspace);
#else
    status = tae_frame_encode(&arena, &header, data, count, frame_bytes, sizeof frame_bytes, &size);
#endif
    if (status != TAE_OK || !follows(file, frame_bytes, size, at)) return file->name;
    entries[frame].samples = (uint32_t)count;
    entries[frame].bytes = (uint32_t)size;
  }
  if (tae_index_write(&header, entries, GOLDEN_FRAMES, index_bytes, sizeof index_bytes, &size) != TAE_OK) return file->name;
  return follows(file, index_bytes, size, at) && *at == file->size ? NULL : file->name;
}
#endif

#if defined GOLDEN_FILES && defined GOLDEN_DECODES
static tae_value frame_data[GOLDEN_PER_FRAME * TAE_INPUTS];
#ifdef TAE_PREDICTORS
static tae_predictor predictors[TAE_PREDICTORS(GOLDEN_PER_FRAME)];
#endif

static const char *check_decoder(const golden_file *golden, size_t *at)
{
  tae_file file;
  tae_frame frame;
  int status;
  *at = 0;
  if (tae_file_open(&file, golden->bytes, golden->size) != TAE_OK) return golden->decoder;
  while ((status = tae_file_next(&file, &frame)) == TAE_OK) {
#ifdef TAE_PREDICTORS
    status = tae_frame_decode(
        &arena, &file.header, &frame, frame_data, GOLDEN_PER_FRAME, predictors, TAE_PREDICTORS(GOLDEN_PER_FRAME));
#else
    status = tae_frame_decode(&arena, &file.header, &frame, frame_data, GOLDEN_PER_FRAME);
#endif
    if (status != TAE_OK || frame.first != *at || frame.samples > GOLDEN_SAMPLES - *at) return golden->decoder;
    if (memcmp(frame_data, golden->decoded + *at * TAE_INPUTS, frame.samples * TAE_INPUTS * sizeof(tae_value)) != 0) {
      return golden->decoder;
    }
    *at += frame.samples;
  }
  return status == TAE_END && *at == GOLDEN_SAMPLES ? NULL : golden->decoder;
}
#endif

const char *tae_check(size_t *at)
{
  const char *what = NULL;
  size_t i;
  for (i = 0; i < GOLDEN_SAMPLES; i++) {
    *at = i;
#ifdef GOLDEN_ENCODES
    if ((what = check_encode(i)) != NULL) return what;
#endif
#ifdef GOLDEN_DECODES
    if ((what = check_decode(i)) != NULL) return what;
#endif
#ifdef GOLDEN_SCORES
    if ((what = check_score(i)) != NULL) return what;
#endif
#if defined GOLDEN_FLOATS && defined GOLDEN_ENCODES
    if ((what = check_quantize(i)) != NULL) return what;
#endif
#if defined GOLDEN_FLOATS && defined GOLDEN_DECODES
    if ((what = check_dequantize(i)) != NULL) return what;
#endif
  }
#ifdef GOLDEN_FILES
  for (i = 0; i < sizeof golden_files / sizeof golden_files[0]; i++) {
#ifdef GOLDEN_ENCODES
    if ((what = check_encoder(&golden_files[i], at)) != NULL) return what;
#endif
#ifdef GOLDEN_DECODES
    if ((what = check_decoder(&golden_files[i], at)) != NULL) return what;
#endif
  }
#endif
  return what;
}
