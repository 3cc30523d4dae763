/* Arm's MPS2 with the image AN386: a Cortex-M4. */
#include "board.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010u) /* control, reload, value */
#define MPU ((volatile uint32_t *)0xE000ED94u)     /* control, region, base, attributes */
#define TICK 40u                                   /* nanoseconds of a cycle of 25 MHz: instructions, under -icount shift=0 */

extern uint32_t stack_top[];

int board_semihosting(uint32_t operation, const void *argument)
{
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return (int)r0;
}

uint32_t board_instructions(void)
{
  static uint32_t before, ticks;
  const uint32_t now = 0xFFFFFFu - SYSTICK[2]; /* it counts down, in 24 bits */
  ticks += (now - before) & 0xFFFFFFu;
  before = now;
  return ticks * TICK;
}

void start(void);

void start(void)
{
  MPU[1] = 0;
  MPU[2] = 0;                                  /* flash, */
  MPU[3] = 6u << 24 | 1u << 17 | 21u << 1 | 1u; /* which is memory of 4 MB here, is read-only */
  MPU[0] = 5;                                  /* on, and all else is as without it */
  SYSTICK[1] = 0xFFFFFF;
  SYSTICK[2] = 0;
  SYSTICK[0] = 5; /* on, by the processor's clock */
  board_start();
}

static void fault(void)
{
  board_print("fault\n");
  board_exit(3);
}

typedef struct {
  uint32_t *stack;
  void (*handlers[15])(void);
} vector_table;

__attribute__((section(".start"), used)) static const vector_table vectors = {
  stack_top,
  {start, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault},
};
