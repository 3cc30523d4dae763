"""The figures of generated C: bytes, memory, time and equality, for a 784-512-256-30 on Fashion-MNIST.

    TIEDAE_DATA=... python benchmarks/c_target.py --json c_target.json

It trains the net as dense.py does, since the codec's tables depend on its codes, and its variants for a few epochs: their bytes
and time do not depend on their error. Times are of one thread, interleaved, batch 1.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from c_files import Library, address, deepest_stack, flash
from dense import PRUNE, RECIPE
from exported import Variant, compressed, trained
from msgspec import structs
from needs import require
from rows import Row, arguments_of, report

from tiedae.calibration import Representative, quantize_post_training, representative
from tiedae.compress import CheckError, Dataset, LayerConfig, ModelConfig, QuantizeConfig, Scaling, TiedAutoencoder
from tiedae.entropy.tables import fit as fit_tables
from tiedae.export import lower
from tiedae.export.c.codec_source import SampleCodec
from tiedae.export.c.kernels import Storage
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.tflite.reader import read_entries
from tiedae.pipeline.sources import load_dataset
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.report.console import Console
from tiedae.runtimes import tflm
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.latency import Timing, interleave, ratio
from tiedae.verify.stock.converters import stock_tflite

sys.path.append(str(Path(__file__).parent.parent / "tests" / "export"))
from c.programs import random_input, random_program  # pyright: ignore[reportMissingImports]

EPOCHS, RANDOM_PROGRAMS, IMAGES, SECONDS = 3, 200, 10_000, 20.0
FRAME = 64
UNTIED_ARENA = 4838
"""Bytes of TFLM's arena for MLPerf Tiny's own untied int8 file of the topology of `ad_net`."""
NATIVE, AVX2, O2 = ("-O3", "-march=native"), ("-O3", "-mavx2"), ("-O2",)
LOOPS = """
int bench_encode(const uint8_t *codes, size_t frames, uint8_t *out, size_t capacity, size_t *size)
{
  size_t i;
  for (i = 0; i < frames; i++)
    if (tae_payload_encode(codes + i * FRAME * UNITS, FRAME, out + i * capacity, capacity, size + i)) return 1;
  return 0;
}

int bench_decode(const uint8_t *payloads, size_t frames, size_t capacity, const size_t *size, uint8_t *codes)
{
  size_t i, j;
  tae_payload payload;
  for (i = 0; i < frames; i++) {
    if (tae_payload_open(&payload, payloads + i * capacity, size[i])) return 1;
    for (j = 0; j < FRAME; j++, codes += UNITS) if (tae_payload_next(&payload, codes)) return 1;
    if (tae_payload_close(&payload)) return 1;
  }
  return 0;
}

size_t bench_ram(void) { return sizeof(tae_file) + sizeof(tae_frame) + sizeof(tae_samples); }
size_t bench_header(void) { return sizeof(tae_header); }
"""


@dataclass(frozen=True)
class Nets:
    """The programs, the stock converter's int8 file of the same net, test images as the program's `x`, uint8 [n, 784]."""

    half: Program
    quarter: Program
    int4: Program
    stock: bytes
    splits: Dataset
    x: np.ndarray


def main() -> int:
    parser = arguments_of(__doc__ or "")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return report("C files", lambda console: measure(Path(folder), console), arguments.json)


def measure(folder: Path, console: Console) -> Sequence[Row]:
    packages = ("tensorflow", "ai_edge_litert", "onnxruntime", "tflite_micro")
    require(data=("fashion-mnist",), packages=packages, programs=("gcc", "size"))
    nets = make_nets(folder, console)
    return [
        equality_row(nets, folder),
        *flash_rows(nets, folder),
        *memory_rows(nets, folder),
        *time_rows(nets, folder),
        *entropy_rows(nets, folder),
    ]


def make_nets(folder: Path, console: Console) -> Nets:
    splits = load_dataset(RECIPE.data, "sigmoid")
    start = folder / "float.safetensors"
    trained(start, splits, console)
    short = structs.replace(RECIPE.quantize, epochs=1)

    def program_of(variant: Variant) -> Program:
        return lower(compressed(start, variant, splits, console), "net", layout="fused")

    half = program_of(Variant(RECIPE.quantize, PRUNE))
    quarter = program_of(Variant(short, structs.replace(PRUNE, epochs=EPOCHS, sparsity=0.75)))
    int4 = program_of(Variant(structs.replace(short, bits=(4,))))
    calibration = representative(splits.train, 256).inputs
    stock = stock_tflite(TiedAutoencoder.load(start), representative=calibration, io_dtype="uint8")
    x = splits.test.take(np.arange(IMAGES)).reshape(IMAGES, -1)
    return Nets(half, quarter, int4, stock, splits, x)


def equality_row(nets: Nets, folder: Path) -> Row:
    different = 0
    nets_of: tuple[tuple[Program, Storage], ...] = ((nets.half, "dense"), (nets.quarter, "sparse"), (nets.int4, "dense"))
    for program, storage in nets_of:
        source = to_c(program, storage=storage)
        library = Library(source, folder / f"{len(source.source)}", *NATIVE)
        code, y = library.reconstruct(nets.x, program.tensors["code"].shape[0])
        right = execute(program, "reconstruct", nets.x)
        different += int((code != right["code"]).sum() + (y != right["y"]).sum())
    forms: dict[str, int] = {}
    for seed in range(RANDOM_PROGRAMS):
        program = random_program(seed, 300 if seed % 10 == 0 else 40)
        source = to_c(program, storage="sparse" if seed % 3 == 0 else "dense")
        for form in source.forms.values():
            forms[form] = forms.get(form, 0) + 1
        x = random_input(program, 100, seed)
        code, y = Library(source, folder / f"random{seed}", "-O1").reconstruct(x, program.tensors["code"].shape[0])
        right = execute(program, "reconstruct", x)
        different += int((code != right["code"]).sum() + (y != right["y"]).sum())
    roundings = ", ".join(f"{count:,} {form}" for form, count in forms.items())
    detail = f"{IMAGES:,} images in three nets, 100 samples in each of {RANDOM_PROGRAMS} random programs ({roundings})"
    return Row("c_values_different", different, "", "== 0", "", detail)


def flash_rows(nets: Nets, folder: Path) -> list[Row]:
    def row(name: str, source: CSource, reach: str, stretch: str) -> Row:
        size = flash(source, folder / name)
        return Row(name, size / len(nets.stock), "x", reach, stretch, f"{size:,} B against {len(nets.stock):,} B, gcc -O2")

    plain, coded = to_c(nets.half), coded_source(nets)
    added = flash(coded, folder / "coded") - flash(plain, folder / "plain")
    small = flash(coded, folder / "coded", "-Os") - flash(plain, folder / "plain", "-Os")
    return [
        row("c_flash_dense", plain, "<= 0.47", "<= 0.46"),
        row("c_flash_sparse50", to_c(nets.half, storage="sparse"), "<= 0.30", "<= 0.28"),
        row("c_flash_sparse75", to_c(nets.quarter, storage="sparse"), "<= 0.18", "<= 0.15"),
        row("c_flash_int4", to_c(nets.int4), "<= 0.25", "<= 0.24"),
        Row(
            "c_codec_flash_kb", added / 1000, "kB", "<= 16", "<= 10", f"lossy files, both directions, 30 units; -Os {small:,} B"
        ),
    ]


def coded_source(nets: Nets) -> CSource:
    """The net with its codec of lossy files."""
    codes = execute(nets.half, "encode", nets.splits.train.take(np.arange(10_000)).reshape(10_000, -1))["code"]
    return to_c(nets.half, unit=DataUnit(nets.splits.spec), codec=SampleCodec(fit_tables(codes), bytes(8)), promises=["lossy"])


def memory_rows(nets: Nets, folder: Path) -> list[Row]:
    rows = []
    plain = to_c(nets.half)
    total, detail = ram(plain, nets.half, folder / "ram")
    arena = tflm_arena(nets.stock)
    rows.append(Row("c_ram_kb", total / 1000, "kB", "<= 6", "<= 4.5", f"{detail}; TFLM's arena of the stock file: {arena:,} B"))
    library = Library(coded_source(nets), folder / "loops", *O2, more=loops(nets.half))
    coded, code = coded_source(nets), nets.half.tensors["code"].shape[0]
    structs_of = library.functions.bench_ram()
    network = deepest_stack(plain, folder / "ram", [f"net_{each}" for each in ("encode", "decode")])
    entries = ("file_open", "file_next", "samples_open", "samples_next", "frame_decode")
    decoder = structs_of + deepest_stack(coded, folder / "ram", [f"net_{each}" for each in entries])
    writes = ("frame_encode", "header_write", "index_write")
    encoder = library.functions.bench_header() + deepest_stack(coded, folder / "ram", [f"net_{each}" for each in writes])
    detail = (
        f"decoder {decoder:,}, encoder {encoder:,} B: structs and stack, the network's {network:,} and {code} B of code in it"
    )
    rows.append(Row("c_codec_ram_kb", max(decoder, encoder) / 1000, "kB", "<= 2", "<= 1", detail))
    program, stock = ad_net()
    total, detail = ram(to_c(program), program, folder / "ad")
    detail = f"{total:,} B ({detail}) / {UNTIED_ARENA:,} B; TFLM's arena of the stock converter's file: {tflm_arena(stock):,} B"
    rows.append(Row("ad_ram_ratio", total / UNTIED_ARENA, "x", "<= 1.0", "<= 0.6", detail))
    return rows


def ram(source: CSource, program: Program, folder: Path) -> tuple[int, str]:
    """Arena, the caller's x, code and y, and the deepest stack."""
    buffers = sum(program.tensors[name].shape[0] for name in ("x", "code", "y"))
    stack = deepest_stack(source, folder, [f"{source.name}_reconstruct"])
    return source.arena + buffers + stack, f"arena {source.arena:,}, buffers {buffers:,}, stack {stack:,} B"


def tflm_arena(data: bytes) -> int:
    """Bytes of TFLM's arena for the signature `reconstruct`, as its recording allocator prints them."""
    interpreter = tflm._load(data, read_entries(data)["reconstruct"], "kAllocationRecording")  # pyright: ignore[reportPrivateUsage]
    with captured() as lines:
        interpreter.print_allocations()
    found = re.search(r"Arena allocation total (\d+) bytes", lines())
    if found is None:
        raise CheckError("tflm: no size of its arena was printed")
    return int(found[1])


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], str]]:
    """What native code writes to stdout and stderr."""
    with tempfile.TemporaryFile() as sink:
        sys.stdout.flush()
        saved = [os.dup(1), os.dup(2)]
        for descriptor in (1, 2):
            os.dup2(sink.fileno(), descriptor)
        text = io.StringIO()
        try:
            yield text.getvalue
        finally:
            for descriptor, old in zip((1, 2), saved, strict=True):
                os.dup2(old, descriptor)
                os.close(old)
            sink.seek(0)
            text.write(sink.read().decode(errors="replace"))


def ad_net() -> tuple[Program, bytes]:
    """The tied MLPerf Tiny topology, 640-128x4-8, with random weights, and the stock converter's int8 file of it."""
    layers = (*[LayerConfig(128, "relu")] * 4, LayerConfig(8))
    model = TiedAutoencoder(ModelConfig(layers, "linear", 640))
    x = np.random.default_rng(0).normal(size=(256, 640)).astype(np.float32)
    stock = stock_tflite(model, representative=x, io_dtype="uint8")
    quantize_post_training(model, Representative(np.arange(len(x)), x, 0, Scaling(), len(x)), QuantizeConfig(method="ptq"))
    return lower(model, "ad", layout="fused"), stock


def time_rows(nets: Nets, folder: Path) -> list[Row]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    vnni = "avx512_vnni" in flags or "avx_vnni" in flags
    dense, quarter = to_c(nets.half), to_c(nets.quarter)
    libraries = {
        "native": Library(dense, folder / "native", *NATIVE),
        "native 512": Library(dense, folder / "native512", *NATIVE, "-mprefer-vector-width=512"),
        "avx2": Library(dense, folder / "avx2", *AVX2),
        "O2": Library(dense, folder / "o2", *O2),
        "quarter": Library(quarter, folder / "quarter", *O2),
        "sparse": Library(to_c(nets.quarter, storage="sparse"), folder / "sparse", *O2),
    }
    units = nets.half.tensors["code"].shape[0]
    images = nets.x[:: IMAGES // 64][:64]
    held: list[np.ndarray] = []

    def call_of(library: Library) -> Callable[[], object]:
        calls = []
        for x in images:
            code, y = np.zeros(units, np.uint8), np.zeros(x.size, np.uint8)
            held.extend((code, y))
            calls.append(library.bound("reconstruct", {"x": x, "code": code, "y": y}))
        return over(calls)

    def over(calls: Sequence[tuple[Callable[..., object], tuple[object, ...]]]) -> Callable[[], object]:
        def run() -> None:
            for function, arguments in calls:
                function(*arguments)

        return run

    (folder / "stock.tflite").write_bytes(nets.stock)
    xnnpack, micro = (RUNTIMES[each].open({"reconstruct": folder / "stock.tflite"}) for each in ("litert-xnnpack", "tflm"))
    calls = {name: call_of(library) for name, library in libraries.items()}
    calls["xnnpack"] = over([(xnnpack.bind("reconstruct", images[:1]).invoke, ())] * len(images))
    few = images[:8]
    calls["tflm"] = over([(micro.run, ("reconstruct", x[None])) for x in few])
    timings = interleave(calls, seconds=SECONDS)
    return _time_rows(timings, vnni, len(images), len(few))


def _time_rows(timings: Mapping[str, Timing], vnni: bool, images: int, few: int) -> list[Row]:
    def against(name: str, one: str, other: str, reach: str, stretch: str, factor: float = 1.0, note: str = "") -> Row:
        found = ratio(timings[one], timings[other])
        us = [timings[each].median_us / (few if each == "tflm" else images) for each in (one, other)]
        spread = f"{found.low * factor:.3g} to {found.high * factor:.3g}"
        return Row(name, found.value * factor, "x", reach, stretch, f"{us[0]:.1f} / {us[1]:.1f} µs, {spread}{note}")

    rows = [against("c_o2_vs_tflm", "O2", "tflm", "<= 0.15", "<= 0.10", few / images)]
    wide = timings["native 512"].median_us / images
    if vnni:
        rows.append(
            against(
                "c_native_vs_xnnpack",
                "native",
                "xnnpack",
                "<= 1.25",
                "<= 1.0",
                note=f"; {wide:.1f} µs with vectors of 512 bits",
            )
        )
    else:
        rows.append(Row("c_native_vs_xnnpack", float("nan"), "x", "", "", "left out: this processor has no VNNI"))
    rows.append(against("c_avx2_vs_xnnpack", "avx2", "xnnpack", "<= 2.6", "<= 1.8"))
    rows.append(against("c_sparse_vs_dense", "sparse", "quarter", "<= 9", "<= 4"))
    return rows


def loops(program: Program) -> str:
    text = LOOPS.replace("tae_", "net_").replace("UNITS", str(program.tensors["code"].shape[0]))
    return text.replace("FRAME", str(FRAME))


def entropy_rows(nets: Nets, folder: Path) -> list[Row]:
    source = coded_source(nets)
    functions = Library(source, folder / "entropy", *O2, more=loops(nets.half)).functions
    codes = execute(nets.half, "encode", nets.x)["code"]
    frames = len(codes) // FRAME
    codes = np.ascontiguousarray(codes[: frames * FRAME])
    capacity = 4 + FRAME * 3 * codes.shape[1]
    payloads, sizes, found = np.zeros((frames, capacity), np.uint8), np.zeros(frames, np.uint64), np.zeros_like(codes)
    sized = (address(payloads), address(sizes))
    counts = {name: getattr(functions, name) for name in ("bench_encode", "bench_decode")}
    encode = (address(codes), ctypes.c_size_t(frames), sized[0], ctypes.c_size_t(capacity), sized[1])
    decode = (sized[0], ctypes.c_size_t(frames), ctypes.c_size_t(capacity), sized[1], address(found))
    if counts["bench_encode"](*encode) or counts["bench_decode"](*decode) or (found != codes).any():
        raise CheckError("entropy: codes do not come back")
    timings = interleave(
        {"encode": lambda: counts["bench_encode"](*encode), "decode": lambda: counts["bench_decode"](*decode)}, seconds=5
    )
    bits = 8 * sizes.sum() / len(codes)
    rows = []
    for name, reach, stretch in (("decode", ">= 40", ">= 90"), ("encode", ">= 60", ">= 150")):
        rate = codes.size / timings[name].median_us
        detail = f"{codes.size:,} codes in frames of {FRAME} samples, {bits:.1f} bits a sample, gcc -O2"
        rows.append(Row(f"c_entropy_{name}_mcodes_s", rate, "M/s", reach, stretch, detail))
    return rows


if __name__ == "__main__":
    sys.exit(main())
