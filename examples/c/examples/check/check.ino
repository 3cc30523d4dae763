// Checks the model on this board, and writes one line to the serial port.
#include <heartbeat.h>

#include "heartbeat_check.h"

void setup()
{
  size_t at = 0;
  Serial.begin(115200);
  while (!Serial) {
  }
  const char *what = heartbeat_check(&at);
  Serial.print("heartbeat: ");
  if (what == NULL) {
    Serial.print((unsigned long)heartbeat_check_samples());
    Serial.println(" samples equal");
  } else {
    Serial.print(what);
    Serial.print(" differs at ");
    Serial.println((unsigned long)at);
  }
}

void loop() {}
