/* Whole arrays and .tae files, around heartbeat.h: what the class of an application calls. C99 with malloc.
 *
 * Functions return a status of heartbeat.h, or HEARTBEAT_NO_MEMORY. They keep nothing: threads may call them at once.
 */
#ifndef HEARTBEAT_APP_H
#define HEARTBEAT_APP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { HEARTBEAT_NO_MEMORY = 8 };

/* A value of a sample, in the data's unit of measure. */
typedef int16_t heartbeat_sample;

/* Compare what this build computes with what Python did. Where they differ, 1 and what differs, in `text`; else 0. */
int heartbeat_app_check(char *text, size_t size);

/* samples [count][64] to codes [count][16] */
int heartbeat_app_encode(const heartbeat_sample *samples, size_t count, uint8_t *codes);

/* codes [count][16] to samples [count][64] */
int heartbeat_app_decode(const uint8_t *codes, size_t count, heartbeat_sample *samples);

/* samples to the samples that their codes decode to, [count][64] */
int heartbeat_app_reconstruct(const heartbeat_sample *samples, size_t count, heartbeat_sample *reconstructed);

/*
 * Samples, one or more, to a .tae file. `kind`: 0 lossy, 1 with an error of `bound` at most, 2 lossless. `*file` is the caller's, see
 * heartbeat_app_free.
 */
int heartbeat_app_compress(const heartbeat_sample *samples, size_t count, int kind, uint32_t bound, uint8_t **file, size_t *size);

void heartbeat_app_free(uint8_t *file);

/* The samples in the whole frames of a .tae file. HEARTBEAT_DAMAGED: there are others; `*count` counts those of whole frames. */
int heartbeat_app_count(const uint8_t *file, size_t size, size_t *count);

/*
 * The samples of a .tae file that has room for `capacity`. `*count`: how many there are.
 * HEARTBEAT_DAMAGED: something was lost; `samples` are those of whole frames. HEARTBEAT_SPACE: there are more.
 */
int heartbeat_app_decompress(const uint8_t *file, size_t size, heartbeat_sample *samples, size_t capacity, size_t *count);

#ifdef __cplusplus
}
#endif

#endif
