
/* Bytes of a frame of `samples` samples at most. */
#define TAE_FRAME_BYTES(samples) (29u + (size_t)(samples) * (TAE_SAMPLE_PAYLOAD + 6u * (size_t)TAE_INPUTS))

/* Cells of a workspace that a frame of residuals takes. Frames of lossy files take none. */
#define TAE_CELLS(samples) ((size_t)(samples) * ((size_t)TAE_INPUTS + TAE_UNITS))

/* What a frame of residuals is encoded in. Only `cells` and `count` must be set. */
typedef struct tae_workspace {
  tae_cell *cells;
  size_t count; /* of cells */
  tae_value values[TAE_INPUTS];
  tae_predictor predictors[TAE_STREAMS];
} tae_workspace;

/*
 * Encode samples, [samples][TAE_INPUTS] with 1 to `header->samples` of them, as a frame into `out`, which has `capacity` bytes.
 * `*size`: the bytes of the frame. It is an entry of an index together with `samples`. Bounded and lossless frames are encoded
 * without the network and with it; the shorter one counts.
 * TAE_ARGUMENT: a null pointer, or a number of samples out of range. `workspace` may be null for lossy files.
 * TAE_SPACE: the frame is longer than `capacity`; TAE_FRAME_BYTES(samples) always suffice. Or the workspace has fewer cells
 * than TAE_CELLS(samples). Other statuses are those of tae_encode_data and tae_decode_data. `out` is then undetermined.
 * RAM: the workspace with its cells, `arena`, and TAE_UNITS and some 300 bytes of the stack.
 */
int tae_frame_encode(
  tae_arena *arena, const tae_header *header, const tae_value *data, size_t samples, uint8_t *out, size_t capacity,
  size_t *size, tae_workspace *workspace
);
