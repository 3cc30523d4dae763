"""Convolutions in .tflite files: latency, start-up, memory and bytes against two copies, the stock converter's files, and
windows that tile (parts of `convolution.py`)."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from convolution_stock import NETS, Building, Layer, Net, integer_program, stock_tflite
from rows import Row

from tiedae.base.windows import Window
from tiedae.bundle.bench_results import Way
from tiedae.config.config import Kernels
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.operations import Dense, Patches, Unpatch
from tiedae.program.program import SIGNATURES, Program
from tiedae.report.console import Console
from tiedae.verify.bench.footprint import footprints
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups

SECONDS, ROUNDS, PROCESSES = 4.0, (60, 2000), 5
KINDS: tuple[Kernels, ...] = ("view", "copies", "portable")
ZEROS = 0.75
SPARSE = {"16²×64 k3s2 128": Net((16, 16, 64), (Layer(128, 3, 2),)), **NETS}


@dataclass(frozen=True)
class Tiles:
    """Layers over images of `shape` whose windows tile the sample."""

    shape: tuple[int, int, int]
    window: Window
    units: tuple[int, ...]

    def program(self) -> Program:
        """The integer program with random weights, by Patches, Dense and Unpatch."""
        building, source, shape, before = Building(np.random.default_rng(0)), "x", self.shape, "linear"
        building.tensor("x", shape)
        for index, units in enumerate(self.units):
            last, mirror = index == len(self.units) - 1, "y" if index == 0 else f"decoder_{index}"
            target, z = "code" if last else f"encoder_{index}", "code" if last else f"decoder_{index + 1}"
            shape = _tiled(building, self.window, index, source, target, z, mirror, shape, units, before)
            source, before = target, "relu"
        decoder = tuple(operation for part in reversed(building.decoders) for operation in part)
        program = Program("net", building.tensors, building.kernels, tuple(building.encoder), decoder, building.constants)
        return integer_program(program, building.rng.random((16, *self.shape)).astype(np.float32), building.rng)

    def programs(self) -> dict[str, Program]:
        """Both, by kind."""
        return {"patches": self.program(), "convolution": self.convolved()}

    def convolved(self) -> Program:
        """The same by convolutions."""
        (size, _), layers = self.window.sizes, self.units
        return Net(self.shape, tuple(Layer(units, size, size) for units in layers)).program


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


TILES = {
    "28²×1 k4 32": Tiles((28, 28, 1), Window((4, 4), (4, 4)), (32,)),
    "32²×3 k4 64": Tiles((32, 32, 3), Window((4, 4), (4, 4)), (64,)),
    "28²×1 k2 16-32": Tiles((28, 28, 1), Window((2, 2), (2, 2)), (16, 32)),
    "64²×3 k8 128": Tiles((64, 64, 3), Window((8, 8), (8, 8)), (128,)),
}


def view_latency(console: Console) -> list[Row]:
    """decode of a file by view / with two copies; the detail has a portable one."""
    console.note("latency of a view")
    files = {name: {kind: to_tflite(net.program, kernels=kind) for kind in KINDS} for name, net in NETS.items()}
    return _latencies("conv_view_latency_ratio", files, "view", {"copies": ("", "<= 1.05", "<= 1.00")})


def patch_latency(console: Console) -> list[Row]:
    """decode where windows tile the sample: by Dense and Unpatch / by TRANSPOSE_CONV."""
    console.note("latency of patches")
    files = {name: {kind: to_tflite(each, io="uint8") for kind, each in net.programs().items()} for name, net in TILES.items()}
    return _latencies("patch_latency_ratio", files, "patches", {"convolution": ("", "<= 0.40", "<= 0.22")})


def load_costs(console: Console) -> list[Row]:
    """Start-up of a file by view, all signatures allocated, its memory and bytes against the file with two copies."""
    console.note("start-up and memory")
    files = {name: {kind: to_tflite(net.program, kernels=kind) for kind in KINDS[:2]} for name, net in NETS.items()}
    with tempfile.TemporaryDirectory() as text:
        loads = [_runs(Path(text), name, kind, data) for name, kinds in files.items() for kind, data in kinds.items()]
        spent = [found for _, found in footprints(loads, processes=PROCESSES)]
        starts = [[_milliseconds(Path(load[0].path)) for load in loads] for _ in range(PROCESSES)]
    opened = np.median(starts, axis=0).reshape(len(NETS), 2)
    memory = np.array([found.memory or 0 for found in spent]).reshape(len(NETS), 2) / 2**20
    ratios = memory[:, 0] / memory[:, 1]
    return [
        Row("conv_load_ms", opened[:, 0].max(), "ms", "<= 60", "<= 30", "view, copies, ms: " + _listed(opened, ".1f")),
        Row("conv_rss_ratio", ratios.max(), "x", "<= 1.0", "<= 0.75", "view, copies, MiB: " + _listed(memory, ".2f")),
    ]


def stock_costs(console: Console) -> list[Row]:
    """Bytes, and latency of reconstruct, against the stock int8 file of the untied net, of fixed and dynamic batch."""
    console.note("TFLite: stock converter")
    files = {
        name: {"ours": to_tflite(net.program, io="uint8"), "fixed": stock_tflite(net, 1), "dynamic": stock_tflite(net)}
        for name, net in NETS.items()
    }
    sizes = np.array([[len(data) for data in kinds.values()] for kinds in files.values()])
    console.note("TFLite: latency against stock")
    limits = {"fixed": ("", "<= 1.00", "<= 0.80"), "dynamic": ("_dynamic", "", "")}
    return [
        Row(
            "conv_tflite_bytes_ratio",
            (sizes[:, 0] / sizes[:, 1:].min(axis=1)).max(),
            "x",
            "<= 0.50",
            "<= 0.40",
            "ours, stock of fixed and of dynamic batch, B: " + _listed(sizes, ","),
        ),
        *_latencies("conv_tflite_latency_ratio", files, "ours", limits, "reconstruct"),
    ]


def sparse_bytes(console: Console) -> list[Row]:
    """Bytes of a file with 75 % zeros stored sparse / by dense view."""
    console.note("sparse kernels")
    sizes = []
    for net in SPARSE.values():
        program, rng = net.program, np.random.default_rng(3)
        kernels = {
            name: program.constants[name] * (rng.random(program.constants[name].shape) >= ZEROS) for name in program.kernels
        }
        program = replace(program, constants={**program.constants, **kernels})
        sizes.append([len(to_tflite(program, kernels=kind)) for kind in ("sparse", "view", "copies")])
    found = np.array(sizes)
    detail = "sparse, view, copies, B: " + _listed(found, ",", SPARSE)
    return [Row("sparse75_bytes_ratio", (found[:, 0] / found[:, 1]).max(), "x", "<= 0.88", "<= 0.75", detail)]


def _listed(values: np.ndarray, form: str, names: Sequence[str] | Mapping[str, Net] = NETS) -> str:
    return "; ".join(f"{net} {', '.join(format(each, form) for each in row)}" for net, row in zip(names, values, strict=True))


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


def _latencies(
    row: str,
    files: Mapping[str, Mapping[str, bytes]],
    one: str,
    others: Mapping[str, tuple[str, str, str]],
    signature: str = "decode",
) -> list[Row]:
    """A signature of one kind of file / of each of the others (suffix of the row, reach, stretch), in turns: the worst net."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        groups = [
            TimedGroup(
                tuple(_runs(folder, name, kind, data)[SIGNATURES.index(signature)] for kind, data in kinds.items()),
                1,
                Way.INVOKE,
            )
            for name, kinds in files.items()
        ]
        measured = list(time_groups(groups, threads=1, seconds=SECONDS, rounds=ROUNDS))
    rows = []
    for other, (suffix, reach, stretch) in others.items():
        ratios = [ratio(each.timings[one], each.timings[other]) for each in measured]
        medians = [", ".join(f"{kind} {found.median_us:.2f}" for kind, found in each.timings.items()) for each in measured]
        texts = [f"{name}: {us} µs, ratio {each.text}" for name, us, each in zip(files, medians, ratios, strict=True)]
        detail = f"{signature}, {one} / {other}; " + "; ".join(texts)
        rows.append(Row(row + suffix, max(each.value for each in ratios), "x", reach, stretch, detail))
    return rows


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
