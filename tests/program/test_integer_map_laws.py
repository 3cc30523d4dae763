"""A map of integers is the least one that gives every result, in the middle of those that do; one that does not is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import ExportError, RecipeError
from tiedae.compress.affine import BYTE, Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.program import integer_maps
from tiedae.program.integer_maps import LARGEST, LARGEST_SHIFT, IntegerMaps, LinearMap, differing, fit

IDENTITY = LinearMap((1,), (0,), (0,))


def linear(values: np.ndarray, results: np.ndarray, slope: float, low: int, high: int) -> LinearMap | None:
    return integer_maps._linear(values.astype(np.int64), results.astype(np.int64), slope, low, high)


def reproduces(found: tuple[int, int, int], values: np.ndarray, results: np.ndarray, low: int, high: int) -> bool:
    multiplier, addend, shift = found
    return bool((np.clip((values * multiplier + addend) >> shift, low, high) == results).all())


@settings(max_examples=60)
@given(st.floats(0.02, 3), st.floats(-30, 30), st.integers(0, 10), st.integers(11, 60), st.booleans())
def test_a_map_is_the_least_and_in_the_middle(slope: float, offset: float, low: int, high: int, falls: bool) -> None:
    slope = -slope if falls else slope
    values = np.arange(-20, 45)
    results = np.clip(np.floor(values * slope + offset), low, high).astype(np.int64)
    found = linear(values, results, slope, low, high)
    if falls and found is None:
        return
    assert found is not None
    (multiplier,), (addend,), (shift,) = found.multiplier, found.addend, found.shift
    assert multiplier == round(slope * 2**shift)
    assert reproduces((multiplier, addend, shift), values, results, low, high)
    if shift > 10 or ((results == low) | (results == high)).all():
        return
    bound = 64 * (1 << shift) + 64 * abs(multiplier)
    addends = [each for each in range(-bound, bound) if reproduces((multiplier, each, shift), values, results, low, high)]
    assert addends == list(range(addends[0], addends[-1] + 1)) and addend == (addends[0] + addends[-1]) // 2
    for less in range(shift):
        nearest, bound = round(slope * 2**less), 64 * (1 << less) + 64 * abs(round(slope * 2**less))
        assert not any(reproduces((nearest, each, less), values, results, low, high) for each in range(-bound, bound))


@pytest.mark.parametrize(
    ("results", "slope", "expected"),
    [
        (np.arange(8), 1.0, LinearMap((1,), (0,), (0,))),
        (np.arange(8) // 2, 0.5, LinearMap((1,), (0,), (1,))),
        (np.minimum(np.arange(8) + 3, 9), 1.0, LinearMap((1,), (3,), (0,))),
        (np.array([0, 2, 0, 2, 0, 2, 0, 2]), 1.0, None),
    ],
)
def test_maps_of_eight_values(results: np.ndarray, slope: float, expected: LinearMap | None) -> None:
    assert linear(np.arange(8), results, slope, 0, 9) == expected


def test_a_slope_that_64_bits_do_not_hold_has_no_map() -> None:
    values = np.array([0, 1])
    assert linear(values, np.array([0, LARGEST >> 17]), float(LARGEST >> 17), 0, LARGEST) is None
    assert linear(values, np.array([0, LARGEST >> 18]), float(LARGEST >> 18), 0, LARGEST) is not None


@pytest.mark.parametrize(
    ("multiplier", "addend", "shift", "right"),
    [
        ((1,), (0,), (0,), True),
        ((1,), (0,), (LARGEST_SHIFT,), True),
        ((1,), (0,), (40,), True),
        ((1,), (0,), (41,), False),
        ((1,), (0,), (-1,), False),
        ((1, 2), (0, 0), (3, 4), True),
        ((1, 2), (0,), (3, 4), False),
        ((1, 2), (0, 0), (3,), False),
        ((1,), (0, 0), (3, 3), False),
        ((1 << 45,), ((1 << 61) - 1,), (0,), True),
        ((1 << 45,), (1 << 61,), (0,), False),
        ((-(1 << 45),), (-(1 << 61),), (0,), False),
    ],
)
def test_maps_whose_sums_fit(multiplier: tuple, addend: tuple, shift: tuple, right: bool) -> None:
    if right:
        assert LinearMap(multiplier, addend, shift).shift == shift
        return
    with pytest.raises(RecipeError, match=r"shift: got|addend: got|equally many"):
        LinearMap(multiplier, addend, shift)


def test_a_map_adds_and_rounds_down() -> None:
    found = LinearMap((3, -3), (5, 5), (1, 2)).apply(np.array([[10, 10], [-9, -9], [100, -100]], np.int16), -20, 100)
    assert found.tolist() == [[17, -7], [-11, 8], [100, 76]]


SPEC = SampleSpec((2,), "uint16", Scaling("minmax", 0.0, 255.0), "record")


@pytest.mark.parametrize(
    ("x", "y", "count"),
    [
        (IDENTITY, IDENTITY, 0),
        (IDENTITY, LinearMap((257,), (1,), (8,)), 1),  # 256 of y = 255
        (IDENTITY, LinearMap((1,), (1,), (0,)), 256),
        (LinearMap((1,), (-1,), (0,)), IDENTITY, 255),  # 0 stays 0, and from 256 on all are 255
        (LinearMap((1, 1), (0, -1), (0, 0)), LinearMap((1, 1), (0, 0), (0, 0)), 255),
        (LinearMap((1, 1), (0, 0), (0, 0)), LinearMap((1, 257), (0, 1), (0, 8)), 1),
    ],
)
def test_values_that_differ_are_counted(x: LinearMap, y: LinearMap, count: int) -> None:
    assert differing(IntegerMaps(x, y), SPEC, BYTE, BYTE) == count


def test_each_feature_has_its_own_map() -> None:
    spec = SampleSpec((3,), "int16", Scaling("minmax", (0.0, -100.0, 7.0), (255.0, 510.0, 25.5)), "record")
    x, y = BYTE, Quantization(0.0078125, 3)
    maps, scaling = fit(spec, x, y)
    assert maps is not None and len(maps.x.multiplier) == len(maps.y.multiplier) == 3
    samples = np.array([[17, 400, 30], [255, -100, 7], [-5, 1000, 12]], np.int16)
    assert np.abs(maps.program_input(samples) - np.clip(scaling.apply(samples) * 255, 0, 255)).max() <= 0.501
    outputs = np.array([[0, 3, 255], [131, 0, 3], [255, 255, 0]], np.uint8)
    found = maps.samples(outputs, "int16")
    assert found.dtype == np.int16 and np.abs(found - scaling.restore(y.dequantize(outputs))).max() <= 0.501


@pytest.mark.parametrize(
    ("dtype", "scaling"), [("float32", Scaling("minmax", 0.0, 3.0)), ("uint8", Scaling("byte", 0.0, 255.0))]
)
def test_floats_and_bytes_need_no_maps(dtype: str, scaling: Scaling) -> None:
    assert fit(SampleSpec((2,), dtype, scaling, "record"), BYTE, BYTE) == (None, scaling)


@pytest.mark.parametrize(
    ("scaling", "x", "rule"),
    [
        (Scaling("minmax", 0.0, 510.0), BYTE, "minmax"),
        (Scaling("standard", 0.0, 510.0), BYTE, "standard"),
        (Scaling("none", 0.0, 1.0), Quantization(2.0, 0), "minmax"),
    ],
)
def test_an_offset_that_is_moved_belongs_to_a_rule_that_has_one(scaling: Scaling, x: Quantization, rule: str) -> None:
    """Each step of x is two counts: every second count lies on a tie, which the runtimes round differently."""
    maps, moved = fit(SampleSpec((2,), "uint16", scaling, "record"), x, x)
    assert maps is not None and moved.rule == rule and moved.scale == scaling.scale
    assert moved.offset != 0.0 and abs(moved.offset) <= integer_maps.NUDGES * integer_maps.NUDGE <= 0.5


def test_offsets_are_tried_from_the_nearest() -> None:
    tried = list(integer_maps._nudged(5.0, 0.25))
    assert tried[:5] == [5.0, 5.25, 4.75, 5.5, 4.5] and len(tried) == 257 and tried[-2:] == [37.0, -27.0]
    assert integer_maps.NUDGE == 1 / 256


def test_a_scaling_without_any_offset_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_maps, "NUDGES", 0)
    with pytest.raises(ExportError, match="no offset near 0 with scale 510 maps every uint16 value to x and back"):
        fit(SampleSpec((2,), "uint16", Scaling("minmax", 0.0, 510.0), "record"), BYTE, BYTE)
