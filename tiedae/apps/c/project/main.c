/* Checks the model on this machine: exit status 0 and one line where all is equal, 1 and what differs otherwise. */
#include <stdio.h>

#include "examples/check/NAMED_check.h"

int main(void)
{
  size_t at = 0;
  const char *what = tae_check(&at);
  if (what != NULL) {
    printf("NAMED: %s differs at %lu\n", what, (unsigned long)at);
    return 1;
  }
  printf("NAMED: %lu samples equal\n", (unsigned long)tae_check_samples());
  return 0;
}
