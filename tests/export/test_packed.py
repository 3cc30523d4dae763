"""4-bit kernels: two values a byte, stored once, and every runtime computes what it computes from bytes."""

from __future__ import annotations

import itertools
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper

from tiedae.base.errors import ExportError, UnavailableError
from tiedae.export.model_file import Constant, Contents
from tiedae.export.onnx.kernels import external_kernels
from tiedae.export.onnx.writer import PACKED_OPSET, to_onnx, to_onnx_pair
from tiedae.export.packing import stored_bytes
from tiedae.export.storage_check import prove
from tiedae.export.targets import read_model
from tiedae.export.tflite.reader import read_tflite
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.parity.comparison import compare_traced

from ..conftest import build_program

SIGNATURES = ("encode", "decode", "reconstruct")
EVEN, ODD = (20, 12, 6), (21, 13, 5)
FORMS = {"tflite": "split", "onnx": "fused"}


def program4(target: str, widths: tuple[int, ...] = EVEN, **options) -> Program:
    return build_program(widths, form=FORMS[target], **{"bits": 4, **options})


def write(folder: Path, target: str, program: Program, int4: str = "packed") -> dict[str, Path]:
    """The file of each signature; encoder and decoder of ONNX share their kernels."""
    folder.mkdir(exist_ok=True)
    if target == "tflite":
        (folder / "toy.tflite").write_bytes(to_tflite(program, int4=int4))
        return dict.fromkeys(SIGNATURES, folder / "toy.tflite")
    *pair, kernels = to_onnx_pair(program, int4=int4, kernels_file="toy.kernels.bin")
    (folder / "toy.kernels.bin").write_bytes(kernels)
    for name, data in zip(SIGNATURES, (*pair, to_onnx(program, int4=int4)), strict=True):
        (folder / f"{name}.onnx").write_bytes(data)
    return {name: folder / f"{name}.onnx" for name in SIGNATURES}


@settings(max_examples=100, deadline=None)
@given(arrays(np.int8, array_shapes(max_dims=3, min_side=0, max_side=9), elements=st.integers(-8, 7)))
def test_packed_values_come_back_in_any_shape(values: np.ndarray) -> None:
    packed = stored_bytes(values.astype(ml_dtypes.int4))
    assert len(packed) == -(-values.size // 2)
    tensor = helper.make_tensor("w", TensorProto.INT4, values.shape, packed, raw=True)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(np.int8), values)
    assert numpy_helper.from_array(values.astype(ml_dtypes.int4)).raw_data == packed


@pytest.mark.parametrize("target", FORMS)
@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("widths", [EVEN, ODD], ids=["even", "odd"])
def test_every_kernel_is_stored_once_in_half_the_bytes(target: str, granularity: str, widths, tmp_path: Path) -> None:
    program = program4(target, widths, granularity=granularity)
    for path in set(write(tmp_path, target, program).values()):
        contents = read_model(path)
        assert [finding.text for finding in prove(contents, program) if not finding.ok] == []
        stored = {constant.storage: constant for constant in contents.constants}
        kernels = [constant for constant in stored.values() if constant.values.ndim == 2]
        shapes = list(itertools.pairwise(widths))
        packed = [target == "onnx" or inputs % 2 == 0 for inputs, _ in shapes]
        expected = [-(-a * b // 2) if half else a * b for (a, b), half in zip(shapes, packed, strict=True)]
        assert sorted(constant.nbytes for constant in kernels) == sorted(expected)


@pytest.mark.parametrize("target", FORMS)
def test_a_flipped_half_byte_is_named(target: str, tmp_path: Path) -> None:
    program = program4(target)
    path = write(tmp_path, target, program)["reconstruct"]
    data = path.read_bytes()
    packed = stored_bytes(program.constants["kernel_0"].T.astype(ml_dtypes.int4))
    place = data.index(packed)
    path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
    wrong = {finding.name: finding.text for finding in prove(read_model(path), program) if not finding.ok}
    assert set(wrong) == {"kernel_0.copies", "kernel_0.values"}
    assert wrong["kernel_0.values"].startswith(
        "kernel_0: 1 of 240 values of kernel_0 differ from the program's, first at [1, 0]"
    )


@pytest.mark.parametrize("name", [name for name, row in RUNTIMES.items() if row.format in FORMS])
@pytest.mark.parametrize("options", [{}, {"granularity": "unit"}, {"widths": ODD}, {"bits": 3, "code_bits": 5}], ids=str)
def test_packed_files_compute_what_files_of_bytes_compute(name: str, options: dict, tmp_path: Path) -> None:
    runtime = RUNTIMES[name]
    program = program4(runtime.format, **options)
    assert program.constants["kernel_0"].min() == program.kernels["kernel_0"].bounds[0], "the least integer is among them"
    files = {int4: write(tmp_path / int4, runtime.format, program, int4) for int4 in ("packed", "bytes")}
    try:
        packed, plain = (runtime.open(files[int4]) for int4 in ("packed", "bytes"))
    except UnavailableError as error:
        pytest.skip(str(error))
    for signature in SIGNATURES:
        tensor = program.tensors[program.part(signature)[1]]
        x = np.random.default_rng(3).integers(0, tensor.quantization.top + 1, (300, *tensor.shape)).astype(np.uint8)
        got, expected = packed.run(signature, x), plain.run(signature, x)
        for output, values in expected.items():
            parted = np.abs(got[output].astype(int) - values)
            assert parted.max() <= (3 if runtime.rounding == "openvino" else 0), "OpenVINO computes in floats"
            assert np.count_nonzero(parted) <= 0.01 * parted.size
        if runtime.rounding == "program":
            reference = execute(program, signature, x)
            for output, values in got.items():
                np.testing.assert_array_equal(values, reference[output])
            assert all(row.max_lsb == 0 for row in compare_traced(packed.trace(signature, x), program, signature, x)[0])


def test_tflm_says_why_it_does_not_decode_packed_kernels(tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    program = program4("tflite")
    with pytest.raises(UnavailableError, match=r'tflm has no DEQUANTIZE of 4-bit kernels; int4 = "bytes" makes a file for it'):
        RUNTIMES["tflm"].open(write(tmp_path, "tflite", program))
    (tmp_path / "toy.tflite").write_bytes(to_tflite(program, signatures=["encode"]))
    x = np.random.default_rng(3).integers(0, 256, (50, EVEN[0])).astype(np.uint8)
    code = RUNTIMES["tflm"].open({"encode": tmp_path / "toy.tflite"}).run("encode", x)["code"]
    assert np.abs(code.astype(int) - execute(program, "encode", x)["code"]).max() <= 2


def test_xnnpack_takes_everything_but_the_edges_and_the_dequantize() -> None:
    from ..runtimes.opening import open_tflite

    session = open_tflite("litert-xnnpack", to_tflite(program4("tflite")))
    assert session.provider.endswith("builtin kernels: DEQUANTIZE, QUANTIZE")
    assert "encode 2 of 4" in session.provider


@pytest.mark.parametrize("bits", [2, 4, 5, 8])
def test_what_is_packed_follows_from_the_bits(bits: int) -> None:
    tflite = read_tflite(to_tflite(program4("tflite", bits=bits)))
    dtypes = {constant.values.dtype for constant in tflite.constants if constant.name.startswith("kernel")}
    assert dtypes == {np.dtype(ml_dtypes.int4 if bits <= 4 else np.int8)}
    opsets = [onnx.load_from_string(to_onnx(program4("onnx", bits=bits))).opset_import[0].version]
    opsets.append(onnx.load_from_string(to_onnx(program4("onnx", bits=bits), int4="bytes")).opset_import[0].version)
    assert opsets == [PACKED_OPSET if bits <= 4 else 17, 17]


def test_external_data_is_packed_from_the_start_of_a_page() -> None:
    program = program4("onnx", (201, 60, 6))
    data = external_kernels(program)
    first = stored_bytes(program.constants["kernel_0"].T.astype(ml_dtypes.int4))
    assert data[: len(first)] == first and len(first) == 6030
    assert data[8192:] == stored_bytes(program.constants["kernel_1"].T.astype(ml_dtypes.int4))


@pytest.mark.parametrize("write_file", [to_tflite, to_onnx])
def test_another_way_to_store_is_refused(write_file) -> None:
    target = "tflite" if write_file is to_tflite else "onnx"
    with pytest.raises(ExportError, match="int4: got 'loose', must be one of packed, bytes"):
        write_file(program4(target), int4="loose")


@pytest.mark.parametrize(("dtype", "shift", "zero_point"), [(np.int8, 0, 1), (np.uint8, 128, 127)])
def test_integers_of_another_zero_point_are_no_longer_the_kernels(dtype, shift, zero_point):
    """Whichever of its uses has the wrong one."""
    program = build_program()
    views = []
    for name, kernel in program.kernels.items():
        stored = (program.constants[name].astype(np.int16) + shift).astype(dtype)
        views.append(Constant(name, stored, name, kernel.scales, (shift,)))
        views.append(Constant(name, stored, name, kernel.scales, (zero_point if name == "kernel_1" else shift,)))
    found = prove(Contents("test", 0, tuple(views), ()), program)
    assert {each.name for each in found if not each.ok} == {"kernel_1.scales"}
    assert f"kernel_1 has zero point {zero_point}, expected {shift}" in next(each.text for each in found if not each.ok)
