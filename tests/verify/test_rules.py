"""Every limit holds at its value and fails beyond it, and comparisons are recorded with the limit that they are held to."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import numpy_helper

from tiedae.bundle.bundle import Bundle, model_files, write_files
from tiedae.bundle.reference_outputs import Floats, expect
from tiedae.bundle.results import Parity
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.export.kinds import Kind, Lost, Precision
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify import collecting
from tiedae.verify.collecting import float_gap
from tiedae.verify.error_breakdown import attribute
from tiedae.verify.findings import Evidence, Findings, Subject
from tiedae.verify.limits import Limits
from tiedae.verify.measurement import _output, check_output, measure_float, measure_int8
from tiedae.verify.rules import codes, codes_of_formats, output, within_operation

from .test_scores import DATA, Files, detector_of, programs_of

LIMITS = VerifyConfig(codes_max_lsb=2, codes_equal_share=0.75, operation_max_lsb=3)


def of(lsb: int, differing: int = 1) -> Parity:
    """A comparison of 8 values."""
    return Parity(Kind.CODES, Precision.INT8, "code", count=8, differing=differing, max_lsb=lsb)


@pytest.mark.parametrize(("exact", "more", "most"), [(False, 0, 3), (False, 2, 5), (True, 0, 0), (True, 1, 1)])
def test_an_operation_is_held_to_its_limit_and_what_is_more(exact: bool, more: int, most: int) -> None:
    assert within_operation(of(most), exact, more, LIMITS) == (True, f"<= {most} LSB")
    assert within_operation(of(most + 1), exact, more, LIMITS) == (False, f"<= {most} LSB")


def test_codes_are_held_to_both_limits_and_where_rounding_differs_to_one_per_kernel() -> None:
    text = ">= 0.75, <= 2 LSB"
    for rule in (codes, codes_of_formats):
        assert rule(of(2, 2), True, 3, LIMITS) == (True, text)
        assert rule(of(3, 2), True, 3, LIMITS) == rule(of(2, 3), True, 3, LIMITS) == (False, text)
    assert codes(of(6, 8), False, 3, LIMITS) == (True, "<= 6 LSB (rounds differently)")
    assert codes(of(7, 8), False, 3, LIMITS)[0] is False
    assert codes_of_formats(of(12, 8), False, 3, LIMITS) == (True, ">= 0.0, <= 12 LSB")
    assert codes_of_formats(of(13, 8), False, 3, LIMITS)[0] is False


def test_an_output_is_held_to_a_hundredth_more_than_its_limit_or_to_each_value() -> None:
    assert output(3.009, True, 0.0, None, LIMITS) == (True, "<= 3 LSB")
    assert output(3.011, True, 0.0, None, LIMITS) == (False, "<= 3 LSB")
    assert output(3.5, False, 0.5, None, LIMITS) == (True, "<= 3 LSB on average (rounds differently)")
    text = "<= 3 LSB on average (rounds differently), or each value within what 3 LSB in every operation allows"
    assert output(99.0, False, 0.0, 0, LIMITS) == (True, text)
    assert output(99.0, False, 0.0, 1, LIMITS) == (False, text)


def test_each_comparison_of_a_verification_states_its_limit(case) -> None:
    checks = case.measure().judged(VerifyConfig())
    limits = {kind: {check.limit for check in checks if check.kind is kind} for kind in {check.kind for check in checks}}
    full, twice = "<= 1e-05 of full scale", "<= 2e-05 of full scale"
    assert limits == {
        Kind.CODES: {">= 1.0, <= 1 LSB"},
        Kind.INPUTS: {"<= 0 LSB"},
        Kind.OUTPUT: {"<= 1 LSB"},
        Kind.OPERATIONS: {"<= 1 LSB"},
        Kind.TRACE: {"<= 1 LSB"},
        Kind.FLOAT: {full},
        Kind.LAYERS: {full},
        Kind.FORMATS: {">= 1.0, <= 1 LSB", twice},
        Kind.CROSSING: {"<= 1 LSB", "<= 0 LSB", full},
    }


@pytest.mark.parametrize(
    ("signatures", "missing", "formats"),
    [
        (("decode",), "there is no code to decode", {("f32", "y")}),
        (("encode",), "there is no file with the signature decode", {("f32", "code"), ("int8", "code")}),
    ],
)
def test_half_a_model_is_compared_between_formats_by_what_it_gives(
    case, signatures: tuple[str, ...], missing: str, formats: set[tuple[str, str]]
) -> None:
    findings = case.measure(signatures=signatures)
    crossing = {row.reason for row in findings.skipped if row.kind is Kind.CROSSING and row.what.startswith("int8")}
    assert crossing == {missing}
    assert {(row.precision.value, row.tensor) for row in findings.parity if row.kind is Kind.FORMATS} == formats


def test_a_dequantized_output_that_is_exact_differs_by_nothing(case) -> None:
    subject, expected = case.subject("onnx", "ort-cpu"), expect(case.int8.fused, case.samples)
    y = subject.program.quantization("y").dequantize(expected.y)
    check_output(subject, "decode", expected.code, y, expected)
    check_output(
        subject, "decode", expected.code, (y + subject.program.quantization("y").scale / 4).astype(np.float32), expected
    )
    exact, quarter = subject.findings.judged(VerifyConfig())
    assert exact.value == 0 and quarter.value == pytest.approx(0.25, abs=1e-3)


def test_y_that_is_not_there_or_has_another_shape_is_left_out(case) -> None:
    subject, y = case.subject("onnx", "ort-cpu"), np.arange(32, dtype=np.uint8).reshape(2, 16)
    assert _output(subject, {}) == _output(subject, {"code": y}) == _output(subject, {"y": y.T}) == {}
    found = _output(subject, {"code": y, "y": y})
    assert found.keys() == {"y"} and np.array_equal(found["y"], y)


def test_own_codes_are_decoded_where_they_are_not_the_programs(case) -> None:
    """The encoder's codes are one up; y is that of these, and the comparison of the decoder is of the program's."""
    path = case.folder / "toy.encoder.int8.onnx"
    model = onnx.load(path, load_external_data=False)
    (zero,) = [each for each in model.graph.initializer if each.name == "code.zero"]
    zero.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(zero) + np.uint8(1), zero.name))
    onnx.save(model, path)
    files = {name: file for name, file in case.files("int8", "onnx").items() if name != "reconstruct"}
    session = RUNTIMES["ort-cpu"].open({name: case.folder / file for name, file in files.items()})
    contents = {file: read_model(case.folder / file) for file in files.values()}
    program = case.int8.fused
    subject = Subject(session, files, contents, program, VerifyConfig(), Findings())
    expected = expect(program, case.samples)
    values = measure_int8(subject, expected, Evidence(case.samples, case.samples, None, None, False)).values
    assert not np.array_equal(values["code"], expected.code)
    np.testing.assert_array_equal(values["y"], execute(program, "decode", values["code"])["y"])
    assert (values["y"] != expected.y).any()


@pytest.mark.parametrize("damage", ["NaN", "another name"])
def test_quality_of_an_output_that_is_not_finite_or_not_there_is_a_failed_check(case, damage: str) -> None:
    path = case.folder / "toy.f32.onnx"
    model = onnx.load(path, load_external_data=False)
    if damage == "NaN":
        (bias,) = [each for each in model.graph.initializer if each.name == "decoder_0.bias"]
        bias.CopyFrom(numpy_helper.from_array(np.full(16, np.nan, np.float32), bias.name))
    else:
        for node in model.graph.node:
            node.output[:] = ["z" if name == "y" else name for name in node.output]
        next(each for each in model.graph.output if each.name == "y").name = "z"
    onnx.save(model, path)
    session = RUNTIMES["ort-cpu"].open({"reconstruct": path})
    subject = Subject(
        session, {"reconstruct": path.name}, {path.name: read_model(path)}, case.f32.fused, VerifyConfig(), Findings()
    )
    measure_float(subject, Evidence(case.samples, case.samples, None, None, True))
    (check,) = [each for each in subject.findings.judged(VerifyConfig()) if each.kind is Kind.QUALITY]
    assert (check.ok, check.value, check.text) == (False, "no y", "toy.f32.onnx in ort-cpu: no finite y of the expected shape")
    assert subject.findings.quality == []


def test_files_in_the_unit_of_the_data_take_and_give_it(make_program: Any, tmp_path: Path) -> None:
    """x is as it was measured, y comes back scaled, and a float y may be off by what float32 resolves there."""
    data = DATA["table, data"]
    programs = programs_of(data, make_program)
    subject = Files.write(tmp_path, programs, data, detector_of(programs, data, "mse")).subject("ort-cpu")
    evidence = Evidence(data.x, data.scaled, None, None, False)
    x = subject.input("reconstruct", evidence)
    assert x.dtype == np.float32 and np.array_equal(x, data.x)
    assert subject.conversion == RUNTIMES["ort-cpu"].converts
    expected = expect(subject.program, data.scaled, subject.conversion)
    y = subject.program.quantization("y").dequantize(expected.y)
    np.testing.assert_allclose(subject.run("reconstruct", x)["y"], y, atol=0.02)
    assert subject.float_tolerance("code", y) == 1e-5
    resolution = data.io.relative_resolution(y)
    assert subject.float_tolerance("y", y) == 1e-5 + resolution and resolution > 1e-6
    plain = dataclasses.replace(subject, io=type(data.io)("float32"))
    assert np.array_equal(plain.input("reconstruct", evidence), data.scaled)
    assert plain.float_tolerance("y", y) == 1e-5


@pytest.mark.parametrize(
    ("runtime", "converts"), [("litert-xnnpack", "multiply"), ("litert-reference", "away"), ("ort-cpu", "divide")]
)
@pytest.mark.parametrize("io", ["uint8", "float32"])
def test_a_runtime_quantizes_the_inputs_that_are_floats(case, runtime: str, converts: str, io: str) -> None:
    write_files(case.folder, model_files({"int8": case.int8}, ExportConfig(), io))
    subject = case.subject(RUNTIMES[runtime].format, runtime)
    assert subject.conversion == (converts if io == "float32" else "divide")


def test_a_unit_that_is_never_active_takes_no_factor(case) -> None:
    """Units of a hidden layer are compared up to a factor each, which a unit of zeros does not have."""
    expected = expect(case.int8.fused, case.samples)
    zero = case.int8.fused.quantization("encoder_0").zero_point
    traced = {name: values.copy() for name, values in expected.traced.items()}
    traced["encoder_0"][:, 3] = zero
    traced["encoder_0"][:, 5] = zero + 1
    real = case.int8.fused.quantization("encoder_0").dequantize(traced["encoder_0"])
    layers = {"encoder_0": (real * np.linspace(0.5, 2, 16)).astype(np.float32)}
    layers["encoder_0"][:, 3] = 1
    floats = Floats("keras", np.zeros((64, 16), np.float32), np.zeros((64, 16), np.float32), layers, "keras")
    rows = attribute([], {"onnx": dataclasses.replace(expected, traced=traced)}, floats)
    (row,) = [each for each in rows if each.layer == "encoder_0"]
    assert (row.error, row.count, row.reference) == (Lost.QUANTIZATION, 64 * 16, "keras")
    assert row.max_abs == 1 and row.rms == pytest.approx(0.25)


@pytest.fixture
def bundle(small_runs: Path) -> Bundle:
    return Bundle.open(small_runs / "table" / "bundle")


@pytest.mark.parametrize(
    ("signatures", "targets", "gap"),
    [
        (("encode", "decode", "reconstruct"), ("tflite", "onnx"), ""),
        (("reconstruct",), ("onnx",), ""),
        (("encode", "decode"), ("tflite",), ""),
        (("encode",), ("onnx",), "the float files hold encode only, not the whole model"),
        (("decode",), ("tflite", "onnx"), "the float files hold decode only, not the whole model"),
        (("encode", "decode", "reconstruct"), ("c",), "the bundle's targets have no float files"),
        (("encode", "decode"), ("c", "onnx"), ""),
    ],
)
def test_a_bundle_has_a_float_program_where_its_float_files_hold_the_whole_model(
    bundle: Bundle, signatures: tuple[str, ...], targets: tuple[str, ...], gap: str
) -> None:
    export = replace(bundle.manifest.recipe.export, signatures=signatures, targets=targets)
    assert float_gap(replace(bundle.manifest, recipe=replace(bundle.manifest.recipe, export=export))) == gap


def test_golden_vectors_in_the_unit_of_the_data_may_be_off_by_what_float32_resolves_there(
    float_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, allowed = Bundle.open(float_run / "bundle"), []
    whole = collecting.read_float_program

    def read(*arguments: Any) -> Any:
        allowed.append(arguments[-1])
        return whole(*arguments)

    monkeypatch.setattr(collecting, "read_float_program", read)
    contents = {name: read_model(bundle.path / name) for name in bundle.models}
    program, wrong = collecting.BundleModel.of(bundle, contents, Limits()).floating
    assert program is not None and not wrong
    io = bundle.manifest.io.floats
    resolution = io.relative_resolution(io.scaled_values(bundle.golden()["y.f32"]))
    assert allowed == [VerifyConfig().float_max_abs + resolution] and resolution > 0
