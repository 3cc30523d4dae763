"""Files of a small program are measured in real runtimes, in every way that there is."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.bundle.reference_outputs import expect
from tiedae.bundle.results import LayerError
from tiedae.compress import VerifyConfig
from tiedae.compress.affine import Quantization
from tiedae.export.kinds import Kind, Lost, Precision, Skipped, Why
from tiedae.program.interpreter import bounds, execute
from tiedae.verify.findings import Findings
from tiedae.verify.measurement import as_bytes, check_output


def failed(findings: Findings) -> dict[str, str]:
    return {check.name: check.text for check in findings.judged(VerifyConfig()) if not check.ok}


def test_files_as_written_hold_in_every_way(case) -> None:
    findings = case.measure()
    assert not failed(findings)
    kinds = {"codes", "output", "inputs", "operations", "trace", "float", "layers", "formats", "crossing"}
    assert {check.kind for check in findings.judged(VerifyConfig())} == kinds
    int8 = [row for row in findings.parity if row.precision is Precision.INT8 and (row.kind, row.tensor) != (Kind.FORMATS, "y")]
    assert int8 and all(row.differing == 0 and row.cosine == 1.0 and row.sqnr_db is None for row in int8)
    operations = {row.tensor for row in int8 if row.kind is Kind.OPERATIONS}
    assert operations == {*case.int8.split.tensors, *case.int8.fused.tensors} - {"x"}
    crossed = [row for row in findings.parity if row.kind is Kind.CROSSING]
    assert {(row.encoder, row.runtime) for row in crossed} == {("ort-cpu", "litert-xnnpack"), ("litert-xnnpack", "ort-cpu")}
    assert not any(row.encoder for row in findings.parity if row not in crossed)
    assert {row.reference for row in findings.parity} == {"program", "float program", "litert-xnnpack", "ort-cpu"}


def test_errors_of_quantization_and_conversion_are_apart_for_every_layer(case) -> None:
    rows = case.measure(runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"}).errors
    layers = {"encoder_0", "encoder_1", "code", "decoder_2", "decoder_1", "y"}

    def of(error: Lost, **wanted: str) -> dict[str, LayerError]:
        wanted |= {"error": error}
        return {row.layer: row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())}

    lost = of(Lost.QUANTIZATION, layout="fused")
    assert lost.keys() == layers
    program, scaled = case.int8.fused, case.samples
    q = execute(program, "reconstruct", program.quantization("x").quantize(scaled))["y"]
    floats = execute(case.f32.fused, "reconstruct", scaled)["y"].astype(np.float64)
    error = program.quantization("y").dequantize(q) - floats
    assert lost["y"].rms == pytest.approx(np.sqrt(np.mean(error**2))) and lost["y"].rms > 0
    assert lost["y"].sqnr_db == pytest.approx(10 * np.log10((floats**2).sum() / (error**2).sum()))
    exact = of(Lost.CONVERSION, precision="int8", runtime="ort-cpu")
    assert exact.keys() == of(Lost.CONVERSION, precision="f32", runtime="ort-cpu").keys() == layers
    for layer, row in exact.items():
        assert (row.count, row.rms, row.sqnr_db, row.reference) == (64 * case.samples.shape[1], 0, None, "program")
        assert of(Lost.TOTAL, runtime="ort-cpu")[layer].rms == pytest.approx(lost[layer].rms)
    assert max(row.rms for row in of(Lost.CONVERSION, runtime="litert-reference").values()) > 0
    for row in of(Lost.CONVERSION, precision="f32").values():
        assert row.max_abs < 1e-5 and (row.sqnr_db is None or row.sqnr_db > 100)


def test_a_runtime_that_rounds_differently_is_bounded_operation_by_operation(case) -> None:
    findings = case.measure(runtimes={"tflite": "litert-reference", "onnx": "ort-cpu"})
    assert not failed(findings)
    checks = findings.judged(VerifyConfig())
    limits = {check.limit for check in checks if check.kind is Kind.OUTPUT and check.file == "toy.int8.tflite"}
    assert limits == {"<= 1 LSB on average (rounds differently)"}


@pytest.mark.parametrize(
    ("beyond", "ok"),
    [({}, True), ({7: 0}, True), ({7: 1}, False), ({7: -300}, False)],
    ids=["at the ends", "at an end", "one LSB beyond", "far below"],
)
def test_where_the_mean_is_beyond_an_lsb_each_value_is_within_what_operations_allow(
    case, beyond: dict[int, int], ok: bool
) -> None:
    """Values of y as a runtime gives them that rounds every operation one LSB up; and those of none."""
    subject, expected = case.subject("tflite", "litert-reference"), expect(case.int8.split, case.samples)
    codes = np.random.default_rng(0).integers(60, 190, expected.code.shape).astype(np.uint8)
    highest = bounds(subject.program, "decode", codes, codes, 1)["y"][1].astype(int)
    for at, more in beyond.items():
        highest.flat[at] += more
    assert highest.max() < 256 and np.abs(highest - expected.decode(codes)).mean() > 1.1
    check_output(subject, "decode", codes, highest.clip(0).astype(np.uint8), expected)
    (check,) = subject.findings.judged(VerifyConfig())
    assert check.ok == ok and check.limit.endswith("or each value within what 1 LSB in every operation allows")


def test_a_runtime_that_shows_nothing_inside_is_one_skipped_row(case) -> None:
    findings = case.measure(runtimes={"tflite": "litert-compiled", "onnx": "ort-cpu"})
    assert not failed(findings)
    assert {(row.kind, row.why, row.runtime) for row in findings.skipped} == {(Kind.TRACES, Why.NOT_SHOWN, "litert-compiled")}
    skipped = [row.what for row in findings.skipped]
    assert skipped == [f"litert-compiled: operations of toy.{precision}.tflite" for precision in ("int8", "f32")]
    layers = {row.layer for row in findings.errors if row.runtime == "litert-compiled"}
    assert layers == {"code", "y"}


@pytest.mark.parametrize(
    ("signatures", "operations", "skipped"),
    [
        (("reconstruct",), {"reconstruct"}, 4),
        (("encode",), {"encode"}, 4),
        (("encode", "reconstruct"), {"reconstruct"}, 4),
        (("encode", "decode"), {"encode", "decode"}, 0),
    ],
)
def test_any_choice_of_signatures_shows_every_operation_it_has(
    case, signatures: tuple[str, ...], operations: set[str], skipped: int
) -> None:
    findings = case.measure(signatures=signatures)
    assert not failed(findings)
    assert {row.signature for row in findings.parity if row.kind is Kind.OPERATIONS} == operations
    assert [row.kind for row in findings.skipped].count(Kind.CROSSING) == skipped


def test_formats_are_compared_only_where_there_are_two(case) -> None:
    findings = case.measure(runtimes={"onnx": "ort-cpu"})
    reason = "onnx alone ran here, must be two of tflite, onnx, c"
    assert findings.skipped[0] == Skipped(Kind.FORMATS, Why.NOT_IN_FILES, "int8 formats against each other", reason)


STEP = Quantization(0.5, 10)


@pytest.mark.parametrize(
    ("y", "q", "problem"),
    [
        (np.array([[3, 4]], np.uint8), [[3, 4]], ""),
        (np.array([[-128, 0]], np.int8), [[0, 128]], ""),
        (np.array([[-5.0, 0.5]], np.float32), [[0, 11]], ""),
        (np.array([[0.0, 0.6]], np.float32), [[10, 11]], ""),
        (np.array([[0.0, 200.0]], np.float32), [[10, 255]], ""),
        (np.array([[np.nan, 0.6]], np.float32), [[10, 11]], "1 of 2 values are not finite, first at [0, 0]: got nan"),
    ],
)
def test_outputs_of_any_dtype_are_read_in_steps(y: np.ndarray, q: list, problem: str) -> None:
    got, said = as_bytes(y, STEP)
    assert got.tolist() == q and got.dtype == np.uint8
    assert problem in said and bool(problem) is bool(said)
