
int tae_frame_decode(tae_arena *arena, const tae_header *header, const tae_frame *frame, tae_value *data, size_t capacity)
{
  return tae_decode_lossy(arena, header, frame, data, capacity);
}
