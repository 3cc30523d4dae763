/* Compares what the model's C file computes here with golden data that Python made. */
#ifndef TAE_CHECK_H
#define TAE_CHECK_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What differs, in the sample *at, or the byte *at of a file; NULL where all is equal. */
const char *tae_check(size_t *at);

/* How many samples that are. */
size_t tae_check_samples(void);

#ifdef __cplusplus
}
#endif

#endif
