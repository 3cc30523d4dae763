/* Firmware of microcontrollers.py. NAMED is a model's name; CALL_SCORE, CALL_ENCODE and CALL_DECODE say what it calls. */
#include <stdio.h>
#include <string.h>

#include "NAMED_float.h"
#include "board.h"
#include "windows.h"

#define KEEP(array) __asm__ volatile("" : : "r"(array) : "memory")

static tae_arena arena;
static float window[TAE_INPUTS];

#ifdef CALL_SCORE
static uint32_t flags;

static int call(void)
{
  uint64_t score;
  uint8_t anomaly;
  const int status = tae_score_float(&arena, window, &score, &anomaly);
  flags += anomaly;
  return status;
}
#elif defined CALL_ENCODE || defined CALL_DECODE
static int call(void)
{
  static uint8_t x[TAE_INPUTS], code[TAE_UNITS];
  int status = TAE_OK;
  KEEP(x);
#ifdef CALL_ENCODE
  status |= tae_encode(&arena, x, code);
#endif
#ifdef CALL_DECODE
  status |= tae_decode(&arena, code, x);
#endif
  KEEP(code);
  return status;
}
#else
static int call(void)
{
  KEEP(&arena);
  return 0;
}
#endif

int main(void)
{
  uint32_t instructions = 0, i;
  for (i = 0; i < CALLS; i++) {
    uint32_t before;
    memcpy(window, windows[i % WINDOWS], sizeof window);
    KEEP(window);
    before = board_instructions();
    if (call() != 0) return 1;
    instructions += board_instructions() - before;
  }
  printf("%lu instructions, %lu B of stack\n", (unsigned long)instructions, (unsigned long)board_stack_used());
#ifdef CALL_SCORE
  KEEP(flags);
#endif
  return 0;
}
