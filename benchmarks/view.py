"""The view decoder of .tflite files against the split one and the stock file: equality, latency, start-up, memory, bytes.

    python benchmarks/view.py --json view.json

Equality is that of `y` in the files of trained nets, for a few epochs since values are compared, and of random ones. Cost is
that of nets with random weights and three signatures in each file: latencies in turns on one thread, start-up and memory in
processes of their own. It runs from a checkout, since it takes the random programs of the tests.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from rows import Row, arguments_of, report

from tiedae.bundle.bench_results import Way
from tiedae.calibration import Representative, quantize_post_training, representative
from tiedae.compress import LayerConfig, ModelConfig, QuantizeConfig, Scaling, TiedAutoencoder, Training, fit
from tiedae.data.data_sets import ASSETS
from tiedae.export import lower, to_onnx, to_tflite
from tiedae.export.c.source import to_c
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.program.interpreter import execute, program_input
from tiedae.program.program import SIGNATURES, Program
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.footprint import footprints
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups
from tiedae.verify.stock.converters import stock_tflite

DEMOS = ("fashion", "ecg")
EPOCHS, SAMPLES = 2, 1000
RANDOM = 100
NETS = {"784-512-256-30": (784, 512, 256, 30), "4096-512": (4096, 512)}
"""The first one gives the rows, the details have the others."""
SECONDS, ROUNDS, PROCESSES = 8.0, (60, 2000), 5
KINDS = ("view", "split", "stock")


def main() -> int:
    parser = arguments_of(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        return report("The view decoder", lambda console: measure(Path(folder), console), parser.parse_args().json)


def measure(folder: Path, console: Console) -> list[Row]:
    return [equality_row(folder, console), *cost_rows(folder, console)]


def equality_row(folder: Path, console: Console) -> Row:
    """Values of `y` that differ from the program's, from the same codes, over all files and runtimes."""
    different, count, nets = 0, 0, itertools.chain(demos(console), random_nets())
    for index, (program, codes) in enumerate(nets):
        if index % 20 == 0:
            console.note(f"equality: net {index + 1} of {len(DEMOS) + RANDOM}")
        expected = execute(program, "decode", codes)["y"]
        for name, files in written(program, folder / "equal").items():
            got = RUNTIMES[name].open(files).run("decode", codes)["y"]
            different, count = different + int(np.count_nonzero(got != expected)), count + got.size
    detail = f"of {count:,} values of {', '.join(DEMOS)} and {RANDOM} random nets in XNNPACK, ONNX Runtime and C"
    return Row("view_values_different", different, "values", "== 0", "", detail)


def demos(console: Console) -> Iterator[tuple[Program, np.ndarray]]:
    """The demo's and the ECG's net, and the codes of their test samples."""
    for name in DEMOS:
        recipe = load_recipe(ASSETS / f"{name}.toml")
        splits = load_dataset(recipe.data, recipe.model.output_activation)
        model = TiedAutoencoder(replace(recipe.model, inputs=splits.inputs), seed=0)
        fit(model, splits, Training(replace(recipe.train, epochs=EPOCHS, rate=0.0), progress=console.progress))
        quantize_post_training(model, representative(splits.train, 1024), QuantizeConfig(method="ptq"), layout="view")
        program = lower(model, name, layout="view")
        taken = splits.test.take(np.arange(min(SAMPLES, len(splits.test))))
        x = program_input(program, splits.scaling.apply(taken))
        yield program, execute(program, "encode", x)["code"]


def random_nets() -> Iterator[tuple[Program, np.ndarray]]:
    """Nets of random widths, activations, granularity and bits, and random codes."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.conftest import build_program

    for seed in range(RANDOM):
        rng = np.random.default_rng(seed)
        widths = tuple(map(int, np.sort(rng.integers(2, 200, rng.integers(2, 5)))[::-1]))
        program = build_program(
            widths,
            (*rng.choice(["relu", "relu6", "linear", "tanh", "sigmoid"], len(widths) - 2).tolist(), "linear"),
            str(rng.choice(["sigmoid", "linear", "tanh"])),
            granularity=str(rng.choice(["tensor", "unit"])),
            bias=bool(rng.integers(2)),
            byte_data=False,
            bits=int(rng.choice([4, 8])),
            seed=seed,
        )
        yield program, rng.integers(0, 256, (64, widths[-1]), np.uint8)


def written(program: Program, folder: Path) -> dict[str, Mapping[str, Path]]:
    """The files of the signature `decode` by runtime."""
    folder.mkdir(exist_ok=True)
    c = {name: text.encode() for name, text in to_c(program, signatures=("decode",)).files.items()}
    source = next(name for name in c if name.endswith(".c"))
    files = c | {
        "net.tflite": to_tflite(program, io="uint8", int4="bytes", signatures=("decode",)),
        "net.onnx": to_onnx(program, signature="decode", io="uint8"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    names = {"litert-xnnpack": "net.tflite", "ort-cpu": "net.onnx", "c": source}
    return {runtime: {"decode": folder / name} for runtime, name in names.items()}


def cost_rows(folder: Path, console: Console) -> list[Row]:
    files = {net: kinds_of(widths, folder / net) for net, widths in NETS.items()}
    console.note("latency, start-up and memory")
    loads = [load(folder / net, kind) for net in NETS for kind in KINDS]
    spent = {
        (net, kind): found for (net, kind), (_, found) in zip(pairs(), footprints(loads, processes=PROCESSES), strict=True)
    }
    rows = latency_rows(folder)

    def by_kind(text: str, value) -> str:
        return text + "; ".join(f"{net}: {', '.join(f'{kind} {value(net, kind)}' for kind in KINDS)}" for net in NETS)

    def mebibytes(net: str, kind: str) -> float:
        return (spent[net, kind].memory or 0) / 2**20

    first, start = next(iter(NETS)), lambda net, kind: f"{spent[net, kind].startup_ms:.1f}"
    against = {kind: mebibytes(first, "view") / mebibytes(first, kind) for kind in KINDS[1:]}
    sizes = {net: {kind: len(files[net][kind]) for kind in KINDS} for net in NETS}
    return [
        *rows,
        Row("view_load_ms", spent[first, "view"].startup_ms, "ms", "", "", by_kind("to the first result, ", start)),
        Row(
            "view_rss_ratio",
            against["stock"],
            "x",
            "<= 1.05",
            "<= 0.8",
            by_kind("MiB, ", lambda net, kind: f"{mebibytes(net, kind):.2f}") + f"; / split {against['split']:.3f}",
        ),
        Row(
            "view_bytes_ratio",
            sizes[first]["view"] / sizes[first]["stock"],
            "x",
            "",
            "",
            by_kind("B, ", lambda net, kind: f"{sizes[net][kind]:,}"),
        ),
    ]


def pairs() -> Iterator[tuple[str, str]]:
    return itertools.product(NETS, KINDS)


def kinds_of(widths: Sequence[int], folder: Path) -> dict[str, bytes]:
    """The files of one net by kind, written with samples of each input."""
    folder.mkdir()
    layers = (*(LayerConfig(units, "relu") for units in widths[1:-1]), LayerConfig(widths[-1]))
    model, floating = (TiedAutoencoder(ModelConfig(layers, "sigmoid", widths[0]), seed=0) for _ in range(2))
    x = np.random.default_rng(0).uniform(size=(256, widths[0])).astype(np.float32)
    data = Representative(np.arange(len(x)), x, 0, Scaling("byte", 0.0, 255.0), len(x))
    quantize_post_training(model, data, QuantizeConfig(method="ptq"))
    files = {kind: to_tflite(lower(model, "net", layout=kind)) for kind in KINDS[:2]}
    files["stock"] = stock_tflite(floating, representative=x[:64], io_dtype="uint8")
    for kind, written_bytes in files.items():
        (folder / f"{kind}.tflite").write_bytes(written_bytes)
    rng = np.random.default_rng(1)
    for name, size in (("x", widths[0]), ("code", widths[-1])):
        np.save(folder / f"{name}.npy", rng.integers(0, 256, (1, size), np.uint8))
    return files


def load(folder: Path, kind: str) -> tuple[Timed, ...]:
    """All signatures of a file, to be opened once."""
    path = str(folder / f"{kind}.tflite")
    return tuple(Timed(kind, "litert-xnnpack", path, each, str(folder / f"{source(each)}.npy")) for each in SIGNATURES)


def source(signature: str) -> str:
    return "code" if signature == "decode" else "x"


def latency_rows(folder: Path) -> list[Row]:
    """decode by view / by split and / stock, and what reconstruct takes, which calls decode: of the first net; the
    details have the others'."""
    signatures = ("decode", "reconstruct")
    groups = [
        TimedGroup(tuple(load(folder / net, kind)[SIGNATURES.index(signature)] for kind in KINDS), 1, Way.INVOKE)
        for signature in signatures
        for net in NETS
    ]
    measured = list(time_groups(groups, threads=1, seconds=SECONDS, rounds=ROUNDS))
    decoded, reconstructed = measured[: len(NETS)], measured[len(NETS) :]
    return [
        latency_row("view_latency_ratio_split", decoded, "split", "<= 1.02", "<= 0.97"),
        latency_row("view_latency_ratio_stock", decoded, "stock", "<= 1.02", "<= 0.95"),
        latency_row("view_reconstruct_ratio_split", reconstructed, "split"),
    ]


def latency_row(name: str, measured: Sequence, kind: str, reach: str = "", stretch: str = "") -> Row:
    found = [ratio(each.timings["view"], each.timings[kind]) for each in measured]
    texts = [
        f"{net}: {each.timings['view'].median_us:.2f} (95th percentile {each.timings['view'].p95_us:.2f}) against "
        f"{each.timings[kind].median_us:.2f} ({each.timings[kind].p95_us:.2f}) µs, ratio {value.text}"
        for net, each, value in zip(NETS, measured, found, strict=True)
    ]
    return Row(name, found[0].value, "x", reach, stretch, "; ".join(texts))


if __name__ == "__main__":
    sys.exit(main())
