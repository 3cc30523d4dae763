/*
 * the values under a window of `x`, `height` lines of `width` bytes, as a row: `lines` of `size` bytes, `zero` where they are beyond x.
 * Places before x wrap, so that they are beyond it too
 */
TAE_ROWS void tae_window(
    const uint8_t *x, size_t height, size_t width, size_t top, size_t left, size_t lines, size_t size, uint8_t zero, uint8_t *row
)
{
  size_t i, j;
  for (i = 0; i < lines; i++, row += size) {
    const size_t line = top + i;
    if (line < height && left < width && size <= width - left)
      for (j = 0; j < size; j++) row[j] = x[line * width + left + j];
    else
      for (j = 0; j < size; j++) row[j] = line < height && left + j < width ? x[line * width + left + j] : zero;
  }
}
