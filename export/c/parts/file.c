
/* Files: numbers of 32 bits, checksums and headers. */

#define TAE_MARKER 0xa7u
#define TAE_FULL 0xd0u      /* mode 0 of a frame of the header's most samples */
#define TAE_OTHER 0xe0u     /* mode 0 of a frame that states its samples */
#define TAE_INDEX 0xefu     /* follows the marker of an index */
#define TAE_RECORD_END 0xdfu /* follows the marker of the end of a record */
#define TAE_CLASSED 4u      /* the flag of files whose samples have classes */
#define TAE_FRAME_DATA 67108864u /* bytes of the samples of a frame at most, or it is 1 sample */
#define TAE_BOUND_EXPONENT 1023u /* of 1, in binary64 */

/* The CRC-32 of zlib, continued; half a byte at a time. */
static uint32_t tae_crc(uint32_t crc, const uint8_t *bytes, size_t size)
{
  static const uint32_t table[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
    0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
  };
  crc ^= 0xffffffffu;
  for (; size > 0; size--) {
    crc ^= *bytes++;
    crc = crc >> 4 ^ table[crc & 15u];
    crc = crc >> 4 ^ table[crc & 15u];
  }
  return crc ^ 0xffffffffu;
}

static void tae_put_u32(uint8_t *bytes, uint32_t number)
{
  bytes[0] = (uint8_t)(number & 255u);
  bytes[1] = (uint8_t)(number >> 8 & 255u);
  bytes[2] = (uint8_t)(number >> 16 & 255u);
  bytes[3] = (uint8_t)(number >> 24);
}

/* The largest e with 2^e <= number, for numbers above 0. */
static uint32_t tae_log2(uint32_t number)
{
  uint32_t exponent = 0;
  while (number >> exponent > 1u) {
    exponent++;
  }
  return exponent;
}

/* The header's bytes, TAE_HEADER_BYTES at most; its checksum is that of the bytes before it. */
static void tae_header_bytes(tae_header *header, uint8_t *bytes)
{
  static const uint8_t begin[6] = {0x89, 'T', 'A', 'E', 1, TAE_FLAGS};
  uint32_t i;
  for (i = 0; i < 6u; i++) {
    bytes[i] = begin[i];
  }
  bytes[5] = (uint8_t)(begin[5] | header->kind);
  bytes[6] = (uint8_t)(header->samples & 255u);
  bytes[7] = (uint8_t)(header->samples >> 8 & 255u);
  tae_put_u32(bytes + 8, TAE_SAMPLE_BYTES);
  for (i = 0; i < 8u; i++) {
    bytes[12u + i] = tae_identity[i];
  }
  header->size = 24;
  if (header->kind == TAE_BOUNDED) {
    uint32_t exponent = tae_log2(header->bound);
    tae_put_u32(bytes + 20, 0);
    tae_put_u32(bytes + 24, (TAE_BOUND_EXPONENT + exponent) << 20 | (header->bound << (20u - exponent) & 0xfffffu));
    header->size = 32;
  }
  header->checksum = tae_crc(0, bytes, header->size - 4u);
  tae_put_u32(bytes + header->size - 4, header->checksum);
}

int tae_header_make(tae_header *header, int kind, uint32_t bound, uint32_t samples)
{
  uint8_t bytes[TAE_HEADER_BYTES];
  if (header == NULL || kind < TAE_LOSSY || kind > TAE_LOSSLESS || samples == 0 || samples > 65535u) {
    return TAE_ARGUMENT;
  }
  if ((TAE_KINDS >> kind & 1u) == 0) {
    return TAE_UNSUPPORTED;
  }
  if (samples > 1u && samples > TAE_FRAME_DATA / TAE_SAMPLE_BYTES) {
    return TAE_ARGUMENT;
  }
  if (kind == TAE_BOUNDED ? bound == 0 || bound > 65535u : bound != 0) {
    return TAE_ARGUMENT;
  }
  header->samples = samples;
  header->bound = bound;
  header->kind = (uint8_t)kind;
  tae_header_bytes(header, bytes);
  return TAE_OK;
}
