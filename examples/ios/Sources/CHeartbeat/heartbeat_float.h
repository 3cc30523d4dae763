/* Floats to the model's integers and back, in scaled values. Optional: the model itself has no floats. */
#ifndef HEARTBEAT_FLOAT_H
#define HEARTBEAT_FLOAT_H

#include <float.h>

#include "heartbeat.h"

#if FLT_EVAL_METHOD != 0
#error "float and double must be rounded to their types: on x86 compile with -msse2 -mfpmath=sse"
#endif

static inline float heartbeat_scaled(size_t i, float value)
{
  (void)i;
  return (float)value;
}

static inline int32_t heartbeat_nearest_float(float value)
{
  const int32_t whole = (int32_t)value;
  const float rest = value - (float)whole;
  const int odd = (int)(whole % 2 != 0);
  if (rest > (float)0.5 || (rest == (float)0.5 && odd)) return whole + 1;
  if (rest < -(float)0.5 || (rest == -(float)0.5 && odd)) return whole - 1;
  return whole;
}

static inline uint8_t heartbeat_quantized(float scaled)
{
  const float steps = scaled / 0.027115164324641228f;
  if (!(steps > -97.0f)) return 0;
  if (steps > 160.0f) return 255;
  {
    const int32_t whole = heartbeat_nearest_float(steps) + 96;
    return (uint8_t)(whole < 0 ? 0 : whole > 255 ? 255 : whole);
  }
}

/* data[HEARTBEAT_INPUTS] to x[HEARTBEAT_INPUTS]; HEARTBEAT_ARGUMENT where a value is not finite */
static inline int heartbeat_quantize(const float *data, uint8_t *x)
{
  size_t i;
  for (i = 0; i < HEARTBEAT_INPUTS; i++) {
    const float value = (float)data[i];
    if (!(value - value == 0.0f)) return HEARTBEAT_ARGUMENT;
    x[i] = heartbeat_quantized(heartbeat_scaled(i, data[i]));
  }
  return HEARTBEAT_OK;
}

/* y[HEARTBEAT_INPUTS] to data[HEARTBEAT_INPUTS] */
static inline void heartbeat_dequantize(const uint8_t *y, float *data)
{
  size_t i;
  for (i = 0; i < HEARTBEAT_INPUTS; i++) {
    data[i] = (float)((int)y[i] - 90) * 0.024107906967401505f;
  }
}

#endif
