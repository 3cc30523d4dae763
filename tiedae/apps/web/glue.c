/* What NAMED_app.c takes of the library of C. Memory is given out until `reset`. */
#include <stddef.h>
#include <stdint.h>

#define PAGE 65536u

extern unsigned char __heap_base;
static size_t top;

void *malloc(size_t size);
void free(void *memory);

__attribute__((export_name("reset"))) void web_reset(void)
{
  top = (size_t)&__heap_base;
}

/* Memory for 8-byte values; a null pointer where there is none. */
__attribute__((export_name("allocate"))) void *malloc(size_t size)
{
  const size_t place = (top + 7u) & ~(size_t)7u;
  const size_t held = __builtin_wasm_memory_size(0) * PAGE;
  if (size > SIZE_MAX - PAGE - place) return NULL;
  if (place + size > held && __builtin_wasm_memory_grow(0, (place + size - held + PAGE - 1u) / PAGE) == SIZE_MAX) return NULL;
  top = place + size;
  return (void *)place;
}

void free(void *memory)
{
  (void)memory;
}

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
