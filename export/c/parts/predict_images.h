
/* What is kept of a value for the values after it: the value, the network's reconstruction, the magnitude of the residual. */
typedef struct tae_pixel {
  tae_value x;
  tae_value y;
  tae_magnitude q;
} tae_pixel;

/* A predictor of the values of one image: it keeps those of a row and of one more column. */
typedef struct tae_predictor {
  tae_pixel pixels[TAE_RING];
  uint32_t step;
} tae_predictor;
