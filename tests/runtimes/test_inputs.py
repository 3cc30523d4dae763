"""Float inputs become the integers that each runtime makes of them, at ties between two integers as well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import UnavailableError
from tiedae.bundle.bundle import Programs, model_files, write_files
from tiedae.bundle.reference_outputs import expect
from tiedae.compress import ExportConfig, VerifyConfig
from tiedae.export.kinds import Kind, Why
from tiedae.export.targets import read_model
from tiedae.program.interpreter import program_input
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.cross_format import measure_crossing
from tiedae.verify.findings import Evidence, Findings, Outputs, Subject
from tiedae.verify.measurement import measure_int8

from ..bundle.test_golden import ties


@pytest.fixture
def programs(make_program: Callable[..., Program], tmp_path: Path) -> Programs:
    forms = {form: make_program((20, 12, 5), form=form, byte_data=False) for form in ("split", "fused")}
    programs = Programs(**forms)
    write_files(tmp_path, model_files({"int8": programs}, ExportConfig(), "float32"))
    return programs


def measure(programs: Programs, folder: Path, runtime: str, x: np.ndarray, findings: Findings) -> Outputs:
    form = RUNTIMES[runtime].format
    file = {"tflite": "toy.int8.tflite", "onnx": "toy.encoder.int8.onnx"}[form]
    files = {"encode": file, "decode": file.replace("encoder", "decoder")}
    try:
        session = RUNTIMES[runtime].open({signature: folder / name for signature, name in files.items()})
    except UnavailableError as error:
        pytest.skip(str(error))
    contents = {name: read_model(folder / name) for name in files.values()}
    subject = Subject(session, files, contents, programs.of(form), VerifyConfig(), findings)
    expected = expect(subject.program, x, subject.conversion)
    return measure_int8(subject, expected, Evidence(x, x, None, None, False))


@pytest.mark.parametrize("runtime", [name for name, row in RUNTIMES.items() if row.rounding != "openvino" and name != "c"])
def test_codes_of_ties_are_the_programs_for_the_same_integers(runtime: str, programs: Programs, tmp_path: Path) -> None:
    findings = Findings()
    measure(programs, tmp_path, runtime, ties(programs.fused, 200), findings)
    assert [check.text for check in findings.judged(VerifyConfig()) if not check.ok] == []
    rows = {(row.kind, row.signature): row for row in findings.parity}
    if RUNTIMES[runtime].rounding == "program":
        assert rows[Kind.CODES, "encode"].differing == 0
    if (Kind.INPUTS, "encode") in rows:
        assert rows[Kind.INPUTS, "encode"].differing == 0


def test_the_two_formats_are_compared_where_their_integers_are_the_same(programs: Programs, tmp_path: Path) -> None:
    x = ties(programs.fused, 200)
    x[100:] = programs.fused.quantization("x").dequantize(program_input(programs.fused, x[100:]))
    findings = Findings()
    both = [measure(programs, tmp_path, runtime, x, findings) for runtime in ("litert-xnnpack", "ort-cpu")]
    expected = {"tflite": expect(programs.split, x), "onnx": expect(programs.fused, x)}
    measure_crossing(both, expected, Evidence(x, x, None, None, False), findings, "int8")
    assert [check.text for check in findings.judged(VerifyConfig()) if not check.ok] == []
    (row,) = [row for row in findings.parity if (row.kind, row.tensor) == (Kind.FORMATS, "code")]
    apart = int((program_input(programs.split, x, "multiply") != program_input(programs.fused, x)).any(axis=1).sum())
    assert row.count == (200 - apart) * 5 and 0 < apart <= 100
    (skipped,) = [row for row in findings.skipped if row.kind is Kind.FORMATS]
    assert skipped.why is Why.NOT_COMPARABLE
    assert skipped.what.endswith(f"on {apart} of 200 samples") and "tie" in skipped.reason


def test_a_runtime_that_converts_inputs_another_way_fails_by_name(programs: Programs, tmp_path: Path) -> None:
    x, findings = ties(programs.fused, 50), Findings()
    contents = {"toy.int8.tflite": read_model(tmp_path / "toy.int8.tflite")}
    session = RUNTIMES["litert-xnnpack"].open({"encode": tmp_path / "toy.int8.tflite"})
    subject = Subject(session, {"encode": "toy.int8.tflite"}, contents, programs.split, VerifyConfig(), findings)
    measure_int8(subject, expect(programs.split, x, "away"), Evidence(x, x, None, None, False))
    assert Kind.INPUTS in {check.kind for check in findings.judged(VerifyConfig()) if not check.ok}


def test_conversions_at_a_tie(make_program: Callable[..., Program]) -> None:
    program = make_program((20, 12, 5), byte_data=False)
    quantization = program.quantization("x")
    halves = np.array([[0.5, 1.5, -0.5, 300.0, -300.0] * 4], np.float32)
    x = halves * np.float32(quantization.scale)
    zero, top = quantization.zero_point, 255
    for conversion, steps in {"divide": (0, 2, 0), "away": (1, 2, -1)}.items():
        right = [*(min(max(zero + step, 0), top) for step in steps), top, 0]
        assert program_input(program, x, conversion)[0, :5].tolist() == right
