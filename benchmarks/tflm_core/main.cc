// Counts instructions of tensorflow/lite/micro on examples/boards; build.sh compiles it.
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#include "model.h"

extern "C" {
#include "board.h"
int printf(const char *format, ...);
}

constexpr int kCalls = 10;
alignas(16) static uint8_t arena[64 * 1024];

int main() {
  tflite::MicroMutableOpResolver<3> operations;
  operations.AddFullyConnected();
  operations.AddQuantize();
  operations.AddDequantize();
  static tflite::MicroInterpreter interpreter(tflite::GetModel(model), operations, arena, sizeof arena);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 2;
  uint32_t total = 0;
  for (int call = 0; call < kCalls; call++) {
    float *x = interpreter.input(0)->data.f;
    for (int i = 0; i < 1024; i++) x[i] = static_cast<float>((i * 37 + call * 11) % 200 - 100) * 0.02f;
    const uint32_t before = board_instructions();
    if (interpreter.Invoke() != kTfLiteOk) return 3;
    total += board_instructions() - before;
  }
  printf("%lu instructions a call, ", static_cast<unsigned long>(total / kCalls));
  printf("arena %lu B, ", static_cast<unsigned long>(interpreter.arena_used_bytes()));
  printf("stack %lu B\n", static_cast<unsigned long>(board_stack_used()));
  return 0;
}
