"""The same values on other processors: codes, y and decoded samples (the part `values` of `trust.py`).

Model files run here and, emulated by qemu-user, on x86-64 without VNNI and on aarch64; C on aarch64, riscv64 and big-endian
s390x. Every value is compared with the program that its file implements.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from aarch64 import aarch64
from c_files import written
from emulated import Processor, haswell, run_emulated, this_processor
from install import ROOT, wheel
from needs import require
from rows import Row

from tiedae.codec.opening import load
from tiedae.export import to_onnx, to_tflite
from tiedae.export.c.source import to_c
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.report.console import Console

sys.path.insert(0, str(ROOT))
from tests.conftest import build_program
from tests.export.c.compiled import MAIN
from tests.program import convolutions

NETS = 40
"""Of each kind: dense with a decoder in one product, dense with products and biases apart, convolutions."""
SAMPLES = 64
CORES = {"aarch64": "aarch64-linux-gnu-gcc", "riscv64": "riscv64-linux-gnu-gcc", "s390x": "s390x-linux-gnu-gcc"}
"""What compiles C for a processor; `qemu-NAME` runs it."""
PROMISES: Mapping[str, Mapping[str, Any]] = {"lossy": {}, "lossless": {"lossless": True}, "bounded": {"max_error": 3}}
BUNDLE = ROOT / "examples" / "bundle.zip"


@dataclass(frozen=True)
class Net:
    """A program, samples of its x, and what the program computes of them."""

    name: str
    program: Program
    x: np.ndarray
    right: Mapping[str, np.ndarray]


def values(console: Console) -> Sequence[Row]:
    """Values that differ from the program's, anywhere."""
    require(programs=(*CORES.values(), *(f"qemu-{name}" for name in CORES), "qemu-x86_64"))
    nets = list(random_nets())
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        console.note("values: an aarch64 Python and its packages")
        processors = [*_with_wheel(folder, this_processor(), haswell()), aarch64(folder)]
        counts: dict[str, tuple[int, int]] = {}
        for processor in processors:
            console.note(f"values: model files and .tae files on {processor.name}")
            counts[f"model files on {processor.name}"] = of_files(nets, processor, folder / "files")
            counts[f".tae files on {processor.name}"] = of_archives(processor, folder / "bundle")
        for core, compiler in CORES.items():
            console.note(f"values: C on {core}")
            counts[f"C on {core}"] = of_c(nets, core, compiler, folder / core)
    detail = "; ".join(f"{name}: {different} of {count:,}" for name, (different, count) in counts.items())
    return [Row("values_different", sum(different for different, _ in counts.values()), "values", "== 0", "", detail)]


def _with_wheel(folder: Path, *processors: Processor) -> list[Processor]:
    """Their Python imports this checkout's wheel too."""
    with zipfile.ZipFile(wheel(folder)) as archive:
        archive.extractall(folder / "wheel")
    return [replace(each, packages=os.pathsep.join([str(folder / "wheel"), each.packages])) for each in processors]


def random_nets() -> Iterator[Net]:
    for seed in range(NETS):
        rng = np.random.default_rng(seed)
        widths = tuple(map(int, np.sort(rng.integers(2, 200, rng.integers(2, 5)))[::-1]))
        options = {
            "activations": (*rng.choice(["relu", "relu6", "linear", "tanh", "sigmoid"], len(widths) - 2).tolist(), "linear"),
            "output_activation": str(rng.choice(["sigmoid", "linear", "tanh"])),
            "granularity": str(rng.choice(["tensor", "unit"])),
            "bias": bool(rng.integers(2)),
            "bits": int(rng.choice([4, 8])),
            "seed": seed,
        }
        x = rng.integers(0, 256, (SAMPLES, widths[0]), np.uint8)
        for form in ("fused", "split"):
            yield _net(f"{form}{seed}", build_program(widths, form=form, **options), x)
        yield _net(f"convolved{seed}", *convolutions.random_program(seed))


def _net(name: str, program: Program, x: np.ndarray) -> Net:
    return Net(name, program, x, execute(program, "reconstruct", x))


def of_files(nets: Sequence[Net], processor: Processor, folder: Path) -> tuple[int, int]:
    """(values of code and y that differ, values) of the .tflite and .onnx files."""
    folder.mkdir(exist_ok=True)
    files = {}
    for net in nets:
        files[f"{net.name}-tflite"] = to_tflite(net.program, io="uint8", int4="bytes"), net.x
        if not net.name.startswith("split"):
            files[f"{net.name}-onnx"] = to_onnx(net.program, io="uint8"), net.x
    got = run_emulated(folder, files, processor)
    right = {net.name: net.right for net in nets}
    return _sum(
        _different(found[each], right[name.rsplit("-", 1)[0]][each]) for name, found in got.items() for each in ("code", "y")
    )


def of_archives(processor: Processor, folder: Path) -> tuple[int, int]:
    """The same of the decoded samples of .tae files of the example's bundle."""
    if not folder.exists():
        with zipfile.ZipFile(BUNDLE) as archive:
            archive.extractall(folder)
    bundle = folder / "bundle"
    codec, x = load(bundle, runtime="program"), np.load(bundle / "golden" / "x.npy")
    files = {folder / f"{name}.tae": codec.compress(x, **promise) for name, promise in PROMISES.items()}
    for path, data in files.items():
        path.write_bytes(data)
    script = [*processor.command, str(ROOT / "benchmarks" / "decodes.py"), str(bundle), *map(str, files)]
    environment = {**os.environ, "PYTHONPATH": processor.packages, "OMP_NUM_THREADS": "1"}
    subprocess.run(script, check=True, env=environment, timeout=1800, cwd=folder)
    return _sum(_different(np.load(path.with_suffix(".npy")), codec.decompress(data)) for path, data in files.items())


def of_c(nets: Sequence[Net], core: str, compiler: str, folder: Path) -> tuple[int, int]:
    """The same of C files, compiled for the core and run by its emulator."""
    found = []
    for net in nets:
        if net.name.startswith("split"):
            continue
        place, source = folder / net.name, to_c(net.program)
        place.mkdir(parents=True)
        sizes = [net.program.tensors[name].size for name in ("x", "code", "y")]
        main = MAIN.replace("NAME", source.name).replace("SIZES", ", ".join(map(str, sizes)))
        (place / "main.c").write_text(main, encoding="utf-8")
        (place / "x.bin").write_bytes(net.x.tobytes())
        command = [compiler, "-std=c99", "-O2", "-static", written(source, place), "main.c", "-o", "main"]
        subprocess.run(command, check=True, cwd=place, timeout=300)
        done = subprocess.run([f"qemu-{core}", "./main", "x.bin"], check=True, capture_output=True, cwd=place, timeout=300)
        rows = np.frombuffer(done.stdout, np.uint8).reshape(len(net.x), -1)
        for name, got in zip(("code", "y"), np.split(rows, [sizes[1]], axis=1), strict=True):
            found.append(_different(got.reshape(net.right[name].shape), net.right[name]))
    return _sum(found)


def _different(got: np.ndarray, right: np.ndarray) -> tuple[int, int]:
    """All values differ where shape or dtype is another."""
    if (got.shape, got.dtype) != (right.shape, right.dtype):
        return right.size, right.size
    return int(np.count_nonzero(got != right)), right.size


def _sum(counts) -> tuple[int, int]:
    different, count = np.sum(list(counts), axis=0)
    return int(different), int(count)
