"""golden/: samples, and the outputs that the files of a bundle must give for them, in the files' own dtype and unit.

x.npy            samples in the data's dtype and unit of measure, [samples, inputs]; the others are [samples, *shape]
code.npy         codes of the int8 files, uint8
y.npy            output of the fused program, as in the int8 .onnx files: uint8, int8, or float32 as the files give it
y.tflite.npy     output of the split program, as in the int8 .tflite file, where its decoder is no view
y.c.npy          output of the fused program in integers, uint8, as in the .c file, where y.npy is of another dtype
code.tflite.npy  TFLite's codes if they differ: it rounds ties of float inputs differently, see `interpreter.program_input`
score.npy, anomaly.npy   where there is a detector: outputs of the signature `score`, float32 and bool [samples]; those of
                 TFLite are score.tflite.npy, anomaly.tflite.npy, beside y.tflite.npy
code.f32.npy, y.f32.npy   Keras' float32 outputs, y as the float files give it, which agree up to rounding

Float `x` and `y` of the files are in the data's unit of measure, or scaled values, as the recipe says (`FileIO.scaled`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.base.npy import read_npy
from tiedae.export.file_info import ModelFileInfo
from tiedae.export.kinds import Precision
from tiedae.export.targets import TARGETS, Programs
from tiedae.program.file_io import FileIO
from tiedae.program.score_graph import ANOMALY, SCORE, Scored
from tiedae.program.scoring import Detector
from tiedae.runtimes.table import RUNTIMES, usual

from .manifest import ArrayInfo, Golden, Manifest
from .reference_outputs import Expected, expect

FLOATS = ("code.f32", "y.f32")
ALWAYS = ("x", "code", "y", *FLOATS)
"""The arrays that every bundle has."""
SCORES = (SCORE, ANOMALY)
"""Those of the signature `score`, [samples]."""
REFERENCE = "reference"
"""The key of the fused program, which gives code.npy and y.npy."""
MEANINGS = {"x": "the data's", "code": "integers of tensors.code", "y": "integers of tensors.y"} | {
    SCORE: "of the detector, in scaled values",
    ANOMALY: "true or false",
}
SCALED = "scaled: (data − offset) / scale of data.scaling"
SIGNED = "integers of tensors.y, less 128"


def expectations(programs: Programs, targets: Sequence[str], scaled: np.ndarray, io: FileIO | str) -> dict[str, Expected]:
    """The programs' results for float32 model inputs [samples, inputs], by target and for `REFERENCE`.

    `io`: x and y of the files, see `FileIO.parse`.
    """
    found = {REFERENCE: expect(programs.reference, scaled)}
    for target in targets:
        dtype = TARGETS[target].file_io(FileIO.parse(io)).dtype
        conversion = RUNTIMES[usual(target)].converts if dtype == "float32" else "divide"
        same = programs.of(target) is programs.reference and conversion == "divide"
        found[target] = found[REFERENCE] if same else expect(programs.of(target), scaled, conversion)
    return found


def answers(expected: Mapping[str, Expected], io: FileIO | str) -> dict[str, np.ndarray]:
    """The expected outputs of the int8 files by golden name; `expected` comes from `expectations`."""
    io = FileIO.parse(io)
    reference = expected[REFERENCE]
    found = {"code": reference.code, "y": io.output(reference.y, reference.program.quantization("y"))}
    for target, each in expected.items():
        if target == REFERENCE:
            continue
        same_code = np.array_equal(each.code, reference.code)
        y = TARGETS[target].file_io(io).output(each.y, each.program.quantization("y"))
        if not same_code:
            found[f"code.{target}"] = each.code
        if not same_code or each.program.layout != "fused" or y.dtype != found["y"].dtype:
            found[f"y.{target}"] = y
    return found


def scores(
    expected: Mapping[str, Expected], io: FileIO, detector: Detector, samples: np.ndarray, scaled: np.ndarray
) -> dict[str, np.ndarray]:
    """The expected outputs of the signature `score` by golden name, of samples as they are and `scaled`.

    `expected` comes from `expectations`; a target has arrays where it has a `y` of its own in `answers`.
    """
    own = answers(expected, io)
    found: dict[str, np.ndarray] = {}
    for target, each in expected.items():
        end = f".{target}" if target != REFERENCE else ""
        if f"y{end}" in own and (target == REFERENCE or TARGETS[target].scores):
            given = (detector, each.program.layout, each.program, io, samples, scaled, each.x)
            scored, _ = Scored.between(*given, (each.y, each.y))
            found |= {f"{name}{end}": values for name, values in scored.outputs.items()}
    return found


def floats(code: np.ndarray, y: np.ndarray, io: FileIO) -> dict[str, np.ndarray]:
    """Keras' outputs, `y` in scaled values, by golden name, as the float files give them."""
    return dict(zip(FLOATS, (code, io.floats.restored(y)), strict=True))


def describe(arrays: Mapping[str, np.ndarray], models: Mapping[str, ModelFileInfo], scaled: bool) -> Golden:
    """The manifest's record of the arrays, by name, for these model files; `scaled`: whether float x and y are."""
    return Golden(
        {
            f"golden/{name}.npy": ArrayInfo(values.shape, values.dtype.name, _meaning(name, values.dtype, scaled))
            for name, values in arrays.items()
        },
        {
            file: {value: f"golden/{name}.npy" for value, name in _arrays_of(info, arrays).items()}
            for file, info in models.items()
        },
    )


def _meaning(name: str, dtype: np.dtype, scaled: bool) -> str:
    value = name.partition(".")[0]
    if value == "y" and dtype == np.int8:
        return SIGNED
    if value == "y" and dtype == np.float32:
        return SCALED if scaled else MEANINGS["x"]
    return "the code's real values" if name == "code.f32" else MEANINGS[value]


def _arrays_of(info: ModelFileInfo, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The array of each input and output of a model file."""
    own = "f32" if info.precision is Precision.F32 else info.format
    names = {value.name for signature in info.signatures.values() for value in signature.values}
    known = (*ALWAYS[:3], *SCORES)
    return {name: f"{name}.{own}" if f"{name}.{own}" in arrays else name for name in known if name in names}


def names(manifest: Manifest) -> Sequence[str]:
    """The names of a bundle's arrays: those of every bundle, and those of its targets that the manifest lists."""
    own = (*SCORES, *(f"{name}.{target}" for target in TARGETS for name in ("code", "y", *SCORES)))
    return *ALWAYS, *(name for name in own if f"golden/{name}.npy" in manifest.golden.arrays)


def read(bundle: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    """The arrays by name; FormatError if one is missing, damaged, or of another shape or dtype."""
    shapes = {"x": (manifest.data.inputs,), **{name: manifest.tensor(name).shape for name in ("code", "y")}}
    arrays: dict[str, np.ndarray] = {}
    for name in names(manifest):
        path = bundle / "golden" / f"{name}.npy"
        try:
            arrays[name] = read_npy(path)
        except OSError as error:
            raise FormatError(f"{path}: missing or damaged ({type(error).__name__})") from None
        dtypes = _dtypes(name, manifest)
        right = (len(arrays["x"]) if arrays["x"].ndim else 0, *shapes.get(name.partition(".")[0], ()))
        if arrays[name].shape != right or right[0] == 0 or arrays[name].dtype.name not in dtypes:
            got = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise FormatError(f"{path}: got {got}, must be {' or '.join(dtypes)} {list(right)}, at least one sample")
    return arrays


def _dtypes(name: str, manifest: Manifest) -> tuple[str, ...]:
    if name in FLOATS:
        return ("float32",)
    if name == "x":
        return (manifest.data.dtype,)
    if name.partition(".")[0] in SCORES:
        return ("float32",) if name.startswith(SCORE) else ("bool",)
    return ("uint8", "int8", "float32") if name.startswith("y") else ("uint8",)
