
int tae_header_write(const tae_header *header, uint8_t *out, size_t capacity, size_t *size)
{
  tae_header own;
  if (header == NULL || out == NULL || size == NULL) {
    return TAE_ARGUMENT;
  }
  if (capacity < header->size) {
    return TAE_SPACE;
  }
  own = *header;
  tae_header_bytes(&own, out);
  *size = own.size;
  return TAE_OK;
}

/* Write a number, 1 to 5 bytes, and return how many. */
static size_t tae_put_number(uint8_t *out, uint32_t number)
{
  size_t count = 0;
  for (; number > 127u; number >>= 7) {
    out[count++] = (uint8_t)((number & 127u) | 128u);
  }
  out[count++] = (uint8_t)number;
  return count;
}

/* Make a frame of a payload that lies at the front of `out`. */
static int tae_seal(
  const tae_header *header, uint32_t mode, uint32_t samples, uint8_t *out, size_t capacity, size_t payload, size_t *size
)
{
  uint8_t head[16];
  uint32_t full = samples == header->samples;
  size_t count = 2;
  size_t i;
  head[0] = TAE_MARKER;
  head[1] = (uint8_t)((full ? TAE_FULL : TAE_OTHER) + mode);
  if (!full) {
    count += tae_put_number(head + count, samples);
  }
  count += tae_put_number(head + count, (uint32_t)payload);
  tae_put_u32(head + count, tae_crc(tae_crc(header->checksum, head, count), out, payload));
  count += 4;
  if (capacity - payload < count) {
    return TAE_SPACE;
  }
  for (i = payload; i > 0; i--) {
    out[i - 1 + count] = out[i - 1];
  }
  for (i = 0; i < count; i++) {
    out[i] = head[i];
  }
  *size = count + payload;
  return TAE_OK;
}

int tae_end_write(const tae_header *header, uint32_t padding, uint8_t *out, size_t capacity, size_t *size)
{
  size_t at = 2;
  if (header == NULL || out == NULL || size == NULL || padding >= TAE_STEPS) {
    return TAE_ARGUMENT;
  }
  if (capacity < TAE_END_BYTES) {
    return TAE_SPACE;
  }
  out[0] = TAE_MARKER;
  out[1] = TAE_RECORD_END;
  at += tae_put_number(out + at, padding);
  tae_put_u32(out + at, tae_crc(header->checksum, out, at));
  *size = at + 4u;
  return TAE_OK;
}

int tae_index_write(const tae_header *header, const tae_entry *entries, size_t count, uint8_t *out, size_t capacity, size_t *size)
{
  size_t at = 2;
  size_t i;
  if (header == NULL || (entries == NULL && count > 0) || out == NULL || size == NULL) {
    return TAE_ARGUMENT;
  }
  if (capacity < 10u) {
    return TAE_SPACE;
  }
  out[0] = TAE_MARKER;
  out[1] = TAE_INDEX;
  for (i = 0; i < count; i++) {
    uint8_t numbers[10];
    size_t length = 0;
    size_t j;
    for (j = 0; j < 2u; j++) {
      length += tae_put_number(numbers + length, j == 0 ? entries[i].samples : entries[i].bytes);
    }
    if (capacity - 8u - at < length) {
      return TAE_SPACE;
    }
    for (j = 0; j < length; j++) {
      out[at++] = numbers[j];
    }
  }
  tae_put_u32(out + at, (uint32_t)(at + 8u));
  tae_put_u32(out + at + 4, tae_crc(header->checksum, out, at + 4u));
  *size = at + 8u;
  return TAE_OK;
}
