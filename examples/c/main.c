/* Checks the model on this machine: exit status 0 and one line where all is equal, 1 and what differs otherwise. */
#include <stdio.h>

#include "examples/check/heartbeat_check.h"

int main(void)
{
  size_t at = 0;
  const char *what = heartbeat_check(&at);
  if (what != NULL) {
    printf("heartbeat: %s differs at %lu\n", what, (unsigned long)at);
    return 1;
  }
  printf("heartbeat: %lu samples equal\n", (unsigned long)heartbeat_check_samples());
  return 0;
}
