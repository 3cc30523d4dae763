
#define TAE_WAVES (TAE_INPUTS / TAE_STREAMS + TAE_STREAMS - 1u) /* of a sample: wave u has step u - i of each stream i */

/* The first stream that has a step in a wave. */
static size_t tae_first_stream(size_t wave)
{
  size_t steps = TAE_INPUTS / TAE_STREAMS;
  return wave < steps ? 0u : wave - steps + 1u;
}
