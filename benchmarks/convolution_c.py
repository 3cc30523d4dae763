"""The figures of convolutions in C: equality, copies of kernels, time against TFLM, bytes on a Cortex-M4.

    python benchmarks/convolution_c.py --json convolution_c.json

Weights are random: bytes and time do not depend on them. Both nets take [28, 28, 1]. `strided`: 3 × 3 with stride 2, 16 and 32
filters, and 16 units; `pooled`: 5 × 5 with 16 filters, 3 × 3 with 32, each pooled 2 × 2. The two-copy file of a net is that of
the stock converter, int8, one sample a call. Times are of one thread, interleaved, batch 1.
"""

from __future__ import annotations

import math
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from c_files import Library, tool, written
from needs import require
from rows import Row, arguments_of, report
from tiedae.console import Console
from tiedae.export.c.kernels import STORAGES
from tiedae.export.c.reader import read_c
from tiedae.export.c.source import CSource, to_c
from tiedae.export.storage_check import prove
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.latency import interleave, ratio

sys.path.append(str(Path(__file__).parent.parent))
from tests.program.convolution_nets import Layer, net_program
from tests.program.convolutions import random_program

PROGRAMS, IMAGES, SECONDS = 100, 4, 15.0
CORE = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2")


NETS = {"strided": ((Layer(16, 3, 2), Layer(32, 3, 2)), 16), "pooled": ((Layer(16, 5, 1, 2), Layer(32, 3, 1, 2)), 0)}
"""Convolutions, and the units of a dense layer behind them, if any."""
SHAPE = (28, 28, 1)
STOCK = "serving_default"
"""The signature of the two-copy file."""


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return report("Convolutions in C", lambda console: measure(Path(folder), console), arguments.json)


def measure(folder: Path, console: Console) -> Sequence[Row]:
    require(packages=("tensorflow", "tflite_micro"), programs=("gcc", CORE[0]))
    nets = {name: net_program(name, SHAPE, *net)[0] for name, net in NETS.items()}
    return [*equality_rows(folder, console), time_row(nets, folder), core_row(nets, folder)]


def equality_rows(folder: Path, console: Console) -> list[Row]:
    """Values and copies over random programs, both storages."""
    different, copies, count = 0, 0, 0
    for seed in range(PROGRAMS):
        if seed % 20 == 0:
            console.note(f"equality: program {seed + 1} of {PROGRAMS}")
        program, x = random_program(seed)
        right = execute(program, "reconstruct", x)
        source = to_c(program, storage=STORAGES[seed % 2])
        library = Library(source, folder / f"random{seed}", "-O1")
        got = library.reconstruct(x.reshape(len(x), -1), program.tensors["code"].size)
        for values, name in zip(got, ("code", "y"), strict=True):
            different += int((values != right[name].reshape(values.shape)).sum())
            count += values.size
        copies = max(copies, copies_of(program, source, folder / f"random{seed}"))
    detail = f"of {count:,} values, 16 samples of {PROGRAMS} random programs"
    return [
        Row("c_conv_values_different", different, "", "== 0", "", detail),
        Row("kernel_copies_max", copies, "", "== 1", "", f"C files of {PROGRAMS} random programs"),
    ]


def copies_of(program: Program, source: CSource, folder: Path) -> int:
    """How often the file has a kernel, at most; 0 where its proof fails otherwise."""
    findings = prove(read_c(folder / written(source, folder)), program)
    stored = [re.search(r"stored (\d+) times", finding.text) for finding in findings if not finding.ok]
    return max((int(found[1]) if found else 0 for found in stored), default=1)


def time_row(nets: dict[str, Program], folder: Path) -> Row:
    """gcc -O2 / TFLM, of the net where it is slower; all calls in the same rounds."""
    calls, held = {}, []
    for name, program in nets.items():
        source = to_c(program)
        library = Library(source, folder / name, "-O2")
        images = np.random.default_rng(1).integers(0, 256, (IMAGES, *SHAPE), np.uint8)
        (folder / f"{name}.tflite").write_bytes(two_copies(*NETS[name]))
        micro = RUNTIMES["tflm"].open({STOCK: folder / f"{name}.tflite"})
        bound = []
        for x in images:
            code, y = np.zeros(program.tensors["code"].size, np.uint8), np.zeros(x.size, np.uint8)
            held.append((x, code, y))
            bound.append(library.bound("reconstruct", {"x": x, "code": code, "y": y}))

        calls[f"{name} C"] = lambda bound=bound: [function(*arguments) for function, arguments in bound]
        calls[f"{name} TFLM"] = lambda micro=micro, images=images: [micro.run(STOCK, x[None]) for x in images]
    timings = interleave(calls, seconds=SECONDS)
    ratios = {name: ratio(timings[f"{name} C"], timings[f"{name} TFLM"]) for name in nets}
    us = {name: timing.median_us / IMAGES for name, timing in timings.items()}
    detail = "; ".join(
        f"{name}: {us[f'{name} C']:.1f} / {us[f'{name} TFLM']:.1f} µs, {value.text}" for name, value in ratios.items()
    )
    return Row("c_conv_vs_tflm", max(value.value for value in ratios.values()), "x", "<= 0.25", "<= 0.15", detail)


def two_copies(layers: Sequence[Layer], units: int) -> bytes:
    """The stock converter's int8 file of an untied net of the same shapes, batch 1."""
    import tensorflow as tf

    rng = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return tf.constant(rng.normal(0, math.prod(shape[:-1]) ** -0.5, shape).astype(np.float32))

    def affine(x: Any) -> Any:
        return tf.nn.bias_add(x, weights(x.shape[-1]))

    @tf.function(input_signature=[tf.TensorSpec((1, *SHAPE))])
    def net(x: Any) -> Any:
        y, shapes = x, []
        for layer in layers:
            shapes.append(y.shape)
            y = tf.nn.conv2d(y, weights(layer.size, layer.size, y.shape[-1], layer.units), layer.stride, "SAME")
            y = tf.nn.relu(affine(y))
            y = tf.nn.max_pool2d(y, layer.pool, layer.pool, "SAME") if layer.pool > 1 else y
        if units:
            inner, flat = y.shape, math.prod(y.shape)
            y = affine(tf.matmul(tf.reshape(y, (1, flat)), weights(flat, units)))
            y = tf.reshape(tf.nn.relu(affine(tf.matmul(y, weights(units, flat)))), inner)
        for layer, outer in zip(reversed(layers), reversed(shapes), strict=True):
            large = [n * layer.pool for n in y.shape[1:3]]
            y = tf.image.resize(y, large, "nearest") if layer.pool > 1 else y
            kernel = weights(layer.size, layer.size, outer[-1], layer.units)
            y = affine(tf.nn.conv2d_transpose(y, kernel, outer, layer.stride, "SAME"))
        return y

    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.get_concrete_function()], tf.Module())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[rng.random((1, *SHAPE)).astype(np.float32)] for _ in range(32)]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return converter.convert()


def core_row(nets: dict[str, Program], folder: Path) -> Row:
    """Bytes of functions of an object for a Cortex-M4, of the net where they are more."""
    code, details = [], []
    for name, program in nets.items():
        source, place = to_c(program), folder / f"{name} core"
        tool(*CORE, "-std=c99", "-c", written(source, place), "-o", "core.o", folder=place)
        listed = tool("arm-none-eabi-nm", "-S", "core.o", folder=place)
        sizes = [(kind.lower(), int(size, 16)) for size, kind in re.findall(r"^\w+ (\w+) ([tTrR]) ", listed, re.MULTILINE)]
        functions, constants = (sum(size for kind, size in sizes if kind == wanted) for wanted in "tr")
        kernels = source.kernel_bytes
        code.append(functions)
        details.append(
            f"{name}: code {functions:,} B, biases and tables {constants - kernels:,} B, kernels {kernels:,} B, "
            f"arena {source.arena:,} B"
        )
    return Row("m4_conv_code_kb", max(code) / 1000, "kB", "", "", "; ".join(details))


if __name__ == "__main__":
    sys.exit(main())
