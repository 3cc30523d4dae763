"""Interleaved inputs: the same function, and neighbours in the first kernel that are far apart in the sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.compress import InputError, LayerConfig, ModelConfig, RecipeError, TiedAutoencoder, interleave, shrink
from tiedae.compress.symmetries import input_order

LAYERS = (LayerConfig(8, "relu"), LayerConfig(3))
X = np.random.default_rng(0).random((7, 12)).astype(np.float32)


def model(groups: int = 1) -> TiedAutoencoder:
    made = TiedAutoencoder(ModelConfig(LAYERS, "sigmoid", 12, groups), seed=3)
    rng = np.random.default_rng(4)
    for variable in made.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return made


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("before", [1, 4])
def test_the_function_stays_and_comes_back(before: int, groups: int) -> None:
    start = model(before)
    mask = np.random.default_rng(1).random((12, 8)) < 0.5
    start.kernels[0].set_mask(mask)
    other = interleave(start, groups)
    assert other.config.interleave == groups
    for got, expected in zip(other.encode_decode(X), start.encode_decode(X), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    again = interleave(other, before).state()
    for name, variable in start.state().items():
        np.testing.assert_array_equal(again[name], variable)


def test_rows_of_a_tile_are_inputs_of_different_parts() -> None:
    assert input_order(12, 4).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    start = model()
    rows = start.kernels[0].variable.numpy()[[0, 3, 6, 9]]
    np.testing.assert_array_equal(interleave(start, 4).kernels[0].variable[:4], rows)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), groups=st.integers(1, 9))
def test_so_many_parts_undo_what_the_others_did(rows: int, groups: int) -> None:
    order, back = input_order(rows * groups, groups), input_order(rows * groups, rows)
    np.testing.assert_array_equal(order[back], np.arange(rows * groups))


def test_what_cannot_be_interleaved_is_named() -> None:
    with pytest.raises(RecipeError, match=r"interleave: got 5, must be a divisor of the 12 inputs"):
        interleave(model(), 5)
    with pytest.raises(RecipeError, match=r"interleave: got 0, must be an integer, 1 or more"):
        ModelConfig(LAYERS, interleave=0)
    quantized = model()
    quantized.quantize_kernels("tensor")
    with pytest.raises(InputError, match=r"kernel_0 is quantized or clustered; interleave the inputs before"):
        interleave(quantized, 4)


def test_units_leave_an_interleaved_model() -> None:
    start = model(4)
    mask = np.ones((12, 8), bool)
    mask[:, [1, 6]] = False
    for kernel, each in zip(start.kernels, (mask, np.repeat(mask[:1].T, 3, axis=1)), strict=True):
        kernel.set_mask(each)
    smaller = shrink(start)
    assert (smaller.config.widths, smaller.config.interleave) == ((12, 6, 3), 4)
    for got, expected in zip(smaller.encode_decode(X), start.encode_decode(X), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_an_archive_keeps_it(tmp_path) -> None:
    start = model(4)
    start.save(tmp_path / "model.safetensors")
    loaded = TiedAutoencoder.load(tmp_path / "model.safetensors")
    assert loaded.config.interleave == 4
    np.testing.assert_array_equal(loaded(X), start(X))
