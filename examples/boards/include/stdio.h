/* Of board.c, for compilers that come without a C library. */
#ifndef BOARD_STDIO_H
#define BOARD_STDIO_H

/* With %s and %lu alone. */
int printf(const char *format, ...);

#endif
