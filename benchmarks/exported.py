"""A float net of dense.py's recipe, compressed in some way, as the int8 files that it becomes: their error, bytes, latency."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dense import RECIPE, continued_error
from msgspec.structs import replace

from tiedae.bundle.bench_results import Way
from tiedae.bundle.fidelity import squared_error
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import (
    Dataset,
    ModelConfig,
    PruneConfig,
    QuantizeConfig,
    TiedAutoencoder,
    Training,
    interleave,
    prune,
    shrink,
    train_quantized,
)
from tiedae.compress.affine import BYTE
from tiedae.compress.float_training import train_float
from tiedae.compress.integers import PAIR_LIMIT, UNPAIRED
from tiedae.export import lower, to_onnx, to_tflite
from tiedae.program.interpreter import program_input
from tiedae.report.console import Console
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups

SECONDS = 10


@dataclass(frozen=True)
class Variant:
    """How the float net is compressed. `seed` of the training that goes on; without `pairs` kernels break the pair rule."""

    quantize: QuantizeConfig = RECIPE.quantize
    prune: PruneConfig | None = None
    interleave: int = 1
    seed: int = RECIPE.train.seed
    pairs: bool = True

    @property
    def phases(self) -> list[PruneConfig | QuantizeConfig]:
        """What trains the net further."""
        trained = self.quantize if self.quantize.method == "qat" else None
        return [phase for phase in (self.prune, trained) if phase is not None]

    @property
    def schedule(self) -> tuple[tuple[int, float, float], ...]:
        """(epochs, learning rate, weight decay) of each phase: what the float twin has in common with it."""
        return tuple((phase.epochs, phase.learning_rate, phase.weight_decay) for phase in self.phases)


@dataclass(frozen=True)
class Exported:
    """What a variant leaves: the int8 .tflite, and the test error of the worse of the two formats."""

    tflite: bytes
    error: float
    widths: tuple[int, ...]
    sparsity: float

    @property
    def gzipped(self) -> int:
        return len(gzip.compress(self.tflite, 9, mtime=0))


def trained(path: Path, splits: Dataset, console: Console) -> Path:
    """The archive of the float net that every variant starts from, as the pipeline makes it."""
    model = TiedAutoencoder(ModelConfig(RECIPE.model.layers, "sigmoid", splits.inputs), seed=RECIPE.train.seed)
    train_float(model, splits, Training(RECIPE.train, progress=console.progress))
    model.save(path)
    return path


def compressed(start: Path, variant: Variant, splits: Dataset, console: Console) -> TiedAutoencoder:
    """The float model of `start`, pruned and quantized."""
    model, quantize = interleave(TiedAutoencoder.load(start), variant.interleave), variant.quantize
    train = Training(replace(RECIPE.train, seed=variant.seed), TiedAutoencoder.load(start), progress=console.progress)
    if variant.prune is not None:
        prune(model, splits, variant.prune, train)
        model = shrink(model) if variant.prune.kind == "structured" else model
    for kernel in model.kernels:
        kernel.pair_limit = PAIR_LIMIT if variant.pairs else UNPAIRED
    quantize_post_training(model, representative(splits.train, quantize.samples), quantize)
    if quantize.method == "qat":
        train_quantized(model, splits, quantize, train)
    return model


def exported(model: TiedAutoencoder, splits: Dataset) -> Exported:
    """The int8 files of a quantized model, run over the test set in LiteRT with XNNPACK and in ONNX Runtime."""
    program = lower(model, "net", layout="split")
    tflite = to_tflite(program, io="uint8")
    onnx = to_onnx(lower(model, "net", layout="fused"), signature="reconstruct", io="uint8")
    x = splits.scaling.apply(splits.test.take(np.arange(len(splits.test))))
    q = program_input(program, x)
    with tempfile.TemporaryDirectory() as folder:
        outputs = []
        for runtime, data in (("litert-xnnpack", tflite), ("ort-cpu", onnx)):
            path = Path(folder) / runtime
            path.write_bytes(data)
            outputs.append(RUNTIMES[runtime].open({"reconstruct": path}).run("reconstruct", q)["y"])
    masks = model.masks().values()
    return Exported(
        tflite,
        max(squared_error(x, BYTE.dequantize(y).reshape(x.shape)) for y in outputs),
        model.config.widths,
        1 - sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks),
    )


def float_errors(
    start: Path, variants: Iterable[Variant], splits: Dataset, console: Console
) -> dict[tuple[tuple[int, float, float], ...], float]:
    """The test error of float twins, by the schedule with which they go on from the same start."""
    phases = {variant.schedule: variant.phases for variant in variants}
    return {schedule: continued_error(splits, start, each, console) for schedule, each in phases.items()}


def latencies(files: Mapping[str, bytes], against: str) -> dict[str, tuple[float, float]]:
    """µs of a reconstruction at batch 1 with one thread in XNNPACK, and its ratio to the file `against`, timed in turns."""
    with tempfile.TemporaryDirectory() as folder:
        x = Path(folder) / "x.npy"
        np.save(x, np.zeros((1, 784), np.uint8))
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        subjects = tuple(Timed(name, "litert-xnnpack", f"{folder}/{name}", "reconstruct", str(x)) for name in files)
        (measured,) = time_groups([TimedGroup(subjects, 1, Way.INVOKE)], threads=1, seconds=SECONDS)
    base = measured.timings[against]
    return {name: (each.median_us, ratio(each, base).value) for name, each in measured.timings.items()}
