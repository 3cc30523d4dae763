"""Assemble a bundle in five stages, each a function that returns one frozen value:

    Origin ─ lower ─→ Lowered ─ fit ─→ Fitted ─ write ─→ Written ─ verify ─→ Verified ─ measure ─→ Measured ─→ pages

What a bundle is made from is its `Origin`: the trained models of a run (`trained.Trained`) or an earlier bundle
(`derive.EarlierBundle`). The stages are the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import UnavailableError
from tiedae.base.records import encode
from tiedae.bundle import golden
from tiedae.bundle import manifest as manifests
from tiedae.bundle.bundle import (
    PROGRAM_FILE,
    TASK_FILE,
    Bundle,
    describe_files,
    model_files,
    npy,
    program_file,
    task_file,
    write_files,
)
from tiedae.bundle.manifest import Manifest, ProgramText, ProgramTexts, Tensors
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, Source, to_json
from tiedae.codec.backends import PRECISION, ProgramBackend
from tiedae.codec.detector import fit_detector
from tiedae.codec.frames import model_codec
from tiedae.codec.opening import open_files
from tiedae.codec.training_codes import FittedCodec, codec_files, fit_codec
from tiedae.config.config import Recipe
from tiedae.config.tasks import task_kind
from tiedae.data.dataset import Dataset
from tiedae.data.noise import Noise, noise_of, noisy_test
from tiedae.data.samples import Samples
from tiedae.export.file_info import FileInfo
from tiedae.export.targets import TARGETS, Programs
from tiedae.program.program import Program
from tiedae.program.scoring import Detector
from tiedae.report.key_figures import Report
from tiedae.report.rendering import render_pages
from tiedae.runtimes.machine import installed_versions
from tiedae.tasks import groups
from tiedae.tasks.judging import better_than, judge
from tiedae.tasks.losses import with_losses
from tiedae.tasks.row import Exported, TaskMeasurement
from tiedae.tasks.table import TASKS
from tiedae.verify.collecting import MAX_SAMPLES, MeasuredSamples
from tiedae.verify.limits import Limits
from tiedae.verify.verify import source_of, verify_bundle

Announce = Callable[[str], None]


class Origin(Protocol):
    """What a bundle is made from."""

    @property
    def data(self) -> Dataset: ...
    @property
    def recipe(self) -> Recipe: ...
    @property
    def classes(self) -> int:
        """Of the tables of codes."""
        ...

    @property
    def uncompressed(self) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
        """The float model before it is compressed, a function of model inputs; None: there is none."""
        ...

    def programs(self, announce: Announce) -> Mapping[str, Programs]:
        """By precision; of the integer programs at least."""
        ...

    def masks(self) -> Mapping[str, np.ndarray]:
        """By kernel name, bool [inputs, units]."""
        ...

    def backend(self, integer: Program, announce: Announce) -> ProgramBackend:
        """The program with the integer maps and the scaling of its samples."""
        ...

    def golden(self, fitted: Fitted) -> Mapping[str, np.ndarray]:
        """The golden samples `x` and Keras' outputs for them."""
        ...

    def manifest(self, fitted: Fitted) -> Manifest:
        """Without `files` and `golden`."""
        ...

    def copies(self, written: Set[str]) -> Mapping[str, bytes]:
        """Files beside those that are written, by name."""
        ...

    def reference(self, tested: Samples) -> Original:
        """What the files are compared with."""
        ...

    def beside(self, verified: Verified, announce: Announce) -> Metrics:
        """The metrics with what is known of the Keras models and of the stock converters' files."""
        ...

    def task(self, measured: TaskMeasurement, samples: Source) -> TaskMeasurement:
        """The task's measurement on these samples with what is known of the float model."""
        ...


@dataclass(frozen=True, eq=False)
class Lowered:
    """Programs by precision, and masks by the kernel's name."""

    origin: Origin
    programs: Mapping[str, Programs]
    masks: Mapping[str, np.ndarray]

    @property
    def integer(self) -> Programs:
        return self.programs[PRECISION]


@dataclass(frozen=True, eq=False)
class Fitted:
    """What is fitted to the training samples: integer maps (of `backend`), detector and codec; `data` in the files' scaling."""

    lowered: Lowered
    data: Dataset
    backend: ProgramBackend
    detector: Detector | None
    codec: FittedCodec

    @property
    def recipe(self) -> Recipe:
        return self.lowered.origin.recipe

    @cached_property
    def tested(self) -> Samples:
        """What the files are tested with: the test samples, noisy where the model was trained with noise."""
        noise, seed = _noise(self.recipe, self.data), self.recipe.data.seed
        return self.data.test if noise is None else noisy_test(self.data.test, noise, seed, MAX_SAMPLES)

    def stated(self) -> dict[str, Any]:
        """The fields of a manifest that follow from programs and tables."""
        programs = self.lowered.integer
        return {
            "created_by": f"tiedae {version('tiedae')}",
            "tensors": Tensors(*(programs.reference.quantization(name) for name in ("x", "code", "y"))),
            "operations": ProgramTexts(ProgramText.of(programs.split), ProgramText.of(programs.fused)),
            "versions": installed_versions(),
            "scores": self.codec.scores,
            "detector": self.detector,
        }


@dataclass(frozen=True, eq=False)
class Written:
    """A bundle in `directory` without metrics and pages; `arrays`: the golden ones by name."""

    fitted: Fitted
    directory: Path
    manifest: Manifest
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Verified:
    """A bundle with the metrics of its files alone."""

    written: Written
    metrics: Metrics


@dataclass(frozen=True, eq=False)
class Measured:
    """A bundle with all its metrics; `task`: arrays of the task by name."""

    written: Written
    metrics: Metrics
    task: Mapping[str, np.ndarray]


def lower(origin: Origin, announce: Announce) -> Lowered:
    """The integer programs of a model, and where it has them the float ones."""
    return Lowered(origin, origin.programs(announce), origin.masks())


def fit(lowered: Lowered, announce: Announce) -> Fitted:
    """Fit integer maps, detector and tables to the training samples. Raises DataError as `fit_detector`."""
    origin, recipe = lowered.origin, lowered.origin.recipe
    backend = origin.backend(lowered.integer.reference, announce)
    data = origin.data.with_scaling(backend.spec.scaling)
    detector = fit_detector(lowered.integer, backend, data, recipe.task, recipe.data.seed)
    codec = fit_codec(backend, data.train, recipe.data.seed, _noise(recipe, data), classes=origin.classes)
    return Fitted(lowered, data, backend, detector, codec)


def write(fitted: Fitted, directory: Path, announce: Announce) -> Written:
    """Write all files but metrics and pages. Raises ExportError if a target cannot express the model."""
    origin, programs = fitted.lowered.origin, fitted.lowered.integer
    manifest = manifests.made_for_its_program(origin.manifest(fitted))
    arrays = golden_arrays(fitted, origin.golden(fitted))
    files = {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    files[PROGRAM_FILE] = program_file(programs, fitted.lowered.masks)
    files |= codec_files(manifest, fitted.codec)
    files |= write_models(fitted, manifest, announce)
    files |= origin.copies(files.keys())
    return Written(fitted, directory, write_described(directory, manifest, files, arrays), arrays)


def verify(written: Written, announce: Announce) -> Verified:
    """Check every file in every runtime."""
    fitted, task = written.fitted, written.fitted.recipe.task
    metrics = verify_bundle(
        written.directory,
        MeasuredSamples(fitted.tested, len(fitted.data.test)),
        original=fitted.lowered.origin.reference(fitted.tested),
        limits=Limits(error=TASKS[task_kind(task)].error_limit(task, fitted.tested)),
        announce=lambda text: announce(f"verify: {text}"),
    )
    return Verified(written, metrics)


def measure(verified: Verified, announce: Announce) -> Measured:
    """Measure the task, and compare with the stock converters' files."""
    written, fitted = verified.written, verified.written.fitted
    origin, recipe, tested, manifest = fitted.lowered.origin, fitted.recipe, fitted.tested, written.manifest
    metrics = origin.beside(verified, announce)
    announce(f"task: {task_kind(recipe.task)}")
    samples = source_of(origin.data.config.test_source or origin.data.config.source, tested, recipe.task)
    exported = exported_of(written, origin.uncompressed)
    task = origin.task(TASKS[task_kind(recipe.task)].measure(exported), samples)
    verdict = judge(task, fitted.backend, tested, fitted.data.test, recipe.data.seed, for_rate=recipe.train.for_rate)
    metrics = replace(
        metrics,
        samples=samples,
        model=manifest.model,
        skipped=metrics.skipped + task.skipped,
        task=task.result,
        task_runtime=exported.model.runtime,
        groups=groups.measure(exported),
        verdict=verdict,
        checks=metrics.checks + better_than(verdict, recipe.verify.better_than),
    )
    return Measured(written, with_losses(metrics, manifest, task, recipe.verify), task.kept)


STAGES = (lower, fit, write, verify, measure)
"""In their order; each takes the value of the one before."""


def write_bundle(origin: Origin, directory: Path, announce: Announce) -> Written:
    """Write a bundle without metrics and pages."""
    return write(fit(lower(origin, announce), announce), directory, announce)


def assemble(origin: Origin, directory: Path, announce: Announce) -> Metrics:
    """Write a bundle into `directory` and return its metrics. A failed check is no error here: the metrics report it.

    Raises the errors of the stages.
    """
    measured = measure(verify(write_bundle(origin, directory, announce), announce), announce)
    write_pages(measured)
    return measured.metrics


def _noise(recipe: Recipe, data: Dataset) -> Noise | None:
    return noise_of(recipe.train.noise, data.train)


def golden_arrays(fitted: Fitted, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The golden arrays: those `given`, samples and Keras' outputs, and what the programs compute of the samples."""
    io, x = fitted.backend.io, given["x"]
    scaled = fitted.data.scaling.apply(io.samples(x))
    answered = golden.expectations(fitted.lowered.integer, fitted.recipe.export.targets, scaled, io)
    tensors = fitted.lowered.integer.reference.tensors
    floats = {name: tensors[name.partition(".")[0]].shaped(given[name]) for name in golden.FLOATS}
    arrays = {"x": x, **golden.answers(answered, io), **floats}
    return arrays if fitted.detector is None else arrays | golden.scores(answered, io, fitted.detector, x, scaled)


def exported_of(written: Written, uncompressed: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None) -> Exported:
    """What the task of a bundle is measured on: see `open_files`, or the program itself where no runtime is installed."""
    fitted = written.fitted
    given = (fitted.backend, fitted.data, fitted.recipe, uncompressed, fitted.codec.tables, fitted.detector)
    try:
        return Exported(*given, open_files(Bundle.open(written.directory)))
    except UnavailableError:
        return Exported(*given, None)


def write_models(fitted: Fitted, manifest: Manifest, announce: Announce) -> dict[str, bytes]:
    """`model_files` of a manifest, which does not list them yet, with each warning of a writer announced once."""
    codec = model_codec(manifest, fitted.codec.tables, fitted.codec.residuals)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        files = model_files(
            fitted.lowered.programs, manifest.recipe.export, manifest.io, detector=manifest.detector, codec=codec
        )
    for text in dict.fromkeys(str(warning.message) for warning in given):
        announce(text)
    return files


def write_described(
    directory: Path, manifest: Manifest, files: Mapping[str, bytes], arrays: Mapping[str, np.ndarray]
) -> Manifest:
    """Write the files and a manifest that describes them and the golden arrays; returns it."""
    write_files(directory, files)
    scaled = manifest.io.scaled
    manifest = replace(manifest, files=describe_files(directory, files, scaled=scaled))
    manifest = replace(manifest, golden=golden.describe(arrays, manifest.models, scaled))
    write_files(directory, {manifests.FILE: encode(manifest)})
    return manifest


def write_pages(measured: Measured) -> None:
    """Write metrics.json, the arrays of the task and the pages into a bundle, and then the manifest that lists them too."""
    written, lowered, metrics = measured.written, measured.written.fitted.lowered, measured.metrics
    constants = lowered.integer.reference.constants
    rendered = {
        METRICS: to_json(metrics).encode(),
        **({TASK_FILE: task_file(metrics.program_sha256, measured.task)} if measured.task else {}),
        **render_pages(Report(written.manifest, metrics, written.arrays, constants, lowered.masks, measured.task)),
    }
    write_files(written.directory, rendered)
    described = {name: FileInfo.of(data) for name, data in rendered.items()}
    files = dict(sorted({**written.manifest.files, **described}.items()))
    write_files(written.directory, {manifests.FILE: encode(replace(written.manifest, files=files))})


def export_text(targets: tuple[str, ...]) -> str:
    """What is announced when a program is written."""
    return "export: integer program, " + ", ".join(TARGETS[target].label for target in targets)
