"""What runs the model of a codec: the exported files in a runtime, or the program itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.bundle.bundle import Bundle, write_files
from tiedae.compress.affine import BYTE, Quantization
from tiedae.config.config import ExportConfig
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.integer_maps import IntegerMaps
from tiedae.program.interpreter import Conversion, execute, program_input
from tiedae.program.program import SIGNATURES, Program, Tensor
from tiedae.program.tensors import flat
from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES

if TYPE_CHECKING:
    from tiedae.compress.quantizers import DecoderLayout

BATCH = 1024
"""Samples that are converted and run together: enough for full speed, few enough for the cache."""
PROGRAM = "program"
PRECISION = "int8"
SAME = Scaling()
"""No scaling: rounds floats in the data's unit of measure to integers."""


class Backend(Protocol):
    """Runs a model on flat samples: [n, inputs] in the data's unit of measure to codes [n, units], and codes to scaled `y`.

    `layout`: of the decoder that runs. `conversion`: how samples become the integers of `x`, see `interpreter.program_input`.
    `input`: samples as the model's `x`, [n, *shape]. Of `y` as `decode` and `reconstruct` give it, `samples` are in the data's
    unit of measure and dtype, `scaled_values` float32, `integers` those of the program, uint8.
    """

    @property
    def runtime(self) -> str: ...
    @property
    def spec(self) -> SampleSpec: ...
    @property
    def io(self) -> FileIO: ...
    @property
    def layout(self) -> DecoderLayout: ...
    @property
    def conversion(self) -> Conversion: ...
    def encode(self, x: np.ndarray) -> np.ndarray: ...
    def decode(self, codes: np.ndarray) -> np.ndarray: ...
    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def input(self, x: np.ndarray) -> np.ndarray: ...
    def samples(self, y: np.ndarray) -> np.ndarray: ...
    def scaled_values(self, y: np.ndarray) -> np.ndarray: ...
    def integers(self, y: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class FileBackend:
    """The exported files in one runtime; `y` is as the file gives it: uint8, int8, or float32, scaled or not.

    `whole`: whether a file has the signature `reconstruct`; else encoder and decoder run one after the other.
    """

    session: Session
    spec: SampleSpec
    io: FileIO
    x: Tensor
    code: Tensor
    y: Quantization
    layout: DecoderLayout
    whole: bool = True

    @property
    def runtime(self) -> str:
        return self.session.runtime

    @property
    def conversion(self) -> Conversion:
        return RUNTIMES[self.runtime].converts if self.io.dtype == "float32" else "divide"

    def encode(self, x: np.ndarray) -> np.ndarray:
        return flat(self.session.run("encode", self.input(x))["code"])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return flat(self.session.run("decode", self.code.shaped(codes))["y"])

    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.whole:
            codes = self.encode(x)
            return codes, self.decode(codes)
        got = self.session.run("reconstruct", self.input(x))
        return flat(got["code"]), flat(got["y"])

    def samples(self, y: np.ndarray) -> np.ndarray:
        if self.io.folded:
            return SAME.invert(y, self.spec.dtype) if y.dtype != self.spec.dtype else y
        if y.dtype == np.uint8 and self._is_bytes:
            return y
        return self.spec.scaling.invert(self.scaled_values(y), self.spec.dtype)

    def scaled_values(self, y: np.ndarray) -> np.ndarray:
        return self.io.scaled_values(y) if y.dtype == np.float32 else self.y.dequantize(self.y.from_io(y))

    def integers(self, y: np.ndarray) -> np.ndarray:
        return self.y.from_io(self.io.scaled_values(y))

    def input(self, x: np.ndarray) -> np.ndarray:
        if self.io.folded:
            return self.x.shaped(self.io.samples(x))
        if self.io.dtype == "uint8" and self._is_bytes:
            return self.x.shaped(x)
        scaled, own = self.x.shaped(self.spec.scaling.apply(self.io.samples(x))), self.x.affine
        return scaled if self.io.dtype == "float32" else own.to_io(own.quantize(scaled), self.io.dtype)

    @property
    def _is_bytes(self) -> bool:
        return self.spec.scaling.is_bytes(self.spec.dtype)


@dataclass(frozen=True)
class ProgramBackend:
    """The program itself, the exact reference; `y` is uint8, or float32 in scaled values where the program is float.

    `io`: `x` and `y` of the files, which may round samples to float32 first. `conversion` is that of `program_input`.
    `maps` take its place for integer samples. `session`: what computes the program's integers in place of the interpreter.
    """

    program: Program
    spec: SampleSpec
    io: FileIO = SCALED_IO
    maps: IntegerMaps | None = None
    runtime: str = PROGRAM
    layout: DecoderLayout = "fused"
    conversion: Conversion = "divide"
    session: Session | None = None

    def encode(self, x: np.ndarray) -> np.ndarray:
        return flat(self._run("encode", self.input(x))["code"])

    def decode(self, codes: np.ndarray) -> np.ndarray:
        return flat(self._run("decode", self.program.tensors["code"].shaped(codes))["y"])

    def reconstruct(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        got = self._run("reconstruct", self.input(x))
        return flat(got["code"]), flat(got["y"])

    def _run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        return execute(self.program, signature, x) if self.session is None else self.session.run(signature, x)

    def samples(self, y: np.ndarray) -> np.ndarray:
        """In integers, or of float data in binary64 without fused operations, as docs/reference/format.md states."""
        if self.maps is not None:
            return self.maps.samples(y, self.spec.dtype)
        if self.spec.scaling.is_bytes(self.spec.dtype) and self.program.tensors["y"].quantization == BYTE:
            return y
        return self.spec.scaling.invert(self.scaled_values(y), self.spec.dtype)

    def bases(self, y: np.ndarray) -> np.ndarray:
        """What residuals are beside: `samples`, of float data in float64 before they are rounded to the dtype."""
        integers = self.spec.dtype in INTEGERS
        return self.samples(y) if integers else self.spec.scaling.invert(self.scaled_values(y), np.float64)

    def scaled_values(self, y: np.ndarray) -> np.ndarray:
        return self.program.quantization("y").dequantize(y) if self.program.quantized else y

    def integers(self, y: np.ndarray) -> np.ndarray:
        return y

    def input(self, x: np.ndarray) -> np.ndarray:
        tensor = self.program.tensors["x"]
        if self.maps is not None:
            return tensor.shaped(self.maps.program_input(x))
        if self.spec.scaling.is_bytes(self.spec.dtype) and tensor.quantization == BYTE:
            return tensor.shaped(x)
        scaled = self.spec.scaling.apply(self.io.samples(x))
        return program_input(self.program, scaled, self.conversion) if self.program.quantized else tensor.shaped(scaled)


def written_anew(program: Program, runtime: str) -> Session:
    """A program in a runtime of source text that is written here: a bundle's own may be a stranger's, and would run here.

    Raises UnavailableError without a compiler, ExportError where the target cannot express the program.
    """
    row = TARGETS[RUNTIMES[runtime].format]
    files = row.write(program, f"{program.name}.{PRECISION}", ExportConfig(), SCALED_IO)
    with TemporaryDirectory() as folder:
        write_files(Path(folder), files)
        (source,) = [Path(folder) / name for name in files if name.endswith(row.suffix)]
        return RUNTIMES[runtime].open(dict.fromkeys(SIGNATURES, source))


def program_of(bundle: Bundle) -> Program:
    """The fused program, its kernels from the first int8 file that is whole."""
    problem = FormatError(f"{bundle.path}: holds no int8 model file")
    for name in bundle.models:
        if bundle.manifest.models[name].precision == PRECISION:
            try:
                return bundle.programs({name: read_model(bundle.path / name)}).reference
            except FormatError as error:
                problem = error
    raise problem
