
/* A predictor of one series of values: weights for the last differences of values, magnitudes of the last residuals. */
typedef struct tae_predictor {
  int32_t differences[16];
  int32_t last;
  uint32_t slow; /* the long-term magnitude of residuals */
  int16_t weights[16];
  tae_magnitude magnitudes[8];
  int8_t direction; /* of the last change by a quantum or more */
  uint8_t started;
#if TAE_LINKED
  uint32_t step; /* the number of the next value */
  int32_t changes[TAE_DEPTH]; /* the last ones, in a ring */
  uint16_t channel;
#endif
} tae_predictor;
