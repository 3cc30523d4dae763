"""A bundle from another one, without training and without TensorFlow: fresh tables, and codes of another scale.

The integer program is the source's, but for the scale of its codes. What the scale does not change is copied: the float files,
Keras' golden outputs, and of metrics.json what was measured of Keras' float models and of the stock converters' files. The rest
is written and measured anew; what needs Keras is a skipped row with its reason.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from msgspec.structs import replace

from ..compress.data import Dataset, Samples
from ..compress.errors import DataError
from ..compress.files import read_regular
from ..compress.noise import Noise, noise_of, noisy_test
from ..compress.normal import normal_of, normal_only
from ..compress.tasks import task_kind
from . import golden
from .assemble import files_or_program, write_described, write_models, write_pages
from .bundle import PROGRAM_FILE, Bundle, npy, program_file, tables_name
from .code_scale import with_factor
from .codec.backends import PRECISION, ProgramBackend
from .codec.class_fitting import require_classes
from .codec.training_codes import Fitted, codec_files, fit_codec, training_inputs
from .detector import fit_detector
from .manifest import FILE, Derivation, Manifest, ProgramText, ProgramTexts, Tensors
from .report.rendering import PAGES
from .runtimes.machine import installed_versions
from .targets import Programs, read_model
from .tasks.judging import better_than, judge
from .tasks.losses import beside_kept, with_losses
from .tasks.row import Exported
from .tasks.table import TASKS
from .verify.kinds import Kind, Maker, Skipped, Stage, Why
from .verify.results import FILE as METRICS
from .verify.results import Metrics, read_metrics
from .verify.verify import MAX_SAMPLES, source_of, verify_bundle

Announce = Callable[[str], None]
FLOAT_STAGES = (Stage.TRAIN, Stage.PRUNE, Stage.CLUSTER)


def derive(
    bundle: Bundle,
    directory: Path,
    data: Dataset,
    *,
    source: str,
    factor: float = 1.0,
    classes: int | None = None,
    announce: Announce,
) -> Metrics:
    """Write a bundle with tables and scores of these training samples into `directory`, and return its metrics.

    `factor`: the factor on the scale of the codes. `classes`: of the tables, by default as many as the bundle's have. `source`
    names the samples; they are those of the model where their sha256 is the manifest's. A failed check is no error here: the
    metrics report it.

    Raises FormatError for a damaged bundle, DataError for samples of another shape or dtype, InputError as `with_factor` and
    `fit_codec`.
    """
    before = bundle.manifest
    bundle.require_intact()
    _require_like(before, data, source)
    recipe = before.recipe
    data = normal_only(data.with_scaling(before.data.scaling), normal_of(recipe.task), source)
    noise = noise_of(recipe.train.noise, data.train)
    tested = data.test if noise is None else noisy_test(data.test, noise, recipe.data.seed, MAX_SAMPLES)
    int8 = {name: read_model(bundle.path / name) for name, info in before.models.items() if info.precision == PRECISION}
    programs, masks, arrays = bundle.programs(int8), bundle.masks(), bundle.golden()
    classes = _classes(bundle) if classes is None else classes
    require_classes(classes, len(data.train))
    announce("codes of the training samples")
    programs, backend, fitted = _fitted(before, programs, data.train, noise, factor, classes)
    detector = fit_detector(programs, backend, data, recipe.task, recipe.data.seed)
    io, config = before.io, before.recipe.export
    announce("export: integer program, " + ", ".join(config.targets))
    scaled = before.data.scaling.apply(io.samples(arrays["x"]))
    arrays = {name: arrays[name] for name in ("x", *golden.FLOATS)}
    answered = golden.expectations(programs, config.targets, scaled, io)
    arrays |= golden.answers(answered, io)
    if detector is not None:
        arrays |= golden.scores(answered, io, detector, arrays["x"], scaled)
    files = {f"golden/{name}.npy": npy(values) for name, values in arrays.items()}
    files[PROGRAM_FILE] = program_file(programs, masks)
    files |= codec_files(before.name, fitted)
    derivation = Derivation(
        created_by=before.created_by,
        manifest_sha256=hashlib.sha256(read_regular(bundle.path / FILE)).hexdigest(),
        factor=float(factor),
        classes=fitted.tables.classes,
        source=source,
        data_sha256=data.train.sha256,
    )
    manifest = replace(
        before,
        created_by=f"tiedae {version('tiedae')}",
        tensors=Tensors(*(programs.reference.quantization(name) for name in ("x", "code", "y"))),
        operations=ProgramTexts(ProgramText.of(programs.split), ProgramText.of(programs.fused)),
        versions=installed_versions(),
        scores=fitted.scores,
        detector=detector,
        derived=(*before.derived, derivation),
    )
    files |= write_models({PRECISION: programs}, manifest, announce, fitted)
    files |= _copies(bundle, {*files, *int8, METRICS, *PAGES})
    manifest = write_described(directory, manifest, files, arrays)
    old = read_metrics(bundle.path / METRICS)
    kept = _kept(old, same=old.samples is not None and old.samples.sha256 == tested.sha256, factor=factor)
    keras = next((row.error for row in kept.quality if row.stage is Stage.TRAIN), None)
    exported = Exported(backend, data, recipe, None, fitted.tables, detector, files_or_program(directory))
    row = TASKS[task_kind(recipe.task)]
    samples = source_of(data.config.test_source or source, tested, recipe.task)
    task = beside_kept(row.measure(exported), bundle, samples)
    metrics = verify_bundle(
        directory,
        test=tested,
        test_samples=len(data.test),
        float_error=keras,
        error_limit=row.error_limit(recipe.task, tested),
        announce=lambda text: announce(f"verify: {text}"),
    )
    verdict = judge(task, backend, tested, recipe.data.seed, for_rate=recipe.train.rate > 0)
    metrics = replace(
        metrics,
        samples=samples,
        data=old.data,
        model=manifest.model,
        keras=kept.keras,
        history=kept.history,
        quality=(*kept.quality, *metrics.quality),
        files=(*metrics.files, *kept.files),
        parity=(*metrics.parity, *kept.parity),
        skipped=(*metrics.skipped, *kept.skipped, *task.skipped),
        task=task.result,
        task_runtime=exported.model.runtime,
        verdict=verdict,
        checks=metrics.checks + better_than(verdict, recipe.verify.better_than),
    )
    metrics = with_losses(metrics, manifest, task, recipe.verify)
    write_pages(directory, manifest, metrics, arrays, programs.reference.constants, masks, task.kept)
    return metrics


def _require_like(manifest: Manifest, data: Dataset, source: str) -> None:
    """Raise DataError unless samples have the shape of the bundle's, and a dtype that its codec takes."""
    got, right = data.train.shape, manifest.data.shape
    if got != right:
        raise DataError(f"{source}: samples are {list(got)}, must be {list(right)} as in the bundle")
    try:
        manifest.data.spec.flatten(data.train.take(slice(0, 1)))
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _fitted(
    manifest: Manifest, programs: Programs, train: Samples, noise: Noise | None, factor: float, classes: int
) -> tuple[Programs, ProgramBackend, Fitted]:
    seed = manifest.recipe.data.seed
    backend = ProgramBackend(programs.reference, manifest.data.spec, manifest.io, manifest.integer_maps)
    if factor != 1:
        programs = with_factor(programs, training_inputs(backend, train, seed, noise), factor)
        backend = dataclasses.replace(backend, program=programs.reference)
    return programs, backend, fit_codec(backend, train, seed, noise, classes=classes)


def _classes(bundle: Bundle) -> int:
    """Of a bundle's tables of codes; those of its recipe where it has none."""
    has = tables_name(bundle.manifest.name) in bundle.manifest.files
    return bundle.tables().classes if has else bundle.manifest.recipe.codec.classes


def _copies(bundle: Bundle, written: set[str]) -> dict[str, bytes]:
    """The other files of a bundle, but golden arrays and those of its task: the files of the float model."""
    names = [name for name in bundle.manifest.files if name not in written and not name.startswith(("golden/", "task/"))]
    return {name: read_regular(bundle.path / name) for name in names}


def _kept(metrics: Metrics, *, same: bool, factor: float) -> Metrics:
    """What earlier metrics say of Keras and the stock converters' files, on the `same` test samples; reasons for the rest."""
    stock = [row for row in metrics.files if row.maker is Maker.STOCK]
    stages = {*FLOAT_STAGES, Stage.STOCK} | ({Stage.QUANTIZE} if factor == 1 else set())
    skipped = []
    if not same:
        what = "Keras and the stock converters' files"
        skipped.append(Skipped(Kind.QUALITY, Why.NOT_COMPARABLE, what, "were measured on other test samples"))
    elif factor != 1:
        what, reason = "Keras int8 simulation", "its codes have the scale of before, and a derived bundle has no Keras model"
        skipped.append(Skipped(Kind.QUALITY, Why.NO_KERAS, what, reason))
    if metrics.bench is not None:
        reason = "not measured of the derived files; `tiedae bench` does"
        skipped.append(Skipped(Kind.BENCH, Why.NOT_COMPARABLE, "benchmark", reason))
    return replace(
        metrics,
        quality=tuple(row for row in metrics.quality if same and row.stage in stages),
        files=tuple(stock) if same else (),
        parity=tuple(row for row in metrics.parity if same and row.file in {each.file for each in stock}),
        skipped=tuple(skipped),
        keras=metrics.keras if same else None,
    )
