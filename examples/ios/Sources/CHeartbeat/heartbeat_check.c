#include "heartbeat_check.h"

#include <string.h>

#include "heartbeat_golden.h"

static heartbeat_arena arena;

size_t heartbeat_check_samples(void)
{
  return GOLDEN_SAMPLES;
}

#ifdef GOLDEN_ENCODES
static const char *check_encode(size_t i)
{
  uint8_t code[HEARTBEAT_UNITS];
  if (heartbeat_encode_data(&arena, golden_data + i * HEARTBEAT_INPUTS, code) != HEARTBEAT_OK) return "status of encode";
  return memcmp(code, golden_code + i * HEARTBEAT_UNITS, sizeof code) == 0 ? NULL : "code";
}
#endif

#ifdef GOLDEN_DECODES
static const char *check_decode(size_t i)
{
  static heartbeat_value data[HEARTBEAT_INPUTS];
  if (heartbeat_decode_data(&arena, golden_code + i * HEARTBEAT_UNITS, data) != HEARTBEAT_OK) return "status of decode";
  return memcmp(data, golden_decoded + i * HEARTBEAT_INPUTS, sizeof data) == 0 ? NULL : "decoded sample";
}
#endif

#ifdef GOLDEN_SCORES
static const char *check_score(size_t i)
{
  uint64_t score;
  uint8_t anomaly;
#ifdef GOLDEN_FLOATS
  if (heartbeat_score_float(&arena, golden_float_data + i * HEARTBEAT_INPUTS, &score, &anomaly) != HEARTBEAT_OK) return "status of score";
#else
  if (heartbeat_score(&arena, golden_data + i * HEARTBEAT_INPUTS, &score, &anomaly) != HEARTBEAT_OK) return "status of score";
#endif
  if (score != (uint64_t)golden_scores[i]) return "score";
  return anomaly == golden_anomalies[i] ? NULL : "anomaly";
}
#endif

#if defined GOLDEN_FLOATS && defined GOLDEN_ENCODES
static const char *check_quantize(size_t i)
{
  static uint8_t x[HEARTBEAT_INPUTS];
  if (heartbeat_quantize(golden_float_data + i * HEARTBEAT_INPUTS, x) != HEARTBEAT_OK) return "status of quantize";
  return memcmp(x, golden_data + i * HEARTBEAT_INPUTS, sizeof x) == 0 ? NULL : "quantized sample";
}
#endif

#if defined GOLDEN_FLOATS && defined GOLDEN_DECODES
static const char *check_dequantize(size_t i)
{
  static golden_float data[HEARTBEAT_INPUTS];
  heartbeat_dequantize(golden_decoded + i * HEARTBEAT_INPUTS, data);
  return memcmp(data, golden_float_decoded + i * HEARTBEAT_INPUTS, sizeof data) == 0 ? NULL : "dequantized sample";
}
#endif

#if defined GOLDEN_FILES && defined GOLDEN_ENCODES
static uint8_t frame_bytes[HEARTBEAT_FRAME_BYTES(GOLDEN_PER_FRAME)];
static uint8_t index_bytes[HEARTBEAT_INDEX_BYTES(GOLDEN_FRAMES)];
static heartbeat_entry entries[GOLDEN_FRAMES];
#ifdef HEARTBEAT_CELLS
static heartbeat_cell cells[HEARTBEAT_CELLS(GOLDEN_PER_FRAME)];
static heartbeat_workspace workspace;
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
  heartbeat_header header;
  uint8_t bytes[HEARTBEAT_HEADER_BYTES];
  size_t frame, count, size;
  *at = 0;
  if (heartbeat_header_make(&header, file->kind, file->bound, GOLDEN_PER_FRAME) != HEARTBEAT_OK) return file->name;
  if (heartbeat_header_write(&header, bytes, sizeof bytes, &size) != HEARTBEAT_OK || !follows(file, bytes, size, at)) return file->name;
  for (frame = 0; frame < GOLDEN_FRAMES; frame++) {
    const heartbeat_value *data = golden_data + frame * GOLDEN_PER_FRAME * HEARTBEAT_INPUTS;
    int status;
    count = frame + 1u < GOLDEN_FRAMES ? GOLDEN_PER_FRAME : GOLDEN_SAMPLES - frame * GOLDEN_PER_FRAME;
#ifdef HEARTBEAT_CELLS
    workspace.cells = cells;
    workspace.count = HEARTBEAT_CELLS(GOLDEN_PER_FRAME);
    status = heartbeat_frame_encode(&arena, &header, data, count, frame_bytes, sizeof frame_bytes, &size, &workspace);
#else
    status = heartbeat_frame_encode(&arena, &header, data, count, frame_bytes, sizeof frame_bytes, &size);
#endif
    if (status != HEARTBEAT_OK || !follows(file, frame_bytes, size, at)) return file->name;
    entries[frame].samples = (uint32_t)count;
    entries[frame].bytes = (uint32_t)size;
  }
  if (heartbeat_index_write(&header, entries, GOLDEN_FRAMES, index_bytes, sizeof index_bytes, &size) != HEARTBEAT_OK) return file->name;
  return follows(file, index_bytes, size, at) && *at == file->size ? NULL : file->name;
}
#endif

#if defined GOLDEN_FILES && defined GOLDEN_DECODES
static heartbeat_value frame_data[GOLDEN_PER_FRAME * HEARTBEAT_INPUTS];
#ifdef HEARTBEAT_PREDICTORS
static heartbeat_predictor predictors[HEARTBEAT_PREDICTORS(GOLDEN_PER_FRAME)];
#endif

static const char *check_decoder(const golden_file *golden, size_t *at)
{
  heartbeat_file file;
  heartbeat_frame frame;
  int status;
  *at = 0;
  if (heartbeat_file_open(&file, golden->bytes, golden->size) != HEARTBEAT_OK) return golden->decoder;
  while ((status = heartbeat_file_next(&file, &frame)) == HEARTBEAT_OK) {
#ifdef HEARTBEAT_PREDICTORS
    status = heartbeat_frame_decode(
        &arena, &file.header, &frame, frame_data, GOLDEN_PER_FRAME, predictors, HEARTBEAT_PREDICTORS(GOLDEN_PER_FRAME));
#else
    status = heartbeat_frame_decode(&arena, &file.header, &frame, frame_data, GOLDEN_PER_FRAME);
#endif
    if (status != HEARTBEAT_OK || frame.first != *at || frame.samples > GOLDEN_SAMPLES - *at) return golden->decoder;
    if (memcmp(frame_data, golden->decoded + *at * HEARTBEAT_INPUTS, frame.samples * HEARTBEAT_INPUTS * sizeof(heartbeat_value)) != 0) {
      return golden->decoder;
    }
    *at += frame.samples;
  }
  return status == HEARTBEAT_END && *at == GOLDEN_SAMPLES ? NULL : golden->decoder;
}
#endif

const char *heartbeat_check(size_t *at)
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
