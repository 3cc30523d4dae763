"""Shapes of tensors survive manifest and files, and the runtimes compute programs of any of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import ExportError, FormatError
from tiedae.codec.backends import written_anew
from tiedae.config.scaling import Scaling
from tiedae.export.c.reader import read_c
from tiedae.export.c.source import to_c
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.storage_check import prove, prove_scaling
from tiedae.export.targets import read_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.file_io import FileIO
from tiedae.program.interpreter import apply, execute, program_input
from tiedae.program.program import SIGNATURES, Program, Tensor
from tiedae.runtimes.ort import OrtSession

from ..conftest import build_program
from ..runtimes.opening import open_tflite
from ..variants import every
from .c.compiled import compiler, shared
from .shapes import BITS, GRID, VIEWS, lost_of, programs, registered, samples, shaped


@pytest.fixture(scope="module", autouse=True)
def operations() -> Iterator[None]:
    with registered():
        yield


LEADING = st.lists(st.integers(1, 4), max_size=2).map(tuple)
"""Axes in front of the last one."""


@settings(max_examples=60, deadline=None)
@given(
    options=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in GRID.items()}),
    bits=st.sampled_from(BITS),
    widths=st.lists(st.integers(1, 6).map(lambda n: 4 * n), min_size=3, max_size=3).map(tuple),
    rows=LEADING,
    views=st.tuples(st.sampled_from(VIEWS), st.sampled_from(VIEWS)),
)
def test_shapes_survive_manifest_and_files(options, bits, widths, rows, views) -> None:
    bits, code_bits = bits if options["quantized"] else (8, 8)
    program = shaped(build_program(widths, **options, bits=bits, code_bits=code_bits), rows, *views)
    with TemporaryDirectory() as folder:
        assert lost_of(program, Path(folder)) == []


def test_the_benchmark_takes_every_program_of_the_grid_and_some_of_each_rank() -> None:
    found = list(programs(40, 0))
    assert len(found) == 40 + 3 * 2**6 + 3 * 2**4
    assert {len(program.tensors[name].shape) for program in found for name in ("x", "code", "encoder_0")} == {1, 2, 3}


SHAPED = {
    "rows": {"rows": (3,)},
    "matrices": {"rows": (2, 3), "granularity": "unit"},
    "transposed": {"rows": (2, 3), "samples": "transposed", "codes": "transposed", "output_activation": "linear"},
    "flat samples": {"rows": (4, 2), "samples": "flat", "activations": ("sigmoid", "relu6"), "interleave": 4},
    "flat codes": {"rows": (3, 1), "samples": "transposed", "codes": "flat", "granularity": "unit", "bits": 4, "code_bits": 5},
    "wide": {"rows": (2, 2), "widths": (130, 70, 5), "granularity": "unit"},
    "one row": {"rows": (1, 1), "bias": False},
}


def program_of(form: str, *, rows: tuple[int, ...], samples: str = "same", codes: str = "same", **options) -> Program:
    return shaped(build_program(form=form, **options), rows, samples, codes)


@pytest.mark.parametrize("options", every(3, SHAPED.values()), ids=SHAPED)
def test_runtimes_of_the_program_s_rounding_give_its_integers(options, tmp_path: Path) -> None:
    split, fused = (program_of(form, **options) for form in ("split", "fused"))
    for signature in SIGNATURES:
        (tmp_path / f"{signature}.onnx").write_bytes(to_onnx(fused, signature=signature, io="uint8"))
    sessions = {
        "litert-xnnpack": (split, open_tflite("litert-xnnpack", to_tflite(split, io="uint8"))),
        "ort-cpu": (fused, OrtSession("ort-cpu", {each: tmp_path / f"{each}.onnx" for each in SIGNATURES})),
    }
    if compiler():
        sessions["c"] = (fused, written_anew(fused, "c"))
    for runtime, (program, session) in sessions.items():
        for signature in SIGNATURES:
            x = samples(program, signature, 40)
            expected, got = execute(program, signature, x), session.run(signature, x)
            assert set(got) == set(program.part(signature)[2])
            for name, values in got.items():
                np.testing.assert_array_equal(values, expected[name], err_msg=f"{runtime}, {signature}, {name}")
            traced = session.trace(signature, x)
            assert all(np.array_equal(traced[name], expected[name]) for name in traced if name in program.tensors)


@pytest.mark.parametrize("runtime", ["litert-builtin", "litert-reference"])
@pytest.mark.parametrize("options", SHAPED.values(), ids=SHAPED)
def test_other_kernels_are_within_one_step_of_each_operation(options, runtime: str) -> None:
    program = program_of("split", **options)
    traced = open_tflite(runtime, to_tflite(program, io="uint8")).trace("reconstruct", samples(program, "reconstruct", 40))
    for operation in program.operations:
        expected = apply(program, operation, traced[operation.x]).astype(int)
        assert np.abs(expected - traced[operation.y]).max() <= 1, operation


@pytest.mark.parametrize("options", [SHAPED["rows"], SHAPED["transposed"], SHAPED["wide"]], ids=["rows", "transposed", "wide"])
def test_float_files_agree_with_the_program(options, tmp_path: Path) -> None:
    split, fused = (program_of(form, quantized=False, **options) for form in ("split", "fused"))
    (tmp_path / "p.onnx").write_bytes(to_onnx(fused))
    onnx = OrtSession("ort-cpu", {"reconstruct": tmp_path / "p.onnx"})
    for session in (open_tflite("litert-xnnpack", to_tflite(split)), onnx):
        x = samples(fused, "reconstruct", 40)
        expected = execute(fused, "reconstruct", x)
        for name, values in session.run("reconstruct", x).items():
            np.testing.assert_allclose(values, expected[name], atol=1e-5)


def test_a_scale_per_value_is_in_the_file_in_the_shape_of_the_sample(tmp_path: Path) -> None:
    options = {**SHAPED["transposed"], "byte_data": False}
    split, fused = (program_of(form, **options) for form in ("split", "fused"))
    shape, size = fused.tensors["x"].shape, fused.tensors["x"].size
    scaling = Scaling("minmax", tuple(np.linspace(-40, 320, size).tolist()), tuple(np.logspace(-2, 3, size).tolist()))
    io, rng = FileIO("float32", scaling), np.random.default_rng(0)
    scaled = rng.uniform(-2, 2, (40, size)).astype(np.float32)
    given = scaling.restore(scaled).reshape(40, *shape)
    x = program_input(fused, io.scaled_values(given))
    files = {"p.tflite": to_tflite(split, io=io), "p.onnx": to_onnx(fused, io=io)}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    sessions = open_tflite("litert-builtin", files["p.tflite"]), OrtSession("ort-cpu", {"reconstruct": tmp_path / "p.onnx"})
    for program, name, session in zip((split, fused), files, sessions, strict=True):
        contents = read_model(tmp_path / name)
        assert prove_scaling(contents, io.constants(shape)).ok and not prove_scaling(contents, io.constants((size,))).ok
        assert all(finding.ok for finding in prove(contents, program))
        expected, got = execute(program, "reconstruct", x), session.run("reconstruct", given)
        y = program.quantization("y").quantize(io.scaled_values(got["y"]))
        assert np.abs(y.astype(int) - expected["y"]).max() <= (0 if program is fused else 3)
        assert got["y"].shape == given.shape and got["code"].shape == expected["code"].shape


def test_the_scale_of_an_input_is_read_behind_operations_that_keep_it(tmp_path: Path) -> None:
    """`Interleave` and views: no DequantizeLinear reads `x` itself."""
    (tmp_path / "p.onnx").write_bytes(to_onnx(build_program(interleave=4), io="uint8"))
    (x,) = read_model(tmp_path / "p.onnx").signatures[0].inputs
    assert (x.scale, x.zero_point) == (np.float32(1 / 255), 0)


@pytest.mark.parametrize("options", SHAPED.values(), ids=SHAPED)
def test_c_compiles_without_a_warning(options, tmp_path: Path) -> None:
    compiler()
    shared(to_c(program_of("fused", **options)), tmp_path)


def test_a_c_header_that_contradicts_itself_is_damaged(tmp_path: Path) -> None:
    source = to_c(program_of("fused", **SHAPED["matrices"]))
    assert "x: 0 to 255, scale" in source.header and re.search(r"zero point \d+, \[2, 3, 20\]$", source.header, re.MULTILINE)
    for name, text in source.files.items():
        (tmp_path / name).write_text(text.replace("[2, 3, 20]", "[2, 3, 21]"))
    with pytest.raises(FormatError, match=r"toy\.h: x: got \[2, 3, 21\], must have 120 values$"):
        read_c(tmp_path / "toy.c")


@pytest.mark.parametrize("shape", [(), (0,), (2, -1), (2.0,)])
def test_a_shape_is_positive_integers(shape) -> None:
    with pytest.raises(ExportError, match=r"^tensor x: got shape .*, must be one or more positive integers$"):
        Tensor("x", shape)
