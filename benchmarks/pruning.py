"""Error against bytes and latency for each pattern of pruning, through the exported int8 files.

    TIEDAE_DATA=... python benchmarks/pruning.py --json pruning.json

A float 784-512-256-30 is trained on all of Fashion-MNIST (or read from `--start`), pruned by each pattern, made int8 with
quantization-aware training and exported. Its float twin goes on for the same epochs. About 12 minutes on two cores.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from dense import RECIPE, test_error
from rows import Row, arguments_of, report
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    ModelConfig,
    PruneConfig,
    QuantizationSpec,
    QuantizeConfig,
    Splits,
    TiedAutoencoder,
    TrainConfig,
    balance_code,
    fit,
    prune,
    shrink,
    train_quantized,
)
from tiedae.compress.config import DataConfig, fine_tuning
from tiedae.console import Console
from tiedae.export import lower, to_onnx, to_tflite
from tiedae.export.bench.latency import Group, Timed, ratio, time_groups
from tiedae.export.bundle import program_input
from tiedae.export.parity.measure import squared_error
from tiedae.export.program import BYTE
from tiedae.export.runtimes.litert import open_litert
from tiedae.export.runtimes.ort import open_ort
from tiedae.sources import load_splits

FINE_TUNING = PruneConfig(epochs=10, learning_rate=4e-3)
"""The schedule of every pattern, of the dense file and of the float twin."""
PATTERNS: Mapping[str, PruneConfig | None] = {
    "dense": None,
    "unstructured50": replace(FINE_TUNING, scope="global"),
    "unstructured75": replace(FINE_TUNING, sparsity=0.75, scope="global", ramp=0.65),
    "block50": replace(FINE_TUNING, pattern="block", block=(4, 4), skip=(2,)),
    "nm24": replace(FINE_TUNING, pattern="2:4", skip=(2,)),
    "nm48": replace(FINE_TUNING, pattern="4:8", skip=(2,)),
    "structured50": replace(FINE_TUNING, pattern="structured", saliency="gradient"),
}
"""What is pruned how; the code kernel, 256 × 30, has no tiles of 4 or 8."""
SECONDS = 10


@dataclass(frozen=True)
class Exported:
    """What a pattern leaves: the int8 .tflite, and the test error of the worse of the two formats."""

    tflite: bytes
    error: float
    widths: tuple[int, ...]
    sparsity: float

    @property
    def gzipped(self) -> int:
        return len(gzip.compress(self.tflite, 9, mtime=0))


def compressed(
    start: Path, config: PruneConfig | None, quantize: QuantizeConfig, splits: Splits, train: TrainConfig, console: Console
) -> Exported:
    """The float model of `start`, pruned, quantized and exported."""
    model = TiedAutoencoder.load(start)
    if config is None:
        fit(model, splits, fine_tuning(train, FINE_TUNING), stage="dense", progress=console.progress)
    else:
        prune(model, splits, config, train, teacher=TiedAutoencoder.load(start), progress=console.progress)
        model = shrink(model) if config.kind == "structured" else model
    spec = QuantizationSpec(quantize.granularity, "split", splits.scaling.rule == "byte")
    quantize_post_training(model, representative(splits.train, quantize.samples), quantize, spec)
    train_quantized(model, splits, quantize, train, teacher=TiedAutoencoder.load(start), progress=console.progress)
    program = lower(model, "pruned", form="split")
    tflite = to_tflite(program, io="uint8")
    onnx = to_onnx(lower(model, "pruned", form="fused"), signature="reconstruct", io="uint8")
    x = splits.scaling.apply(splits.test.take(np.arange(len(splits.test))))
    q = program_input(program, x)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pruned.onnx"
        path.write_bytes(onnx)
        sessions = (open_litert("litert-xnnpack", tflite), open_ort("ort-cpu", {"reconstruct": path}))
        outputs = [session.run("reconstruct", q)["y"] for session in sessions]
    masks = model.masks().values()
    return Exported(
        tflite,
        max(squared_error(x, BYTE.dequantize(y)) for y in outputs),
        model.config.widths,
        1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks),
    )


def latencies(files: Mapping[str, bytes]) -> dict[str, tuple[float, float]]:
    """µs of a reconstruction at batch 1 with one thread in XNNPACK, and its ratio to `dense`, timed in turns."""
    with tempfile.TemporaryDirectory() as folder:
        x = Path(folder) / "x.npy"
        np.save(x, np.zeros((1, 784), np.uint8))
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        subjects = tuple(Timed(name, "litert-xnnpack", f"{folder}/{name}", "reconstruct", str(x)) for name in files)
        (measured,) = time_groups([Group(subjects, 1, "invoke")], threads=1, seconds=SECONDS)
    dense = measured.timings["dense"]
    return {name: (each.median_us, ratio(each, dense).value) for name, each in measured.timings.items()}


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--start", type=Path, metavar="NPZ", help="the trained float model (default: train it)")
    parser.add_argument("--data", default="fashion-mnist", metavar="NAME")
    parser.add_argument("--pattern", action="append", choices=list(PATTERNS), help="only these, and dense")
    arguments = parser.parse_args()
    chosen = [name for name in PATTERNS if arguments.pattern is None or name in (*arguments.pattern, "dense")]
    splits = load_splits(DataConfig(arguments.data), "sigmoid")
    with tempfile.TemporaryDirectory() as folder:

        def measure(console: Console) -> list[Row]:
            start = arguments.start or trained(Path(folder) / "train.npz", splits, console)
            return rows(start, chosen, splits, console)

        return report(f"784-512-256-30, {arguments.data}", measure, arguments.json)


def trained(path: Path, splits: Splits, console: Console) -> Path:
    model = TiedAutoencoder(ModelConfig(RECIPE.model.layers, "sigmoid", splits.inputs), seed=RECIPE.train.seed)
    fit(model, splits, RECIPE.train, progress=console.progress)
    balance_code(model, representative(splits.train, 4096, seed=RECIPE.train.seed).inputs)
    model.save(path)
    return path


def rows(start: Path, chosen: list[str], splits: Splits, console: Console) -> list[Row]:
    quantize = RECIPE.quantize
    twin = TiedAutoencoder.load(start)
    for phase in (FINE_TUNING, quantize):
        fit(twin, splits, fine_tuning(RECIPE.train, phase), stage="twin", progress=console.progress)
    floating = test_error(twin, splits)
    exported = {name: compressed(start, PATTERNS[name], quantize, splits, RECIPE.train, console) for name in chosen}
    times = latencies({name: each.tflite for name, each in exported.items()})
    dense = exported["dense"]
    found = []
    for name, each in exported.items():
        detail = "-".join(map(str, each.widths)) + f", {each.sparsity:.1%} zero; {each.error:.4f} against {floating:.4f}"
        values = {
            "error_ratio": (each.error / floating, "x", detail),
            "bytes": (len(each.tflite), "B", ""),
            "gzip_bytes": (each.gzipped, "B", ""),
            "gzip_ratio": (each.gzipped / dense.gzipped, "x", ""),
            "latency_ratio": (times[name][1], "x", f"{times[name][0]:.2f} µs"),
        }
        found += [
            Row(f"{name}_{key}", value, unit, REACH.get(f"{name}_{key}", ""), "", more)
            for key, (value, unit, more) in values.items()
        ]
    return found


REACH = {
    "unstructured75_error_ratio": "<= 1.08",
    "unstructured75_gzip_ratio": "<= 0.47",
    "nm24_error_ratio": "<= 1.04",
    "structured50_error_ratio": "<= 1.10",
    "structured50_latency_ratio": "<= 0.60",
}


if __name__ == "__main__":
    sys.exit(main())
