
/* Files and frames of the .tae format. */

/* Bytes of a header at most. */
#define TAE_HEADER_BYTES 32

/* What a file promises of its samples: nothing, an error of `bound` at most in every value, or no error. */
enum { TAE_LOSSY = 0, TAE_BOUNDED = 1, TAE_LOSSLESS = 2 };

/* What all frames of a file have in common. Where only frames are sent, both ends make the same one with tae_header_make. */
typedef struct tae_header {
  uint32_t checksum;
  uint32_t samples; /* most samples of a frame */
  uint32_t bound;   /* largest error of a value, in the data's unit of measure; 0 unless the kind is TAE_BOUNDED */
  uint8_t kind;     /* TAE_LOSSY, TAE_BOUNDED or TAE_LOSSLESS */
  uint8_t size;     /* bytes of the header in a file */
} tae_header;

/*
 * State what a file's frames have in common: its kind, the bound (1 to 65,535 for TAE_BOUNDED, else 0), and the most samples
 * of a frame, 1 to 65,535; samples of more than 1 take 64 MiB together at most.
 * TAE_ARGUMENT: a null pointer or a number out of range. TAE_UNSUPPORTED: a kind that this code was not made for.
 */
int tae_header_make(tae_header *header, int kind, uint32_t bound, uint32_t samples);
