"""The one comparison of arrays: dtypes that each have a unit of their own, and those that have none."""

from dataclasses import replace

import numpy as np
import pytest

from tiedae.program.differences import differences, place, sample_at


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_bytes_differ_in_lsb_across_their_whole_range(dtype):
    limits = np.iinfo(dtype)
    found = differences(np.array([limits.min, 5, 5], dtype), np.array([limits.max, 5, 4], dtype))
    assert (found.count, found.differing, found.largest, found.mean) == (3, 2, 255.0, 256 / 3)
    assert found.histogram == {"-1": 1, "0": 1, "255": 1} and found.full_scale == 0


def test_integers_beyond_what_float64_holds_still_differ():
    found = differences(np.array([2**60, 1]), np.array([2**60 + 1, 1]))
    assert (found.differing, found.largest, found.samples) == (1, 1.0, (([0], 2**60, 2**60 + 1),))


def test_truth_values_and_floats():
    assert differences(np.array([True, False]), np.array([True, True])).differing == 1
    found = differences(np.array([[1.0, -4.0]], np.float32), np.array([[1.5, -4.0]], np.float32))
    assert (found.largest, found.mean, found.full_scale, found.histogram) == (0.5, 0.25, 4.0, {})
    assert place(found.samples[0]) == "[0, 0]: got 1.5, expected 1"


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (["a", "b"], ""),
        (["a", "c"], "1 of 2 values of <U1 differ, first at [1]"),
        (["c", "d"], "2 of 2 values of <U1 differ, first at [0]"),
    ],
)
def test_values_without_a_distance_are_equal_or_not(got, problem):
    found = differences(np.array(["a", "b"]), np.array(got))
    assert found.problem == problem
    assert (found.largest, found.mean, found.full_scale, found.histogram, found.samples) == (0, 0, 0, {}, ())


def test_the_three_largest_of_many_are_shown():
    got = np.random.default_rng(0).permutation(1000)
    found = differences(np.zeros_like(got), got)
    assert [sample[2] for sample in found.samples] == [999, 998, 997]
    assert all(got[index] == value for (index,), _, value in found.samples)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float32])
def test_blocks_make_no_difference(dtype, monkeypatch):
    """Of an array of many blocks the same is found as of one block: every number but the mean exactly."""
    rng = np.random.default_rng(0)
    expected = rng.integers(-90 if dtype != np.uint8 else 0, 90, (9, 7, 5)).astype(dtype)
    got = np.where(rng.random(expected.shape) < 0.3, expected + rng.integers(0, 9, expected.shape), expected).astype(dtype)
    whole = differences(expected, got)
    monkeypatch.setattr("tiedae.compress.blocks.VALUES", 16)
    parts = differences(expected, got)
    assert replace(parts, mean=whole.mean) == whole and parts.mean == pytest.approx(whole.mean)
    assert whole.differing == np.count_nonzero(got != expected) and whole.largest == np.abs(got.astype(float) - expected).max()


def test_what_does_not_compare_counts_as_differing():
    floats = np.array([1, 2, 3, 4], np.float32)
    assert differences(floats, floats[:3]).differing == differences(floats, floats[:3]).count == 3
    found = differences(floats, np.array([1, np.nan, 3, 4], np.float32))
    assert (found.count, found.differing) == (4, 1)
    assert found.problem == "1 of 4 values are not finite, first at [1]: got nan, expected 2"


def test_nothing_differs_in_nothing():
    assert differences(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32)).mean == 0
    assert sample_at(5, np.arange(6).reshape(2, 3), np.zeros((2, 3))) == ([1, 2], 5, 0.0)
