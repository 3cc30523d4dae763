"""What is measured of one runtime alone, of none, and of a file whose values are not finite."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tiedae.bundle.reference_outputs import expect
from tiedae.bundle.results import Lost
from tiedae.compress.affine import Quantization
from tiedae.export.kinds import Kind, Why
from tiedae.verify.cross_format import measure_crossing
from tiedae.verify.error_breakdown import attribute
from tiedae.verify.findings import Evidence, Findings, Outputs
from tiedae.verify.measurement import as_bytes, measure_int8

from .changed_session import ChangedSession
from .conftest import Case


class Silent(ChangedSession):
    """A real session that shows no tensor inside its file."""

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        return {}


def measured(case: Case, *, silent: bool = False) -> Outputs:
    subject, x = case.subject("tflite", "litert-xnnpack"), case.samples
    if silent:
        subject = dataclasses.replace(subject, session=Silent(subject.session, "", lambda x, outputs: None))
    return measure_int8(subject, expect(subject.program, x, subject.conversion), Evidence(x, x, None, None, False))


@pytest.mark.parametrize("silent", [False, True])
def test_a_runtime_that_shows_no_inner_tensors_is_named_with_its_file(case: Case, silent: bool) -> None:
    findings = measured(case, silent=silent).subject.findings
    rows = [row for row in findings.skipped if row.kind is Kind.TRACES]
    assert {(row.why, row.what, row.runtime) for row in rows} == (
        {(Why.NOT_SHOWN, "litert-xnnpack: operations of toy.int8.tflite", "litert-xnnpack")} if silent else set()
    )


@pytest.mark.parametrize("formats", ["no format", "tflite"])
def test_fewer_than_two_formats_are_not_compared(case: Case, formats: str) -> None:
    x, findings = case.samples, Findings()
    found = [] if formats == "no format" else [measured(case)]
    measure_crossing(found, {}, Evidence(x, x, None, None, False), findings, "int8")
    (row,) = findings.skipped
    assert (row.kind, row.why, row.what) == (Kind.FORMATS, Why.NOT_IN_FILES, "int8 formats against each other")
    assert row.reason.startswith(f"{formats} alone ran here, must be two of tflite, onnx")
    assert findings.parity == []


def test_errors_of_a_file_are_beside_those_of_the_program(case: Case) -> None:
    """Without a float reference there is the file's error to the program alone."""
    found = measured(case)
    assert found.expected is not None and found.layers
    rows = attribute([found], {"tflite": found.expected}, None)
    assert [(row.error, row.layer, row.runtime, row.file) for row in rows] == [
        (Lost.CONVERSION, layer, "litert-xnnpack", "toy.int8.tflite") for layer in found.layers
    ]
    assert {row.rms for row in rows} == {0}


QUANTIZATION = Quantization(0.5, 10)


def test_values_that_are_not_finite_are_named_and_taken_as_zero() -> None:
    values = np.array([[1.0, -2.0], [np.nan, 3.0], [np.inf, -np.inf]], np.float32)
    q, problem = as_bytes(values, QUANTIZATION)
    assert q.tolist() == [[12, 6], [10, 16], [10, 10]]
    assert problem == "3 of 6 values are not finite, first at [1, 0]: got nan"
    q, problem = as_bytes(np.nan_to_num(values, posinf=0, neginf=0), QUANTIZATION)
    assert q.tolist() == [[12, 6], [10, 16], [10, 10]] and problem == ""


@pytest.mark.parametrize(("dtype", "moved"), [(np.uint8, 0), (np.int8, -128)])
def test_integers_of_a_file_are_the_programs(dtype: type, moved: int) -> None:
    values = np.array([[0, 10, 255]], np.int16)
    q, problem = as_bytes((values + moved).astype(dtype), QUANTIZATION)
    assert q.tolist() == values.tolist() and q.dtype == np.uint8 and problem == ""
