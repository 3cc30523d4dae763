/* What a program on a bare core has in place of an operating system: text, an exit code, and measurements. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

/* Write text to the terminal of the machine that runs the emulator or the debugger. */
void board_print(const char *text);

/* End the program: the emulator exits with this status. It does not return. */
void board_exit(int status);

/* Bytes of the deepest stack since the start: what is no longer painted, up to BOARD_STACK_BYTES. */
uint32_t board_stack_used(void);
#define BOARD_STACK_BYTES 65536u

/*
 * Instructions since the start, under `-icount shift=0`. Only differences mean something, modulo 2^32. The Cortex-M4 counts in
 * steps of 40, and must be asked once in 600 million instructions at least.
 */
uint32_t board_instructions(void);

/* For the file of a board: fill .data, .bss and the paint, call main, exit with what it returns. */
void board_start(void);

/* For the file of a board: the trap that asks the emulator or the debugger for an operation. */
int board_semihosting(uint32_t operation, const void *argument);

#endif
