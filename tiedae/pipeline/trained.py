"""The trained models of a run as the origin of a bundle: Keras float, pruned, clustered and quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from msgspec.structs import replace

from tiedae.base.records import checked, plain
from tiedae.bundle import golden
from tiedae.bundle import manifest as manifests
from tiedae.bundle.fidelity import Fidelity, column_names, squared_error, warnings_of
from tiedae.bundle.manifest import CalibrationInfo, Data, Manifest
from tiedae.bundle.reference_outputs import Keras, Original
from tiedae.bundle.results import Device, Epoch, Fit, Metrics, Model, ModelFile, Parity, Quality, Source, UntiedModel
from tiedae.calibration.calibration_file import Calibration
from tiedae.calibration.representative import representative
from tiedae.codec.backends import ProgramBackend
from tiedae.compress.affine import Quantization
from tiedae.compress.imports.origin import ImportOrigin
from tiedae.config.config import Recipe
from tiedae.config.sample_spec import SampleType
from tiedae.data.dataset import Dataset
from tiedae.data.normal import measured_rows, normal_rows
from tiedae.data.samples import Samples
from tiedae.export.kinds import Precision, Stage
from tiedae.export.targets import TARGETS, Programs, reference_layout
from tiedae.program import integer_maps
from tiedae.program.file_io import FileIO
from tiedae.program.lowering import interleaved_parts, lower
from tiedae.program.program import Program
from tiedae.tasks.row import TaskMeasurement
from tiedae.verify.collecting import MAX_SAMPLES
from tiedae.verify.parity.keras_device import coding_function, keras_device, keras_function, keras_layers, skipped

from .assemble import Announce, Fitted, Verified, export_text

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.tying import UntiedAutoencoder

GOLDEN_SAMPLES = 64
TITLES = {"train": "Keras float", "prune": "Keras pruned", "cluster": "Keras clustered", "quantize": "Keras int8 simulation"}
QUANTIZE = "quantize"


@dataclass(frozen=True, eq=False)
class TrainedModels:
    """The models by stage in order: `train`, optionally `prune` and `cluster`, `quantize`; what quantization started from, and
    the history of all epochs.
    """

    by_stage: Mapping[str, TiedAutoencoder]
    calibration: Calibration
    history: Sequence[Mapping[str, Any]] = ()

    @property
    def uncompressed(self) -> TiedAutoencoder:
        return next(iter(self.by_stage.values()))

    @property
    def floating(self) -> TiedAutoencoder:
        """That of the last float stage, which the float files come from."""
        *_, last = (model for stage, model in self.by_stage.items() if stage != QUANTIZE)
        return last

    @property
    def quantized(self) -> TiedAutoencoder:
        return self.by_stage[QUANTIZE]


@dataclass(frozen=True, eq=False)
class Trained:
    """An `Origin`. `stock`: the folder for the stock converters' files. `provenance`: licence and origin of the data.
    `imported`: where the weights are from, if somebody else trained them; `untied`: the model that was tied."""

    models: TrainedModels
    data: Dataset
    recipe: Recipe
    stock: Path
    provenance: Mapping[str, str] = field(default_factory=dict)
    imported: ImportOrigin | None = None
    untied: UntiedAutoencoder | None = None

    @cached_property
    def device(self) -> Device:
        return keras_device()

    @cached_property
    def keras(self) -> Keras:
        return keras_function(self.models.floating, self.device)

    @property
    def uncompressed(self) -> Keras:
        return coding_function(self.models.uncompressed, self.device)

    @property
    def classes(self) -> int:
        return self.recipe.codec.classes

    def programs(self, announce: Announce) -> dict[str, Programs]:
        announce(export_text(self.recipe.export.targets))
        name, export = self.recipe.name, self.recipe.export
        fused = reference_layout(export.targets, export.decoder)
        int8, f32 = (
            (lower(model, name, layout="split"), lower(model, name, layout=fused))
            for model in (self.models.quantized, self.models.floating)
        )
        return {"int8": Programs(*int8, decoder=export.decoder), "f32": Programs(*f32)}

    def masks(self) -> Mapping[str, np.ndarray]:
        return self.models.quantized.masks()

    def backend(self, integer: Program, announce: Announce) -> ProgramBackend:
        x = integer.quantization("x")
        maps, scaling = integer_maps.fit(self.data.spec, x, integer.quantization("y"))
        io = FileIO.of(self.recipe.export, scaling, self.data.train.dtype.name)
        if text := coarse_text(io, x, self.data.columns):
            announce(text)
        return ProgramBackend(integer, self.data.with_scaling(scaling).spec, io, maps)

    def golden(self, fitted: Fitted) -> dict[str, np.ndarray]:
        io, tested = fitted.backend.io, fitted.tested
        x = tested.take(np.arange(min(len(tested), GOLDEN_SAMPLES)))
        return {"x": x, **golden.floats(*self.keras(fitted.data.scaling.apply(io.samples(x))), io)}

    def manifest(self, fitted: Fitted) -> Manifest:
        lowered, data, recipe, config = fitted.lowered, fitted.data, self.recipe, self.models.quantized.config
        integer, masks, train = lowered.integer.reference, lowered.masks, data.train
        return Manifest(
            name=recipe.name,
            seed=recipe.train.seed,
            recipe=recipe,
            data=Data(
                source=recipe.data.source,
                kind=data.kind,
                columns=None if data.columns is None else tuple(data.columns),
                label=data.label,
                peak=Fidelity.of_splits(data).peak,
                inputs=data.inputs,
                shape=train.shape,
                dtype=cast(SampleType, train.dtype.name),
                train=len(train),
                validation=0 if data.validation is None else len(data.validation),
                test=len(data.test),
                sha256=train.sha256,
                scaling=data.scaling,
                signal=data.signal,
                **self.provenance,
            ),
            calibration=CalibrationInfo(**self.models.calibration.summary()),
            model=Model(
                config.widths,
                tuple(layer.activation for layer in config.layers),
                config.output_activation,
                interleaved_parts(integer),
                {name: float(1 - mask.mean()) for name, mask in masks.items()},
                self.models.floating.bytes,
            ),
            kernels=manifests.describe_kernels(integer, masks, lowered.programs["f32"].reference.constants),
            integer_maps=fitted.backend.maps,
            imported=self.imported,
            **fitted.stated(),
        )

    def copies(self, written: Set[str]) -> dict[str, bytes]:
        return {}

    def reference(self, tested: Samples) -> Original:
        return Original(self.keras, keras_layers(self.models.floating, self.device), self.uncompressed)

    def beside(self, verified: Verified, announce: Announce) -> Metrics:
        metrics, manifest, recipe = verified.metrics, verified.written.manifest, self.recipe
        samples, files, quality, parity, untied = _TestSamples.of(verified.written.fitted), [], [], [], []
        if self.untied is not None:
            y = keras_function(self.untied, self.device)(samples.inputs)[1]
            untied.append(UntiedModel("float", *samples.errors(y), self.untied.bytes))
        if recipe.export.stock:
            announce("stock converters: TFLiteConverter, tf2onnx, ONNX Runtime's quantizer")
            files, quality, parity = self._stock(self.models.floating, verified, samples)
            if self.untied is not None:
                announce("stock converters, of the untied model")
                untied += _untied_files(*self._stock(self.untied, verified, samples, "-untied")[:2])
        stages = [
            Quality(
                title_of(stage, model), Stage(stage), *samples.errors(coding_function(model, self.device)(samples.inputs)[1])
            )
            for stage, model in self.models.by_stage.items()
        ]
        quality = (*stages, *metrics.quality, *quality)
        return replace(
            metrics,
            keras=self.device,
            skipped=metrics.skipped + skipped(self.device),
            data=plain(manifest.data),
            history=tuple(checked(Epoch, record) for record in self.models.history),
            quality=quality,
            warnings=warnings_of(quality, manifest.data.scaling),
            files=(*metrics.files, *files),
            parity=(*metrics.parity, *parity),
            untied=tuple(untied),
        )

    def _stock(
        self, model: TiedAutoencoder | UntiedAutoencoder, verified: Verified, samples: _TestSamples, mark: str = ""
    ) -> tuple[list[ModelFile], list[Quality], list[Parity]]:
        """Files of the stock converters and their measurements; `mark`: behind the name."""
        from tiedae.verify.stock.measurement import measure_stock

        recipe, train = self.recipe, verified.written.fitted.data.train
        shown = representative(train, recipe.quantize.samples, seed=recipe.data.seed, noise=recipe.train.noise)
        io, keras = verified.written.manifest.io.dtype, keras_function(model, self.device)
        named = replace(recipe, name=f"{recipe.name}{mark}")
        return measure_stock(model, io, shown.inputs, samples.inputs, samples.errors, keras, named, self.stock)

    def task(self, measured: TaskMeasurement, samples: Source) -> TaskMeasurement:
        return measured


def _untied_files(files: Sequence[ModelFile], quality: Sequence[Quality]) -> Iterator[UntiedModel]:
    """The int8 files that stock converters made of an untied model."""
    from tiedae.verify.stock.converters import MAKERS

    for file, row in zip(files, quality, strict=True):
        if file.precision is Precision.INT8 and row.fidelity is not None:
            title = f"{TARGETS[file.format].label} int8 by {MAKERS[file.format][file.precision].name}"
            yield UntiedModel(title, row.error, row.fidelity, file.bytes)


@dataclass(frozen=True, eq=False)
class _TestSamples:
    """Model inputs, and what the model shall give for the `rows` of them that quality is measured on, also scaled."""

    inputs: np.ndarray
    rows: np.ndarray
    wanted: np.ndarray
    wanted_scaled: np.ndarray
    fidelity: Fidelity

    @classmethod
    def of(cls, fitted: Fitted) -> _TestSamples:
        tested, scaling = fitted.tested, fitted.data.scaling
        taken = np.arange(min(len(tested), MAX_SAMPLES))
        rows = measured_rows(len(taken), normal_rows(tested, fitted.recipe.task, taken))
        wanted = tested.wanted.take(taken)[rows]
        return cls(scaling.apply(tested.take(taken)), rows, wanted, scaling.apply(wanted), Fidelity.of_splits(fitted.data))

    def errors(self, y: np.ndarray) -> tuple[float, Fit]:
        """Squared error and fidelity of a `y` of all inputs, in scaled values."""
        return squared_error(self.wanted_scaled, y[self.rows]), self.fidelity.measure(self.wanted, y[self.rows])


def title_of(stage: str, model: TiedAutoencoder) -> str:
    """The name of a model after a stage, in tables of errors."""
    rounded = model.code_scale is not None and not model.quantized
    return f"{TITLES[stage]}, code in steps" if rounded else TITLES[stage]


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
