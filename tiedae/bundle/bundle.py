"""The bundle: the files that a user ships or verifies in CI.

NAME.{int8,f32}.tflite                  every signature over one buffer
NAME.{int8,f32}.onnx                    x → code, y
NAME.{encoder,decoder}.{int8,f32}.onnx  over one NAME.{int8,f32}.kernels.bin
NAME.score.int8.onnx                    x → score, anomaly, over the same kernels; where there is a detector
NAME.c, NAME.h, NAME_float.h            the integer program and the codec as C; NAME is an identifier here
manifest.json                           hashes, kernels, inputs, outputs, operations, versions, recipe
golden/                                 samples and expected outputs, see `golden`; program.npz (biases and masks)
NAME.codec                              frequency tables of the codes, see docs/reference/format.md
NAME.residuals                          of integer data: the tables of their residuals
task/arrays.npz                         arrays of the task's section of report.html
metrics.json, report.html, MODEL_CARD.md
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from tiedae.base.archive import pack_npz, sha256_of, unpack_npz
from tiedae.base.errors import ExportError, FormatError, InputError
from tiedae.base.files import read_regular, write_atomic
from tiedae.base.npy import read_npy
from tiedae.config.config import ExportConfig
from tiedae.entropy.classes import CodeTables, read_tables
from tiedae.entropy.residual_tables import ResidualTables
from tiedae.entropy.tables import without_program
from tiedae.export.file_info import FileInfo, ModelFileInfo
from tiedae.export.model_file import Contents, oriented
from tiedae.export.targets import TARGETS, ModelCodec, Programs, is_model, read_model, require_targets
from tiedae.program.drift import TrainingScores
from tiedae.program.file_io import FileIO
from tiedae.program.program import SIGNATURES
from tiedae.program.score_graph import SCORE
from tiedae.program.scoring import Detector

from . import golden
from . import manifest as manifests
from .manifest import CalibrationInfo, ConstantInfo, Manifest
from .results import FILE as METRICS
from .results import read_metrics

PRECISIONS = ("int8", "f32")
PROGRAM_FILE = "golden/program.npz"
PROGRAM_KIND = "tiedae-program"
TASK_FOLDER = "task"
TASK_FILE = f"{TASK_FOLDER}/arrays.npz"
TASK_KIND = "tiedae-task"
CALIBRATION = f"{manifests.FILE}: calibration"
"""The section of the calibration, as a part of a bundle, see `Bundle.made_for`."""
PAGES = ("report.html", "MODEL_CARD.md")


def model_files(
    programs: Mapping[str, Programs],
    config: ExportConfig,
    io: FileIO | str,
    *,
    detector: Detector | None = None,
    codec: ModelCodec | None = None,
) -> dict[str, bytes]:
    """The model files by name. `programs` by precision, `int8` and `f32`; `io`: x and y of the int8 files (`FileIO.parse`).

    `detector`: adds the signature `score` to the int8 files. `codec`: what source text takes beside the program.
    """
    require_targets(config.targets)
    io = FileIO.parse(io)
    files: dict[str, bytes] = {}
    for precision, pair in programs.items():
        for target in config.targets:
            program, row = pair.of(target), TARGETS[target]
            if precision not in row.precisions:
                continue
            options: dict[str, Any] = {"codec": codec} if row.source else {}
            if detector is not None and (row.scores or row.source) and precision == "int8":
                options["detector"] = detector
            stem = f"{program.name}.{precision}"
            files |= row.write(program, stem, config, io if precision == "int8" else io.floats, **options)
    return files


def model_names(name: str, config: ExportConfig, *, detector: Detector | None = None) -> set[str]:
    """The names of the files that `model_files` writes."""
    names = set()
    for target in config.targets:
        for precision in TARGETS[target].precisions:
            scores = detector is not None and TARGETS[target].scores and precision == "int8"
            names |= TARGETS[target].file_names(f"{name}.{precision}", (*config.signatures, *([SCORE] if scores else [])))
    return names


def program_file(programs: Programs, masks: Mapping[str, np.ndarray]) -> bytes:
    """golden/program.npz: every constant but the kernels, and the packed masks."""
    constants = dict(programs.fused.constants) | dict(programs.split.constants)
    kept = {name: values for name, values in constants.items() if name not in programs.fused.kernels}
    bits = {f"mask.{name}": np.packbits(mask) for name, mask in masks.items()}
    return pack_npz({"format": PROGRAM_KIND, "version": 1}, kept | bits)


def tables_name(name: str) -> str:
    """The file of a bundle that holds the frequency tables of its codes."""
    return f"{name}.codec"


def residuals_name(name: str) -> str:
    """The file of a bundle that holds the tables of its data's residuals."""
    return f"{name}.residuals"


def task_file(program: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """task/arrays.npz: the arrays of the task's section in the report, made for a program by its sha256."""
    return pack_npz({"format": TASK_KIND, "version": 1, "program": program}, arrays)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def describe_files(
    directory: Path, names: Iterable[str], read: Mapping[str, Contents] | None = None, scaled: bool = True
) -> dict[str, FileInfo]:
    """The manifest's record of each file, sorted by name.

    `read` holds model files that were already parsed; `units`: the unit of float x and y.
    """
    described = {}
    for name in sorted(names):
        data = read_regular(directory / name)
        if is_model(name):
            contents = read[name] if read is not None and name in read else read_model(directory / name)
            described[name] = ModelFileInfo.of_model(data, name, contents).with_scaled(scaled)
        else:
            described[name] = FileInfo.of(data)
    return described


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk and its manifest."""

    path: Path
    manifest: Manifest = field(repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Raises FormatError as `manifest.read` does."""
        return cls(Path(path), manifests.read(Path(path)))

    @property
    def models(self) -> list[str]:
        """The names of the model files."""
        return list(self.manifest.models)

    def files_of(self, target: str, precision: str) -> dict[str, str]:
        """The model file that serves each signature of `SIGNATURES`, of one target and precision, in their order."""
        models = self.manifest.models.items()
        chosen = [(name, info) for name, info in models if (info.format, info.precision) == (target, precision)]
        found = {signature: name for name, info in chosen for signature in info.signatures}
        return {signature: found[signature] for signature in SIGNATURES if signature in found}

    def companions(self, target: str, precision: str) -> set[str]:
        """The files that those of `files_of` need beside them."""
        needed = TARGETS[target].companions(f"{self.manifest.name}.{precision}", self.files_of(target, precision))
        return needed & self.manifest.files.keys()

    def file_io(self, target: str, precision: str) -> FileIO:
        """`x` and `y` in those files; FormatError where none has them."""
        for name in self.files_of(target, precision).values():
            for signature in self.manifest.models[name].signatures.values():
                for value in signature.values:
                    if value.name in ("x", "y"):
                        return FileIO(value.dtype, self.manifest.io.scaling)
        raise FormatError(f"{self.path}: no {precision} file of {target} has x or y")

    def require_intact(self, names: Iterable[str] | None = None) -> None:
        """Raise FormatError unless these files (all of them by default) are as the manifest says."""
        for name in self.manifest.files if names is None else names:
            path, stated = self.path / name, self.manifest.files.get(name)
            if stated is None or not stated.holds(path):
                raise FormatError(f"{path}: missing or changed, its sha256 is not the manifest's")

    def golden(self) -> dict[str, np.ndarray]:
        """The golden arrays by name, as stored; FormatError if one is missing, damaged or of another shape."""
        return golden.read(self.path, self.manifest)

    def programs(self, contents: Mapping[str, Contents]) -> Programs:
        """The integer programs: operations from the manifest, biases from golden/, kernels from the model files.

        Raises FormatError if no file holds a constant of the manifest, or operations and constants do not fit.
        """
        _, arrays = unpack_npz(self.path / PROGRAM_FILE, PROGRAM_KIND)
        texts = self.manifest.operations
        stated = {**texts.split.constants, **texts.fused.constants}
        if strange := sorted(arrays.keys() - stated.keys() - {f"mask.{kernel.name}" for kernel in self.manifest.kernels}):
            raise FormatError(f"{self.path / PROGRAM_FILE}: holds {', '.join(strange)[:60]}, which the program does not have")
        constants = {name: self._constant(name, each, arrays, contents) for name, each in stated.items()}
        try:
            both = (text.program(self.manifest.name, constants) for text in (texts.split, texts.fused))
            return Programs(*both, decoder=self.manifest.recipe.export.decoder)
        except ExportError as error:
            raise FormatError(f"{self.path / manifests.FILE}: operations are damaged: {error}") from error

    def _constant(
        self, name: str, stated: ConstantInfo, arrays: Mapping[str, np.ndarray], contents: Mapping[str, Contents]
    ) -> np.ndarray:
        candidates = [arrays[name]] if name in arrays else _stored(contents, stated.shape)
        for values in candidates:
            if (values.shape, sha256_of(values)) == (stated.shape, stated.sha256):
                return values
        raise FormatError(f"{self.path}: no file holds {name} with the sha256 that the manifest states")

    @cached_property
    def program_sha256(self) -> str:
        """That of the program: see `manifest.program_sha256`."""
        return manifests.program_sha256(self.path)

    def made_for(self) -> dict[str, Callable[[], str]]:
        """What reads the sha256 of the program that a part was made for, by part: manifest sections, files that it lists.

        The program is "" where a part names none. Reading raises FormatError where a file is missing, changed or damaged.
        """
        manifest = self.manifest
        sections = {"detector": manifest.detector, "scores": manifest.scores, "calibration": manifest.calibration}
        parts: dict[str, Callable[[], str]] = {}
        parts |= {f"{manifests.FILE}: {key}": partial(_stated, part) for key, part in sections.items() if part is not None}
        for name in (tables_name(manifest.name), residuals_name(manifest.name)):
            parts[name] = lambda name=name: self._tables_of(name)[1]
        parts |= {TASK_FILE: lambda: self._task()[1], METRICS: self._measured_program}
        return {name: read for name, read in parts.items() if name in manifest.files or name.startswith(manifests.FILE)}

    @property
    def calibrated_program(self) -> str:
        """The sha256 of the program that the manifest's calibration is of: of a derived bundle that of the first one."""
        derived = self.manifest.derived
        return derived[0].program if derived else self.program_sha256

    def _measured_program(self) -> str:
        self.require_intact([METRICS])
        return read_metrics(self.path / METRICS).program_sha256

    def _tables_of(self, name: str) -> tuple[bytes, str]:
        """The content of a file of tables, and the program that they were made for."""
        self.require_intact([name])
        return without_program(read_regular(self.path / name))

    def _own_tables(self, name: str) -> bytes:
        """The content of a file of tables, which were made for this program or name none."""
        tables, program = self._tables_of(name)
        if program not in ("", self.program_sha256):
            made, own = program[:12], self.program_sha256[:12]
            raise FormatError(f"{self.path / name}: was made for another program: its sha256 is {made}…, must be {own}…")
        return tables

    def tables(self) -> CodeTables:
        """The frequency tables of the codes: those of the manifest's units and bits.

        Raises InputError where the bundle has none, FormatError for damaged tables or those of other codes or programs.
        """
        name = tables_name(self.manifest.name)
        path, code = self.path / name, self.manifest.tensors.code
        if name not in self.manifest.files:
            how = f"`tiedae rescale {self.path} --data DATA --out DIR` writes a bundle with it"
            raise InputError(f"{self.path}: holds no {name}, which .tae files need; {how}")
        tables = read_tables(self._own_tables(name), path)
        units = self.manifest.units
        if (tables.units, tables.bits) != (units, code.bits):
            got, right = f"{tables.units} units of {tables.bits} bits", f"{units} of {code.bits}, as in {manifests.FILE}"
            raise FormatError(f"{path}: got tables of {got}, must be {right}")
        return tables

    def residuals(self) -> ResidualTables | None:
        """The tables of the data's residuals; None where the bundle has none, FormatError for damaged ones or those of other
        programs."""
        name = residuals_name(self.manifest.name)
        if name not in self.manifest.files:
            return None
        return ResidualTables.from_bytes(self.manifest.data.spec, self._own_tables(name), self.path / name)

    def task_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the task's section of report.html by name; FormatError if they are missing, changed or damaged."""
        if TASK_FILE in self.manifest.files:
            return self._task()[0]
        names = [name for name in self.manifest.files if name.startswith(f"{TASK_FOLDER}/")]  # of an earlier bundle
        self.require_intact(names)
        return {Path(name).stem: read_npy(self.path / name) for name in names}

    def _task(self) -> tuple[dict[str, np.ndarray], str]:
        """The arrays of the task, and the program that they were made for."""
        self.require_intact([TASK_FILE])
        header, arrays = unpack_npz(self.path / TASK_FILE, TASK_KIND)
        return arrays, str(header.get("program", ""))

    def masks(self) -> dict[str, np.ndarray]:
        """The masks by kernel name, bool [inputs, units]; FormatError if one is missing or of another size."""
        _, arrays = unpack_npz(self.path / PROGRAM_FILE, PROGRAM_KIND)
        masks = {}
        for kernel in self.manifest.kernels:
            packed = arrays.get(f"mask.{kernel.name}")
            if packed is None or packed.dtype != np.uint8 or packed.size != -(-kernel.size // 8):
                raise FormatError(f"{self.path / PROGRAM_FILE}: holds no mask of {kernel.name} {list(kernel.shape)}")
            masks[kernel.name] = np.unpackbits(packed, count=kernel.size).reshape(kernel.shape).astype(bool)
        return masks


def _stated(part: Detector | TrainingScores | CalibrationInfo) -> str:
    return part.program


def _stored(contents: Mapping[str, Contents], shape: Sequence[int]) -> list[np.ndarray]:
    """Every stored int8 or int4 array of this size as int8, in each orientation of a kernel of this shape."""
    stored = (constant.integers for each in contents.values() for constant in each.constants)
    return [np.ascontiguousarray(view) for values in stored if values.dtype == np.int8 for view in oriented(values, shape)]


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files of a folder that a stranger may have prepared: a link is replaced, and none is followed.

    Raises InputError where a folder in it is a link, or a device or pipe is in the place of a file.
    """
    for name, data in files.items():
        for folder in list(Path(name).parents)[:-1]:
            if (directory / folder).is_symlink():
                raise InputError(f"{directory / folder}: is a link, must be a folder of the bundle")
        write_atomic(directory / name, data, follow=False)
