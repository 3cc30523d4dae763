"""Laws of the observers: merging is seeing both streams, cutting a stream changes nothing, memory does not grow."""

from __future__ import annotations

import json
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.base.errors import DataError, InputError, RecipeError
from tiedae.base.records import decode, plain
from tiedae.calibration import OBSERVERS, Entropy, Grid, Histogram, MeanSquared, MinMax, MovingAverage, Percentile, PerUnit
from tiedae.calibration.histogram import PackedHistogram
from tiedae.calibration.observers import Distribution
from tiedae.compress.affine import Quantization

FINITE = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=True) | st.floats(-4, 4, width=32) | st.just(0.0)
VALUES = arrays(np.float32, st.integers(1, 40), elements=FINITE)
MERGING = [name for name in OBSERVERS if name != "moving-average"]


def observed(name: str, *batches: np.ndarray):
    observer = OBSERVERS[name]()
    for batch in batches:
        observer.update(batch)
    return observer


def same(first: Histogram, second: Histogram) -> bool:
    fields = ("exponent", "zeros", "low", "high")
    return np.array_equal(first.counts, second.counts) and all(getattr(first, f) == getattr(second, f) for f in fields)


@settings(max_examples=200, deadline=None)
@given(first=VALUES, second=VALUES)
def test_merged_histograms_are_the_histogram_of_both_streams(first: np.ndarray, second: np.ndarray) -> None:
    together = Histogram.of(np.concatenate([first, second]), 64)
    assert same(Histogram.of(first, 64).merged(Histogram.of(second, 64)), together)
    assert same(Histogram.of(second, 64).merged(Histogram.of(first, 64)), together)
    assert together.total == len(first) + len(second)


@settings(max_examples=100, deadline=None)
@given(values=VALUES)
def test_a_bin_holds_what_lies_in_it(values: np.ndarray) -> None:
    histogram = Histogram.of(values, 64)
    live = values[values != 0].astype(np.float64)
    for i in np.flatnonzero(histogram.counts):
        low = (i - 32) * histogram.width
        assert histogram.counts[i] == np.count_nonzero((live >= low) & (live < low + histogram.width))
    used = np.flatnonzero(histogram.counts) - 32
    assert len(live) == 0 or used.min() <= -16 or used.max() >= 16, "half of the bins would do"
    assert histogram.zeros == np.count_nonzero(values == 0)


@settings(max_examples=50, deadline=None)
@given(values=VALUES)
def test_a_histogram_survives_json_and_keeps_its_span_when_coarse(values: np.ndarray) -> None:
    histogram = Histogram.of(values, 64)
    assert same(decode(PackedHistogram, json.loads(json.dumps(plain(histogram.pack()))), "it").unpack(), histogram)
    coarse = histogram.coarse(16)
    assert (coarse.total, coarse.width * 16) == (histogram.total, histogram.width * 64)
    assert same(coarse, Histogram.of(values, 16)) or not values.any()


@pytest.mark.parametrize("name", MERGING)
@settings(max_examples=15, deadline=None)
@given(values=VALUES, cuts=st.lists(st.integers(0, 40), max_size=3))
def test_ranges_do_not_depend_on_how_a_stream_is_cut_or_merged(name: str, values: np.ndarray, cuts: list[int]) -> None:
    batches = np.split(values, sorted(min(cut, len(values)) for cut in cuts))
    whole = observed(name, values).range()
    assert observed(name, *batches).range() == whole
    merged = observed(name)
    for batch in batches:
        merged.merge(observed(name, batch))
    assert merged.range() == whole


@pytest.mark.parametrize("name", MERGING)
@settings(max_examples=30, deadline=None)
@given(values=VALUES)
def test_a_range_lies_within_the_extremes_and_zero(name: str, values: np.ndarray) -> None:
    low, high = observed(name, values).range()
    assert min(values.min(), 0) <= low <= high <= max(values.max(), 0)


@settings(max_examples=50, deadline=None)
@given(first=VALUES, second=VALUES)
def test_min_max_of_two_batches_is_that_of_both_together(first: np.ndarray, second: np.ndarray) -> None:
    assert observed("minmax", first, second).range() == (min(first.min(), second.min()), max(first.max(), second.max()))


@settings(max_examples=50, deadline=None)
@given(first=arrays(np.float32, 7, elements=st.floats(-100, 100, width=32)), second=VALUES)
def test_the_moving_average_starts_at_the_first_batch_and_moves_by_its_share(first: np.ndarray, second: np.ndarray) -> None:
    observer = MovingAverage(decay=0.75)
    observer.update(first)
    assert observer.range() == (first.min(), first.max())
    observer.update(second)
    expected = 0.75 * np.array([first.min(), first.max()]) + 0.25 * np.array([second.min(), second.max()], np.float64)
    np.testing.assert_allclose(observer.range(), expected, rtol=1e-5, atol=1e-5)


def test_a_moving_average_says_that_it_cannot_be_merged() -> None:
    with pytest.raises(InputError, match="moving-average: cannot be merged, it depends on the order of batches"):
        MovingAverage().merge(MovingAverage())


@settings(max_examples=200, deadline=None)
@given(low=st.floats(-1e4, 1e4, width=32), high=st.floats(-1e4, 1e4, width=32), seed=st.integers(0, 99))
def test_a_grid_is_that_of_the_exported_program(low: float, high: float, seed: int) -> None:
    quantization = Quantization.from_range(low, high)
    assert Grid(8).parameters((low, high)) == (quantization.scale, quantization.zero_point)
    real = np.random.default_rng(seed).normal(0, 1 + abs(low), 50).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(
        Grid(8).rounded(real, (low, high)), quantization.dequantize(quantization.quantize(real)), rtol=1e-6, atol=1e-30
    )


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_mse_has_less_error_than_the_extremes_and_than_any_range_nearby(bits: int) -> None:
    values = np.random.default_rng(0).standard_t(4, 40_000).astype(np.float32)
    observer, grid = MeanSquared(), Grid(bits)
    observer.update(values)

    def error(span) -> float:
        return float(np.mean((grid.rounded(values.astype(np.float64), span) - values) ** 2))

    low, high = observer.range(grid)
    assert error((low, high)) < {4: 0.3, 6: 0.7, 8: 0.95}[bits] * error((values.min(), values.max()))
    for a, b in ((0.8, 0.8), (1.25, 1.25), (1.25, 0.8), (1, 1.25), (0.8, 1)):
        assert error((low, high)) <= error((a * low, b * high)) * 1.001
    assert grid.error(observer.histogram, (low, high)) == pytest.approx(error((low, high)), rel=1e-3)


def test_fewer_bits_clip_more() -> None:
    for observer in (MeanSquared(), Entropy()):
        observer.update(np.random.default_rng(1).normal(0, 1, 50_000))
        highs = [observer.range(Grid(bits))[1] for bits in (3, 4, 6, 8)]
        assert highs == sorted(highs) and highs[0] < 0.75 * highs[-1]


def test_kl_clips_a_far_outlier_and_keeps_what_is_evenly_spread() -> None:
    outlier, even = Entropy(), Entropy()
    outlier.update(np.append(np.random.default_rng(2).uniform(0, 1, 100_000), 50.0))
    even.update(np.linspace(0, 1, 100_000))
    assert 0.9 < outlier.range()[1] < 5
    assert even.range() == (0.0, 1.0)


@pytest.mark.parametrize("fraction", [0.9, 0.99, 1.0])
def test_a_percentile_leaves_out_its_fraction_at_either_end(fraction: float) -> None:
    values = np.random.default_rng(3).normal(0, 1, 20_000).astype(np.float32)
    observer = Percentile(fraction=fraction)
    observer.update(values)
    bin_width = observer.histogram.width
    np.testing.assert_allclose(observer.range(), np.quantile(values, (1 - fraction, fraction)), atol=2 * bin_width)


def test_a_window_is_what_counts_of_values_beyond_it() -> None:
    values = np.random.default_rng(4).normal(0, 10, 20_000)
    windowed, clipped = MeanSquared(), MeanSquared()
    windowed.update(values)
    clipped.update(values.clip(-6.5, 6.5))
    np.testing.assert_allclose(windowed.range(Grid(8, (-6.5, 6.5))), clipped.range(), rtol=1e-3)
    assert Grid(8, (-6.5, 6.5)).clipped(windowed.histogram, (-6.5, 6.5)) == 0 < Grid(8).clipped(windowed.histogram, (-6.5, 6.5))


@pytest.mark.parametrize("make", [MinMax, partial(MeanSquared, bins=64), MovingAverage])
def test_per_unit_is_one_observer_for_each_column(make) -> None:
    values = np.random.default_rng(5).normal(0, [1, 2, 3], (4, 50, 3)).astype(np.float32)
    observer = PerUnit(make, 3)
    for batch in values:
        observer.update(batch)
    for unit, span in enumerate(observer.ranges()):
        alone = make()
        for batch in values:
            alone.update(batch[:, unit])
        assert span == alone.range()
    assert observer.range() == (min(low for low, _ in observer.ranges()), max(high for _, high in observer.ranges()))
    with pytest.raises(DataError, match=r"values of shape \[2, 4\], must be \[\.\.\., 3\]"):
        observer.update(np.zeros((2, 4)))


def test_merging_per_unit_merges_each() -> None:
    first, second = np.random.default_rng(6).normal(0, 1, (2, 20, 3))
    one, other, both = (PerUnit(partial(Percentile, bins=64), 3) for _ in range(3))
    one.update(first)
    other.update(second)
    one.merge(other)
    both.update(np.concatenate([first, second]))
    assert one.ranges() == both.ranges()


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_refused_and_not_counted(name: str, bad: float) -> None:
    observer = observed(name, np.array([1.0, 2.0]))
    with pytest.raises(DataError, match=r"value 1 is (nan|inf|-inf|1e\+300), must be finite in float32"):
        observer.update(np.array([5.0, bad]))
    assert observer.range()[1] <= 2


@pytest.mark.parametrize("name", OBSERVERS)
def test_an_empty_stream_has_no_range(name: str) -> None:
    with pytest.raises(DataError, match="no values were observed"):
        observed(name, np.zeros(0)).range()


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("value", [0.0, 3.5, -2.0])
def test_a_constant_has_a_range_that_holds_it(name: str, value: float) -> None:
    low, high = observed(name, np.full(10, value), np.full(3, value)).range()
    assert min(low, 0) <= value <= max(high, 0)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Percentile(fraction=0.2), "fraction: got 0.2, must be in"),
        (lambda: MovingAverage(decay=1.0), "decay: got 1.0, must be in"),
        (lambda: MeanSquared(bins=100), "bins: got 100, must be a power of two in 16…8192"),
        (lambda: PerUnit(MinMax, 0), "units: got 0, must be at least 1"),
        (lambda: Grid(1), "bits: got 1, must be in 2…16"),
        (lambda: Distribution(64).merge(Distribution(32)), "bins: got 32, must be 64, as in"),
    ],
)
def test_wrong_settings_are_told(make, text: str) -> None:
    with pytest.raises(RecipeError, match=text):
        make()


@pytest.mark.parametrize("name", OBSERVERS)
def test_memory_does_not_grow_with_the_stream(name: str) -> None:
    rng = np.random.default_rng(7)
    observer = OBSERVERS[name]()
    tracemalloc.start()
    for _ in range(10):
        observer.update(rng.normal(0, 1, 100_000).astype(np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6
