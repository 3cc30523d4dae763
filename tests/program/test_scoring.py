"""The score in integers is the score in real numbers, of samples as given."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import DataError, ExportError, RecipeError
from tiedae.base.records import decode, plain
from tiedae.compress.affine import BYTE, Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import ScoreKind
from tiedae.program.scoring import LARGEST, Detector, Scoring, Thresholds, scoring_of, threshold_of
from tiedae.tasks.anomaly import real_scores

KINDS = ("mse", "mae", "max", "standardized")
BYTES = Scaling("byte", 0.0, 255.0)
COUNTS = Scaling("standard", 1024.0, 37.5)
EACH = Scaling("minmax", (-3.0, 100.0, 0.5, 7.0), (2.0, 900.0, 0.01, 1e4))
Y = Quantization(float(np.float32(0.031)), 131)


@settings(max_examples=80)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(
        [("uint8", Scaling("byte", 0.0, 255.0), BYTE), ("int16", COUNTS, Y), ("uint16", EACH, Y), ("float32", EACH, Y)]
    ),
    st.integers(0, 2**32 - 1),
)
def test_the_integer_score_is_the_real_one(kind: ScoreKind, data: tuple[str, Scaling, Quantization], seed: int) -> None:
    dtype, scaling, quantization = data
    rng = np.random.default_rng(seed)
    q = rng.integers(0, 256, (5, 4), dtype=np.uint8)
    real = (q.astype(np.float64) - quantization.zero_point) * quantization.scale + rng.normal(0, 0.5, q.shape)
    x = scaling.invert(real, dtype)
    spec = SampleSpec((4,), dtype, scaling, "table")
    rms = rng.uniform(0.05, 0.5, 4) if kind == "standardized" else ()
    scoring = scoring_of(kind, spec, quantization, rms)
    scaled = scaling.apply(x)
    found = scoring.totals(scoring.errors(scoring.units(x, scaled), q)) * scoring.factor
    offset, scale = (each.astype(np.float64) for each in scaling.float32)
    errors = (x - offset) / scale - (q.astype(np.float64) - quantization.zero_point) * quantization.scale
    weights = 1 / np.square(rms) if kind == "standardized" else 1.0
    np.testing.assert_allclose(
        found, real_scores(kind, errors, weights), rtol=4e-3 if kind == "standardized" else 1e-4, atol=1e-7
    )
    terms = scoring.terms(scoring.errors(scoring.units(x, scaled), q)) * scoring.value_factor
    np.testing.assert_allclose(terms.max(axis=1) if kind == "max" else terms.mean(axis=1), found, rtol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.floats(-107.9, 126), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_a_float_in_units_is_the_nearest_integer(exponent: float, zero_point: int, seed: int) -> None:
    """Of any bits: to half a unit and a relative 2⁻²⁹, and so large that the error is limited where it is 2³² or more."""
    scale, rng = float(np.float32(2.0**exponent)), np.random.default_rng(seed)
    bits = rng.integers(0, 1 << 32, 150, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with np.errstate(over="ignore"):
        near = (rng.normal(0, 1, 100) * 10.0 ** rng.uniform(-3, 6, 100) * scale).astype(np.float32)
    tiny = np.finfo(np.float32).tiny
    x = np.concatenate([bits, near, np.array([0, tiny, -tiny / 2, np.finfo(np.float32).max], np.float32)])
    x = x[np.isfinite(x)]
    found = Scoring("mse", 1, scale, zero_point).real_units(x) - (zero_point << 16)
    for value, units in zip(x.tolist(), found.tolist(), strict=True):
        exact = Fraction(value) * (1 << 16) / Fraction(scale)
        if abs(exact) >= 1 << 33:
            assert abs(units) >= 1 << 32 and (units < 0) == (value < 0)
        else:
            assert abs(units - exact) <= Fraction(1, 2) + abs(exact) / (1 << 29)


@pytest.mark.parametrize("scale", [0.0, 2.0**-109, float("inf"), float("nan")])
def test_a_scale_that_floats_are_not_scored_with(scale: float) -> None:
    with pytest.raises(RecipeError, match=f"scale: got {scale}, must be finite and at least 2⁻¹⁰⁸"):
        Scoring("mse", 1, scale, 0)


def test_values_beyond_the_program_are_scored_as_given() -> None:
    """Behind clipping all of these would be 255."""
    spec = SampleSpec((1,), "int16", COUNTS, "record")
    scoring = scoring_of("max", spec, Y)
    top = COUNTS.invert(np.array([[(255 - Y.zero_point) * Y.scale]]), np.float64)[0, 0]
    x = np.array([[round(top)], [round(top) + 375], [32767]], np.int16)
    found = scoring.totals(scoring.errors(scoring.units(x, np.empty(0)), np.full((3, 1), 255, np.uint8))) * scoring.factor
    assert (
        found[0] < 0.02
        and found[1] == pytest.approx(10, abs=0.02)
        and found[2] == pytest.approx((32767 - top) / 37.5, rel=1e-3)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_sum_fits(kind: ScoreKind) -> None:
    inputs = 1 << 16
    scoring = Scoring(kind, inputs, 1.0, 0, weights=(65535,) * inputs if kind == "standardized" else ())
    assert scoring.totals(np.full((1, inputs), -LARGEST, np.int64))[0] > 0
    scaled = np.full((1, 1), np.finfo(np.float32).max, np.float32)
    small = Scoring(kind, 1, 1e-9, 0, weights=(1,) if kind == "standardized" else ())
    assert small.errors(small.units(scaled, scaled), np.full((1, 1), 255, np.uint8))[0, 0] == LARGEST


def test_a_feature_without_errors_does_not_take_over() -> None:
    spec = SampleSpec((2,), "float32")
    assert scoring_of("standardized", spec, Y, [0.0, Y.scale / 12**0.5]).weights == (65535, 65535)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ExportError, match="score: got 65,537 inputs, must be at most 65,536"):
        scoring_of("mse", SampleSpec((65_537,), "float32"), Y)
    with pytest.raises(DataError, match=r"score: got errors of shape \[3\], must be 4 finite ones"):
        scoring_of("standardized", SampleSpec((4,), "float32"), Y, [1.0, 2.0, 3.0])
    with pytest.raises(RecipeError, match="weights: got 0, must be 4"):
        Scoring("standardized", 4, 1.0, 0)
    with pytest.raises(ExportError, match="64 bits do not hold it"):
        scoring_of("mse", SampleSpec((1,), "uint16", Scaling("minmax", 0.0, 1e-12), "table"), Y)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2**62), min_size=10, max_size=300), st.sampled_from([0.5, 0.75, 0.9]))
def test_the_threshold_is_the_least_that_enough_samples_do_not_exceed(totals: list[int], quantile: float) -> None:
    found = threshold_of(np.array(totals, np.int64), quantile)
    below = [sum(each <= limit for each in totals) / len(totals) for limit in (found, found - 1)]
    assert found in totals and below[0] >= quantile - 1e-9 > below[1] - 2e-9


def test_too_few_samples_have_no_threshold() -> None:
    assert threshold_of(np.arange(100), 0.99) == 98 and threshold_of(np.arange(100), 1e-9) == 0
    with pytest.raises(DataError, match=r"threshold: got 99 held-out normal samples, must be 100 or more for quantile 0.99"):
        threshold_of(np.arange(99), 0.99)


def test_a_detector_is_read_back_as_it_was_written() -> None:
    scoring = scoring_of("standardized", SampleSpec((4,), "uint16", EACH), Y, [0.1, 0.2, 0.3, 0.4])
    detector = Detector(scoring, Thresholds(5, 7), 0.9, 12)
    assert decode(Detector, plain(detector), "x") == detector
    assert [detector.threshold(layout) for layout in ("split", "fused")] == [5 * scoring.factor, 7 * scoring.factor]
