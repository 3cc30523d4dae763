"""An earlier bundle as the origin of another one, without training and TensorFlow: fresh tables, another scale of the codes.

The integer program is the source's, but for the scale of its codes. What the scale does not change is copied: the float files,
Keras' golden outputs, and of metrics.json what was measured of Keras' float models and of the stock converters' files. The rest
is written and measured anew; what needs Keras is a skipped row with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import DataError
from tiedae.base.files import read_regular
from tiedae.bundle import golden
from tiedae.bundle.bundle import PAGES, Bundle, tables_name
from tiedae.bundle.manifest import FILE, Derivation, Manifest
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import Metrics, Source, read_metrics
from tiedae.codec.backends import PRECISION, ProgramBackend
from tiedae.codec.training_codes import training_inputs
from tiedae.config.config import Recipe
from tiedae.data.dataset import Dataset
from tiedae.data.noise import noise_of
from tiedae.data.normal import normal_of, normal_only
from tiedae.data.samples import Samples
from tiedae.entropy.class_fitting import require_classes
from tiedae.export.code_scale import with_factor
from tiedae.export.kinds import Kind, Maker, Skipped, Stage, Why
from tiedae.export.targets import Programs, read_model
from tiedae.program.program import Program
from tiedae.tasks.losses import beside_kept, of_quality
from tiedae.tasks.row import TaskMeasurement

from .assemble import Announce, Fitted, Verified, export_text

FLOAT_STAGES = (Stage.TRAIN, Stage.PRUNE, Stage.CLUSTER)


@dataclass(frozen=True, eq=False)
class EarlierBundle:
    """An `Origin`. `data` of the training, which `source` names: those of the model where their sha256 is the manifest's.

    `factor`: on the scale of the codes. `classes`: of the tables.
    """

    bundle: Bundle
    data: Dataset
    source: str
    factor: float
    classes: int

    @classmethod
    def of(
        cls, bundle: Bundle, data: Dataset, source: str, *, factor: float = 1.0, classes: int | None = None
    ) -> EarlierBundle:
        """`classes`: by default as many as the bundle has.

        Raises FormatError for a damaged bundle, DataError for samples of another shape or dtype, InputError as
        `require_classes`.
        """
        before = bundle.manifest
        bundle.require_intact()
        _require_like(before, data, source)
        data = normal_only(data.with_scaling(before.data.scaling), normal_of(before.recipe.task), source)
        if classes is None:
            classes = bundle.tables().classes if tables_name(before.name) in before.files else before.recipe.codec.classes
        require_classes(classes, len(data.train))
        return cls(bundle, data, source, factor, classes)

    @property
    def recipe(self) -> Recipe:
        return self.bundle.manifest.recipe

    @property
    def uncompressed(self) -> None:
        return None

    @cached_property
    def metrics(self) -> Metrics:
        return read_metrics(self.bundle.path / METRICS)

    @property
    def integer_files(self) -> list[str]:
        return [name for name, info in self.bundle.manifest.models.items() if info.precision == PRECISION]

    def programs(self, announce: Announce) -> dict[str, Programs]:
        """The integer programs alone, with codes of the scale's `factor`. Raises InputError as `with_factor`."""
        announce("codes of the training samples")
        programs = self.earlier if self.factor == 1 else self.scaled(self.factor)
        announce(export_text(self.recipe.export.targets))
        return {PRECISION: programs}

    @cached_property
    def earlier(self) -> Programs:
        """The integer programs of the source."""
        return self.bundle.programs({name: read_model(self.bundle.path / name) for name in self.integer_files})

    def scaled(self, factor: float) -> Programs:
        """The integer programs with codes of the scale's `factor`. Raises InputError as `with_factor`."""
        return with_factor(self.earlier, self._training_inputs, factor)

    @cached_property
    def _training_inputs(self) -> np.ndarray:
        noise = noise_of(self.recipe.train.noise, self.data.train)
        return training_inputs(self.backend_of(self.earlier.reference), self.data.train, self.recipe.data.seed, noise)

    def masks(self) -> dict[str, np.ndarray]:
        return self.bundle.masks()

    def backend(self, integer: Program, announce: Announce) -> ProgramBackend:
        return self.backend_of(integer)

    def backend_of(self, integer: Program) -> ProgramBackend:
        """The codec's model of an integer program, on samples as the source takes them."""
        before = self.bundle.manifest
        return ProgramBackend(integer, before.data.spec, before.io, before.integer_maps)

    def golden(self, fitted: Fitted) -> dict[str, np.ndarray]:
        arrays = self.bundle.golden()
        return {name: arrays[name] for name in ("x", *golden.FLOATS)}

    def manifest(self, fitted: Fitted) -> Manifest:
        before = self.bundle.manifest
        derivation = Derivation(
            created_by=before.created_by,
            manifest_sha256=hashlib.sha256(read_regular(self.bundle.path / FILE)).hexdigest(),
            factor=float(self.factor),
            classes=fitted.codec.tables.classes,
            source=self.source,
            data_sha256=fitted.data.train.sha256,
            program=self.bundle.program_sha256,
        )
        return replace(before, derived=(*before.derived, derivation), **fitted.stated())

    def copies(self, written: Set[str]) -> dict[str, bytes]:
        """The other files of the bundle, but golden arrays and those of its task: the files of the float model."""
        new = {*written, *self.integer_files, METRICS, *PAGES}
        names = [name for name in self.bundle.manifest.files if name not in new and not name.startswith(("golden/", "task/"))]
        return {name: read_regular(self.bundle.path / name) for name in names}

    def reference(self, tested: Samples) -> Original:
        return of_quality(self.metrics.quality) if self.kept(tested).quality else Original()

    def beside(self, verified: Verified, announce: Announce) -> Metrics:
        metrics, kept = verified.metrics, self.kept(verified.written.fitted.tested)
        return replace(
            metrics,
            data=kept.data,
            keras=kept.keras,
            history=kept.history,
            quality=(*kept.quality, *metrics.quality),
            files=(*metrics.files, *kept.files),
            parity=(*metrics.parity, *kept.parity),
            skipped=(*metrics.skipped, *kept.skipped),
            untied=kept.untied,
        )

    def task(self, measured: TaskMeasurement, samples: Source) -> TaskMeasurement:
        return beside_kept(measured, self.bundle, samples)

    def kept(self, tested: Samples) -> Metrics:
        """What the metrics say of Keras and the stock converters' files, where they were measured on these test samples;
        reasons for the rest."""
        metrics = self.metrics
        same = metrics.samples is not None and metrics.samples.sha256 == tested.sha256
        stock = [row for row in metrics.files if row.maker is Maker.STOCK]
        stages = {*FLOAT_STAGES, Stage.STOCK} | ({Stage.QUANTIZE} if self.factor == 1 else set())
        skipped = []
        if not same:
            what = "Keras and the stock converters' files"
            skipped.append(Skipped(Kind.QUALITY, Why.NOT_COMPARABLE, what, "were measured on other test samples"))
        elif self.factor != 1:
            what, reason = (
                "Keras int8 simulation",
                "its codes have the scale of before, and a derived bundle has no Keras model",
            )
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
            untied=metrics.untied if same else (),
        )


def _require_like(manifest: Manifest, data: Dataset, source: str) -> None:
    """Raise DataError unless samples have the shape of the bundle's, and a dtype that its codec takes."""
    got, right = data.train.shape, manifest.data.shape
    if got != right:
        raise DataError(f"{source}: samples are {list(got)}, must be {list(right)} as in the bundle")
    try:
        manifest.data.spec.flatten(data.train.take(slice(0, 1)))
    except DataError as error:
        raise DataError(f"{source}: {error}") from None
