"""manifest.json as records: everything about a bundle that is text, including the operations of its programs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from tiedae.base.archive import sha256_of
from tiedae.base.errors import ExportError, FormatError, RecipeError
from tiedae.base.files import read_regular
from tiedae.base.keys import Count, FileName, Identifier, Line, Name, Positive, Sha256, Sha256OrNone
from tiedae.base.records import Record, checked, decode, encode, load_json, plain, require, within
from tiedae.compress.affine import LARGEST32, Quantization
from tiedae.compress.imports.origin import ImportOrigin
from tiedae.config.config import Recipe
from tiedae.config.model_config import ModelConfig
from tiedae.config.sample_spec import INTEGERS, Kind, SampleSpec, SampleType, Signal, channels_of
from tiedae.config.scaling import Scaling
from tiedae.export.file_info import FileInfo, ModelFileInfo
from tiedae.export.kinds import Precision
from tiedae.export.targets import is_model, layout_of, require_targets
from tiedae.program.drift import TrainingScores
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import IntegerMaps
from tiedae.program.operations import OPERATIONS, Operation
from tiedae.program.program import Kernel, Program, Tensor
from tiedae.program.scoring import Detector

from .results import Model

if TYPE_CHECKING:
    from tiedae.compress.quantizers import DecoderLayout

SCHEMA = 1
FILE = "manifest.json"


class TensorText(Record, frozen=True):
    """A tensor of a program: its size per sample, one for each of several axes, and quantization (None in a float program)."""

    size: Positive | Annotated[tuple[Positive, ...], Meta(min_length=2)]
    quantization: Quantization | None

    @classmethod
    def of(cls, tensor: Tensor) -> TensorText:
        return cls(tensor.shape if len(tensor.shape) > 1 else tensor.size, tensor.quantization)

    def tensor(self, name: str) -> Tensor:
        return Tensor(name, (self.size,) if isinstance(self.size, int) else self.size, self.quantization)


class ConstantInfo(Record, frozen=True):
    """A constant of a program; its values are in another file, found by their sha256."""

    dtype: Identifier
    shape: tuple[Count, ...]
    sha256: Sha256


class ProgramText(Record, frozen=True):
    """A program without its arrays. An operation is a table of its fields and `op`, its name in `OPERATIONS`."""

    tensors: Mapping[Identifier, TensorText]
    kernels: Mapping[Identifier, Kernel]
    encoder: tuple[Mapping[str, Any], ...]
    decoder: tuple[Mapping[str, Any], ...]
    constants: Mapping[Identifier, ConstantInfo]

    def __post_init__(self) -> None:
        self.operations  # noqa: B018 - raises RecipeError for a damaged one
        require({"x", "code", "y"} <= self.tensors.keys(), "tensors", sorted(self.tensors), "x, code, y and others")

    @classmethod
    def of(cls, program: Program) -> ProgramText:
        encoder, decoder = (
            tuple({"op": type(operation).__name__, **_stated(operation)} for operation in part)
            for part in (program.encoder, program.decoder)
        )
        return cls(
            {name: TensorText.of(tensor) for name, tensor in program.tensors.items()},
            program.kernels,
            encoder,
            decoder,
            {
                name: ConstantInfo(values.dtype.name, values.shape, sha256_of(values))
                for name, values in program.constants.items()
            },
        )

    @property
    def operations(self) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        """Those of the encoder and of the decoder."""
        encoder, decoder = (
            tuple(_operation(written, f"{part}[{i}]") for i, written in enumerate(getattr(self, part)))
            for part in ("encoder", "decoder")
        )
        return encoder, decoder

    def multiply_adds(self) -> tuple[int, int]:
        """For one sample, of the encoder and of the decoder, zeros of pruned kernels included."""
        tensors = {name: text.tensor(name) for name, text in self.tensors.items()}
        encoder, decoder = (
            sum(each.multiply_adds(tensors[each.x], tensors[each.y]) for each in part) for part in self.operations
        )
        return encoder, decoder

    def program(self, name: str, constants: Mapping[str, np.ndarray]) -> Program:
        """The program with its constants by name. Raises ExportError where operations, tensors and constants do not fit."""
        tensors = {key: tensor.tensor(key) for key, tensor in self.tensors.items()}
        return Program(name, tensors, self.kernels, *self.operations, {key: constants[key] for key in self.constants})


def _stated(operation: Operation) -> dict[str, Any]:
    """The fields of an operation that are not as by default."""
    default = {field.name: field.default for field in dataclasses.fields(operation)}
    return {name: value for name, value in dataclasses.asdict(operation).items() if value != default[name]}


def _operation(written: Mapping[str, Any], key: str) -> Operation:
    kind = OPERATIONS.get(str(written.get("op")))
    if kind is None:
        raise RecipeError(f"{key}.op: got {written.get('op')!r:.60}, must be one of {', '.join(OPERATIONS)}")
    operation = checked(kind, {name: value for name, value in written.items() if name != "op"}, key)
    _require_known(written, {"op": "", **dataclasses.asdict(operation)}, key)
    return operation


class ProgramTexts(Record, frozen=True):
    """The integer program in both layouts of the decoder."""

    split: ProgramText
    fused: ProgramText


class KernelInfo(Record, frozen=True, kw_only=True):
    """A tied kernel: [inputs, units], one scale or one per unit, sha256 of its int8 and float32 values in C order.

    `pruned` is the number of pruned positions.
    """

    name: Identifier
    shape: tuple[Positive, Positive]
    bits: int = 8
    scale: Annotated[tuple[float, ...], Meta(min_length=1)]
    sha256: Sha256
    pruned: Count
    sha256_f32: Sha256OrNone = ""

    def __post_init__(self) -> None:
        require(all(0 < each <= LARGEST32 for each in self.scale), "scale", self.scale, "positive, and finite in float32")

    @property
    def size(self) -> int:
        """The number of weights."""
        return math.prod(self.shape)


class Data(Record, frozen=True, kw_only=True):
    """The training data: `shape` and `dtype` of a sample that is not scaled, samples per split, sha256 of the training split.

    `peak` is that of images (see `fidelity`), `signal` that of a record.
    """

    source: Line
    kind: Kind
    columns: tuple[Line, ...] | None = None
    label: Line | None = None
    peak: float | None = None
    inputs: Positive
    shape: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    dtype: SampleType
    train: Count
    validation: Count
    test: Count
    sha256: Sha256
    scaling: Scaling
    licence: Line | UnsetType = UNSET
    origin: Line | UnsetType = UNSET
    signal: Signal = Signal()

    def __post_init__(self) -> None:
        names, channels = self.signal.channel_names, channels_of(self.kind, self.shape)
        require(len(names) in (0, channels), "signal.channel_names", list(names), f"{channels} names")
        require(self.columns is None or len(self.columns) == self.inputs, "columns", self.columns, f"{self.inputs} names")
        require(math.prod(self.shape) == self.inputs, "shape", list(self.shape), f"the shape of {self.inputs} values")

    @property
    def spec(self) -> SampleSpec:
        """Shape, dtype, columns, scaling and signal of a sample."""
        return SampleSpec(self.shape, self.dtype, self.scaling, self.kind, self.columns, self.signal)


class Tensors(Record, frozen=True):
    """The quantization of the tensors that files read and write."""

    x: Quantization
    code: Quantization
    y: Quantization


class CalibrationInfo(Record, frozen=True):
    """The source of the activation ranges: `sha256` of the calibration samples, `file_sha256` of the calibration file.

    `program`: the sha256 of the program that has these ranges, "" where a manifest states none.
    """

    observer: Line
    settings: Mapping[str, Any]
    samples: Positive
    seed: Count
    sha256: Sha256
    file_sha256: Sha256
    program: Sha256OrNone = ""


class ArrayInfo(Record, frozen=True):
    """A golden array: shape, dtype and what its values are."""

    shape: tuple[Count, ...]
    dtype: Identifier
    values: Line


class Golden(Record, frozen=True):
    """Golden arrays by file, and the array of each input and output, by name, of each model file."""

    arrays: Mapping[FileName, ArrayInfo]
    values: Mapping[FileName, Mapping[Identifier, FileName]] = msgspec.field(name="ports")


class Derivation(Record, frozen=True, kw_only=True):
    """How `tiedae rescale` made a bundle from another, without training.

    `created_by`, `manifest_sha256`, `program` (its sha256): of the other bundle. `factor`: on the scale of its codes.
    `classes`: of the tables of codes, 1 for none. `source`, `data_sha256`: the samples that tables and scores were fitted to;
    their sha256 is that of `data` where the model was trained on them.
    """

    created_by: Line
    manifest_sha256: Sha256
    factor: Annotated[float, Meta(gt=0)]
    classes: Annotated[int, Meta(ge=1)] = 1
    source: Line
    data_sha256: Sha256
    program: Sha256OrNone = ""


class Manifest(Record, frozen=True, kw_only=True):
    """Everything about a bundle that is text.

    `kernels` and `tensors` are those of the int8 files, `integer_maps` lead from integer samples to `x` and from `y` back,
    `operations` are the integer programs, `files` every file but the manifest. `detector` is that of an anomaly
    bundle. `scores` are those of training samples.
    `imported`: where the weights are from, if the run started from a model that somebody else trained.
    `derived`: where the bundle was made from another one, and that from another, oldest first; `recipe` and `calibration` are
    then those of the first bundle, and the scale of the codes is theirs times each factor.
    """

    schema: int = SCHEMA
    created_by: Line
    name: Name
    seed: Count
    recipe: Recipe
    data: Data
    calibration: CalibrationInfo | None = None
    model: Model
    kernels: Annotated[tuple[KernelInfo, ...], Meta(min_length=1)]
    tensors: Tensors
    integer_maps: IntegerMaps | None = None
    detector: Detector | None = None
    operations: ProgramTexts
    versions: Mapping[Line, Line]
    files: Mapping[FileName, FileInfo] = {}
    golden: Golden = Golden({}, {})
    scores: TrainingScores | None = None
    derived: tuple[Derivation, ...] = ()
    imported: ImportOrigin | None = None

    def __post_init__(self) -> None:
        with within("recipe.export."):
            require_targets(self.recipe.export.targets)
        layers, right = self.recipe.model.layers, f"{len(self.kernels)}, one per kernel"
        require(len(layers) == len(self.kernels), "recipe.model.layers", len(layers), right)
        with within("recipe.model."):
            model = self.exported_model
        known = self.operations.fused.kernels
        for i, (kernel, matrix) in enumerate(zip(self.kernels, model.matrices, strict=True)):
            require(kernel.name in known, f"kernels[{i}].name", kernel.name, f"one of {', '.join(known)}, as in operations")
            require(kernel.shape == matrix, f"kernels[{i}].shape", list(kernel.shape), f"{list(matrix)} as in recipe.model")
        widths = model.widths
        require(self.model.widths == widths, "model.widths", list(self.model.widths), f"{list(widths)} as in kernels")
        groups = self.model.interleave
        require(widths[0] % groups == 0, "model.interleave", groups, f"a divisor of {widths[0]}")
        for name in ("x", "y"):
            size, right = self.operations.fused.tensors[name].size, f"of {self.data.inputs} values"
            require(self.tensor(name).size == self.data.inputs, f"operations.fused.tensors.{name}.size", size, right)
        if self.integer_maps is not None:
            require(self.data.dtype in INTEGERS, "integer_maps", self.data.dtype, f"left out but for {', '.join(INTEGERS)}")
            sizes = [len(each.multiplier) for each in (self.integer_maps.x, self.integer_maps.y)]
            require({*sizes} <= {1, widths[0]}, "integer_maps", sizes, f"one entry, or {widths[0]}, one per feature")

    @property
    def exported_model(self) -> ModelConfig:
        """The model of the recipe with the units that it has left, for samples of `data`."""
        model = self.recipe.model
        layers = (replace(layer, units=kernel.shape[1]) for layer, kernel in zip(model.layers, self.kernels, strict=True))
        return replace(model, layers=tuple(layers)).of_samples(self.data.shape)

    def tensor(self, name: str) -> Tensor:
        """`x`, `code` or `y` of the int8 files."""
        return self.operations.fused.tensors[name].tensor(name)

    @property
    def units(self) -> int:
        """Values of a code."""
        return self.tensor("code").size

    @property
    def models(self) -> dict[str, ModelFileInfo]:
        """The model files by name."""
        return {name: file for name, file in self.files.items() if isinstance(file, ModelFileInfo)}

    def layout(self, target: str) -> DecoderLayout:
        """That of the decoder in a target's int8 files."""
        return layout_of(target, self.recipe.export.decoder)

    @property
    def io(self) -> FileIO:
        """`x` and `y` of the int8 files."""
        return FileIO.of(self.recipe.export, self.data.scaling, self.data.dtype)

    def io_of(self, precision: str) -> FileIO:
        """`x` and `y` of the files of a precision."""
        return self.io if precision == Precision.INT8 else self.io.floats


def describe_kernels(
    program: Program, masks: Mapping[str, np.ndarray], floats: Mapping[str, np.ndarray] | None = None
) -> tuple[KernelInfo, ...]:
    """The kernels of an integer program with their masks, and their float32 values where known."""
    return tuple(
        KernelInfo(
            name=kernel.name,
            shape=(kernel.inputs, kernel.units),
            bits=kernel.bits,
            scale=kernel.scales,
            sha256=sha256_of(program.constants[kernel.name]),
            pruned=int(np.count_nonzero(~masks[kernel.name])),
            sha256_f32="" if floats is None else sha256_of(floats[kernel.name]),
        )
        for kernel in program.kernels.values()
    )


def read(bundle: Path) -> Manifest:
    """The manifest of a bundle; FormatError if there is none, or it is damaged or of another schema."""
    return parse(_load(bundle), bundle / FILE)


def _load(bundle: Path) -> Any:
    try:
        return load_json(read_regular(bundle / FILE), bundle / FILE)
    except (FileNotFoundError, NotADirectoryError):
        raise FormatError(f"{bundle}: not a bundle, it has no {FILE}") from None


def decoding_text(manifest: Path | Manifest) -> bytes:
    """What decides how a bundle's codes decode, as canonical JSON of what the manifest states, in its own version of it.

    `manifest`: that of a bundle on disk, or one that is not written yet.
    """
    written = _load(manifest) if isinstance(manifest, Path) else json.loads(encode(manifest))
    decisive = {key: written["data"][key] for key in ("shape", "dtype", "scaling")}
    decisive |= {key: written[key] for key in ("integer_maps",) if written.get(key)}
    return json.dumps(decisive | {"program": written["operations"]["fused"]}, sort_keys=True, separators=(",", ":")).encode()


def program_sha256(manifest: Path | Manifest) -> str:
    """The sha256 of `decoding_text`, which names a bundle's program: what was made for it states this."""
    return hashlib.sha256(decoding_text(manifest)).hexdigest()


def made_for_its_program(manifest: Manifest) -> Manifest:
    """A manifest whose detector, scores and calibration state its program; a calibration of an earlier bundle that bundle's."""
    program, made = program_sha256(manifest), {"detector": manifest.detector, "scores": manifest.scores}
    if not manifest.derived:
        made["calibration"] = manifest.calibration
    return replace(manifest, **{key: replace(part, program=program) for key, part in made.items() if part is not None})


def parse(written: Any, where: object) -> Manifest:
    """A manifest from JSON's values; FormatError, starting with `where`, if they are damaged."""
    if not isinstance(written, dict) or "schema" not in written:
        raise FormatError(f"{where}: not a tiedae manifest")
    if written["schema"] != SCHEMA:
        raise FormatError(f"{where}: schema {written['schema']}, this tiedae reads schema {SCHEMA}")
    try:
        rows = decode(dict[FileName, dict[str, Any]], written.get("files"), f"{where}: files")
        manifest = decode(Manifest, written | {"files": {}}, where)
        files = {
            name: decode(ModelFileInfo if is_model(name) else FileInfo, row, f"{where}: files.{name}")
            for name, row in rows.items()
        }
        manifest = replace(manifest, files=files)
        manifest.io  # noqa: B018 - raises ExportError for a scaling that files cannot hold
        _require_known(written, plain(manifest))
    except (ExportError, RecipeError) as error:
        raise FormatError(f"{where}: damaged: {error}") from None
    return manifest


def _require_known(written: Any, kept: Any, key: str = "") -> None:
    """Raise RecipeError for a key that decoding dropped, since msgspec ignores unknown keys of dataclasses."""
    if isinstance(kept, dict):
        for name, value in written.items():
            require(name in kept, f"{key}.{name}".lstrip("."), value, "left out")
            _require_known(value, kept[name], f"{key}.{name}")
    elif isinstance(kept, list | tuple):
        for i, value in enumerate(written):
            _require_known(value, kept[i], f"{key}[{i}]")


def with_files(bundle: Path, files: Mapping[str, FileInfo]) -> bytes:
    """The text of a bundle's manifest with new records of these files; the rest stays as written."""
    written = _load(bundle)
    written["files"] = dict(sorted({**written["files"], **plain(files)}.items()))
    return encode(written)
