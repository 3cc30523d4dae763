
#define TAE_SHORTEST 7u     /* bytes of the shortest frame */
#define TAE_INDEX_SHORTEST 10u
#define TAE_SCAN_WORK 64    /* bytes of false frames that a scan reads, per byte of the file; only crafted files have more */
#define TAE_SCAN_LEAST 1048576
#define TAE_WALK 32         /* what a byte of an index that is read forward counts for in that */

int tae_header_read(tae_header *header, const uint8_t *bytes, size_t size)
{
  uint8_t own[TAE_HEADER_BYTES];
  uint32_t kind;
  uint32_t bound = 0;
  uint32_t i;
  int status;
  if (header == NULL || bytes == NULL) {
    return TAE_ARGUMENT;
  }
  if (size < 24u || tae_u32(bytes) != 0x45415489u) {
    return TAE_DAMAGED;
  }
  if (bytes[4] != 1) {
    return TAE_UNSUPPORTED;
  }
  kind = bytes[5] & ~TAE_CLASSED;
  header->size = kind == TAE_BOUNDED ? 32 : 24;
  if (size < header->size || tae_u32(bytes + header->size - 4) != tae_crc(0, bytes, header->size - 4u)) {
    return TAE_DAMAGED;
  }
  if (kind > TAE_LOSSLESS) {
    return TAE_UNSUPPORTED;
  }
  for (i = 0; i < 8u; i++) {
    if (bytes[12u + i] != tae_identity[i]) {
      return TAE_OTHER_MODEL;
    }
  }
  if (kind == TAE_BOUNDED) {
    uint32_t high = tae_u32(bytes + 24);
    uint32_t exponent = (high >> 20) - TAE_BOUND_EXPONENT;
    bound = exponent < 16u ? ((high & 0xfffffu) | 0x100000u) >> (20u - exponent) : 0;
  }
  status = tae_header_make(header, (int)kind, bound, (uint32_t)bytes[6] | (uint32_t)bytes[7] << 8);
  if (status != TAE_OK) {
    return status == TAE_UNSUPPORTED ? TAE_UNSUPPORTED : TAE_DAMAGED;
  }
  tae_header_bytes(header, own);
  for (i = 0; i < header->size; i++) {
    if (bytes[i] != own[i]) {
      return TAE_DAMAGED;
    }
  }
  return TAE_OK;
}

/* Read a number at a place and move the place behind it. TAE_END: the bytes end early. TAE_DAMAGED: it is none. */
static int tae_number(const uint8_t *bytes, size_t size, size_t *at, uint32_t *number)
{
  uint32_t found = 0;
  uint32_t shift = 0;
  size_t next = *at;
  uint32_t part;
  do {
    if (next >= size) {
      return TAE_END;
    }
    part = bytes[next++];
    if (shift == 28u && part > 15u) {
      return TAE_DAMAGED;
    }
    found |= (part & 127u) << shift;
    shift += 7u;
  } while (part > 127u);
  if (part == 0 && shift > 7u) {
    return TAE_DAMAGED;
  }
  *number = found;
  *at = next;
  return TAE_OK;
}

int tae_frame_read(const tae_header *header, const uint8_t *bytes, size_t size, tae_frame *frame, size_t *used)
{
  uint32_t full;
  uint32_t samples;
  uint32_t payload;
  size_t at = 2;
  int status;
  if (header == NULL || bytes == NULL || frame == NULL || used == NULL) {
    return TAE_ARGUMENT;
  }
  *used = 0;
  if (size < 2u) {
    return TAE_END;
  }
  full = bytes[1] < TAE_OTHER;
  if (bytes[0] != TAE_MARKER || bytes[1] < TAE_FULL || (bytes[1] & 15u) == 15u || bytes[1] > TAE_INDEX) {
    return TAE_DAMAGED;
  }
  samples = header->samples;
  if (!full) {
    status = tae_number(bytes, size, &at, &samples);
    if (status != TAE_OK) {
      return status;
    }
    if (samples == 0 || samples >= header->samples) {
      return TAE_DAMAGED;
    }
  }
  status = tae_number(bytes, size, &at, &payload);
  if (status != TAE_OK) {
    return status;
  }
  if (size - at < 4u || size - at - 4u < payload) {
    return TAE_END;
  }
  *used = at + 4u + payload;
  if (tae_crc(tae_crc(header->checksum, bytes, at), bytes + at + 4, payload) != tae_u32(bytes + at)) {
    return TAE_DAMAGED;
  }
  frame->payload = bytes + at + 4;
  frame->size = payload;
  frame->first = 0;
  frame->samples = samples;
  frame->mode = bytes[1] & 15u;
  frame->ends = 0;
  frame->padding = 0;
  return TAE_OK;
}

int tae_end_read(const tae_header *header, const uint8_t *bytes, size_t size, uint32_t *padding, size_t *used)
{
  uint32_t found;
  size_t at = 2;
  if (header == NULL || bytes == NULL || padding == NULL || used == NULL) {
    return TAE_ARGUMENT;
  }
  if (size < 2u || bytes[0] != TAE_MARKER || bytes[1] != TAE_RECORD_END) {
    return TAE_DAMAGED;
  }
  if (tae_number(bytes, size, &at, &found) != TAE_OK || size - at < 4u || found >= TAE_STEPS) {
    return TAE_DAMAGED;
  }
  if (tae_crc(header->checksum, bytes, at) != tae_u32(bytes + at)) {
    return TAE_DAMAGED;
  }
  *padding = found;
  *used = at + 4u;
  return TAE_OK;
}

/* Note in a frame whether a record ends behind it. */
static int tae_ends(const tae_file *file, tae_frame *frame, size_t *used)
{
  frame->ends = tae_end_read(&file->header, file->bytes + file->at, file->size - file->at, &frame->padding, used) == TAE_OK;
  return frame->ends;
}
