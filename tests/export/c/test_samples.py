"""Samples in the data's unit of measure: C converts and scores them as Python does."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.config.config import ExportConfig
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.tasks import ScoreKind
from tiedae.export.c.rounding import FORMS
from tiedae.export.c.samples import DataUnit, per_value
from tiedae.export.c.source import CSource, to_c
from tiedae.export.targets import TARGETS, ModelCodec
from tiedae.program.program import Program
from tiedae.program.scoring import LARGEST, Detector

from .compiled import STRICT, compiler, pointer, shared, write
from .models import Case, backend_of, detector_of, samples_of
from .programs import random_program

KINDS: tuple[ScoreKind, ...] = ("mse", "mae", "max", "standardized")
C_FLOATS = {"float32": ctypes.c_float, "float64": ctypes.c_double}


def table_program() -> Program:
    """The first random program of the fused layout with more than 12 inputs, whose y has steps as large as those of x."""
    programs = (each for each in map(random_program, range(0, 99, 2)) if each.tensors["x"].shape[0] > 12)
    return next(each for each in programs if each.quantization("y").scale >= each.quantization("x").scale)


def source_of(backend: ProgramBackend, kind: ScoreKind | None = None) -> tuple[CSource, Detector | None]:
    unit = DataUnit(backend.spec, backend.maps, backend.io)
    detector = None if kind is None else detector_of(backend, kind)
    return to_c(backend.program, unit=unit, detector=detector), detector


@pytest.mark.parametrize("per_feature", [False, True], ids=["one scale", "a scale per feature"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_integer_samples_are_converted_as_in_python(dtype: str, per_feature: bool, tmp_path: Path) -> None:
    backend = backend_of(table_program(), dtype, per_feature)
    source, _ = source_of(backend)
    library, arena = shared(source, tmp_path), (ctypes.c_int32 * (source.arena // 4))()
    x = samples_of(backend.spec, 50)
    codes, y = backend.reconstruct(x)
    right = backend.samples(y)
    for i in range(len(x)):
        code, data = np.zeros_like(codes[i]), np.zeros_like(right[i])
        assert getattr(library, f"{source.name}_encode_data")(arena, pointer(x[i]), pointer(code)) == 0
        np.testing.assert_array_equal(code, codes[i])
        assert getattr(library, f"{source.name}_decode_data")(arena, pointer(code), pointer(data)) == 0
        np.testing.assert_array_equal(data, right[i])


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_scales_of_channels_are_stored_once(dtype: str, tmp_path: Path) -> None:
    backend = backend_of(table_program(), dtype, per_feature=True, channels=3)
    source, detector = source_of(backend, "mae")
    assert detector is not None and backend.spec.inputs % 3
    text, x = source.floats if dtype == "float32" else source.source, samples_of(backend.spec, 50)
    arrays = re.findall(r"\b\w+?_((?:offset|scale|reciprocal|x_map|y_map|unit)\w*)\[(\d+)\] =", text)
    assert len(arrays) > 2 and {size for _, size in arrays} == {"3"}
    library = float_library(source, tmp_path)
    totals, _ = scores(source, library, "score" if dtype == "float32" else f"{source.name}_score", x)
    np.testing.assert_array_equal(totals, detector.scoring.totals(integer_errors(detector.scoring, backend, x)[0]))


@pytest.mark.parametrize(
    ("values", "text", "expression"),
    [
        ([7, 7, 7], "", "INT64_C(7)"),
        ([1, 255, 1, 255, 1], "static const uint8_t n[2] = {\n1,255\n};\n", "n[i % 2u]"),
        ([-1, 128, 3], "static const int16_t n[3] = {\n-1,128,3\n};\n", "n[i]"),
        ([-1, -3, -2], "static const int16_t n[3] = {\n-1,-3,-2\n};\n", "n[i]"),
        ([0, -(1 << 31)], "static const int32_t n[2] = {\n0,-2147483648\n};\n", "n[i]"),
        ([0, 1 << 32], "static const int64_t n[2] = {\nINT64_C(0),INT64_C(4294967296)\n};\n", "n[i]"),
    ],
)
def test_numbers_per_value_are_as_small_as_they_can_be(values: list[int], text: str, expression: str) -> None:
    assert per_value("n", np.array(values, np.int64)) == (text, expression)


def scores(source: CSource, library: ctypes.CDLL, function: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores, uint64, and flags of samples."""
    arena = (ctypes.c_int32 * (source.arena // 4))()
    totals, flags = np.zeros(len(x), np.uint64), np.zeros(len(x), np.uint8)
    for i in range(len(x)):
        assert getattr(library, function)(arena, pointer(x[i]), pointer(totals[i:]), pointer(flags[i:])) == 0
    return totals, flags


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "per_feature"), [("uint8", False), ("int16", True)])
def test_integer_samples_are_scored_as_in_python(kind: ScoreKind, dtype: str, per_feature: bool, tmp_path: Path) -> None:
    backend = backend_of(table_program(), dtype, per_feature)
    source, detector = source_of(backend, kind)
    assert detector is not None
    x = samples_of(backend.spec, 64)
    right = detector.scoring.totals(integer_errors(detector.scoring, backend, x)[0])
    totals, flags = scores(source, shared(source, tmp_path), f"{source.name}_score", x)
    np.testing.assert_array_equal(totals, right)
    np.testing.assert_array_equal(flags, right > detector.thresholds.fused)
    assert 0 < flags.sum() < len(x)


def test_an_error_is_limited(tmp_path: Path) -> None:
    source, detector = source_of(backend_of(table_program(), "int16", per_feature=False), "max")
    assert detector is not None
    add = getattr(shared(source, tmp_path), f"{source.name}_score_add")
    add.restype, add.argtypes = ctypes.c_uint64, (ctypes.c_uint64, ctypes.c_size_t, ctypes.c_int64, ctypes.c_uint8)
    for units in (-(1 << 40), *(sign * (LARGEST + beyond) for sign in (-1, 1) for beyond in (-1, 0, 1, 1 << 24)), 1 << 62):
        errors = detector.scoring.errors(np.array([[units]], np.int64), np.array([[3]], np.uint8))
        assert add(0, 0, units, 3) == detector.scoring.totals(errors)[0]
        assert add(0, 0, units + (3 << 16), 3) == min(abs(units), LARGEST)


def float_library(source: CSource, folder: Path, *options: str) -> ctypes.CDLL:
    """The functions of NAME_float.h, which are static, with NAME.c as one library."""
    write(source, folder)
    name = source.name
    text = f'#include "{name}.c"\n#include "{name}_float.h"\n' + FLOATS.replace("NAME", name)
    (folder / "floats.c").write_text(text, encoding="utf-8")
    files = ["-shared", "-fPIC", str(folder / "floats.c"), "-o", str(folder / "floats.so")]
    command = [compiler(), *STRICT, *(options or ("-O2",)), *files]
    subprocess.run(command, check=True, timeout=300)
    return ctypes.CDLL(str(folder / "floats.so"))


FLOATS = """
int quantize(const void *data, void *x);
int quantize(const void *data, void *x) { return NAME_quantize(data, x); }
void dequantize(const void *y, void *data);
void dequantize(const void *y, void *data) { NAME_dequantize(y, data); }
int score(void *arena, const void *data, void *total, void *flag);
int score(void *arena, const void *data, void *total, void *flag) { return NAME_score_float(arena, data, total, flag); }
"""


@pytest.mark.parametrize(
    ("dtype", "per_feature", "scaled"),
    [("float32", False, False), ("float32", True, True), ("float64", True, False), ("float64", False, True)],
)
def test_floats_are_converted_and_scored_as_in_python(dtype: str, per_feature: bool, scaled: bool, tmp_path: Path) -> None:
    backend = backend_of(table_program(), dtype, per_feature, scaled)
    source, detector = source_of(backend, "mse")
    assert detector is not None
    library, inputs = float_library(source, tmp_path), backend.spec.inputs
    quantize, dequantize, score = library.quantize, library.dequantize, library.score
    got, total, flag = np.zeros(inputs, np.uint8), np.zeros(1, np.uint64), np.zeros(1, np.uint8)
    arena = (ctypes.c_int32 * (source.arena // 4))()
    x = samples_of(backend.spec, 64)
    wanted, y = backend.input(x), backend.reconstruct(x)[1]
    totals = detector.scoring.totals(integer_errors(detector.scoring, backend, x)[0])
    for i in range(len(x)):
        data = np.zeros_like(x[i])
        assert quantize(pointer(x[i]), pointer(got)) == 0
        np.testing.assert_array_equal(got, wanted[i])
        dequantize(pointer(np.ascontiguousarray(y[i])), pointer(data))
        np.testing.assert_array_equal(data, backend.samples(y[i : i + 1])[0])
        assert score(arena, pointer(x[i]), pointer(total), pointer(flag)) == 0
        assert (total[0], flag[0]) == (totals[i], totals[i] > detector.thresholds.fused)
    x[1] = np.finfo(np.float32).max  # finite, but perhaps not in scaled values
    assert quantize(pointer(x[1]), pointer(got)) == 0
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, backend.input(x[1:2])[0])
    for bad in (np.nan, np.inf, -np.inf):
        x[0, -1] = bad
        assert score(arena, pointer(x[0]), pointer(total), pointer(flag)) == 0
        assert flag[0] == 1
        assert quantize(pointer(x[0]), pointer(got)) == 2


def test_the_target_writes_floats_in_the_unit_of_the_files() -> None:
    """float64 samples of files in the data's unit of measure are rounded to float32 first, as everywhere."""
    made = Case("table", 0, "float64", "table", (25,), "max", "dense", FORMS).made()
    backend, model = made.model.program, made.model
    codec = ModelCodec(backend.spec, backend.maps, model.coding)
    files = TARGETS["c"].write(made.program, "table.int8", ExportConfig(), backend.io, detector=made.detector, codec=codec)
    assert {name: data.decode() for name, data in files.items()} == made.source.files
    assert "(float)value - " in made.source.floats


def test_ties_are_rounded_to_even(tmp_path: Path) -> None:
    program = table_program()
    coarse = replace(program.quantization("x"), scale=0.25)
    inputs = {name: replace(each, quantization=coarse) for name, each in program.tensors.items() if name.startswith("x")}
    program = replace(program, tensors={**program.tensors, **inputs})
    spec = SampleSpec(program.tensors["x"].shape, "float32")
    backend = ProgramBackend(program, spec)
    library = float_library(to_c(program, unit=DataUnit(spec), detector=source_of(backend, "mae")[1]), tmp_path)
    for start in range(-40, 40, 3):
        values = ((start + np.arange(spec.inputs)) * 0.125).astype(np.float32)
        got = np.zeros(spec.inputs, np.uint8)
        assert library.quantize(pointer(values), pointer(got)) == 0
        np.testing.assert_array_equal(got, backend.input(values[None])[0])
