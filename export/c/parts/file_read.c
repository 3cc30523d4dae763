
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

/* Where an index that ends at `stop` begins; 0 where none does. */
static size_t tae_index_start(const tae_file *file, size_t stop)
{
  const uint8_t *bytes = file->bytes;
  uint32_t size;
  size_t start;
  if (stop < TAE_INDEX_SHORTEST) {
    return 0;
  }
  size = tae_u32(bytes + stop - 8);
  if (size < TAE_INDEX_SHORTEST || size > stop) {
    return 0;
  }
  start = stop - size;
  if (bytes[start] != TAE_MARKER || bytes[start + 1] != TAE_INDEX) {
    return 0;
  }
  return tae_crc(file->header.checksum, bytes + start, size - 4u) == tae_u32(bytes + stop - 4) ? start : 0;
}

/* The next entry of an index. */
static int tae_next_entry(tae_file *file, uint32_t *samples, uint32_t *size)
{
  if (tae_number(file->bytes, file->entries, &file->entry, samples) != TAE_OK) {
    return TAE_DAMAGED;
  }
  return tae_number(file->bytes, file->entries, &file->entry, size) == TAE_OK ? TAE_OK : TAE_DAMAGED;
}

/* Go to the first entry of the index and the first frame. */
static void tae_rewind(tae_file *file)
{
  file->entry = file->entries + 8u - tae_u32(file->bytes + file->entries) + 2u;
  file->at = file->header.size;
  file->first = 0;
}

/* Whether the index lists just what lies between header and index; its samples are summed. */
static int tae_lists_file(tae_file *file, size_t start)
{
  size_t at = file->header.size;
  while (file->entry < file->entries) {
    uint32_t samples;
    uint32_t size;
    if (tae_next_entry(file, &samples, &size) != TAE_OK || samples > file->header.samples) {
      return 0;
    }
    if (size < TAE_SHORTEST || size > start - at) {
      return 0;
    }
    at += size;
    file->samples += samples;
  }
  return at == start;
}

/* Use the index by which a file ends, if it is whole. */
static void tae_use_index(tae_file *file)
{
  size_t start = tae_index_start(file, file->size);
  file->samples = 0;
  file->entry = 0;
  file->entries = 0;
  file->placed = start == 0;
  if (start < file->header.size) {
    return;
  }
  file->entry = start + 2u;
  file->entries = file->size - 8u;
  if (tae_lists_file(file, start)) {
    file->placed = 1;
    tae_rewind(file);
  } else {
    file->entry = 0;
    file->samples = 0;
  }
}

int tae_file_open(tae_file *file, const uint8_t *bytes, size_t size)
{
  int status;
  if (file == NULL) {
    return TAE_ARGUMENT;
  }
  status = tae_header_read(&file->header, bytes, size);
  if (status != TAE_OK) {
    return status;
  }
  file->bytes = bytes;
  file->size = size;
  file->at = file->header.size;
  file->first = 0;
  file->work = (int64_t)(TAE_SCAN_WORK * (uint64_t)(size - file->at)) + TAE_SCAN_LEAST;
  file->ended = 0;
  tae_use_index(file);
  return TAE_OK;
}

/* Go past bytes without samples; whether they are an end behind a frame, an earlier index, or both. */
static int tae_skip(tae_file *file, size_t size)
{
  size_t start = file->at;
  size_t used = 0;
  uint32_t padding;
  file->at += size;
  if (start > file->header.size) {
    (void)tae_end_read(&file->header, file->bytes + start, size, &padding, &used);
  }
  if (used == size) {
    return 1;
  }
  return size - used >= TAE_INDEX_SHORTEST && tae_u32(file->bytes + file->at - 8) == size - used && tae_index_start(file, file->at) > 0;
}

/* The next frame that the index lists. */
static int tae_next_listed(tae_file *file, tae_frame *frame)
{
  uint32_t samples = 0;
  uint32_t size = 0;
  size_t used;
  int status;
  while (samples == 0) {
    if (file->entry == file->entries || tae_next_entry(file, &samples, &size) != TAE_OK) {
      return TAE_END;
    }
    if (samples == 0 && !tae_skip(file, size)) {
      frame->samples = 0;
      return TAE_DAMAGED;
    }
  }
  status = tae_frame_read(&file->header, file->bytes + file->at, file->size - file->at, frame, &used);
  if (status != TAE_OK || used != size || frame->samples != samples) {
    status = TAE_DAMAGED;
    frame->payload = NULL;
    frame->size = 0;
  }
  frame->samples = samples;
  frame->first = file->first;
  file->at += size;
  file->first += samples;
  if (status == TAE_OK) {
    (void)tae_ends(file, frame, &used);
  }
  return status;
}

/* Where an index that begins at `file->at` ends; 0 where none does. */
static size_t tae_index_stop(tae_file *file)
{
  const uint8_t *bytes = file->bytes;
  size_t start = file->at;
  size_t at = start + 2u;
  size_t limit = file->size;
  uint32_t number;
  if (file->size - start < 2u || bytes[start] != TAE_MARKER || bytes[start + 1] != TAE_INDEX) {
    return 0;
  }
  if (file->work <= 0) {
    limit = start;
  } else if ((uint64_t)(file->work / TAE_WALK) < limit - start) {
    limit = start + (size_t)(file->work / TAE_WALK);
  }
  while (limit >= 8u && at <= limit - 8u) {
    if (tae_u32(bytes + at) == at + 8u - start && tae_index_start(file, at + 8u) == start) {
      file->work -= TAE_WALK * (int64_t)(at + 8u - start);
      return at + 8u;
    }
    if (tae_number(bytes, file->size, &at, &number) != TAE_OK || tae_number(bytes, file->size, &at, &number) != TAE_OK) {
      break;
    }
  }
  file->work -= TAE_WALK * (int64_t)(at - start);
  return 0;
}

/* Go to where the next whole frame begins, or to the end. */
static void tae_find_frame(tae_file *file)
{
  for (file->at++; file->at < file->size && file->work > 0; file->at++) {
    tae_frame frame;
    size_t used;
    int status = tae_frame_read(&file->header, file->bytes + file->at, file->size - file->at, &frame, &used);
    file->work -= (int64_t)used;
    if (status == TAE_OK) {
      return;
    }
  }
  file->at = file->size;
}

int tae_file_next(tae_file *file, tae_frame *frame)
{
  if (file == NULL || frame == NULL) {
    return TAE_ARGUMENT;
  }
  frame->ends = 0;
  frame->padding = 0;
  if (file->entry > 0) {
    return tae_next_listed(file, frame);
  }
  while (file->at < file->size) {
    size_t used;
    if (tae_frame_read(&file->header, file->bytes + file->at, file->size - file->at, frame, &used) == TAE_OK) {
      frame->first = file->first;
      file->first += frame->samples;
      file->at += used;
      if (tae_ends(file, frame, &used)) {
        file->at += used;
      }
      return TAE_OK;
    }
    used = tae_index_stop(file);
    if (used > 0) {
      file->at = used;
    } else {
      tae_find_frame(file);
      file->placed = 0;
      frame->samples = 0;
      return TAE_DAMAGED;
    }
  }
  if (file->ended) {
    return TAE_END;
  }
  file->ended = 1;
  frame->samples = 0;
  return TAE_DAMAGED;
}

int tae_file_seek(tae_file *file, uint64_t sample)
{
  if (file == NULL || (file->entry > 0 && sample >= file->samples)) {
    return TAE_ARGUMENT;
  }
  if (file->entry == 0) {
    return TAE_DAMAGED;
  }
  tae_rewind(file);
  for (;;) {
    uint32_t samples;
    uint32_t size;
    size_t entry = file->entry;
    if (tae_next_entry(file, &samples, &size) != TAE_OK) {
      return TAE_DAMAGED;
    }
    if (sample - file->first < samples) {
      file->entry = entry;
      return TAE_OK;
    }
    file->at += size;
    file->first += samples;
  }
}

/* Whether files of the header's kind have frames of this mode. */
static int tae_check_mode(const tae_header *header, const tae_frame *frame)
{
  if (frame->mode == 3 || frame->mode == 4) {
    return TAE_UNSUPPORTED;
  }
  return header->kind == TAE_LOSSY ? (frame->mode == 0 ? TAE_OK : TAE_DAMAGED)
                  : (frame->mode == 1 || frame->mode == 2 ? TAE_OK : TAE_DAMAGED);
}
