"""One trial: train, compress and export a recipe as its int8 .tflite file, and measure it."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.archive import archive_path
from tiedae.base.records import Record, plain
from tiedae.bundle.bench_results import Way
from tiedae.bundle.bundle import npy
from tiedae.bundle.fidelity import Fidelity, squared_error
from tiedae.bundle.results import Fit
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.frames import FileModel
from tiedae.codec.streams import StreamEncoder
from tiedae.codec.training_codes import fit_code_tables
from tiedae.config.config import Recipe, TrainConfig
from tiedae.data.dataset import Dataset
from tiedae.data.noise import noise_of, noisy_test
from tiedae.export.targets import TARGETS, decoder_layout
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import fit as fit_maps
from tiedae.program.interpreter import execute, program_input
from tiedae.program.tensors import flat
from tiedae.report.console import Progress
from tiedae.runtimes.table import RUNTIMES, usual
from tiedae.verify.bench.latency import Timed, TimedGroup, time_groups

from ..importing import Start
from ..runs import Stages, load_model

if TYPE_CHECKING:
    from tiedae.compress.train import AfterEpoch
    from tiedae.program.program import Program

TARGET = "tflite"
"""The target whose int8 file a search measures."""
SAMPLES = 2000
"""Maximum number of validation samples."""
SECONDS = 2.0
"""Duration of timing a group of files."""
GZIP_LEVEL = 9


@dataclass(frozen=True, eq=False)
class TrialFile:
    """A trial's file: its bytes, and the signature to time with its input `x`."""

    data: bytes
    signature: str
    x: np.ndarray

    @property
    def gzip_bytes(self) -> int:
        return len(gzip.compress(self.data, GZIP_LEVEL, mtime=0))


@dataclass(frozen=True)
class ValidationQuality:
    """Squared `error` per validation sample of scaled values, and `fidelity` of unscaled ones (see `Fidelity.measure`).

    `bits` per validation sample of a .tae file, heads included; None for a float model.
    """

    error: float
    fidelity: Fit
    bits: float | None = None


@dataclass(frozen=True)
class TrialBuilder:
    """Trains and exports recipes; `folder` caches stages by a digest of their dependencies, so that equal ones train once."""

    splits: Dataset
    folder: Path
    data_sha256: str
    start: Start | None = None

    def samples(self, train: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
        """The measured validation samples with the noise of training, and what the model shall give for them: the clean ones.

        [n, inputs] each, in the data's unit of measure.
        """
        noise, held = noise_of(train.noise, self.splits.train), self.splits.validation
        assert held is not None
        held = held if noise is None else noisy_test(held, noise, train.seed, SAMPLES)
        chosen = np.arange(min(len(held), SAMPLES))
        return held.take(chosen), held.wanted.take(chosen)

    @cached_property
    def fidelity(self) -> Fidelity:
        return Fidelity.of_splits(self.splits)

    def stages(self, recipe: Recipe, progress: Progress, after_epoch: AfterEpoch | None = None) -> Stages:
        folder = lambda stage: self.folder / self._key(recipe, stage)  # noqa: E731
        return Stages(recipe, self.splits, folder, progress, after_epoch, start=self.start)

    def _key(self, recipe: Recipe, stage: str) -> str:
        """A digest of the dependencies of a stage: the data, and the recipe's tables up to its own."""
        names = list(Recipe.__struct_fields__)
        tables = names[1 : names.index(stage) + 1] + (["export"] if stage == "quantize" else [])
        whole = plain(recipe)
        source = "" if self.start is None else self.start.sha256
        parts = [self.data_sha256, source, recipe.quantize.code_scale, *(whole[name] for name in tables)]
        text = json.dumps(parts, sort_keys=True)
        return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def float_losses(self, recipe: Recipe) -> list[float]:
        """The validation losses of a recipe's float model if it is cached, else []."""
        archive = archive_path(self.folder / self._key(recipe, "train"), "train")
        return losses({"train": archive})["train"] if archive.exists() else []

    def build(self, recipe: Recipe, archive: Path) -> tuple[TrialFile, ValidationQuality]:
        """The .tflite file of a model and its quality by the integer program, which XNNPACK matches."""
        from tiedae.program.lowering import lower

        program = lower(load_model(archive), recipe.name, layout=decoder_layout([TARGET], recipe.export.decoder))
        train = self.splits.train
        io = FileIO.of(recipe.export, train.scaling, train.dtype.name)
        io = io if program.quantized else io.floats
        (data,) = TARGETS[TARGET].write(program, recipe.name, recipe.export, io).values()
        quality = self.quality(program, recipe.train)
        if program.quantized:
            quality = dataclasses.replace(quality, bits=self.bits(program, recipe))
        return TrialFile(data, *_timed_input(program, recipe, io.dtype)), quality

    def quality(self, program: Program, train: TrainConfig) -> ValidationQuality:
        """The quality of what a program makes of the validation samples, with the noise of training, against clean ones."""
        given, wanted = self.samples(train)
        x = self.splits.scaling.apply(given)
        x = program_input(program, x, RUNTIMES[usual(TARGET)].converts) if program.quantized else program.tensors["x"].shaped(x)
        y = flat(execute(program, "reconstruct", x)["y"])
        y = program.quantization("y").dequantize(y) if program.quantized else y
        measured = self.fidelity.measure(wanted, y)
        worst = [name for _, name in measured.worst_columns[:1]]
        columns = tuple(column for column in measured.columns if column.name in worst)
        return ValidationQuality(squared_error(self.splits.scaling.apply(wanted), y), replace(measured, columns=columns))

    def bits(self, program: Program, recipe: Recipe) -> float:
        """Bits per validation sample of the .tae file that the bundle of an int8 program would write."""
        maps, scaling = fit_maps(self.splits.spec, program.quantization("x"), program.quantization("y"))
        splits = self.splits.with_scaling(scaling)
        io = FileIO.of(recipe.export, splits.scaling, splits.train.dtype.name)
        backend = ProgramBackend(program, splits.spec, io, maps)
        noise = noise_of(recipe.train.noise, splits.train)
        tables = fit_code_tables(backend, splits.train, recipe.data.seed, noise, classes=recipe.codec.classes)
        samples, _ = self.samples(recipe.train)
        return 8 * len(StreamEncoder(FileModel(backend, tables, bytes(8)), backend).whole(samples)) / len(samples)


def _timed_input(program: Program, recipe: Recipe, io: str) -> tuple[str, np.ndarray]:
    """The signature to time, the whole model if the file has it, and a zero input of batch 1."""
    signature = max(recipe.export.signatures, key=("decode", "encode", "reconstruct").index)
    tensor = program.part(signature)[1]
    dtype = {"x": io, "code": "uint8" if program.quantized else "float32"}[tensor]
    return signature, np.zeros((1, *program.tensors[tensor].shape), dtype)


def losses(archives: Mapping[str, Path]) -> dict[str, list[float]]:
    """The validation loss after each epoch, by stage, from the histories beside the archives."""
    histories = {stage: json.loads(path.with_suffix(".json").read_bytes()) for stage, path in archives.items()}
    return {stage: kept_losses(history) for stage, history in histories.items()}


def kept_losses(history: Sequence[Mapping[str, Any]]) -> list[float]:
    """The validation loss after each epoch of a stage, at most that of a start which counts as one (`TrainingStart.loss`)."""
    begun = history[0].get("begun") if history else None
    start = math.inf if begun is None or begun["loss"] is None else begun["loss"]
    return [min(start, record["validation_loss"]) for record in history]


def latencies(files: Mapping[str, TrialFile]) -> dict[str, float]:
    """Median latency per call in µs in the default runtime, one thread, batch 1; files alternate in one child process.

    Raises UnavailableError if the runtime does not start.
    """
    with tempfile.TemporaryDirectory() as folder:
        timed = []
        for index, (name, file) in enumerate(files.items()):
            model, x = Path(folder) / f"{index}{TARGETS[TARGET].suffix}", Path(folder) / f"{index}.npy"
            model.write_bytes(file.data)
            x.write_bytes(npy(file.x))
            timed.append(Timed(name, usual(TARGET), str(model), file.signature, str(x)))
        (measured,) = time_groups([TimedGroup(tuple(timed), 1, Way.INVOKE)], threads=1, seconds=SECONDS)
    return {name: timing.median_us for name, timing in measured.timings.items()}


class Outcome(Record, frozen=True):
    """The outcome of one point; `number` counts points that trained a model, from 1.

    `state`: `complete`, `stopped` (early), `impossible` (kernels alone exceed the bytes) or `refused` (an error); `note`: the
    reason. `error`: squared error per validation sample in scaled values; `fidelity`: quality in the data's unit of measure;
    `bytes`,
    `gzip_bytes`: of the int8 .tflite; `latency_us`: None if not limited; `losses`: validation loss per epoch, by stage; `bits`:
    per validation sample of a .tae file.
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
    bits: float | None = None

    def size(self, counted: str) -> int | None:
        return {"file": self.bytes, "gzip": self.gzip_bytes}[counted]
