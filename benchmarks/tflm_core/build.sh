#!/usr/bin/env bash
# TFLM's reference kernels on the Cortex-M4 of examples/boards: build.sh TFLM FLATBUFFERS ROOT BUILD, the checkouts of tflite-micro and
# of flatbuffers (of the version that its schema_generated.h wants), a root with Debian's libstdc++-arm-none-eabi-dev,
# libstdc++-arm-none-eabi-newlib, libnewlib-dev, libnewlib-arm-none-eabi, libgemmlowp-dev and libruy-dev (/ where they are installed).
set -euo pipefail
tflm=$(realpath "$1") flatbuffers=$(realpath "$2") root=$(realpath "$3")/usr
here=$(realpath "$(dirname "$0")") boards=$(realpath "$here/../../examples/boards")
mkdir -p "$4" && cd "$4"
headers=$root/include/newlib/c++/14.2.1 libraries=$root/lib/arm-none-eabi/newlib/thumb/v7e-m/nofp
core=(-mcpu=cortex-m4 -mthumb -O2 -ffunction-sections -fdata-sections -w)
cxx=(arm-none-eabi-g++ "${core[@]}" -std=c++17 -fno-rtti -fno-exceptions -fno-threadsafe-statics -DTF_LITE_STATIC_MEMORY
  -DTF_LITE_STRIP_ERROR_STRINGS -DNDEBUG -isystem "$headers" -isystem "$headers/arm-none-eabi/thumb/v7e-m/nofp"
  -isystem "$root/include/newlib" -I. -I"$boards" -I"$tflm" -I"$flatbuffers/include" -I"$root/include/gemmlowp" -I"$root/include")
micro=tensorflow/lite/micro
cd "$tflm"
sources=$(ls $micro/*.cc $micro/{arena_allocator,memory_planner,tflite_bridge}/*.cc \
  $micro/kernels/{fully_connected,quantize,dequantize}{,_common}.cc $micro/kernels/kernel_util.cc 2>/dev/null || true)
sources+=" $(find tensorflow/lite/core tensorflow/lite/kernels tensorflow/compiler -name '*.cc')"
cd - >/dev/null
for source in $sources; do
  case $source in *_test.cc | *test_helper* | *mock_* | *fake_* | *recording* | *system_setup* | *micro_time* | *debug_log*) continue ;; esac
  object=${source//\//_}.o
  [ -f "$object" ] || "${cxx[@]}" -c "$tflm/$source" -o "$object"
done
[ -f model.h ] || "${PYTHON:-python}" "$here/model.py" model.h
"${cxx[@]}" -c "$here/main.cc" -o main.o
for file in "$here/stubs.c" "$boards/board.c" "$boards/mps2-an386.c"; do
  arm-none-eabi-gcc "${core[@]}" -std=c99 -ffreestanding -I"$boards" -isystem "$boards/include" -c "$file" -o "$(basename "$file").o"
done
arm-none-eabi-g++ "${core[@]}" -nostdlib -Wl,--gc-sections -L"$boards" -Tmps2-an386.ld ./*.o -Wl,--start-group \
  "$libraries"/{libc_nano,libm,libstdc++_nano}.a -lgcc -Wl,--end-group -o tflm.elf
arm-none-eabi-size tflm.elf
qemu-system-arm -M mps2-an386 -display none -chardev stdio,id=text -semihosting-config enable=on,target=native,chardev=text \
  -icount shift=0 -kernel tflm.elf
