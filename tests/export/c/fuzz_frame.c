/*
 * Fuzzing of the C codec: any bytes as a file, as frames with right checksums, as a payload, as samples. The codec is that of
 * `python -m tests.export.c.fuzz_codec FOLDER`, which also writes inputs to begin with:
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -I FOLDER tests/export/c/fuzz_frame.c -o fuzz && ./fuzz FOLDER/inputs
 *
 * With -DSTANDALONE it runs the inputs of files, each behind its size in 4 bytes, and needs no libFuzzer.
 */
#include <stdlib.h>
#include <string.h>

#include "tae.c"

#define MOST 16u
#define LONGEST 65536u

static tae_arena arena;
static tae_predictor predictors[MOST > TAE_STREAMS ? MOST : TAE_STREAMS];

static void require(int holds)
{
  if (!holds) abort();
}

/* A copy that ends where the bytes do: reading past it is seen. */
static uint8_t *copied(const uint8_t *data, size_t size)
{
  uint8_t *copy = malloc(size > 0 ? size : 1);
  require(copy != NULL);
  if (size > 0) memcpy(copy, data, size);
  return copy;
}

static int decode(const tae_header *header, const tae_frame *frame)
{
  tae_value *values = malloc(MOST * TAE_INPUTS * sizeof(tae_value));
  tae_predictor *own = malloc(sizeof predictors);
  int status;
  require(values != NULL && own != NULL);
  status = tae_frame_decode(&arena, header, frame, values, MOST, own, sizeof predictors / sizeof *predictors);
  require(status == TAE_OK || status == TAE_DAMAGED || status == TAE_SPACE || status == TAE_UNSUPPORTED);
  require(status != TAE_SPACE || frame->samples > MOST);
  free(values);
  free(own);
  return status;
}

/* Frames lie in the file, and their samples are those of the index. */
static void read_file(const uint8_t *bytes, size_t size)
{
  tae_file file;
  tae_frame frame;
  uint64_t sample;
  size_t calls = 0;
  int status = tae_file_open(&file, bytes, size);
  if (status != TAE_OK) return;
  for (sample = 0; sample < file.samples && sample < 3 * MOST; sample += MOST / 2) {
    require(tae_file_seek(&file, sample) == TAE_OK && file.first <= sample);
  }
  if (file.samples > 0) require(tae_file_seek(&file, 0) == TAE_OK);
  for (status = TAE_OK; status != TAE_END; calls++) {
    require(calls <= size + 1);
    status = tae_file_next(&file, &frame);
    require(file.at <= size);
    if (status == TAE_OK) {
      require(frame.padding < TAE_STEPS && frame.ends <= 1);
      require(frame.payload >= bytes && frame.size <= (size_t)(bytes + size - frame.payload));
      decode(&file.header, &frame);
    }
  }
}

/* A payload of codes that passes is what an encoder makes of them. */
static void read_codes(const uint8_t *bytes, size_t size, size_t samples)
{
  uint8_t codes[MOST * TAE_UNITS];
  uint8_t *again = malloc(size > 0 ? size : 1);
  tae_payload payload;
  size_t i;
  size_t made = 0;
  int status = tae_payload_open(&payload, bytes, size);
  require(again != NULL);
  for (i = 0; i < samples && status == TAE_OK; i++) status = tae_payload_next(&payload, codes + i * TAE_UNITS);
  if (status == TAE_OK && tae_payload_close(&payload) == TAE_OK) {
    require(tae_payload_encode(codes, samples, again, size, &made) == TAE_OK);
    require(made == size && memcmp(again, bytes, size) == 0);
  }
  free(again);
}

static int make(tae_header *header, uint8_t choice, uint32_t bound, uint32_t samples)
{
  int kind = choice % 3;
  return tae_header_make(header, kind, kind == TAE_BOUNDED ? bound : 0, samples);
}

/* A file whose frames hold these bytes in pieces, each with the right checksum, and between some of them others. */
static void read_sealed(const uint8_t *data, size_t size)
{
  uint8_t *file = malloc(LONGEST);
  uint8_t *exact;
  tae_header header;
  size_t at = 0;
  require(file != NULL);
  if (size < 3 || make(&header, data[0], 1u + data[1], 1u + data[2] % 20u) != TAE_OK) {
    free(file);
    return;
  }
  require(tae_header_write(&header, file, LONGEST, &at) == TAE_OK);
  data += 3;
  size -= 3;
  while (size > 3 && at < LONGEST / 2) {
    size_t length = data[0] < size - 3 ? data[0] : size - 3;
    size_t made = 0;
    memcpy(file + at, data + 3, length);
    if (data[1] < 240) {
      uint32_t samples = 1u + data[2] % header.samples;
      require(tae_seal(&header, data[1] % 6u, samples, file + at, LONGEST - at, length, &made) == TAE_OK);
    }
    at += data[1] < 240 ? made : length;
    data += 3 + length;
    size -= 3 + length;
  }
  exact = copied(file, at);
  read_file(exact, at);
  free(exact);
  free(file);
}

/* Samples come back, within the bound. */
static void write_samples(const uint8_t *data, size_t size)
{
  tae_header header;
  tae_frame frame;
  tae_workspace workspace;
  tae_value values[MOST * TAE_INPUTS];
  tae_value back[MOST * TAE_INPUTS];
  uint8_t *out;
  size_t samples;
  size_t capacity;
  size_t made = 0;
  size_t used;
  size_t i;
  int status;
  if (size < 4 || make(&header, data[0], 1u + data[1] * 257u, MOST) != TAE_OK) return;
  samples = (size - 4) / sizeof values[0] / TAE_INPUTS;
  samples = samples > MOST ? MOST : samples;
  if (samples == 0) return;
  memcpy(values, data + 4, samples * TAE_INPUTS * sizeof values[0]);
  capacity = data[2] < 128 ? (size_t)data[2] * 4u : TAE_FRAME_BYTES(samples);
  out = malloc(capacity > 0 ? capacity : 1);
  workspace.count = TAE_CELLS(samples);
  workspace.cells = malloc(workspace.count * sizeof(tae_cell));
  require(out != NULL && workspace.cells != NULL);
  status = tae_frame_encode(&arena, &header, values, samples, out, capacity, &made, &workspace);
  require(status == TAE_OK || (status == TAE_SPACE && data[2] < 128));
  if (status == TAE_OK) {
    require(made <= capacity && tae_frame_read(&header, out, made, &frame, &used) == TAE_OK && used == made);
    require(tae_frame_decode(&arena, &header, &frame, back, samples, predictors, sizeof predictors / sizeof *predictors) == TAE_OK);
    for (i = 0; i < samples * TAE_INPUTS && header.kind != TAE_LOSSY; i++) {
      int32_t error = (int32_t)values[i] - back[i];
      require(error <= (int32_t)header.bound && -error <= (int32_t)header.bound);
    }
  }
  free(out);
  free(workspace.cells);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  uint8_t *copy;
  if (size < 6) return 0;
  copy = copied(data + 5, size - 5);
  switch (data[0] % 5) {
  case 0:
    read_file(copy, size - 5);
    break;
  case 1:
    read_codes(copy, size - 5, data[1] % (MOST + 1));
    break;
  case 2: {
    tae_header header;
    tae_frame frame = {copy, size - 5, 0, 1u + data[1] % MOST, data[2] % 6};
    if (make(&header, data[3], 1u + data[4], MOST) == TAE_OK) decode(&header, &frame);
    break;
  }
  case 3:
    read_sealed(copy, size - 5);
    break;
  default:
    write_samples(copy, size - 5);
  }
  free(copy);
  return 0;
}

#ifdef STANDALONE
#include <stdio.h>

int main(int count, char **names)
{
  static uint8_t data[LONGEST];
  size_t runs = 0;
  for (int i = 1; i < count; i++) {
    FILE *file = fopen(names[i], "rb");
    uint8_t begin[4];
    require(file != NULL);
    for (; fread(begin, 1, 4, file) == 4; runs++) {
      size_t size = tae_u32(begin);
      require(size <= LONGEST && fread(data, 1, size, file) == size);
      LLVMFuzzerTestOneInput(data, size);
    }
    fclose(file);
  }
  printf("%lu inputs\n", (unsigned long)runs);
  return 0;
}
#endif
