"""A bundle as a codec: samples in the data's own unit to codes and back, in one runtime, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ...compress.affine import Quantization
from ...compress.config import ExportConfig
from ...compress.errors import DataError, FormatError, InputError, UnavailableError
from ...compress.sample_spec import SampleSpec
from ...compress.scaling import Scaling
from ..bundle import Bundle
from ..file_io import IN_MODEL_UNITS, FileIO
from ..interpreter import execute, program_input
from ..manifest import FILE
from ..program import Program, Tensor
from ..runtimes.session import Session
from ..runtimes.table import RUNTIMES, usual
from ..targets import TARGETS, read_model

BATCH = 1024
"""Samples that are converted and run together: enough for full speed, few enough for the cache."""
AUTO, PROGRAM = "auto", "program"
PRECISION = "int8"
SAME = Scaling()
"""No scaling: rounds floats in the data's unit to integers."""


class Backend(Protocol):
    """Runs a model on flat samples: [n, inputs] in the data's unit to codes [n, units], and codes to `y` in model units."""

    @property
    def runtime(self) -> str: ...
    def encode(self, x: np.ndarray) -> np.ndarray: ...
    def decode(self, codes: np.ndarray) -> np.ndarray: ...
    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def input(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, inputs] as the model's `x`."""
        ...

    def samples(self, y: np.ndarray) -> np.ndarray:
        """`y` as `decode` and `reconstruct` give it, in the data's unit and dtype."""
        ...

    def model_units(self, y: np.ndarray) -> np.ndarray:
        """`y` as `decode` and `reconstruct` give it, float32 in model units."""
        ...


@dataclass(frozen=True)
class FileBackend:
    """The exported files in one runtime; `y` is as the file gives it: uint8, int8, or float32 in the unit of the file."""

    session: Session
    spec: SampleSpec
    io: FileIO
    x: Quantization
    y: Quantization

    @property
    def runtime(self) -> str:
        return self.session.runtime

    def encode(self, x: np.ndarray) -> np.ndarray:
        return self.session.run("encode", self.input(x))["code"]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return self.session.run("decode", codes)["y"]

    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        got = self.session.run("reconstruct", self.input(x))
        return got["code"], got["y"]

    def samples(self, y: np.ndarray) -> np.ndarray:
        if self.io.folded:
            return SAME.invert(y, self.spec.dtype) if y.dtype != self.spec.dtype else y
        if y.dtype == np.uint8 and self._is_bytes:
            return y
        return self.spec.scaling.invert(self.model_units(y), self.spec.dtype)

    def model_units(self, y: np.ndarray) -> np.ndarray:
        return self.io.model_units(y) if y.dtype == np.float32 else self.y.dequantize(self.y.from_io(y))

    def input(self, x: np.ndarray) -> np.ndarray:
        if self.io.folded:
            return self.io.samples(x)
        if self.io.dtype == "uint8" and self._is_bytes:
            return x
        scaled = self.spec.scaling.apply(self.io.samples(x))
        return scaled if self.io.dtype == "float32" else self.x.to_io(self.x.quantize(scaled), self.io.dtype)

    @property
    def _is_bytes(self) -> bool:
        return self.spec.scaling.is_bytes(self.spec.dtype)


@dataclass(frozen=True)
class ProgramBackend:
    """The program itself, the exact reference; `y` is uint8, or float32 in model units where the program is float.

    `io`: `x` and `y` of the files, which may round samples to float32 first.
    """

    program: Program
    spec: SampleSpec
    io: FileIO = IN_MODEL_UNITS
    runtime: str = PROGRAM

    def encode(self, x: np.ndarray) -> np.ndarray:
        return execute(self.program, "encode", self.input(x))["code"]

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return execute(self.program, "decode", codes)["y"]

    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        got = execute(self.program, "reconstruct", self.input(x))
        return got["code"], got["y"]

    def samples(self, y: np.ndarray) -> np.ndarray:
        return self.spec.scaling.invert(self.model_units(y), self.spec.dtype)

    def model_units(self, y: np.ndarray) -> np.ndarray:
        return self.program.quantization("y").dequantize(y) if self.program.quantized else y

    def input(self, x: np.ndarray) -> np.ndarray:
        scaled = self.spec.scaling.apply(self.io.samples(x))
        return program_input(self.program, scaled) if self.program.quantized else scaled


@dataclass(frozen=True)
class Codec:
    """Encodes and decodes samples in the data's own unit and dtype; `load` opens one.

    A method takes one sample of `spec.shape`, or a batch [n, *shape] or [n, inputs] of any size, and returns the same form. It
    raises DataError, in one line, for samples of another shape, dtype or columns, and for NaN or infinity. Several threads may
    use one codec.
    """

    name: str
    spec: SampleSpec
    code: Tensor
    backend: Backend = field(repr=False)

    @property
    def runtime(self) -> str:
        """The runtime that runs the model: litert-xnnpack, ort-cpu, …, or program."""
        return self.backend.runtime

    def encode(self, x: Any) -> np.ndarray:
        """Samples → codes, uint8 [n, units], or [units] for one sample; float32 where the model is float."""
        flat, single = self.spec.flatten(x)
        codes = _filled(self._checked(flat), len(flat), self.backend.encode, self.code.shape, self.code.dtype)
        return codes[0] if single else codes

    def decode(self, codes: Any) -> np.ndarray:
        """Codes [n, units] or [units] → samples in the data's shape, unit and dtype; DataError for other codes."""
        codes = np.asarray(codes)
        single = codes.shape == self.code.shape
        codes = codes[None] if single else codes
        self.code.require(codes, "codes")
        y = _filled(_batches(codes), len(codes), self._decoded, (self.spec.inputs,), self.spec.dtype)
        return self.spec.shaped(y, single)

    def reconstruct(self, x: Any) -> np.ndarray:
        """Samples → the samples that their codes decode to, in the data's shape, unit and dtype."""
        flat, single = self.spec.flatten(x)
        y = _filled(self._checked(flat), len(flat), self._reconstructed, (self.spec.inputs,), self.spec.dtype)
        return self.spec.shaped(y, single)

    def score(self, x: Any, *, axis: Literal[0, 1] | None = 1) -> Any:
        """Mean squared reconstruction error in model units, in which the columns of a table compare; float64.

        `axis` as in numpy: 1, a value per sample, [n] or a float for one sample; 0, one per feature, [inputs]; None, the mean
        of all. The error is taken against `x` as given, before it is quantized and clipped. Raises InputError for another axis.
        """
        if axis not in (0, 1, None):
            raise InputError(f"axis: got {axis!r}, must be 1 (per sample), 0 (per feature) or None (all values)")
        flat, single = self.spec.flatten(x)
        if axis == 1:
            means = _filled(self._checked(flat), len(flat), lambda part: self._squares(part).mean(axis=1), (), "float64")
            return float(means[0]) if single else means
        if not len(flat):
            raise DataError("samples: got none, must be one or more for a mean over samples")
        per_feature = sum(self._squares(part).sum(axis=0) for _, part in self._checked(flat)) / len(flat)
        return float(np.mean(per_feature)) if axis is None else per_feature

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        return self.backend.samples(self.backend.decode(codes))

    def _reconstructed(self, x: np.ndarray) -> np.ndarray:
        return self.backend.samples(self.backend.reconstruct(x)[1])

    def _squares(self, x: np.ndarray) -> np.ndarray:
        """Squared errors in model units, float64 [n, inputs]."""
        y = self.backend.model_units(self.backend.reconstruct(x)[1])
        return np.square(self.spec.scaling.apply(x) - y.astype(np.float64))

    def _checked(self, flat: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        for start, part in _batches(flat):
            self.spec.require_finite(part, start)
            yield start, part


def _batches(x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(x), BATCH):
        yield start, np.ascontiguousarray(x[start : start + BATCH])


def _filled(
    batches: Iterator[tuple[int, np.ndarray]],
    count: int,
    function: Callable[[np.ndarray], np.ndarray],
    size: tuple[int, ...],
    dtype: str,
) -> np.ndarray:
    """The outputs of `function` for batches of `count` samples in all, [count, *size]."""
    if 0 < count <= BATCH:
        return function(next(batches)[1])
    whole = np.empty((count, *size), dtype)
    for start, part in batches:
        whole[start : start + len(part)] = function(part)
    return whole


def load(path: str | Path, *, runtime: str = AUTO) -> Codec:
    """Open a bundle, OUT of a run, or a model archive as a codec.

    `runtime`: a runtime of `RUNTIMES`, `program` (the exact reference), or `auto`: LiteRT or ONNX Runtime, the first that is
    installed and has a file in the bundle. An archive takes TensorFlow and runs as its program.

    Raises InputError where the path is none of these or the runtime has no file, FormatError for a file that is damaged or
    not the manifest's, UnavailableError where the runtime is not installed.
    """
    path = Path(path)
    return _open_archive(path, runtime) if path.is_file() else open_bundle(bundle_of(path), runtime)


def bundle_of(path: Path) -> Bundle:
    """The bundle that a folder is, or holds as OUT of a run; InputError where it is neither."""
    for folder in (path, path / "bundle"):
        if (folder / FILE).is_file():
            return Bundle.open(folder)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if (path / "run.json").is_file():
        raise InputError(f"{path}: this run has no bundle yet; `tiedae run RECIPE --out {path} --resume` finishes it")
    raise InputError(f"{path}: must hold {FILE} (a bundle) or bundle/{FILE} (OUT of a run), or be a model archive")


def _open_archive(path: Path, runtime: str) -> Codec:
    from ...compress.autoencoder import TiedAutoencoder
    from ..lowering import lower

    if runtime not in (AUTO, PROGRAM):
        raise InputError(f"runtime: got {runtime!r}, a model archive runs as its program; export a bundle for others")
    model = TiedAutoencoder.load(path)
    if model.spec is None:
        raise InputError(f"{path}: does not say how its samples are scaled; load the run's OUT, or save the model again")
    program = lower(model, path.stem, layout="fused")
    io = FileIO.of(ExportConfig(), model.spec.scaling, model.spec.dtype)
    return Codec(path.stem, model.spec, program.tensors["code"], ProgramBackend(program, model.spec, io))


def open_bundle(bundle: Bundle, runtime: str = AUTO) -> Codec:
    """The codec of a bundle; see `load`."""
    manifest = bundle.manifest
    spec, tensors = manifest.data.spec, manifest.tensors
    code = Tensor("code", (manifest.model.widths[-1],), tensors.code)
    if runtime == PROGRAM:
        return Codec(manifest.name, spec, code, ProgramBackend(_program(bundle), spec, manifest.io))
    session = _session(bundle, runtime)
    io = bundle.file_io(RUNTIMES[session.runtime].format, PRECISION)
    return Codec(manifest.name, spec, code, FileBackend(session, spec, io, tensors.x, tensors.y))


def _program(bundle: Bundle) -> Program:
    """The fused program, its kernels from the first int8 file that is whole."""
    problem = FormatError(f"{bundle.path}: holds no int8 model file")
    for name in bundle.models:
        if bundle.manifest.models[name].precision == PRECISION:
            try:
                return bundle.programs({name: read_model(bundle.path / name)}).reference
            except FormatError as error:
                problem = error
    raise problem


def _session(bundle: Bundle, runtime: str) -> Session:
    """The int8 files in a runtime; with `auto`, in the first usual runtime that is here."""
    if runtime != AUTO and runtime not in RUNTIMES:
        raise InputError(f"runtime: got {runtime!r}, must be one of {', '.join((AUTO, PROGRAM, *RUNTIMES))}")
    reasons = []
    for name in [usual(target) for target in TARGETS] if runtime == AUTO else [runtime]:
        target = RUNTIMES[name].format
        files = bundle.files_of(target, PRECISION)
        if not files:
            reasons.append(f"{name}: no {TARGETS[target].label} file in {bundle.path}")
            continue
        bundle.require_intact([*files.values(), *bundle.companions(target, PRECISION)])
        try:
            return RUNTIMES[name].open({signature: bundle.path / file for signature, file in files.items()})
        except UnavailableError as error:
            reasons.append(f"{name}: {error}")
    raise UnavailableError("; ".join(reasons) + f"; runtime={PROGRAM!r} needs none")
