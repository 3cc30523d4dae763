"""One trial: a recipe trained, compressed and written as the int8 .tflite file that it would ship, and measured."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace
from tiedae.compress.affine import port_dtype
from tiedae.compress.archive import archive_path
from tiedae.compress.config import Recipe
from tiedae.compress.data import Samples, Splits
from tiedae.compress.records import Record, plain
from tiedae.export.bench.latency import Timed, TimedGroup, time_groups
from tiedae.export.bench.results import Way
from tiedae.export.bundle import npy
from tiedae.export.interpreter import execute, program_input
from tiedae.export.parity.fidelity import Fidelity
from tiedae.export.runtimes.table import RUNTIMES, usual
from tiedae.export.targets import TARGETS
from tiedae.export.verify.measurement import squared_error
from tiedae.export.verify.results import Column, Fit

from ..console import Progress
from ..pipeline import Stages, load_model

if TYPE_CHECKING:
    from tiedae.compress.train import AfterEpoch
    from tiedae.export.program import Program

TARGET = "tflite"
"""The target whose int8 file a search makes and measures."""
SAMPLES = 2000
"""The most validation samples that a file is measured on."""
SECONDS = 2.0
"""How long files are timed side by side."""
GZIP_LEVEL = 9


@dataclass(frozen=True, eq=False)
class Made:
    """A file of a trial: its bytes, and what its signature for timing reads."""

    data: bytes
    signature: str
    x: np.ndarray

    @property
    def gzip_bytes(self) -> int:
        return len(gzip.compress(self.data, GZIP_LEVEL, mtime=0))


@dataclass(frozen=True)
class ValidationQuality:
    """How well a file does on validation samples: the squared `error` per sample in model units, and the `fidelity` of all
    values in the user's unit (see `Fidelity.measure`)."""

    error: float
    fidelity: Fit


@dataclass(frozen=True)
class Workshop:
    """Where recipes become models: `folder` keeps each stage by what it depends on, so that equal stages are trained once."""

    splits: Splits
    folder: Path
    data_sha256: str

    @property
    def validation(self) -> Samples:
        assert self.splits.validation is not None
        return self.splits.validation

    @cached_property
    def samples(self) -> np.ndarray:
        """[n, inputs]: the validation samples that files are measured on, in the user's unit."""
        return self.validation.take(np.arange(min(len(self.validation), SAMPLES)))

    @cached_property
    def x(self) -> np.ndarray:
        """The same in model units, float32."""
        return self.splits.scaling.apply(self.samples)

    @cached_property
    def fidelity(self) -> Fidelity:
        return Fidelity.of_splits(self.splits)

    def stages(self, recipe: Recipe, progress: Progress, after_epoch: AfterEpoch | None = None) -> Stages:
        return Stages(recipe, self.splits, lambda stage: self.folder / self._key(recipe, stage), progress, after_epoch)

    def _key(self, recipe: Recipe, stage: str) -> str:
        """A digest of all that a stage depends on: the data, and the recipe's tables up to its own."""
        names = list(Recipe.__struct_fields__)
        tables = names[1 : names.index(stage) + 1] + (["export"] if stage == "quantize" else [])
        whole = plain(recipe)
        text = json.dumps([self.data_sha256, *(whole[name] for name in tables)], sort_keys=True)
        return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def float_losses(self, recipe: Recipe) -> list[float]:
        """The validation losses of a recipe's float model, where it was trained earlier; else nothing."""
        archive = archive_path(self.folder / self._key(recipe, "train"), "train")
        return losses({"train": archive})["train"] if archive.exists() else []

    def make(self, recipe: Recipe, archive: Path) -> tuple[Made, ValidationQuality]:
        """The .tflite file of a model, and its quality by the integer program that XNNPACK agrees with."""
        from tiedae.export.lowering import lower

        program = lower(load_model(archive), recipe.name, form=TARGETS[TARGET].layout)
        train = self.splits.train
        io = port_dtype(recipe.export.io, train.scaling.is_bytes(train.dtype.name)) if program.quantized else "float32"
        (data,) = TARGETS[TARGET].write(program, recipe.name, recipe.export, io).values()
        return Made(data, *_timed_input(program, recipe, io)), self.quality(program)

    def quality(self, program: Program) -> ValidationQuality:
        """The quality of a program by its own reconstructions of the validation samples."""
        x = program_input(program, self.x, RUNTIMES[usual(TARGET)].converts) if program.quantized else self.x
        y = execute(program, "reconstruct", x)["y"]
        y = program.quantization("y").dequantize(y) if program.quantized else y
        measured = self.fidelity.measure(self.samples, y)
        worst = tuple(Column(name, r2) for r2, name in measured.worst_columns[:1])
        return ValidationQuality(squared_error(self.x, y), replace(measured, columns=worst))


def _timed_input(program: Program, recipe: Recipe, io: str) -> tuple[str, np.ndarray]:
    """The signature that is timed, the whole model where the file has it, and zeros as its input at batch 1."""
    signature = max(recipe.export.signatures, key=("decode", "encode", "reconstruct").index)
    port = program.part(signature)[1]
    dtype = {"x": io, "code": "uint8" if program.quantized else "float32"}[port]
    return signature, np.zeros((1, *program.tensors[port].shape), dtype)


def losses(archives: Mapping[str, Path]) -> dict[str, list[float]]:
    """The validation loss after each epoch of each stage, from the histories beside the archives."""
    histories = {stage: json.loads(path.with_suffix(".json").read_bytes()) for stage, path in archives.items()}
    return {stage: [record["validation_loss"] for record in history] for stage, history in histories.items()}


def latencies(files: Mapping[str, Made]) -> dict[str, float]:
    """Microseconds a call in the usual runtime, one thread, batch 1: medians of files timed in turns in a process of their own.

    Raises UnavailableError where the runtime does not come up.
    """
    with tempfile.TemporaryDirectory() as folder:
        timed = []
        for index, (name, made) in enumerate(files.items()):
            model, x = Path(folder) / f"{index}{TARGETS[TARGET].suffix}", Path(folder) / f"{index}.npy"
            model.write_bytes(made.data)
            x.write_bytes(npy(made.x))
            timed.append(Timed(name, usual(TARGET), str(model), made.signature, str(x)))
        (measured,) = time_groups([TimedGroup(tuple(timed), 1, Way.INVOKE)], threads=1, seconds=SECONDS)
    return {name: timing.median_us for name, timing in measured.timings.items()}


class Outcome(Record, frozen=True):
    """What became of one point; `number` counts those that trained a model, from 1.

    `state` is `complete`, `stopped` (hopeless, by `note`), `impossible` (its kernels alone are too large) or `refused` (no
    model, by `note`). `error` is the squared error per validation sample, `fidelity` the same in the user's unit, `bytes` and
    `gzip_bytes` those of the int8 .tflite, `latency_us` None where nothing asked for it. `losses` by stage are those after
    each epoch.
    """

    number: int | None
    point: Mapping[str, Any]
    state: str
    note: str = ""
    error: float | None = None
    bytes: int | None = None
    gzip_bytes: int | None = None
    latency_us: float | None = None
    losses: Mapping[str, list[float]] | None = None
    fidelity: Fit | None = None

    def size(self, counted: str) -> int | None:
        return {"file": self.bytes, "gzip": self.gzip_bytes}[counted]
