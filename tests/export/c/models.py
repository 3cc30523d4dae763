"""Models around random programs: data of each dtype, detectors, and the tables that .tae files need."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from msgspec import structs

from tiedae.apps.c.golden import GoldenSamples, golden_samples
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.codec.frames import FileModel
from tiedae.config.config import ExportConfig
from tiedae.config.sample_spec import INTEGERS, Kind, SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import ScoreKind
from tiedae.entropy.class_fitting import fit_classes
from tiedae.entropy.residual_tables import fit_tables
from tiedae.entropy.tables import fit
from tiedae.export.c.codec_source import SampleCodec
from tiedae.export.c.kernels import Storage
from tiedae.export.c.rounding import FORMS, Form
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.program import integer_maps
from tiedae.program.file_io import FileIO
from tiedae.program.program import Program
from tiedae.program.scoring import Detector, Thresholds, scoring_of

from ...program import convolutions
from .programs import random_program

SPREAD = {"uint8": 255, "int16": 900, "uint16": 5000, "float32": 3.7, "float64": 3.7}
PER_FRAME = 4
GOLDEN = 9


def backend_of(program: Program, dtype: str, per_feature: bool, scaled: bool = False, channels: int = 0) -> ProgramBackend:
    """A program for data of a dtype whose scaling moves them to about the range of the program's `x`.

    With `per_feature`, the scales repeat after so many `channels`, if there are any.
    """
    rng, inputs = np.random.default_rng(3), program.tensors["x"].size
    x = program.quantization("x")
    spread = SPREAD[dtype] * (rng.uniform(0.5, 2, inputs) if per_feature else np.ones(1))
    scale = spread / (255 * x.scale)
    offset = rng.normal(0, 0.2, len(scale)) * spread + x.zero_point * x.scale * scale
    if channels:
        offset, scale = (np.resize(each[:channels], inputs) for each in (offset, scale))
    numbers = (tuple(map(float, offset)), tuple(map(float, scale))) if per_feature else (float(offset[0]), float(scale[0]))
    spec = SampleSpec((inputs,), dtype, Scaling("minmax", *numbers), "table")
    maps, scaling = integer_maps.fit(spec, x, program.quantization("y"))
    spec = SampleSpec((inputs,), dtype, scaling, "table")
    io = FileIO.of(ExportConfig(scaled=scaled), scaling, dtype)
    return ProgramBackend(program, spec, io, maps)


def samples_of(spec: SampleSpec, count: int) -> np.ndarray:
    """[count, inputs], some of them far outside of what the model was scaled for."""
    rng, spread = np.random.default_rng(4), SPREAD[spec.dtype]
    values = rng.normal(spread / 3, spread, (count, spec.inputs)) * rng.uniform(0.02, 1, (count, 1))
    values[::5] *= 20
    if np.dtype(spec.dtype).kind == "f":
        return values.astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(spec.dtype)


def detector_of(backend: ProgramBackend, kind: ScoreKind) -> Detector:
    """One whose threshold is the median score of `samples_of`."""
    errors = np.random.default_rng(5).uniform(0.01, 1, backend.spec.inputs)
    scoring = scoring_of(kind, backend.spec, backend.program.quantization("y"), errors)
    x = samples_of(backend.spec, 64)
    totals = scoring.totals(integer_errors(scoring, backend, x)[0])
    threshold = int(np.median(np.unique(totals)))
    return Detector(scoring, Thresholds(threshold, threshold), 0.9, 64)


@dataclass(frozen=True)
class Made:
    """A model, its C file, and golden samples of it."""

    model: FileModel
    codec: SampleCodec
    detector: Detector
    source: CSource
    golden: GoldenSamples

    @property
    def program(self) -> Program:
        return self.model.program.program


@dataclass(frozen=True)
class Case:
    """What a model is made of; `convolved`: of convolutions, and `shape` is that of the program."""

    name: str
    seed: int
    dtype: str
    kind: Kind
    shape: tuple[int, ...]
    score: ScoreKind
    storage: Storage
    forms: tuple[Form, ...]
    classes: int = 1
    widest: int = 40
    convolved: bool = False

    def program(self) -> Program:
        return convolutions.random_program(self.seed)[0] if self.convolved else random_program(self.seed, self.widest)

    def made(self) -> Made:
        backend = backend_of(self.program(), self.dtype, per_feature=self.kind == "table")
        spec = structs.replace(backend.spec, kind=self.kind, shape=self.shape)
        backend = replace(backend, program=replace(backend.program, name=self.name), spec=spec)
        x = training_of(backend)
        codes, y = backend.reconstruct(x)
        bits = backend.program.quantization("code").bits
        tables = fit_classes(codes, self.classes, bits) if self.classes > 1 else fit(codes, bits)
        residuals = fit_tables(spec, x, backend.samples(y), PER_FRAME) if self.dtype in INTEGERS else None
        model = FileModel(backend, tables, f"{self.name:8.8}".encode(), residuals)
        unit, codec = DataUnit(spec, backend.maps, backend.io), SampleCodec(tables, model.identity, residuals)
        detector = detector_of(backend, self.score)
        options = {"storage": self.storage, "forms": self.forms}
        source = to_c(backend.program, unit=unit, detector=detector, codec=codec, **options)
        golden = golden_samples(backend, golden_of(backend), detector=detector, files=model, samples_per_frame=PER_FRAME)
        return Made(model, codec, detector, source, golden)


CASES = (
    Case("image", 52, "uint8", "image", (5, 5), "mse", "dense", ("exceptions", "emulation"), 4),
    Case("record", 17, "int16", "record", (33,), "standardized", "sparse", FORMS),
    Case("table", 7, "float32", "table", (25,), "max", "dense", ("emulation",)),
    Case("picture", 127, "uint8", "image", (14, 17, 1), "mse", "dense", FORMS, convolved=True),
    Case("waves", 74, "int16", "record", (18, 3), "mse", "sparse", FORMS, convolved=True),
    Case("map", 55, "uint8", "image", (23, 14, 1), "max", "dense", FORMS, 4, convolved=True),
)
"""Data of each kind; between them every operation, both layouts and storages, every form of rounding."""


def training_of(backend: ProgramBackend) -> np.ndarray:
    """Samples of which half are what the model reconstructs, so that frames are shorter with it, and half are not."""
    x = settled = samples_of(backend.spec, 64)
    for _ in range(40):
        settled = backend.samples(backend.reconstruct(settled)[1])
    return np.concatenate([settled[:32], x[:32]])


def golden_of(backend: ProgramBackend) -> np.ndarray:
    """[GOLDEN, inputs]: a frame that the model reconstructs, one that it does not, and a rest."""
    return training_of(backend)[[0, 1, 2, 3, 33, 34, 35, 40, 41]]
