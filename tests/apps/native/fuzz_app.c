/* Every file that differs in one bit from a .tae file, and every prefix of it: what is decoded is whole samples, or nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "NAMED_app.h"

static int decode(const uint8_t *file, size_t size)
{
  uint8_t *copy = malloc(size + 1); /* alone, so that a sanitizer sees what is read behind it */
  size_t count = 0;
  size_t found = 0;
  tae_sample *samples;
  int status;
  if (copy == NULL) return 1;
  memcpy(copy, file, size);
  copy = realloc(copy, size > 0 ? size : 1);
  status = tae_app_count(copy, size, &count);
  samples = calloc(count > 0 ? count * INPUTS : 1, sizeof *samples);
  if (samples == NULL) return 1;
  if (tae_app_decompress(copy, size, samples, count, &found) != status || found != count) return 1;
  if (count > 0 && tae_app_decompress(copy, size, samples, count - 1, &found) != 3) return 1;
  free(samples);
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
