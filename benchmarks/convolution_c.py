"""Convolutions in C: time against TFLM, bytes on a Cortex-M4 (parts of `convolution.py`).

Weights are random: bytes and time do not depend on them. Both nets take [28, 28, 1]. `strided`: 3 × 3 with stride 2, 16 and 32
filters, and 16 units; `pooled`: 5 × 5 with 16 filters, 3 × 3 with 32, each pooled 2 × 2. The two-copy file of a net is that of
the stock converter, int8, one sample a call. Times are of one thread, interleaved, batch 1.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from c_files import Library, tool, written
from convolution_stock import Layer, Net, stock_tflite
from needs import require
from rows import Row

from tiedae.export.c.source import to_c
from tiedae.program.program import Program
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.latency import interleave, ratio

SHAPE, IMAGES, SECONDS = (28, 28, 1), 4, 15.0
CORE = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2")


NETS = {
    "strided": Net(SHAPE, (Layer(16, 3, 2), Layer(32, 3, 2)), 16),
    "pooled": Net(SHAPE, (Layer(16, 5, 1, 2), Layer(32, 3, 1, 2))),
}
STOCK = "reconstruct"
"""The signature of the two-copy file."""


def c_costs(console: Console) -> Sequence[Row]:
    """Time against TFLM, and bytes on a Cortex-M4."""
    require(packages=("tensorflow", "tflite_micro"), programs=("gcc", CORE[0]))
    console.note("C: time and bytes")
    with tempfile.TemporaryDirectory() as folder:
        programs = {name: net.program for name, net in NETS.items()}
        return [_time_row(programs, Path(folder)), _core_row(programs, Path(folder))]


def _time_row(nets: dict[str, Program], folder: Path) -> Row:
    """gcc -O2 / TFLM, of the net where it is slower; all calls in the same rounds."""
    calls, held = {}, []
    for name, program in nets.items():
        source = to_c(program)
        library = Library(source, folder / name, "-O2")
        images = np.random.default_rng(1).integers(0, 256, (IMAGES, *SHAPE), np.uint8)
        (folder / f"{name}.tflite").write_bytes(stock_tflite(NETS[name], batch=1))
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


def _core_row(nets: dict[str, Program], folder: Path) -> Row:
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
