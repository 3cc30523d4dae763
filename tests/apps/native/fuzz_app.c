/* Every file that differs in one bit from a .tae file, and every prefix of it: what is decoded is whole samples, or nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "NAMED_app.h"

/* Bytes of their own, so that a sanitizer sees what is read behind them. */
static uint8_t *copied(const uint8_t *bytes, size_t size)
{
  uint8_t *copy = malloc(size > 0 ? size : 1);
  if (copy == NULL) exit(3);
  memcpy(copy, bytes, size);
  return copy;
}

/* The parts of a format that bytes may hold: what is a frame decodes or is damaged. */
static int parts_of(const uint32_t *format, const uint8_t *bytes, size_t size)
{
  static uint32_t parts[4096];
  static tae_sample samples[64 * INPUTS];
  uint8_t *copy = copied(bytes, size);
  const ptrdiff_t count = tae_app_read_parts(format[0], format[1], format[2], 1, copy, size, parts, 4096);
  size_t at = 0;
  ptrdiff_t i;
  for (i = 0; i < count; i += 4) {
    if (parts[i] == 4 ? parts[i + 1] <= size - at : parts[i] != 0 && parts[i + 1] > size - at) return 1;
    if (parts[i] == 1) {
      uint8_t *frame = copied(bytes + at, parts[i + 1]);
      const ptrdiff_t found = tae_app_read_frame(format[0], format[1], format[2], frame, parts[i + 1], samples, 64 * INPUTS);
      free(frame);
      if (found >= 0 && found != (ptrdiff_t)parts[i + 2] * INPUTS) return 1;
    }
    at += parts[i + 1];
  }
  if (count >= 0 && tae_app_read_index(format[0], format[1], format[2], copy, size, parts, 2) > (ptrdiff_t)size) return 1;
  free(copy);
  return count < 0;
}

static int decode(const uint8_t *file, size_t size)
{
  uint8_t *copy = copied(file, size);
  uint32_t format[5] = {0, 0, 1, 0, 0};
  const ptrdiff_t count = tae_app_read_file(copy, size, NULL, 0);
  uint32_t *parts = calloc(count > 0 ? (size_t)count : 1, sizeof *parts);
  if (parts == NULL) return 1;
  if (tae_app_read_file(copy, size, parts, count > 0 ? (size_t)count : 0) != count) return 1;
  if (count > 0) memcpy(format, parts, sizeof format);
  if (parts_of(format, file + (size > 24 ? 24 : size), size > 24 ? size - 24 : 0)) return 1;
  free(parts);
  free(copy);
  return 0;
}

int main(int argc, char **argv)
{
  static uint8_t file[1 << 20];
  FILE *from = argc > 1 ? fopen(argv[1], "rb") : NULL;
  const size_t size = from == NULL ? 0 : fread(file, 1, sizeof file, from);
  size_t i;
  if (size == 0 || fclose(from) != 0) return 2;
  for (i = 0; i < 8 * size; i++) {
    file[i / 8] ^= (uint8_t)(1u << i % 8);
    if (decode(file, size)) return printf("bit %lu\n", (unsigned long)i);
    file[i / 8] ^= (uint8_t)(1u << i % 8);
  }
  for (i = 0; i <= size; i++) {
    if (decode(file, i)) return printf("prefix %lu\n", (unsigned long)i);
  }
  return 0;
}
