
int tae_frame_encode(
  tae_arena *arena, const tae_header *header, const tae_value *data, size_t samples, uint8_t *out, size_t capacity, size_t *size
)
{
  return tae_encode_lossy(arena, header, data, samples, out, capacity, size);
}
