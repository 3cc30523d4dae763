
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
