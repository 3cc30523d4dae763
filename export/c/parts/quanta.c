
/* A distance in quanta, rounded to the nearest. */
static int32_t tae_quanta(int32_t distance, uint32_t bound)
{
  int32_t quantum = 2 * (int32_t)bound + 1;
  if (bound == 0) {
    return distance;
  }
  distance += (int32_t)bound;
  return distance < 0 ? -((quantum - 1 - distance) / quantum) : distance / quantum;
}
