"""The table of export targets: how a format of model files is written, read and run.

A new target is one row. Recipes, bundles, verification, report and model card iterate the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace

from tiedae.base.errors import FormatError, RecipeError
from tiedae.config.config import Decoder, ExportConfig, VerifyConfig
from tiedae.config.sample_spec import SampleSpec
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import IntegerMaps
from tiedae.program.program import Program
from tiedae.program.score_graph import SCORE
from tiedae.program.scoring import Detector

from .c.codec_source import SampleCodec
from .extents import FileBytes
from .file_info import SignatureInfo, ValueInfo
from .model_file import Contents

if TYPE_CHECKING:
    from tiedae.compress.quantizers import DecoderLayout

Write = Callable[..., dict[str, bytes]]
"""(program, stem of the file names, export settings, x and y) → the files by name; a target with `scores` has the keyword
`detector` too, a `Detector` or None, and one with `source` also `codec`, a `ModelCodec` or None."""
Snippet = Callable[[str, str, SignatureInfo, str], list[str]]
"""(file, name of the signature, its record, expression of x) → lines of Python that run it, imports first."""


@dataclass(frozen=True, eq=False)
class ModelCodec:
    """What makes a model a codec: the samples, their integer maps, and what .tae files are coded with."""

    spec: SampleSpec
    maps: IntegerMaps | None
    coding: SampleCodec


@dataclass(frozen=True)
class Target:
    """One row of the table.

    `label` is the display name of the format, `suffix` that of its model files, `others` those of other makers' files,
    `layout` that of the decoder. `write` returns the files of a program, `read` parses a model file. `package` is the
    display name of the usual runtime, `snippet` writes an example program for the model card. `names`: the written files by
    stem and signatures, one file by default. `companions`: files without a model that files with these signatures need.
    `tolerances` replace the defaults of `VerifyConfig`. `scores`: the int8 files of a bundle with a detector have the
    signature `score`. `precisions` that are written. `source`: the files are source text of the whole codec, whose `x` and
    `y` are the program's integers; to run them is to run their code. `views`: its decoder may be a view
    (`ExportConfig.decoder`), in the fused layout. `extents` says what the bytes of a file are, so that `verify` accounts for
    them; None: it cannot.
    """

    label: str
    suffix: str
    layout: DecoderLayout
    write: Write
    read: Callable[[Path], Contents]
    package: str
    snippet: Snippet
    names: Callable[[str, Collection[str]], set[str]] | None = None
    companions: Callable[[str, Collection[str]], set[str]] = lambda _stem, _signatures: set()
    tolerances: Mapping[str, float] = field(default_factory=dict)
    scores: bool = False
    precisions: tuple[Literal["int8", "f32"], ...] = ("int8", "f32")
    source: bool = False
    others: tuple[str, ...] = ()
    views: bool = False
    extents: Callable[[Path], FileBytes] | None = None

    def file_io(self, io: FileIO) -> FileIO:
        """`x` and `y` of this target's files, where those of its recipe are `io`."""
        return FileIO("uint8") if self.source else io

    def file_names(self, stem: str, signatures: Collection[str]) -> set[str]:
        """The names of the files that `write` returns."""
        return {f"{stem}{self.suffix}"} if self.names is None else self.names(stem, signatures)


def _tflite_files(
    program: Program, stem: str, config: ExportConfig, io: FileIO, detector: Detector | None = None
) -> dict[str, bytes]:
    from .tflite.writer import to_tflite

    options: dict[str, Any] = {"int4": config.int4, "kernels": config.kernels, "detector": detector}
    data = to_tflite(program, signatures=config.signatures, io=io, **options)
    return {f"{stem}.tflite": data}


def _read_tflite(path: Path) -> Contents:
    from .tflite.reader import read_tflite_file

    return read_tflite_file(path)


def _tflite_extents(path: Path) -> FileBytes:
    from .tflite.extents import read_tflite_extents

    return read_tflite_extents(path)


def _litert(file: str, signature: str, info: SignatureInfo, x: str) -> list[str]:
    name = info.inputs[0].name
    return [
        "from ai_edge_litert.interpreter import Interpreter",
        f"{name} = {x}  # {_shapes(info.inputs)}",
        f'{signature} = Interpreter("{file}").get_signature_runner("{signature}")',
        f"result = {signature}({name}={name})  # {_shapes(info.outputs)}",
    ]


ONNX_PARTS = {"reconstruct": "", "encode": "encoder.", "decode": "decoder.", SCORE: "score."}
"""The part of a file name between model name and precision, by signature."""
HALVES = {"encode", "decode"}


def _onnx_name(stem: str, signature: str) -> str:
    name, _, precision = stem.rpartition(".")
    return f"{name}.{ONNX_PARTS[signature]}{precision}.onnx"


def _onnx_kernels(stem: str, signatures: Collection[str]) -> set[str]:
    """The file of kernels that encoder, decoder and score share."""
    return {f"{stem}.kernels.bin"} if {*HALVES, SCORE} & set(signatures) else set()


def _onnx_names(stem: str, signatures: Collection[str]) -> set[str]:
    return {_onnx_name(stem, each) for each in signatures} | (
        _onnx_kernels(stem, signatures) if set(signatures) >= HALVES else set()
    )


def _onnx_files(
    program: Program, stem: str, config: ExportConfig, io: FileIO, detector: Detector | None = None
) -> dict[str, bytes]:
    from .onnx.writer import to_onnx, to_onnx_pair

    options: dict[str, Any] = {"io": io, "opset": config.opset, "int4": config.int4}
    files, alone, kernels = {}, set(config.signatures), None
    if alone >= HALVES:
        (kernels,) = _onnx_kernels(stem, alone)
        names = (_onnx_name(stem, "encode"), _onnx_name(stem, "decode"), kernels)
        files |= dict(zip(names, to_onnx_pair(program, kernels_file=kernels, **options), strict=True))
        alone -= HALVES
    for signature in (each for each in config.signatures if each in alone):
        files[_onnx_name(stem, signature)] = to_onnx(program, signature=signature, **options)
    if detector is not None:
        scored = to_onnx(program, signature=SCORE, external=kernels, detector=detector, **options)
        files[_onnx_name(stem, SCORE)] = scored
    return files


def _read_onnx(path: Path) -> Contents:
    from .onnx.reader import read_onnx

    return read_onnx(path)


def _onnx_extents(path: Path) -> FileBytes:
    from .onnx.extents import read_onnx_extents

    return read_onnx_extents(path)


def _onnxruntime(file: str, signature: str, info: SignatureInfo, x: str) -> list[str]:
    name, outputs = info.inputs[0].name, [value.name for value in info.outputs]
    return [
        "import onnxruntime",
        f"{name} = {x}  # {_shapes(info.inputs)}",
        f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
        f"{', '.join(outputs)}{',' if len(outputs) == 1 else ''} = "
        f'session.run({outputs!r}, {{"{name}": {name}}})  # {_shapes(info.outputs)}',
    ]


def _c_name(stem: str) -> str:
    from .c.text import identifier

    return identifier(stem.rpartition(".")[0])


def _c_files(
    program: Program,
    stem: str,
    config: ExportConfig,
    io: FileIO,
    *,
    detector: Detector | None = None,
    codec: ModelCodec | None = None,
) -> dict[str, bytes]:
    from .c.samples import DataUnit
    from .c.source import to_c

    both = {"reconstruct"} <= {*config.signatures} or {"encode", "decode"} <= {*config.signatures}
    scored = (SCORE,) if both and codec is not None and detector is not None else ()
    options: dict[str, Any] = {"storage": config.c_storage, "signatures": config.c_signatures or (*config.signatures, *scored)}
    if codec is not None:
        options |= {"unit": DataUnit(codec.spec, codec.maps, io), "codec": codec.coding, "detector": detector}
    return {name: text.encode("ascii") for name, text in to_c(program, **options).files.items()}


def _read_c(path: Path) -> Contents:
    from .c.reader import read_c

    return read_c(path)


def _c_extents(path: Path) -> FileBytes:
    from .c.extents import read_c_extents

    return read_c_extents(path)


def _ctypes(file: str, signature: str, info: SignatureInfo, x: str) -> list[str]:
    name, source = Path(file).stem, info.inputs[0].name
    library, compiled = f"./{name}.so", f'"cc", "-O2", "-shared", "-fPIC", "-D{name.upper()}_STATIC_ARENA"'
    sizes = [f"{value.name} = np.empty({_size(value)}, np.{value.dtype})" for value in info.outputs]
    pointers = ", ".join(f"{value.name}.ctypes" for value in info.values)
    return [
        "import ctypes\nimport subprocess",
        f"{source} = np.ascontiguousarray(({x}).reshape(-1, {_size(info.inputs[0])})[0])  # {_shapes(info.inputs)}",
        *sizes,
        f'subprocess.run([{compiled}, "-o", "{library}", "{file}"], check=True)',
        f'status = ctypes.CDLL("{library}").{name}_{signature}(None, {pointers})  # {_shapes(info.outputs)}',
    ]


def _size(value: ValueInfo) -> int:
    """Values per sample."""
    return math.prod(length for length in value.shape[1:] if length != "batch")


def _shapes(values: Sequence[ValueInfo]) -> str:
    return ", ".join(f"{value.name}: {value.dtype} [{', '.join(map(str, value.shape))}]" for value in values)


TARGETS: dict[str, Target] = {
    "tflite": Target(
        "TFLite",
        ".tflite",
        "split",
        _tflite_files,
        _read_tflite,
        "LiteRT",
        _litert,
        scores=True,
        others=(".lite",),
        views=True,
        extents=_tflite_extents,
    ),
    "onnx": Target(
        "ONNX",
        ".onnx",
        "fused",
        _onnx_files,
        _read_onnx,
        "ONNX Runtime",
        _onnxruntime,
        _onnx_names,
        _onnx_kernels,
        scores=True,
        extents=_onnx_extents,
    ),
    "c": Target(
        "C",
        ".c",
        "fused",
        _c_files,
        _read_c,
        "C compiler",
        _ctypes,
        lambda stem, _signatures: {_c_name(stem) + end for end in (".c", ".h", "_float.h")},
        lambda stem, _signatures: {f"{_c_name(stem)}.h"},
        tolerances={"operation_max_lsb": 0, "codes_max_lsb": 0},
        precisions=("int8",),
        source=True,
        extents=_c_extents,
    ),
}


@dataclass(frozen=True)
class Programs:
    """One model in both layouts of the decoder. `decoder`: of TFLite, as in `ExportConfig`."""

    split: Program
    fused: Program
    decoder: Decoder = field(default="auto", kw_only=True)

    @property
    def reference(self) -> Program:
        """The program that defines `y`: 32-bit biases, one rounding per layer."""
        return self.fused

    def of(self, target: str) -> Program:
        """The program in the layout of a target."""
        return getattr(self, layout_of(target, self.decoder))


def require_targets(names: Sequence[str]) -> None:
    """Raise RecipeError unless every name is a target."""
    for i, name in enumerate(names):
        if name not in TARGETS:
            raise RecipeError(f"targets[{i}]: got {name!r}, must be one of {', '.join(TARGETS)}")


def layout_of(target: str, decoder: Decoder) -> DecoderLayout:
    """The layout of a target's decoder: fused by view."""
    row = TARGETS[target]
    return "fused" if row.views and decoder == "view" else row.layout


def decoder_layout(names: Sequence[str], decoder: Decoder = "auto") -> DecoderLayout:
    """The decoder layout that training simulates: split if any target has it, since it rounds once more per layer; or view."""
    require_targets(names)
    return "split" if any(layout_of(name, decoder) == "split" for name in names) else reference_layout(names, decoder)


def reference_layout(names: Sequence[str], decoder: Decoder = "auto") -> DecoderLayout:
    """The layout that the program is lowered to which defines `y`: view where a target has one, else fused."""
    return "view" if decoder == "view" and any(TARGETS[name].views for name in names) else "fused"


def tolerances_of(target: str, stated: VerifyConfig) -> VerifyConfig:
    """The tolerances with defaults replaced by those of the target."""
    own = TARGETS[target].tolerances
    return replace(stated, **{key: own[key] for key in own if getattr(stated, key) == getattr(VerifyConfig(), key)})


def format_of(file: str) -> str | None:
    """The target of a model file by its suffix, in upper or lower case; None if there is none."""
    suffix = Path(file).suffix.lower()
    return next((name for name, target in TARGETS.items() if suffix in (target.suffix, *target.others)), None)


def label_of(file: str) -> str:
    """The display name of a file's format, by its suffix; '' if no target has it."""
    name = format_of(file)
    return TARGETS[name].label if name else ""


def is_model(name: str) -> bool:
    """Whether a file is a model file, by its suffix."""
    return bool(label_of(name))


def read_model(path: Path) -> Contents:
    """Parse a model file by its suffix; FormatError if it is missing, damaged or of no target."""
    return _target_of(path).read(path)


def read_extents(path: Path) -> FileBytes | None:
    """Find what the bytes of a model file are, by its suffix; None of a target that does not say. Raises as `read_model`."""
    extents = _target_of(path).extents
    return None if extents is None else extents(path)


def _target_of(path: Path) -> Target:
    if not path.is_file():
        raise FormatError(f"{path}: no such file")
    name = format_of(path.name)
    if name is None:
        suffixes = (suffix for target in TARGETS.values() for suffix in (target.suffix, *target.others))
        raise FormatError(f"{path}: must end in {' or '.join(suffixes)}")
    return TARGETS[name]
