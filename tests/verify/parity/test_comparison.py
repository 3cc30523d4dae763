"""Two arrays are compared in the unit that they have, and what cannot be compared is a problem, never a number."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from msgspec.structs import replace

from tiedae.base.records import plain
from tiedae.bundle.results import Kind, Parity, Precision
from tiedae.compress.affine import Quantization
from tiedae.program.differences import LEAST_SCALE
from tiedae.program.interpreter import apply, execute
from tiedae.verify.parity.comparison import compare, compare_traced, similarity

IT = Kind.OPERATIONS
"""What is compared here: operation t."""

TWO_BYTES = array_shapes(max_dims=2, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape))
)
REALS = arrays(np.float32, array_shapes(max_dims=2, max_side=6), elements=st.floats(-1e3, 1e3, width=32))


@pytest.mark.parametrize(
    ("expected", "got", "problem"),
    [
        (np.zeros(3, np.uint8), np.zeros(3, np.int8), "got int8"),
        (
            np.zeros((3, 1), np.uint8),
            np.array([7, 8, 9], np.uint8),
            r"got uint8 \[3\], expected uint8 \[3, 1\]; first values \[7, 8, 9\] against \[0, 0, 0\]",
        ),
        (np.zeros(3, np.float32), np.zeros(3, np.float64), "got float64"),
        (
            np.zeros(3, np.float32),
            np.array([0, np.nan, 0], np.float32),
            r"1 of 3 values are not finite, first at \[1\]: got nan",
        ),
        (np.array([np.inf], np.float32), np.array([np.inf], np.float32), "not finite"),
        (np.zeros(2, np.float32), np.full(2, -np.inf, np.float32), r"2 of 2 values are not finite, first at \[0\]: got -inf"),
    ],
)
def test_dtype_shape_and_nan_are_failures_not_numbers(expected: np.ndarray, got: np.ndarray, problem: str) -> None:
    row = compare(IT, "t", expected, got, tolerance=1.0)
    assert re.search(problem, row.problem) and row.text == f"operation t: {row.problem}"
    assert not row.close() and not row.within(max_lsb=255)
    json.dumps(plain(row), allow_nan=False)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_what_cannot_be_compared_differs_as_a_whole_and_states_no_measurement(dtype: type) -> None:
    row = compare(IT, "t", np.zeros(2, dtype), np.zeros(3, dtype))
    precision = Precision.INT8 if dtype is np.uint8 else Precision.F32
    assert row == Parity(IT, precision, "t", count=3, differing=3, problem=row.problem) and row.problem
    assert row.equal_fraction == 0


def test_differences_are_counted_in_lsb() -> None:
    row = compare(IT, "t", np.array([1, 2, 3, 255], np.uint8), np.array([1, 3, 1, 255], np.uint8))
    assert (row.count, row.differing, row.max_lsb, row.mean_lsb) == (4, 2, 2, 0.75)
    assert row.histogram == {"-2": 1, "0": 2, "1": 1}
    assert row.equal_fraction == 0.5
    assert row.samples == (([2], 3, 1), ([1], 2, 3))
    assert row.text == "operation t: 2 of 4 values differ from the program, by at most 2 LSB; largest at [2]: got 1, expected 3"


@pytest.mark.parametrize(("got", "mean"), [([7], 3), ([7, 7, 10], 2), ([7, 7, 13, 12, 10, 10], 11 / 6)])
def test_the_mean_is_that_of_all_magnitudes(got: list[int], mean: float) -> None:
    assert compare(IT, "t", np.full(len(got), 10, np.uint8), np.array(got, np.uint8)).mean_lsb == pytest.approx(mean)


@given(TWO_BYTES)
def test_the_histogram_is_the_whole_difference(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected, got = pair
    row = compare(IT, "t", expected, got, quantization=Quantization(0.5, 100))
    assert sum(row.histogram.values()) == row.count == got.size
    assert row.count - row.histogram.get("0", 0) == row.differing
    assert row.max_lsb == max(abs(int(lsb)) for lsb in row.histogram)
    assert len(row.samples) == min(row.differing, 3)
    for index, was, is_ in row.samples:
        assert (was, is_) == (expected[tuple(index)], got[tuple(index)]) and was != is_
    if row.samples:
        _, was, is_ = row.samples[0]
        assert isinstance(was, int) and isinstance(is_, int) and abs(is_ - was) == row.max_lsb
    assert (row.sqnr_db is None) == (row.differing == 0 or not np.any(expected != 100))
    json.dumps(plain(row), allow_nan=False)


@given(REALS, st.floats(1e-3, 10))
def test_sqnr_and_cosine_follow_from_the_noise(real: np.ndarray, factor: float) -> None:
    got = real.astype(np.float64) * (1 + factor)
    sqnr_db, cosine = similarity(real, got)
    if np.square(real.astype(np.float64)).sum() == 0:
        assert (sqnr_db, cosine) == (None, None)
    else:
        assert sqnr_db == pytest.approx(-20 * np.log10(factor), abs=1e-6)
        assert cosine is not None and cosine == pytest.approx(1) and cosine <= 1
    assert similarity(real, real)[0] is None


def test_a_lost_signal_has_no_cosine_and_noise_over_nothing_no_sqnr() -> None:
    assert similarity(np.ones(4), np.zeros(4)) == (0.0, None)
    assert similarity(np.zeros(4), np.ones(4)) == (None, None)
    assert similarity(np.ones(4), -np.ones(4)) == (pytest.approx(10 * np.log10(1 / 4)), -1.0)


def test_similarity_does_not_depend_on_the_unit() -> None:
    expected, got = np.array([3.0, 4.0, 0.0]), np.array([3.0, 0.0, 4.0])
    for unit in (1e-3, 1.0, 1e3):
        assert similarity(unit * expected, unit * got) == (pytest.approx(10 * np.log10(25 / 32)), pytest.approx(9 / 25))
        assert similarity(unit * expected, unit * expected) == (None, 1.0)


def test_a_cosine_stays_within_one_in_spite_of_rounding() -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=7) for _ in range(500)]
    for sign in (1, -1):
        cosines = sign * np.array([similarity(vector, 1.7 * sign * vector)[1] for vector in vectors], float)
        assert 1 - 1e-9 < cosines.min() <= cosines.max() <= 1


def test_real_values_are_measured_from_the_zero_point() -> None:
    """Around zero point 128 the codes 127 and 129 are opposite, far from it they are close."""
    expected, got = np.full(5, 129, np.uint8), np.full(5, 127, np.uint8)
    assert compare(IT, "t", expected, got, quantization=Quantization(1.0, 128)).cosine == -1
    assert compare(IT, "t", expected, got, quantization=Quantization(1.0, 0)).sqnr_db == pytest.approx(20 * np.log10(129 / 2))
    assert compare(IT, "t", expected, got).sqnr_db is None


@pytest.mark.parametrize(("scale", "counts"), [(1e-9, 0.1), (0.01, 0.1), (0.5, 0.5), (1.0, 1.0), (100.0, 100.0)])
@pytest.mark.parametrize("holds", [True, False])
def test_float_tolerance_is_relative_to_full_scale(scale: float, counts: float, holds: bool) -> None:
    expected = np.array([scale, 0], np.float32)
    gap = (0.9 if holds else 1.1) * 1e-4 * counts
    row = compare(IT, "t", expected, np.array([scale, gap], np.float32), reference="keras", tolerance=1e-4)
    assert row.close() is holds
    assert row.relative == pytest.approx(gap / counts)
    assert row.text.startswith(f"operation t differs from Keras by at most {row.max_abs:.2g}, {row.relative:.2g} of full scale")
    assert ("largest at" in row.text) is not holds


@pytest.mark.parametrize(
    ("of", "label"),
    [
        ((Kind.CODES, "code"), "codes (encode)"),
        ((Kind.INPUTS, "x"), "x (encode)"),
        ((Kind.OUTPUT, "y"), "y (encode)"),
        ((Kind.OPERATIONS, "y.product"), "operation y.product"),
        ((Kind.LAYERS, "decoder_1"), "layer decoder_1"),
        ((Kind.FLOAT, "y"), "float y (encode)"),
        ((Kind.FORMATS, "y"), "formats: y"),
        ((Kind.CROSSING, "y"), "y of ort-cpu's codes"),
        ((Kind.WITNESS, "code"), "codes against litert-reference"),
    ],
)
def test_a_comparison_is_called_by_its_kind(of: tuple[Kind, str], label: str) -> None:
    identity = {"signature": "encode", "encoder": "ort-cpu", "reference": "litert-reference"}
    row = compare(*of, np.zeros(3, np.uint8), np.zeros(3, np.uint8), **identity)
    assert (row.kind, row.tensor, row.label) == (*of, label)


def test_the_values_of_an_int8_comparison_and_no_others_are_stated() -> None:
    row = compare(IT, "t", np.array([10, 20, 30], np.uint8), np.array([10, 23, 28], np.uint8), reference="litert-xnnpack")
    assert row == Parity(
        IT,
        Precision.INT8,
        "t",
        "litert-xnnpack",
        count=3,
        differing=2,
        max_lsb=3,
        histogram={"-2": 1, "0": 1, "3": 1},
        samples=(([1], 20, 23), ([2], 30, 28)),
    )
    assert row.equal_fraction == pytest.approx(1 / 3)
    assert row.mean_lsb == pytest.approx(5 / 3)


def test_the_values_of_a_float_comparison_and_no_others_are_stated() -> None:
    expected = np.array([[0.0, -4.0], [3.0, 0.0]], np.float32)
    row = compare(IT, "t", expected, expected + np.array([[0, 2], [0, -1]], np.float32), reference="keras", tolerance=0.25)
    assert row.sqnr_db == pytest.approx(10 * np.log10(25 / 5))
    assert row.cosine == pytest.approx((8 + 9) / np.sqrt(25 * (4 + 9 + 1)))
    assert row == Parity(
        IT,
        Precision.F32,
        "t",
        "keras",
        count=4,
        differing=2,
        max_abs=2.0,
        mean_abs=0.75,
        full_scale=4.0,
        sqnr_db=row.sqnr_db,
        cosine=row.cosine,
        atol=0.25 * LEAST_SCALE,
        rtol=0.25,
        samples=(([0, 1], -4.0, -2.0), ([1, 1], 0.0, -1.0)),
    )
    assert (
        row.text == "operation t differs from Keras by at most 2, 0.5 of full scale 4; largest at [0, 1]: got -2, expected -4"
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_nothing_equals_nothing(dtype: type) -> None:
    row = compare(IT, "t", np.empty((0, 3), dtype), np.empty((0, 3), dtype))
    assert (row.count, row.differing, row.max_lsb, row.max_abs, row.mean_abs, row.full_scale) == (0,) * 6
    assert row.equal_fraction == 1 and row.mean_lsb == 0 and row.within(max_lsb=0, equal_fraction=1) and row.close()


@pytest.mark.parametrize(
    ("max_lsb", "equal_fraction", "holds"),
    [(2, 0.5, True), (3, 0.4, True), (2, 0.0, True), (1, 0.5, False), (2, 0.51, False)],
)
def test_both_limits_of_an_int8_comparison_count_and_are_reached_at_their_value(max_lsb, equal_fraction, holds) -> None:
    row = compare(IT, "t", np.array([1, 2, 3, 4], np.uint8), np.array([1, 3, 5, 4], np.uint8))
    assert row.within(max_lsb=max_lsb, equal_fraction=equal_fraction) is holds
    assert row.within(max_lsb=max_lsb) is (max_lsb >= 2)


@pytest.mark.parametrize(
    ("limits", "holds"),
    [
        ({}, False),
        ({"atol": 0.5}, True),
        ({"rtol": 0.25}, True),
        ({"atol": 0.25, "rtol": 0.125}, False),
        ({"atol": 0.125, "rtol": 0.25}, True),
    ],
)
def test_a_float_comparison_holds_up_to_the_larger_of_its_tolerances(limits: dict[str, float], holds: bool) -> None:
    row = Parity(IT, Precision.F32, "t", max_abs=0.5, full_scale=2.0, **limits)
    assert row.close() is holds
    assert not replace(row, max_abs=0.5 + 1e-12).close()


def test_the_largest_differences_are_shown_in_their_order_and_no_more_than_three() -> None:
    expected = np.zeros((2, 4), np.uint8)
    got = np.array([[1, 5, 0, 5], [2, 5, 9, 1]], np.uint8)
    assert compare(IT, "t", expected, got).samples == (([1, 2], 0, 9), ([0, 1], 0, 5), ([0, 3], 0, 5))
    assert compare(IT, "t", expected[:, :2], got[:, :2]).samples == (([0, 1], 0, 5), ([1, 1], 0, 5), ([1, 0], 0, 2))


def test_equal_values_and_numbers_of_many_digits_in_words() -> None:
    bytes_ = np.arange(1200, dtype=np.uint16).astype(np.uint8)
    assert (
        compare(Kind.LAYERS, "code", bytes_, bytes_, reference="ort-cpu").text
        == "layer code: all 1,200 values equal those of ort-cpu"
    )
    one, other = np.array([1 / 3], np.float32), np.array([1234567.8], np.float32)
    far = compare(Kind.LAYERS, "y", one, other, reference="float program", tolerance=1)
    assert far.text == (
        "layer y differs from the float program by at most 1.2e+06, 3.7e+06 of full scale 0.333; "
        "largest at [0]: got 1.23457e+06, expected 0.333333"
    )


def test_operations_are_compared_on_what_the_runtime_itself_computed(make_program) -> None:
    """A runtime whose first operation is wrong in one value: that one differs, those that follow from it do not."""
    program = make_program()
    x = np.random.default_rng(0).integers(0, 256, (6, 20)).astype(np.uint8)
    traced: dict[str, np.ndarray] = {}
    for i, operation in enumerate(program.operations):
        traced[operation.y] = apply(program, operation, traced.get(operation.x, x))
        if i == 0:
            traced[operation.y][2, 3] ^= 4
    rows, hidden = compare_traced(traced, program, "reconstruct", x)
    names = [operation.y for operation in program.operations]
    assert [(row.kind, row.tensor, row.differing) for row in rows] == [
        (Kind.OPERATIONS, name, int(name == names[0])) for name in names
    ]
    assert rows[0].samples[0][0] == [2, 3] and rows[0].max_lsb == 4 and rows[0].sqnr_db is not None and hidden == []


@pytest.mark.parametrize(
    ("dtype", "absent", "compared", "hidden"),
    [
        (np.uint8, (), ["encoder_0", "code"], []),
        (np.int8, (), ["code"], ["encoder_0"]),
        (np.uint8, ("encoder_0",), [], ["encoder_0", "code"]),
        (np.uint8, ("code",), ["encoder_0"], ["code"]),
    ],
)
def test_operations_that_a_runtime_does_not_show_are_named(make_program, dtype, absent, compared, hidden) -> None:
    """x is known where the file takes bytes; as int8 it is an operation of the file that makes them bytes."""
    program = make_program()
    x = np.random.default_rng(0).integers(0, 256, (6, 20)).astype(np.uint8)
    values = execute(program, "encode", x)
    traced = {name: values[name] for name in ("encoder_0", "code") if name not in absent}
    rows, missing = compare_traced(traced, program, "encode", x.astype(dtype))
    assert [row.tensor for row in rows] == compared and missing == hidden
