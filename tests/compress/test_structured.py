"""Units that leave the model: the function stays, in both directions, and so do the ties."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import LayerConfig, ModelConfig, PruneConfig, QuantizeConfig, TiedAutoencoder, TrainConfig, prune, shrink
from tiedae.compress.patterns import PATTERNS
from tiedae.config.config import Granularity
from tiedae.export import execute, lower

TRAIN = TrainConfig(epochs=2, batch_size=32)


def model_of(use_bias: bool = True, seed: int = 0) -> TiedAutoencoder:
    """24-12-8-4 with random biases, so that an emptied unit is not silent."""
    layers = (
        LayerConfig(12, "relu", use_bias, dropout=0.1),
        LayerConfig(8, "tanh", use_bias),
        LayerConfig(4, "linear", use_bias),
    )
    model = TiedAutoencoder(ModelConfig(layers, "sigmoid", 24), seed=seed)
    rng = np.random.default_rng(seed)
    for name, variable in model.state().items():
        if name.endswith(".bias"):
            variable.assign(rng.normal(size=variable.shape))
    return model


@settings(max_examples=12, deadline=None)
@given(
    fraction=st.sampled_from([0.1, 0.5, 0.9]),
    scope=st.sampled_from(["layer", "global"]),
    code=st.booleans(),
    use_bias=st.booleans(),
    seed=st.integers(0, 50),
)
def test_without_its_emptied_units_a_model_is_the_same_function_both_ways(
    fraction: float, scope: str, code: bool, use_bias: bool, seed: int
) -> None:
    model = model_of(use_bias, seed)
    scores = [np.abs(kernel.variable.numpy()) for kernel in model.kernels]
    masks = PATTERNS["structured"](scores, fraction, PruneConfig("structured", fraction, code=code, scope=scope))
    for kernel, mask in zip(model.kernels, masks, strict=True):
        kernel.set_mask(mask)
    smaller = shrink(model)
    kept = masks[-1].any(axis=0)
    x = np.random.default_rng(seed).random((16, 24), np.float32)
    codes = model.encoder(x).numpy()
    np.testing.assert_allclose(smaller.encoder(x), codes[:, kept], atol=1e-5)
    np.testing.assert_allclose(smaller.decoder(codes[:, kept]), model.decoder(codes), atol=1e-5)
    np.testing.assert_allclose(smaller(x), model(x), atol=1e-5)
    assert smaller.count_params() <= model.count_params()
    assert all(kernel.mask is None for kernel in smaller.kernels) or smaller is model


def test_what_stays_keeps_its_mask_and_its_ties(tmp_path: Path) -> None:
    model = model_of()
    masks = [kernel.variable.numpy() > -0.2 for kernel in model.kernels]
    masks[0][:, 3] = False
    masks[1][3] = False
    for kernel, mask in zip(model.kernels, masks, strict=True):
        kernel.set_mask(mask)
    smaller = shrink(model)
    assert smaller.config.widths == (24, 11, 8, 4)
    np.testing.assert_array_equal(smaller.masks()["kernel_0"], np.delete(masks[0], 3, axis=1))
    np.testing.assert_array_equal(smaller.masks()["kernel_1"], np.delete(masks[1], 3, axis=0))
    assert [layer.kernel for layer in smaller.encoder.stack] == [layer.kernel for layer in reversed(smaller.decoder.stack)]
    smaller.save(tmp_path / "model.safetensors")
    again = TiedAutoencoder.load(tmp_path / "model.safetensors")
    x = np.random.default_rng(0).random((4, 24), np.float32)
    np.testing.assert_array_equal(again(x), smaller(x))


def test_a_unit_that_one_direction_still_uses_stays() -> None:
    model = model_of()
    masks = [np.ones(kernel.variable.shape) for kernel in model.kernels]
    masks[0][:, 3] = 0
    masks[1][:, 5] = 0
    for kernel, mask in zip(model.kernels, masks, strict=True):
        kernel.set_mask(mask)
    assert shrink(model) is model


@pytest.mark.parametrize(("code", "widths"), [(False, [24, 6, 4, 4]), (True, [24, 6, 4, 2])])
def test_half_the_units_leave_the_program_too(make_splits, code: bool, widths: list[int]) -> None:
    splits, model = make_splits(), model_of()
    prune(model, splits, PruneConfig("structured", code=code, epochs=2), TRAIN)
    smaller = shrink(model)
    assert list(smaller.config.widths) == widths
    x = splits.test.take(range(8))
    for granularity in get_args(Granularity):
        small = smaller.copy()
        config = QuantizeConfig(granularity=granularity, refinements=())
        quantize_post_training(small, representative(splits.train, 64), config)
        program = lower(small, "smaller", layout="split")
        assert [(kernel.inputs, kernel.units) for kernel in program.kernels.values()] == list(pairwise(widths))
        y = execute(program, "reconstruct", x)["y"]
        np.testing.assert_allclose(y / 255, small(splits.scaling.apply(x)), atol=0.05, err_msg=granularity)
