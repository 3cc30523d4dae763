"""Gains of batch normalization: which have a root, and whose signs a kernel's column can take."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.compress.imports.chain import BatchNorm, ChainProduct, stored
from tiedae.compress.imports.norms import Normalized, normalization, oriented
from tiedae.compress.weights import Norm


def product(units: int) -> ChainProduct:
    return ChainProduct("dense", "Dense", stored("kernel", np.ones((3, units), np.float32)))


def norm(variance: list[float], epsilon: float) -> BatchNorm:
    mean = stored("mean", np.zeros(len(variance), np.float32))
    return BatchNorm("norm", "BatchNormalization", None, None, mean, stored("variance", np.float32(variance)), epsilon)


def gains(*values: float) -> Normalized:
    size = len(values)
    return Normalized("norm (BatchNormalization)", Norm(np.array(values), np.ones(size), np.ones(size)), np.ones(size))


@pytest.mark.parametrize("epsilon", [0.0, -0.5])
def test_a_variance_without_a_root_is_refused(epsilon: float) -> None:
    layer = norm([1.0, -epsilon], epsilon)
    with pytest.raises(InputError, match=r"m: norm \(BatchNormalization\): variance \+ epsilon is 0, must be above 0"):
        normalization("m", product(2), layer, np.zeros(2))


def test_a_small_variance_has_a_root() -> None:
    found = normalization("m", product(2), norm([1.0, 4.0], 0.0), np.zeros(2))
    np.testing.assert_allclose(found.norm.gain, [1.0, 0.5])


def test_a_column_takes_the_sign_that_all_its_gains_have() -> None:
    sign, encode, decode = oriented("m", "tanh", gains(-2.0, 3.0), gains(-1.0, 1.0, -4.0, 1.0))
    assert sign.tolist() == [-1.0, 1.0] and decode is not None
    assert encode.norm.gain.tolist() == [2.0, 3.0] and encode.norm.mean.tolist() == [-1.0, 1.0]
    assert decode.norm.gain.tolist() == [1.0, 1.0, 4.0, 1.0] and decode.bias.tolist() == [-1.0, 1.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("encode", "decode", "got"),
    [
        (gains(-2.0, 3.0), gains(-1.0, 1.0, 4.0, 1.0), "channel 0 has the gain -2"),
        (gains(2.0, 3.0), gains(-1.0, 1.0, -4.0, 1.0), "channel 0 has the gain -1"),
        (gains(2.0, 0.0), gains(1.0, 1.0), "channel 1 has the gain 0"),
        (gains(2.0, -1.0), None, "channel 1 has the gain -1"),
    ],
)
def test_a_gain_whose_sign_no_column_can_take_is_refused(encode: Normalized, decode: Normalized | None, got: str) -> None:
    """Values of one channel that have several signs, one direction alone, none at all, and the code's."""
    with pytest.raises(InputError, match=rf"m: norm \(BatchNormalization\): {got}, must be above 0"):
        oriented("m", "tanh", encode, decode)
