// Checks the model on this board, and writes one line to the serial port.
#include <NAMED.h>

#include "NAMED_check.h"

void setup()
{
  size_t at = 0;
  Serial.begin(115200);
  while (!Serial) {
  }
  const char *what = tae_check(&at);
  Serial.print("NAMED: ");
  if (what == NULL) {
    Serial.print((unsigned long)tae_check_samples());
    Serial.println(" samples equal");
  } else {
    Serial.print(what);
    Serial.print(" differs at ");
    Serial.println((unsigned long)at);
  }
}

void loop() {}
