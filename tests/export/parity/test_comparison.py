"""Two arrays are compared in the unit that they have, and what cannot be compared is a problem, never a number."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from tiedae.export.parity.comparison import compare, similarity
from tiedae.export.program import Quantization

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
        (np.zeros(3, np.float32), np.array([0, np.nan, 0], np.float32), r"1 values are not finite, first at \[1\]: got nan"),
        (np.array([np.inf], np.float32), np.array([np.inf], np.float32), "not finite"),
    ],
)
def test_dtype_shape_and_nan_are_failures_not_numbers(expected: np.ndarray, got: np.ndarray, problem: str) -> None:
    row = compare("it", expected, got, tolerance=1.0)
    assert re.search(problem, row.problem) and row.text == row.problem
    assert not row.close() and not row.within(max_lsb=255)
    json.dumps(row.to_json(), allow_nan=False)


def test_differences_are_counted_in_lsb() -> None:
    row = compare("it", np.array([1, 2, 3, 255], np.uint8), np.array([1, 3, 1, 255], np.uint8))
    assert (row.count, row.differing, row.max_lsb, row.mean_lsb) == (4, 2, 2, 0.75)
    assert row.histogram == {"-2": 1, "0": 2, "1": 1}
    assert row.equal_share == 0.5
    assert row.samples == (([2], 3, 1), ([1], 2, 3))
    assert row.text == "it: 2 of 4 values differ from the program, by at most 2 LSB; largest at [2]: got 1, expected 3"


@given(TWO_BYTES)
def test_the_histogram_is_the_whole_difference(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected, got = pair
    row = compare("it", expected, got, quantization=Quantization(0.5, 100))
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
    json.dumps(row.to_json(), allow_nan=False)


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


def test_real_values_are_measured_from_the_zero_point() -> None:
    """Around zero point 128 the codes 127 and 129 are opposite, far from it they are close."""
    expected, got = np.full(5, 129, np.uint8), np.full(5, 127, np.uint8)
    assert compare("it", expected, got, quantization=Quantization(1.0, 128)).cosine == -1
    assert compare("it", expected, got, quantization=Quantization(1.0, 0)).sqnr_db == pytest.approx(20 * np.log10(129 / 2))
    assert "sqnr_db" not in compare("it", expected, got).to_json()


@pytest.mark.parametrize(("scale", "counts"), [(1e-9, 0.1), (0.01, 0.1), (0.5, 0.5), (1.0, 1.0), (100.0, 100.0)])
@pytest.mark.parametrize("holds", [True, False])
def test_float_tolerance_is_relative_to_full_scale(scale: float, counts: float, holds: bool) -> None:
    expected = np.array([scale, 0], np.float32)
    gap = (0.9 if holds else 1.1) * 1e-4 * counts
    row = compare("it", expected, np.array([scale, gap], np.float32), reference="keras", tolerance=1e-4)
    assert row.close() is holds
    assert row.relative == pytest.approx(gap / counts) and row.allowed == pytest.approx(1e-4 * counts)
    assert row.text.startswith(f"it differs from Keras by at most {row.max_abs:.2g}, {row.relative:.2g} of full scale")
    assert ("largest at" in row.text) is not holds


def test_an_operation_is_filed_under_its_layer() -> None:
    row = compare("operation y.product", np.zeros(3, np.uint8), np.zeros(3, np.uint8), operation="y.product").to_json()
    assert (row["layer"], row["operation"], row["reference"]) == ("y", "y.product", "program")
