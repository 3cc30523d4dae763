/* Sums of products with the rows of a kernel: one copy for all layers, or one for each where the compiler has vectors. */
#if !defined(__GNUC__)
#define TAE_ROWS static
#elif defined(__SSE2__) || defined(__ARM_NEON)
#define TAE_ROWS __attribute__((always_inline, unused)) static inline
#define TAE_COMPILER_VECTORS
#else
#define TAE_ROWS __attribute__((noinline, unused)) static
#if defined(__ARM_FEATURE_SIMD32) && defined(__ARM_FEATURE_UNALIGNED) && !defined(__ARM_BIG_ENDIAN) && !defined(TAE_PORTABLE) \
  && (defined(__clang__) || __GNUC__ >= 10) /* arm_acle.h of GCC before has none of these */
#define TAE_SIMD32
#include <arm_acle.h>

/* four bytes */
static inline uint32_t tae_word(const void *p)
{
  uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

/* sum + w[0] * x[0] + w[2] * x[1], of bytes and halves */
static inline int32_t tae_add_even(int32_t sum, uint32_t w, uint32_t x)
{
  return __smlad(__sxtb16((int8x4_t)w), (int16x2_t)x, sum);
}

/* 256 * (w[1] * x[0] + w[3] * x[1]) */
static inline int32_t tae_odd(uint32_t w, uint32_t x)
{
  return __smuad((int16x2_t)(w & 0xff00ff00u), (int16x2_t)x);
}

/* sum + 256 * (w[1] * x[0] + w[3] * x[1]) */
static inline int32_t tae_add_odd(int32_t sum, uint32_t w, uint32_t x)
{
  return __smlad((int16x2_t)(w & 0xff00ff00u), (int16x2_t)x, sum);
}
#endif
#endif
