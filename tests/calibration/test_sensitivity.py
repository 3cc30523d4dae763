"""Sensitivity: one place alone is made coarser, by a law that each change keeps, and the model is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.calibration import Representative, quantize_post_training
from tiedae.calibration.sensitivity import CHANGES, LEVELS, affine, sensitivity, sparse, symmetric
from tiedae.compress import (
    DataError,
    InputError,
    LayerConfig,
    ModelConfig,
    QuantizeConfig,
    Scaling,
    TiedAutoencoder,
    TrainConfig,
    fit,
)

from ..compress.conftest import build_splits

VALUES = arrays(np.float32, st.integers(1, 30), elements=st.floats(-100, 100, width=32))


@pytest.fixture(scope="module")
def trained() -> TiedAutoencoder:
    model = TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), LayerConfig(4)), "sigmoid", 24))
    fit(model, build_splits(), TrainConfig(epochs=6, batch_size=32, learning_rate=1e-2))
    return model


def data_of(count: int = 48, inputs: int = 24) -> Representative:
    x = next(build_splits(inputs).train.batches(np.arange(count), count))
    return Representative(np.arange(count), x, 0, Scaling(), count)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, bits=st.integers(2, 8))
def test_symmetric_levels_are_few_hold_zero_and_the_largest_and_are_the_nearest(values: np.ndarray, bits: int) -> None:
    levels, largest = 2 ** (bits - 1) - 1, np.abs(values).max()
    rounded = symmetric(values, bits)
    steps = rounded / (largest / levels or 1.0)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert np.abs(steps).max(initial=0) <= levels + 1e-3
    assert (np.abs(rounded - values) <= 0.501 * largest / levels + 1e-6).all()
    assert not rounded[values == 0].any()
    np.testing.assert_array_equal(symmetric(-values, bits), -rounded)


@settings(max_examples=60, deadline=None)
@given(values=VALUES, bits=st.integers(2, 8))
def test_affine_levels_are_few_hold_zero_and_are_within_a_step(values: np.ndarray, bits: int) -> None:
    rounded = affine(values, bits)
    span = max(values.max(), 0) - min(values.min(), 0)
    assert len(np.unique(rounded)) <= 2**bits
    assert (np.abs(rounded - values) <= 1.001 * span / (2**bits - 1) + 1e-6).all()
    assert not rounded[values == 0].any()


@settings(max_examples=60, deadline=None)
@given(values=VALUES, fraction=st.floats(0, 1))
def test_sparse_zeroes_its_fraction_of_the_smallest(values: np.ndarray, fraction: float) -> None:
    kept = sparse(values, fraction)
    dropped = np.abs(kept - values) > 0
    assert dropped.sum() <= min(round(fraction * values.size), values.size - 1)
    assert np.count_nonzero(kept == 0) >= min(round(fraction * values.size), values.size - 1)
    assert np.abs(values[dropped]).max(initial=0) <= np.abs(kept[kept != 0]).min(initial=np.inf)


def test_every_place_is_measured_under_every_change_and_level(trained: TiedAutoencoder) -> None:
    rows = sensitivity(trained, data_of())
    places = {
        "kernel bits": ["kernel_0", "kernel_1"],
        "kernel sparsity": ["kernel_0", "kernel_1"],
        "activation bits": ["x", "encoder_0", "code", "decoder_1", "y"],
    }
    expected = [(change, place, level) for change in LEVELS for place in places[change] for level in LEVELS[change]]
    assert [(row.change, row.place, row.level) for row in rows] == expected
    assert set(LEVELS) == set(CHANGES)


@pytest.mark.parametrize("change", ["kernel bits", "kernel sparsity"])
def test_a_kernels_row_is_the_error_of_the_model_with_that_kernel_changed(trained: TiedAutoencoder, change: str) -> None:
    data, level = data_of(), LEVELS[change][2]
    rows = {(row.place, row.level): row for row in sensitivity(trained, data) if row.change == change}
    for kernel in trained.kernels:
        before = kernel.variable.numpy()
        kernel.variable.assign(CHANGES[change](before, level))
        error = np.square(trained(data.inputs).numpy() - data.inputs).sum(axis=1).mean()
        kernel.variable.assign(before)
        row = rows[kernel.name, level]
        assert row.error == pytest.approx(error, rel=1e-4)
        assert row.increase == pytest.approx(error / row.float_error - 1, rel=1e-3, abs=1e-4)


def test_fewer_bits_and_more_zeros_cost_more(trained: TiedAutoencoder) -> None:
    rows = sensitivity(trained, data_of())
    errors = {(row.change, row.place, row.level): row.error for row in rows}
    ends = {"kernel bits": (8, 2), "kernel sparsity": (0.25, 0.9), "activation bits": (8, 4)}
    for change, place in {(row.change, row.place) for row in rows if row.place != "x"}:
        mild, harsh = ends[change]
        assert errors[change, place, mild] < errors[change, place, harsh]


def test_the_model_is_left_as_it_was(trained: TiedAutoencoder) -> None:
    before, tap = {name: variable.numpy() for name, variable in trained.state().items()}, trained.encoder.tap
    first = sensitivity(trained, data_of())
    assert sensitivity(trained, data_of()) == first
    assert trained.encoder.tap is tap
    for name, variable in trained.state().items():
        np.testing.assert_array_equal(variable, before[name])


def test_what_cannot_be_measured_is_said(trained: TiedAutoencoder) -> None:
    bad = data_of()
    bad.inputs[3, 5] = np.nan
    cases = {
        r"samples have shape \[48, 10\], must be \[samples, 24\]": data_of(inputs=10),
        r"samples have shape \[0, 24\]": Representative(np.arange(0), np.zeros((0, 24), np.float32), 0, Scaling(), 0),
        "samples hold values that are not finite": bad,
    }
    for text, data in cases.items():
        with pytest.raises(DataError, match=text):
            sensitivity(trained, data)
    exact = TiedAutoencoder(ModelConfig((LayerConfig(4),), "linear", 24))
    with pytest.raises(DataError, match="reconstructs these samples exactly"):
        sensitivity(exact, Representative(np.arange(2), np.zeros((2, 24), np.float32), 0, Scaling(), 2))
    quantize_post_training(exact, data_of(), QuantizeConfig())
    with pytest.raises(InputError, match=r"the model is quantized already; must be a float model"):
        sensitivity(exact, data_of())
