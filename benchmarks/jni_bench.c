/* The calls in C that Turns compares with. */
#define _POSIX_C_SOURCE 199309L
#include <jni.h>
#include <stdint.h>
#include <time.h>

#include "NAMED.h"

JNIEXPORT jdouble JNICALL Java_Turns_encodeInC(JNIEnv *env, jclass owner, jbyteArray samples, jint calls)
{
  static tae_value sample[TAE_INPUTS];
  static uint8_t code[TAE_UNITS];
  static tae_arena arena;
  struct timespec start, end;
  jint i;
  (void)owner;
  (*env)->GetByteArrayRegion(env, samples, 0, sizeof sample, (jbyte *)sample);
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (i = 0; i < calls; i++) {
    if (tae_encode_data(&arena, sample, code) != TAE_OK) return -1;
  }
  clock_gettime(CLOCK_MONOTONIC, &end);
  return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) / calls;
}
