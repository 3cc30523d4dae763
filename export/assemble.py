"""Assemble a bundle: lower, write, verify, compare with the stock converters, render."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from msgspec.structs import replace

from ..calibration.calibration_file import Calibration
from ..calibration.representative import representative
from ..compress.affine import Quantization
from ..compress.config import ModelConfig, Recipe
from ..compress.data import Dataset, Samples
from ..compress.errors import UnavailableError
from ..compress.noise import noise_of, noisy_test
from ..compress.normal import measured_rows, normal_rows
from ..compress.records import checked, encode, plain
from ..compress.sample_spec import SampleType
from ..compress.tasks import task_kind
from . import golden, integer_maps
from . import manifest as manifests
from .bundle import (
    PROGRAM_FILE,
    Bundle,
    Programs,
    describe_files,
    model_files,
    npy,
    program_file,
    task_file,
    write_files,
)
from .codec.backends import Backend, ProgramBackend
from .codec.codec import open_files
from .codec.frames import model_codec
from .codec.training_codes import Fitted, codec_files, fit_codec
from .detector import fit_detector
from .file_info import FileInfo
from .file_io import FileIO
from .integer_maps import IntegerMaps
from .lowering import lower
from .manifest import CalibrationInfo, Data, Manifest, ProgramText, ProgramTexts, Tensors
from .operations.interleave import interleaved_parts
from .parity.fidelity import Fidelity, column_names, squared_error, warnings_of
from .parity.keras_device import keras_device, keras_layers, on_device, skipped
from .report.rendering import render_pages
from .runtimes.machine import installed_versions
from .targets import TARGETS
from .tasks.judging import better_than, judge
from .tasks.losses import with_losses
from .tasks.row import Exported
from .tasks.table import TASKS
from .verify.kinds import Stage
from .verify.results import FILE as METRICS
from .verify.results import Device, Epoch, Fit, Metrics, Model, Quality, to_json
from .verify.verify import MAX_SAMPLES, source_of, verify_bundle

if TYPE_CHECKING:
    from ..compress.autoencoder import TiedAutoencoder

GOLDEN_SAMPLES = 64
TITLES = {"train": "Keras float", "prune": "Keras pruned", "cluster": "Keras clustered", "quantize": "Keras int8 simulation"}

Announce = Callable[[str], None]


def title_of(stage: str, model: TiedAutoencoder) -> str:
    """The name of a model after a stage, in tables of errors."""
    rounded = model.code_scale is not None and not model.quantized
    return f"{TITLES[stage]}, code in steps" if rounded else TITLES[stage]


@dataclass(frozen=True, eq=False)
class Written:
    """A bundle without metrics and pages: its manifest, its programs by precision, the samples in its scaling, those that its
    files are `tested` with, the golden arrays, and what codes samples.
    """

    manifest: Manifest
    programs: Mapping[str, Programs]
    masks: Mapping[str, np.ndarray]
    splits: Dataset
    tested: Samples
    arrays: Mapping[str, np.ndarray]
    backend: ProgramBackend
    fitted: Fitted


def write_bundle(
    directory: Path,
    floating: TiedAutoencoder,
    quantized: TiedAutoencoder,
    splits: Dataset,
    recipe: Recipe,
    *,
    calibration: Calibration,
    provenance: Mapping[str, str],
    keras: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    announce: Announce,
) -> Written:
    """Write the files of a bundle, without metrics and pages; arguments as `assemble`. `keras` computes the float model."""
    announce(f"export: integer program, {', '.join(TARGETS[target].label for target in recipe.export.targets)}")
    programs = {
        precision: Programs(lower(model, recipe.name, layout="split"), lower(model, recipe.name, layout="fused"))
        for precision, model in {"int8": quantized, "f32": floating}.items()
    }
    integer = programs["int8"].reference
    maps, scaling = integer_maps.fit(splits.spec, integer.quantization("x"), integer.quantization("y"))
    splits = splits.with_scaling(scaling)
    masks = quantized.masks()
    io = FileIO.of(recipe.export, splits.scaling, splits.train.dtype.name)
    backend = ProgramBackend(integer, splits.spec, io, maps)
    detector = fit_detector(programs["int8"], backend, splits, recipe.task, recipe.data.seed)
    if text := coarse_text(io, integer.quantization("x"), splits.columns):
        announce(text)
    noise = noise_of(recipe.train.noise, splits.train)
    tested = splits.test if noise is None else noisy_test(splits.test, noise, recipe.data.seed, MAX_SAMPLES)
    x = tested.take(np.arange(min(len(tested), GOLDEN_SAMPLES)))
    scaled = splits.scaling.apply(io.samples(x))
    answered = golden.expectations(programs["int8"], recipe.export.targets, scaled, io)
    arrays = {"x": x, **golden.answers(answered, io)}
    arrays |= golden.floats(*keras(scaled), io)
    if detector is not None:
        arrays |= golden.scores(answered, io, detector, x, scaled)
    files = {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    files[PROGRAM_FILE] = program_file(programs["int8"], masks)
    fitted = fit_codec(backend, splits.train, recipe.data.seed, noise, classes=recipe.codec.classes)
    files |= codec_files(recipe.name, fitted)
    fidelity = Fidelity.of_splits(splits)
    manifest = _manifest(programs, maps, splits, fidelity, recipe, quantized.config, calibration, masks, provenance)
    manifest = replace(manifest, scores=fitted.scores, detector=detector)
    files |= write_models(programs, manifest, announce, fitted)
    manifest = write_described(directory, manifest, files, arrays)
    return Written(manifest, programs, masks, splits, tested, arrays, backend, fitted)


def assemble(
    directory: Path,
    models: Mapping[str, TiedAutoencoder],
    splits: Dataset,
    recipe: Recipe,
    history: Sequence[Mapping[str, Any]],
    *,
    calibration: Calibration,
    provenance: Mapping[str, str],
    stock: Path,
    announce: Announce,
) -> Metrics:
    """Write a bundle into `directory` and return its metrics.

    `models` by stage in order: `train`, optionally `prune` and `cluster`, `quantize`. The float files and the stock converters'
    files (in the folder `stock`) come from the last float stage. `calibration` holds the initial activation ranges of the
    quantized model. `provenance` (licence, origin) goes into the manifest's data. Raises ExportError if a target cannot express
    the model.
    """
    *_, floating = (model for stage, model in models.items() if stage != "quantize")
    device = keras_device()
    keras = keras_function(floating, device)
    options = {"calibration": calibration, "provenance": provenance, "keras": keras, "announce": announce}
    written = write_bundle(directory, floating, models["quantize"], splits, recipe, **options)
    manifest, programs, splits, tested = written.manifest, written.programs, written.splits, written.tested
    io, fidelity = manifest.io, Fidelity.of_splits(splits)
    shown = representative(splits.train, recipe.quantize.samples, seed=recipe.data.seed, noise=recipe.train.noise)
    task = TASKS[task_kind(recipe.task)]
    metrics = verify_bundle(
        directory,
        keras=keras,
        layers=keras_layers(floating, device),
        uncompressed=coding_function(next(iter(models.values())), device),
        test=tested,
        test_samples=len(splits.test),
        tolerances=recipe.verify,
        error_limit=task.error_limit(recipe.task, tested),
        announce=lambda text: announce(f"verify: {text}"),
    )
    from .baselines.measurement import measure_stock

    announce("stock converters: TFLiteConverter, tf2onnx, ONNX Runtime's quantizer")
    taken = np.arange(min(len(tested), MAX_SAMPLES))
    test, wanted = splits.scaling.apply(tested.take(taken)), tested.wanted.take(taken)
    rows = measured_rows(len(taken), normal_rows(tested, recipe.task, taken))
    judged, judged_scaled = wanted[rows], splits.scaling.apply(wanted[rows])

    def errors(y: np.ndarray) -> tuple[float, Fit]:
        return squared_error(judged_scaled, y[rows]), fidelity.measure(judged, y[rows])

    files_of_stock, quality_of_stock, parity_of_stock = measure_stock(
        floating, io.dtype, shown.inputs, test, errors, keras, recipe, stock
    )
    stages = [
        Quality(title_of(stage, model), Stage(stage), *errors(coding_function(model, device)(test)[1]))
        for stage, model in models.items()
    ]
    quality = (*stages, *metrics.quality, *quality_of_stock)
    announce(f"task: {task_kind(recipe.task)}")
    exported = Exported(
        written.backend,
        splits,
        recipe,
        coding_function(next(iter(models.values())), device),
        written.fitted.tables,
        manifest.detector,
        files_or_program(directory),
    )
    measured_task = task.measure(exported)
    verdict = judge(measured_task, written.backend, tested, recipe.data.seed, for_rate=recipe.train.rate > 0)
    metrics = replace(
        metrics,
        keras=device,
        skipped=metrics.skipped + skipped(device) + measured_task.skipped,
        samples=source_of(recipe.data.test_source or recipe.data.source, tested, recipe.task),
        data=plain(manifest.data),
        model=manifest.model,
        history=tuple(checked(Epoch, record) for record in history),
        quality=quality,
        warnings=warnings_of(quality),
        files=(*metrics.files, *files_of_stock),
        parity=(*metrics.parity, *parity_of_stock),
        task=measured_task.result,
        task_runtime=exported.model.runtime,
        verdict=verdict,
        checks=metrics.checks + better_than(verdict, recipe.verify.better_than),
    )
    metrics = with_losses(metrics, manifest, measured_task, recipe.verify)
    constants = programs["int8"].reference.constants
    write_pages(directory, manifest, metrics, written.arrays, constants, written.masks, measured_task.kept)
    return metrics


def files_or_program(directory: Path) -> Backend | None:
    """What a task is measured through, see `open_files`; None, the program itself, where no runtime is installed."""
    try:
        return open_files(Bundle.open(directory))
    except UnavailableError:
        return None


def write_models(programs: Mapping[str, Programs], manifest: Manifest, announce: Announce, fitted: Fitted) -> dict[str, bytes]:
    """`model_files` of a manifest, which does not list them yet, with each warning of a writer announced once."""
    codec = model_codec(manifest, fitted.tables, fitted.residuals)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        files = model_files(programs, manifest.recipe.export, manifest.io, detector=manifest.detector, codec=codec)
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


def write_pages(
    directory: Path,
    manifest: Manifest,
    metrics: Metrics,
    arrays: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    task: Mapping[str, np.ndarray],
) -> None:
    """Write metrics.json, the arrays of the task and the pages into a bundle, and then the manifest that lists them too."""
    rendered = {
        METRICS: to_json(metrics).encode(),
        **{task_file(name): npy(values) for name, values in task.items()},
        **render_pages(manifest, metrics, arrays, constants, masks, task),
    }
    write_files(directory, rendered)
    described = {name: FileInfo.of(data) for name, data in rendered.items()}
    files = dict(sorted({**manifest.files, **described}.items()))
    write_files(directory, {manifests.FILE: encode(replace(manifest, files=files))})


def coarse_text(io: FileIO, x: Quantization, columns: Sequence[str] | None) -> str:
    """Which inputs float32 resolves too coarsely in the data's unit of measure; empty if it resolves all of them well."""
    found = io.coarse(x)
    if io.scaling is None or not found:
        return ""
    index, step, wanted = found[0]
    name = column_names(columns, index + 1)[index] if isinstance(io.scaling.scale, tuple) else "the data"
    more = f" ({len(found) - 1} more like it)" if len(found) > 1 else ""
    return (
        f"float32 is coarse for {name} in its own unit of measure{more}: numbers are {step:.3g} apart there, integers of x "
        f"{wanted:.3g}; "
        "[export] scaled = true avoids it"
    )


def keras_function(
    model: TiedAutoencoder, device: Device | None = None, *, code_scale: float | None = None
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function float32 [n, inputs] → (code, y) that runs the Keras model in batches, on `keras_device()` by default.

    `code_scale`: what the code is rounded to before it is decoded; None: nothing.
    """
    device = keras_device() if device is None else device

    def code_and_output(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if code_scale is None:
            code, y = model.encode_decode(x)
            return code.numpy(), y.numpy()
        code = np.rint(model.encoder(x).numpy() / np.float32(code_scale)) * np.float32(code_scale)
        return code, model.decoder(code).numpy()

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with on_device(device):
            codes, outputs = zip(*(code_and_output(x[start : start + 1000]) for start in range(0, len(x), 1000)), strict=True)
            return np.concatenate(codes), np.concatenate(outputs)

    return run


def coding_function(
    model: TiedAutoencoder, device: Device | None = None
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """What a model is measured by: a float one that was trained for rate has its code rounded to its step."""
    return keras_function(model, device, code_scale=None if model.quantized else model.code_scale)


def _manifest(
    programs: Mapping[str, Programs],
    maps: IntegerMaps | None,
    splits: Dataset,
    fidelity: Fidelity,
    recipe: Recipe,
    model: ModelConfig,
    calibration: Calibration,
    masks: Mapping[str, np.ndarray],
    provenance: Mapping[str, str],
) -> Manifest:
    """The manifest without `files` and `golden`."""
    integer = programs["int8"].reference
    train, validation = splits.train, splits.validation
    return Manifest(
        created_by=f"tiedae {version('tiedae')}",
        name=recipe.name,
        seed=recipe.train.seed,
        recipe=recipe,
        data=Data(
            source=recipe.data.source,
            kind=splits.kind,
            columns=None if splits.columns is None else tuple(splits.columns),
            label=splits.label,
            peak=fidelity.peak,
            inputs=splits.inputs,
            shape=train.shape,
            dtype=cast(SampleType, train.dtype.name),
            train=len(train),
            validation=0 if validation is None else len(validation),
            test=len(splits.test),
            sha256=train.sha256,
            scaling=splits.scaling,
            **provenance,
        ),
        calibration=CalibrationInfo(**calibration.summary()),
        model=Model(
            model.widths,
            tuple(layer.activation for layer in model.layers),
            model.output_activation,
            interleaved_parts(integer),
            {name: float(1 - mask.mean()) for name, mask in masks.items()},
        ),
        kernels=manifests.describe_kernels(integer, masks, programs["f32"].reference.constants),
        tensors=Tensors(*(integer.quantization(name) for name in ("x", "code", "y"))),
        integer_maps=maps,
        operations=ProgramTexts(ProgramText.of(programs["int8"].split), ProgramText.of(programs["int8"].fused)),
        versions=installed_versions(),
    )
