/* All that does not depend on the core: the start of a program, semihosting, and the functions that compilers want. */
#include "board.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#pragma GCC optimize("no-tree-loop-distribute-patterns") /* else memcpy calls memcpy */

#define PAINT 0xA5C3961Eu
enum { WRITE0 = 0x04, EXIT_EXTENDED = 0x20 };

extern uint32_t data_source[], data_start[], data_end[], bss_start[], bss_end[], stack_bottom[], stack_top[];
int main(void);

void board_print(const char *text)
{
  (void)board_semihosting(WRITE0, text);
}

void board_exit(int status)
{
  const uint32_t block[2] = {0x20026u /* the application ends */, (uint32_t)status};
  (void)board_semihosting(EXIT_EXTENDED, block);
  for (;;) {
  }
}

void board_start(void)
{
  uint32_t here; /* 64 bytes below it, the stack is free */
  volatile uint32_t *word;
  memcpy(data_start, data_source, (size_t)((char *)data_end - (char *)data_start));
  memset(bss_start, 0, (size_t)((char *)bss_end - (char *)bss_start));
  for (word = stack_bottom; (uintptr_t)word < (uintptr_t)&here - 64; word++) *word = PAINT;
  board_exit(main());
}

uint32_t board_stack_used(void)
{
  const volatile uint32_t *word = stack_bottom;
  while (word < stack_top && *word == PAINT) word++;
  return (uint32_t)((const volatile char *)stack_top - (const volatile char *)word);
}

static void print_number(unsigned long value)
{
  char text[11], *at = text + sizeof text - 1;
  *at = 0;
  do *--at = (char)('0' + value % 10u);
  while ((value /= 10u) != 0);
  board_print(at);
}

int printf(const char *format, ...)
{
  va_list values;
  va_start(values, format);
  for (; *format != 0; format++) {
    const char one[2] = {*format, 0};
    if (*format != '%') {
      board_print(one);
    } else if (*++format == 's') {
      board_print(va_arg(values, const char *));
    } else {
      print_number(va_arg(values, unsigned long));
      format++;
    }
  }
  va_end(values);
  return 0;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
  size_t i;
  for (i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memmove(void *to, const void *from, size_t size)
{
  if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, size); /* which copies upwards */
  while (size-- > 0) ((char *)to)[size] = ((const char *)from)[size];
  return to;
}

void *memset(void *to, int value, size_t size)
{
  size_t i;
  for (i = 0; i < size; i++) ((unsigned char *)to)[i] = (unsigned char)value;
  return to;
}

int memcmp(const void *left, const void *right, size_t size)
{
  size_t i;
  for (i = 0; i < size; i++) {
    const int difference = ((const unsigned char *)left)[i] - ((const unsigned char *)right)[i];
    if (difference != 0) return difference;
  }
  return 0;
}
