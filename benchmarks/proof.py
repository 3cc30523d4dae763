"""What the exported files cost where they run: latency, memory, start of the tool, and `dedupe` and `inspect` on stock files.

    TIEDAE_DATA=... python benchmarks/proof.py --json proof.json [--run OUT]

The model is a tied 784-512-256-30, trained for a few epochs since its error does not matter here, or that of a finished run.
Keep the machine idle: subjects of a ratio are timed in turns, but background work widens the intervals.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from dense import RECIPE
from msgspec import structs
from needs import require
from rows import Row, arguments_of, report

from tiedae.bundle.bench_results import Bench, Memory, Ratio, Way
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Maker, Precision
from tiedae.compress import CheckError
from tiedae.dedupe.inspection import inspect_file
from tiedae.dedupe.share import share_file
from tiedae.export import to_tflite
from tiedae.export.targets import read_model
from tiedae.pipeline.run_artifacts import float_archives
from tiedae.pipeline.runs import run_recipe
from tiedae.report.console import Console
from tiedae.verify.bench.benchmark import Plan, bench_bundle
from tiedae.verify.bench.footprint import footprints
from tiedae.verify.bench.latency import Timed, TimedGroup, Timing, ratio, time_groups
from tiedae.verify.bench.subjects import ALONE
from tiedae.verify.stock.converters import stock_onnx_int8, stock_tflite

SECONDS, ROUNDS = 6.0, (60, 1000)
"""Per comparison: at least so many rounds, and about so long."""
PROCESSES = 7
LONGEST_BIAS = 784
PLAN = Plan(("reconstruct",), (1,), (), (1,), SECONDS, ROUNDS, PROCESSES)
WITHOUT_TENSORFLOW = """
import sys
sys.modules |= dict.fromkeys(("tensorflow", "tf_keras", "keras"))
from tiedae.cli import main
sys.exit(main(sys.argv[1:]))
"""


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run on disk and what its rows are measured with; `folder` takes whatever is written."""

    bundle: Bundle
    stock: Path
    archive: Path
    real: Mapping[str, np.ndarray]
    folder: Path

    def stock_file(self, precision: str, form: str) -> Path:
        return self.stock / f"{self.bundle.manifest.name}.stock.{precision}.{form}"

    def samples(self, dtype: str) -> str:
        """A .npy of the golden samples for an input x: float32 as the model takes them, uint8 as bytes."""
        path = self.folder / f"x.{dtype}.npy"
        x = self.real["x"]
        np.save(path, x.astype(np.float32) if dtype == "float32" else np.rint(255 * x).astype(np.uint8))
        return str(path)


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--run", type=Path, metavar="OUT", help="measure this finished run (default: train one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        return report("Proof, 784-512-256-30", lambda console: measure(arguments.run, folder, console), arguments.json)


def measure(out: Path | None, folder: Path, console: Console) -> list[Row]:
    require(data=() if out else ("fashion-mnist",), packages=("ai_edge_litert", "onnxruntime", "tensorflow"))
    run = open_run(out or train(folder / "run", console), folder)
    return [
        *bench_rows(run, console),
        keras_row(run, console),
        *share_rows(run, console),
        embedding_row(folder, console),
        inspect_row(run, console),
        *command_rows(run, console),
    ]


def train(out: Path, console: Console) -> Path:
    """A run of three epochs: bytes and times are those of any other."""
    recipe = structs.replace(
        RECIPE,
        train=structs.replace(RECIPE.train, epochs=2),
        quantize=structs.replace(RECIPE.quantize, epochs=1),
    )
    run_recipe(recipe, base=Path(), out=out, resume=True, force=False, console=console)
    return out


def open_run(out: Path, folder: Path) -> Finished:
    bundle = Bundle.open(out / "bundle")
    golden = bundle.golden()
    scaled = bundle.manifest.data.scaling.apply(golden["x"])
    archive = float_archives(out / "model")[-1]
    return Finished(bundle, out / "stock", archive, {"x": scaled, "code": golden["code.f32"]}, folder)


def bench_rows(run: Finished, console: Console) -> list[Row]:
    measured = bench_bundle(run.bundle, run.real, stock=run.stock, plan=PLAN, announce=console.note)
    latency = {(row.format, row.precision): (row, row.ratio) for row in measured.latency if row.ratio}
    names = {f"{form}_{precision}": (form, precision) for precision in Precision for form in ("tflite", "onnx")}
    rows = []
    for name, kind in names.items():
        if kind not in latency:
            raise CheckError(f"{name}_latency_ratio: nothing to compare, {measured.skipped}")
        row, found = latency[kind]
        stock = next(each for each in measured.latency if each.subject == row.against)
        interval = f"95 % [{found.low:.3f}, {found.high:.3f}]"
        times = f"{row.median_us:.2f} against {stock.median_us:.2f} µs"
        detail = f"{times}, {interval}, {row.rounds} rounds, {row.provider}, {row.dtypes}; against {row.against}"
        rows.append(Row(f"{name}_latency_ratio", found.value, "x", "<= 1.10", "<= 1.00", detail))
    return [*rows, memory_row(run, measured)]


def memory_row(run: Finished, measured: Bench) -> Row:
    """Ours with the one signature reconstruct against the stock file; the detail has the stock file of one signature."""
    alone, ratio_to_stock = next((row, row.ratio) for row in measured.memory if row.subject.endswith(ALONE) and row.ratio)
    memory = {(row.maker, *row.signatures): row.resident_bytes or 0 for row in measured.memory[::-1] if int8_tflite(row)}
    single = run.folder / "stock.reconstruct.tflite"
    single.write_bytes(converted(run, signatures=("reconstruct",)))
    load = Timed("stock", "litert-xnnpack", str(single), "reconstruct", run.samples("uint8"))
    ((_, beside),) = footprints([(load,)], processes=PROCESSES)
    texts = {
        "ours, one signature": alone.resident_bytes or 0,
        "stock file as it is": memory[Maker.STOCK, "reconstruct"],
        "stock of one signature": beside.memory or 0,
        "ours with all three": memory[Maker.TIEDAE, "reconstruct", "encode", "decode"],
        "stock with all three run": memory[Maker.STOCK, "reconstruct", "encode", "decode"],
    }
    detail = ", ".join(f"{name} {value / 2**20:.2f} MiB" for name, value in texts.items())
    return Row("rss_ratio_one_signature", ratio_to_stock, "x", "<= 1.0", "<= 0.8", f"LiteRT, int8, reconstruct: {detail}")


def int8_tflite(row: Memory) -> bool:
    return (row.format, row.precision) == ("tflite", Precision.INT8) and not row.note


def converted(run: Finished, *, signatures: tuple[str, ...]) -> bytes:
    """TFLiteConverter's int8 file of the run's float model, with uint8 inputs and outputs."""
    from tiedae.compress import TiedAutoencoder

    model = TiedAutoencoder.load(run.archive)
    return stock_tflite(model, representative=run.real["x"], io_dtype="uint8", signatures=signatures)


def keras_row(run: Finished, console: Console) -> Row:
    """A call from Python, numpy to numpy. Ours is written with float32 x and y here, as Keras has them; its code is uint8."""
    console.note("latency: against tf.function")
    ours, x = run.folder / "float-io.int8.tflite", run.samples("float32")
    contents = {name: read_model(run.bundle.path / name) for name in run.bundle.models}
    ours.write_bytes(to_tflite(run.bundle.programs(contents).split, signatures=("reconstruct",), io="float32"))
    subjects = (
        Timed("ours", "litert-xnnpack", str(ours), "reconstruct", x),
        Timed("keras", "keras-function", str(run.archive), "reconstruct", x),
    )
    found, timings, providers = timed_ratio(subjects, way=Way.CALL)
    detail = f"{described(timings, found)}; Keras on {providers['keras']}, float32 x and y for both, calls from Python"
    return Row("tflite_int8_vs_keras_latency", found.value, "x", "<= 0.10", "<= 0.03", detail)


def timed_ratio(subjects: tuple[Timed, Timed], *, way: Way) -> tuple[Ratio, Mapping[str, Timing], Mapping[str, str]]:
    """The first subject's latency in the second's, batch 1, one thread."""
    (measured,) = time_groups([TimedGroup(subjects, 1, way)], threads=1, seconds=SECONDS, rounds=ROUNDS)
    first, second = (measured.timings[subject.subject] for subject in subjects)
    return ratio(first, second), measured.timings, measured.providers


def described(timings: Mapping[str, Timing], found: Ratio) -> str:
    times = " against ".join(f"{name} {timing.median_us:.2f} µs" for name, timing in timings.items())
    return f"{times}, 95 % [{found.low:.3f}, {found.high:.3f}]"


def share_rows(run: Finished, console: Console) -> list[Row]:
    """`dedupe` on the stock float files: bytes, and the latency of what it wrote."""
    rows, ratios = [], {}
    for form, runtime in {"tflite": "litert-xnnpack", "onnx": "ort-cpu"}.items():
        stock, out = run.stock_file("f32", form), run.folder / f"shared.f32.{form}"
        outcome = share_file(stock, out, announce=console.note)
        detail = (
            f"{outcome['bytes_after']:,} B against {outcome['bytes_before']:,} B, {len(outcome['merged'])} kernels stored once"
        )
        value = out.stat().st_size / stock.stat().st_size
        rows.append(Row(f"share_{form}_bytes_ratio", value, "x", "<= 0.51", "<= 0.502", detail))
        x = run.samples("float32")
        shared = Timed("shared", runtime, str(out), "reconstruct", x)
        found, timings, _ = timed_ratio((shared, Timed("stock", runtime, str(stock), "reconstruct", x)), way=Way.INVOKE)
        ratios[form] = (found.value, f"{form}: {described(timings, found)}")
    worst = max(value for value, _ in ratios.values())
    detail = "; ".join(text for _, text in ratios.values())
    return [*rows, Row("share_latency_ratio", worst, "x", "<= 1.10", "<= 1.00", f"the worse of both; {detail}")]


def embedding_row(folder: Path, console: Console) -> Row:
    """A tied embedding of Keras 3, exported to both formats by their stock converters."""
    console.note("share: a tied embedding from Keras 3")
    script = Path(__file__).with_name("tied_embedding.py")
    run_child([sys.executable, str(script), str(folder)])
    ratios, texts = [], []
    for path in (folder / "embedding.onnx", folder / "embedding.tflite"):
        if not inspect_file(path)["copies"]:
            texts.append(f"{path.suffix}: its converter stores the table once already")
            continue
        out = folder / f"shared{path.suffix}"
        outcome = share_file(path, out, announce=console.note)
        ratios.append(out.stat().st_size / path.stat().st_size)
        texts.append(f"{path.suffix}: {outcome['bytes_after']:,} B against {outcome['bytes_before']:,} B")
    if not ratios:
        raise CheckError("share_embedding_bytes_ratio: neither format stores the table twice")
    return Row("share_embedding_bytes_ratio", max(ratios), "x", "<= 0.55", "", "; ".join(texts))


def inspect_row(run: Finished, console: Console) -> Row:
    """The stock int8 files of the tied model: a second copy of every kernel has to be named, though no byte of it is equal."""
    console.note("inspect: the stock int8 files")
    widths = run.bundle.manifest.model.widths
    kernels = sorted(inputs * units for inputs, units in itertools.pairwise(widths))
    found = {}
    for name, data in red_files(run).items():
        path = run.folder / name
        path.write_bytes(data)
        found[name] = sorted(values_of_copies(path)) == kernels
    texts = [f"{name}: {'every kernel' if ok else 'MISSED'}" for name, ok in found.items()]
    return Row("inspect_red_found", sum(found.values()) / len(found), "share", "== 1", "", ", ".join(texts))


def values_of_copies(path: Path) -> list[int]:
    """How many values each copy that `inspect` names has; int8 files, so a byte is a value. Biases are left out."""
    sizes = {constant["name"]: int(np.prod(constant["shape"])) for constant in inspect_file(path)["constants"]}
    return [sizes[copy["name"]] for copy in inspect_file(path)["copies"] if sizes.get(copy["name"], 0) > LONGEST_BIAS]


def red_files(run: Finished) -> dict[str, bytes]:
    """int8 files of the same tied model by TFLiteConverter and by ONNX Runtime's quantizer, per channel and per tensor."""
    x, float_onnx = run.real["x"], run.stock_file("f32", "onnx").read_bytes()
    return {
        "red.channel.tflite": converted(run, signatures=("reconstruct",)),
        "red.tensor.tflite": converted_per_tensor(run),
        "red.tensor.onnx": stock_onnx_int8(float_onnx, x),
        "red.channel.onnx": stock_onnx_int8(float_onnx, x, per_channel=True),
    }


def converted_per_tensor(run: Finished) -> bytes:
    import tensorflow as tf

    from tiedae.compress import TiedAutoencoder

    model = TiedAutoencoder.load(run.archive)
    function = tf.function(model.encode_decode).get_concrete_function(tf.TensorSpec([None, model.config.widths[0]], tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in run.real["x"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter._experimental_disable_per_channel = True
    return converter.convert()


def command_rows(run: Finished, console: Console) -> list[Row]:
    console.note("commands: verify, --help")
    program = [str(Path(sys.executable).with_name("tiedae")), "--help"]
    return [
        verify_row(run),
        seconds_row("help_seconds", program, 9, "<= 0.3", "<= 0.15", "tiedae --help"),
    ]


def verify_row(run: Finished) -> Row:
    verify = [sys.executable, "-c", WITHOUT_TENSORFLOW, "verify", str(run.bundle.path)]
    return seconds_row("verify_seconds", verify, 5, "<= 2.0", "<= 1.5", "verify, TensorFlow's import blocked")


def seconds_row(name: str, command: list[str], times: int, reach: str, stretch: str, text: str) -> Row:
    seconds = [elapsed(lambda: run_child(command)) for _ in range(times)]
    spread = f"median of {times}, {min(seconds):.3f} to {max(seconds):.3f} s"
    return Row(name, float(np.median(seconds)), "s", reach, stretch, f"{text}; {spread}")


def elapsed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def run_child(command: list[str]) -> None:
    """Run a command to its end; CheckError with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise CheckError(f"{' '.join(command[-2:])}: ended with {done.returncode}: {said[-1]}")


if __name__ == "__main__":
    sys.exit(main())
