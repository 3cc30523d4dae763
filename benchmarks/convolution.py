"""Convolutions over one kernel in each format: latency, start-up, memory and bytes against two copies, and against windows that
tile.

    python benchmarks/convolution.py --json convolution.json

Nets have random weights and three signatures in each file: latencies in turns on one thread, start-up and memory in processes
of their own. It runs from a checkout, since it takes the random programs of the tests.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rows import Row, report_parts
from tiedae.bundle.bench_results import Way
from tiedae.compress.config import Kernels
from tiedae.compress.windows import Window
from tiedae.console import Console
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution, Dense, Patches, Reshape, Unpatch
from tiedae.program.program import SIGNATURES, Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.footprint import footprints
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.program.convolutions import Building, integer_program, random_program

SECONDS, ROUNDS, PROCESSES = 4.0, (60, 2000), 5
RANDOM = 100
KINDS: tuple[Kernels, ...] = ("view", "copies", "portable")
CODE = 16


@dataclass(frozen=True)
class Net:
    """Convolutions of `units` over images of `shape`, all with one window, and a dense layer of `dense` units if not 0."""

    shape: tuple[int, int, int]
    window: Window
    units: tuple[int, ...]
    dense: int = 0

    def program(self, *, tiles: bool = False) -> Program:
        """The integer program with random weights. `tiles`: Patches, Dense and Unpatch in place of convolutions."""
        building, source, shape, before = Building(np.random.default_rng(0)), "x", self.shape, "linear"
        building.tensor("x", shape)
        for index, units in enumerate(self.units):
            last, mirror = index == len(self.units) - 1 and not self.dense, "y" if index == 0 else f"decoder_{index}"
            target, z = "code" if last else f"encoder_{index}", "code" if last else f"decoder_{index + 1}"
            options = (index, source, target, z, mirror, shape, units, before)
            shape = _tiled(building, self.window, *options) if tiles else _convolved(building, self.window, *options)
            source, before = target, "relu"
        if self.dense:
            size, index = math.prod(shape), len(self.units)
            kernel = building.kernel(index, size, self.dense)
            flat, rows = building.tensor(f"{source}.flat", (size,)), building.tensor("decoder.flat", (size,))
            building.tensor("code", (self.dense,))
            building.tensor(f"decoder_{index}", shape)
            bias = building.vector("code.bias", self.dense)
            building.encoder += [Reshape(source, flat), Dense(flat, "code", kernel, False, bias, "linear")]
            bias = building.vector("decoder.bias", size)
            building.decoders.append([Dense("code", rows, kernel, True, bias, "relu"), Reshape(rows, f"decoder_{index}")])
        decoder = tuple(operation for part in reversed(building.decoders) for operation in part)
        program = Program("net", building.tensors, building.kernels, tuple(building.encoder), decoder, building.constants)
        return integer_program(program, building.rng.random((16, *self.shape)).astype(np.float32), building.rng)


def _convolved(building, window, index, source, target, z, mirror, shape, units, before):
    inner = (*window.places(shape[:-1]), units)
    kernel = building.kernel(index, math.prod(window.sizes) * shape[-1], units)
    building.tensor(target, inner)
    building.tensor(mirror, shape)
    options = {"sizes": window.sizes, "strides": window.strides, "padding": window.padding}
    activation = "linear" if target == "code" else "relu"
    bias = building.vector(f"{target}.bias", units)
    building.encoder.append(Convolution(source, target, kernel, False, bias, activation, **options))
    bias = building.vector(f"{mirror}.bias", shape[-1])
    building.decoders.append([Convolution(z, mirror, kernel, True, bias, before, **options)])
    return inner


def _tiled(building, window, index, source, target, z, mirror, shape, units, before):
    inner, size = (*window.places(shape[:-1]), units), math.prod(window.sizes) * shape[-1]
    kernel = building.kernel(index, size, units)
    rows, back = building.tensor(f"{source}.rows", (*inner[:-1], size)), building.tensor(f"{mirror}.rows", (*inner[:-1], size))
    building.tensor(target, inner)
    building.tensor(mirror, shape)
    activation = "linear" if target == "code" else "relu"
    bias = building.vector(f"{target}.bias", units)
    building.encoder += [Patches(source, rows, window.sizes), Dense(rows, target, kernel, False, bias, activation)]
    bias = building.vector(f"{mirror}.bias", size)
    building.decoders.append([Dense(z, back, kernel, True, bias, before), Unpatch(back, mirror, window.sizes)])
    return inner


NETS = {
    "28²×1 k3s2 16-32-16": Net((28, 28, 1), Window((3, 3), (2, 2), "same"), (16, 32), CODE),
    "32²×3 k3s2 32-64-128": Net((32, 32, 3), Window((3, 3), (2, 2), "same"), (32, 64, 128)),
}
"""The first one gives the rows, the others are told beside it."""
TILES = {
    "28²×1 k4 32": Net((28, 28, 1), Window((4, 4), (4, 4)), (32,)),
    "32²×3 k4 64": Net((32, 32, 3), Window((4, 4), (4, 4)), (64,)),
    "28²×1 k2 16-32-16": Net((28, 28, 1), Window((2, 2), (2, 2)), (16, 32), CODE),
    "64²×3 k8 128": Net((64, 64, 3), Window((8, 8), (8, 8)), (128,)),
}


def tflite_equality(console: Console) -> list[Row]:
    """Values of `code` and `y` in XNNPACK that differ from the program's."""
    console.note(f"equality: {RANDOM} random nets")
    different, count = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(RANDOM):
            program, x = random_program(seed)
            path = Path(folder) / "net.tflite"
            path.write_bytes(to_tflite(program, io="uint8"))
            got, expected = (
                RUNTIMES["litert-xnnpack"].open({"": path}).run("reconstruct", x),
                execute(program, "reconstruct", x),
            )
            different += sum(int(np.count_nonzero(got[name] != expected[name])) for name in got)
            count += sum(values.size for values in got.values())
    detail = f"of {count:,} values of code and y of {RANDOM} random nets"
    return [Row("conv_values_different", different, "values", "== 0", "", detail)]


def view_latency(console: Console) -> list[Row]:
    """reconstruct of a file by view / with two copies; and of a portable one beside it."""
    console.note("latency of a view")
    files = {name: {kind: to_tflite(net.program(), kernels=kind) for kind in KINDS} for name, net in NETS.items()}
    return [_latency("conv_view_latency_ratio", files, "view", "copies", "<= 1.05")]


def patch_latency(console: Console) -> list[Row]:
    """decode where windows tile the sample: by Dense and Unpatch / by TRANSPOSE_CONV."""
    console.note("latency of patches")
    files = {
        name: {kind: to_tflite(net.program(tiles=kind == "patches")) for kind in ("patches", "convolution")}
        for name, net in TILES.items()
    }
    return [_latency("patch_latency_ratio", files, "patches", "convolution", "<= 0.4", "<= 0.22")]


def load_costs(console: Console) -> list[Row]:
    """Start-up of a file by view, all signatures allocated, its memory and bytes against the file with two copies."""
    console.note("start-up and memory")
    files = {name: {kind: to_tflite(net.program(), kernels=kind) for kind in KINDS[:2]} for name, net in NETS.items()}
    with tempfile.TemporaryDirectory() as text:
        loads = [_runs(Path(text), name, kind, data) for name, kinds in files.items() for kind, data in kinds.items()]
        spent = [found for _, found in footprints(loads, processes=PROCESSES)]
        starts = [[_milliseconds(Path(load[0].path)) for load in loads] for _ in range(PROCESSES)]
    opened = np.median(starts, axis=0).reshape(len(NETS), 2)
    memory = np.array([found.memory or 0 for found in spent]).reshape(len(NETS), 2) / 2**20
    sizes = np.array([len(data) for kinds in files.values() for data in kinds.values()]).reshape(len(NETS), 2)
    return [
        Row("conv_load_ms", opened[0, 0], "ms", "<= 60", "", _told("view, copies: ", opened, ".1f")),
        Row("conv_rss_ratio", memory[0, 0] / memory[0, 1], "x", "<= 1.0", "", _told("MiB, view, copies: ", memory, ".2f")),
        Row("conv_bytes_ratio", sizes[0, 0] / sizes[0, 1], "x", "", "", _told("B, view, copies: ", sizes, ",")),
    ]


def _told(text: str, values: np.ndarray, form: str) -> str:
    return text + "; ".join(
        f"{net} {', '.join(format(each, form) for each in row)}" for net, row in zip(NETS, values, strict=True)
    )


def _milliseconds(path: Path) -> float:
    """From opening a file to the tensors of every signature being allocated, once more in this process."""
    from ai_edge_litert.interpreter import Interpreter

    begun = time.perf_counter_ns()
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    for name in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(name)
        runner._interpreter_wrapper.AllocateTensors(runner._subgraph_index)
    return (time.perf_counter_ns() - begun) / 1e6


def _latency(row: str, files: Mapping[str, Mapping[str, bytes]], one: str, other: str, reach: str, stretch: str = "") -> Row:
    """`decode` of one kind of file / of another, in turns, of the first net, with all others beside it."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        groups = [
            TimedGroup(tuple(_runs(folder, name, kind, data)[1] for kind, data in kinds.items()), 1, Way.INVOKE)
            for name, kinds in files.items()
        ]
        measured = list(time_groups(groups, threads=1, seconds=SECONDS, rounds=ROUNDS))
    ratios = [ratio(each.timings[one], each.timings[other]) for each in measured]
    texts = [
        f"{name}: {', '.join(f'{kind} {timing.median_us:.2f}' for kind, timing in each.timings.items())} µs, ratio {value.text}"
        for name, each, value in zip(files, measured, ratios, strict=True)
    ]
    return Row(row, ratios[0].value, "x", reach, stretch, "decode, " + "; ".join(texts))


def _runs(folder: Path, net: str, kind: str, data: bytes) -> tuple[Timed, ...]:
    """All signatures of a file, which is written with a sample of each input."""
    place = folder / net.replace(" ", "_")
    place.mkdir(exist_ok=True)
    path = place / f"{kind}.tflite"
    path.write_bytes(data)
    for signature in read_tflite(data).signatures:
        dtype, shape = signature.inputs[0].sample
        real = np.random.default_rng(1).random((1, *shape))
        np.save(place / f"{signature.name}.npy", (real if dtype.kind == "f" else real * 255).astype(dtype))
    return tuple(Timed(kind, "litert-xnnpack", str(path), each, str(place / f"{each}.npy")) for each in SIGNATURES)


PARTS = {
    "tflite-equality": tflite_equality,
    "tflite-view": view_latency,
    "tflite-patches": patch_latency,
    "tflite-load": load_costs,
}

if __name__ == "__main__":
    sys.exit(report_parts(__doc__ or "", "Convolutions", PARTS))
