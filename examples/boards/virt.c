/* QEMU's virt: a RISC-V core of 32 bits. */
#include "board.h"

/* The emulator starts at the beginning of RAM, where this goes on to flash. */
__asm__(
  ".section .reset, \"ax\"\n"
  "  la t0, start\n"
  "  jr t0\n"
  ".section .start, \"ax\"\n"
  ".globl start\n"
  "start:\n"
  "  .option push\n"
  "  .option norelax\n"
  "  la gp, __global_pointer$\n"
  "  .option pop\n"
  "  la sp, stack_top\n"
  "  la t0, fault\n"
  "  csrw mtvec, t0\n"
  "  li t0, 0x20000000 >> 2 | (0x2000000 >> 3) - 1\n"
  "  csrw pmpaddr0, t0\n" /* flash, 32 MB, */
  "  li t0, 0x9d\n"
  "  csrw pmpcfg0, t0\n" /* is read-only */
  "  j board_start\n"
  ".text\n"
  ".option push\n"
  ".option norvc\n"
  ".balign 16\n"
  ".globl board_semihosting\n"
  "board_semihosting:\n" /* the three that mark a trap for the debugger */
  "  slli x0, x0, 0x1f\n"
  "  ebreak\n"
  "  srai x0, x0, 7\n"
  "  ret\n"
  ".option pop\n");

uint32_t board_instructions(void)
{
  uint32_t count;
  __asm__ volatile("csrr %0, minstret" : "=r"(count));
  return count;
}

__attribute__((used, aligned(4))) static void fault(void)
{
  board_print("fault\n");
  board_exit(3);
}
