"""A task's figures through the exported files of a bundle, as `verify --data` measures them: no other method is fitted."""

from __future__ import annotations

from dataclasses import replace as replace_fields

from msgspec.structs import replace

from tiedae.base.errors import NotInstalledError, TiedaeError, UnavailableError
from tiedae.bundle.bundle import Bundle, tables_name
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.reference_outputs import Keras
from tiedae.bundle.results import Check, Metrics
from tiedae.codec.backends import PRECISION, ProgramBackend
from tiedae.codec.detector import totals
from tiedae.codec.opening import open_files
from tiedae.config.tasks import task_kind
from tiedae.data.dataset import Dataset
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.export.targets import read_model
from tiedae.program.scoring import threshold_of

from .row import Exported, TaskMeasurement
from .table import TASKS

TASK = "the figures of the task"


def with_task(
    metrics: Metrics, bundle: Bundle, data: Dataset, keras: Keras | None = None
) -> tuple[Metrics, TaskMeasurement | None]:
    """The metrics with the result of the bundle's task on the test samples of `data`, in the bundle's scaling, and its
    measurement, None where there is none. `keras`: the float model before compression, where it is there.

    Of a detector also a check that its thresholds are those of the held-out samples, where `data` are the ones it was fitted
    to. What cannot be measured is a failed check, or a skipped row where no runtime is installed.
    """
    manifest = bundle.manifest
    kind = task_kind(manifest.recipe.task)
    try:
        models = [name for name, info in manifest.models.items() if info.precision == PRECISION]
        programs = bundle.programs({name: read_model(bundle.path / name) for name in models})
        backend = ProgramBackend(programs.fused, manifest.data.spec, manifest.io, manifest.integer_maps)
        tables = bundle.tables() if tables_name(manifest.name) in manifest.files else None
        files = open_files(bundle)
        exported = Exported(backend, data, manifest.recipe, keras, tables, manifest.detector, files, others=False)
        measured = TASKS[kind].measure(exported)
        split = replace_fields(backend, program=programs.split)
        checks, skipped = _check_thresholds(manifest, {"split": split, "fused": backend}, data)
    except UnavailableError as error:
        why = Why.NOT_INSTALLED if isinstance(error, NotInstalledError) else Why.UNAVAILABLE
        row = Skipped(Kind.TASK, why, TASK, f"no runtime runs the files: {error}")
        return replace(metrics, skipped=(*metrics.skipped, row)), None
    except TiedaeError as error:
        check = Check(Kind.TASK, False, "none", "figures", f"{TASK}, {kind}: not measured: {error}", detail=kind)
        return replace(metrics, checks=(*metrics.checks, check)), None
    metrics = replace(
        metrics,
        task=measured.result,
        task_runtime=exported.model.runtime,
        checks=(*metrics.checks, *checks),
        skipped=(*metrics.skipped, *measured.skipped, *skipped),
    )
    return metrics, measured


def _check_thresholds(
    manifest: Manifest, layouts: dict[str, ProgramBackend], data: Dataset
) -> tuple[list[Check], list[Skipped]]:
    """Check that each layout's threshold of anomalies is the quantile of the scores of held-out samples."""
    detector, held = manifest.detector, data.validation
    if detector is None:
        return [], []
    fitted = manifest.derived[-1].data_sha256 if manifest.derived else manifest.data.sha256
    if held is None or data.train.sha256 != fitted:
        reason = "the samples are not those that the detector was fitted to"
        return [], [Skipped(Kind.TASK, Why.NOT_COMPARABLE, "thresholds of held-out samples", reason)]
    checks = []
    for layout, backend in layouts.items():
        stated = getattr(detector.thresholds, layout)
        right = threshold_of(totals(detector.scoring, backend, held, manifest.recipe.data.seed), detector.quantile)
        text = f"threshold of the layout {layout}: {stated}, of {len(held):,} held-out samples {right}"
        checks.append(Check(Kind.TASK, stated == right, stated, f"== {right}", text, detail=f"threshold {layout}"))
    return checks, []
