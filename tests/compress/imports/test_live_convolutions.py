"""Hand-made layers of convolutions in live models: what of them is tied, by what they do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tiedae.compress.imports.live import audit
from tiedae.compress.imports.live_chain import chain_of_model

from ...variants import every
from .conv_models import MODELS, sequential
from .hand_made import KERAS, library

SHAPE = (8, 8, 2)
Kernel = Callable[[Any], Any]


def transposed(keras: str, held: Any, kernel: Kernel | None, *, in_build: bool = False, by_conv: bool = False) -> Any:
    """A layer over the kernel of another one: as it is (None), or by a function of it, in `build` or in each call."""

    class Turned(library(keras).layers.Layer):
        def build(self, shape: Any) -> None:
            self.bias = self.add_weight(shape=(2,), initializer="zeros", name="bias")
            self.copy = self.taken() if in_build else None
            super().build(shape)

        def taken(self) -> Any:
            whole = tf.convert_to_tensor(held.kernel)
            return whole if kernel is None else kernel(whole)

        def call(self, x: Any) -> Any:
            filters = self.taken() if self.copy is None else self.copy
            if by_conv:
                return tf.nn.relu(tf.nn.conv2d(x, filters, held.strides, "SAME") + self.bias)
            shape = (tf.shape(x)[0], *SHAPE)
            return tf.nn.relu(tf.nn.conv2d_transpose(x, filters, shape, held.strides, "SAME") + self.bias)

    return Turned(name="turned")


def model(keras: str, *, strides: int = 2, **options: Any) -> Any:
    conv = library(keras).layers.Conv2D(4, 3, strides, "same", activation="relu", name="conv")
    return sequential(keras, SHAPE, [conv, transposed(keras, conv, **options)])


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "as it is": ({"kernel": None}, "tied", "one variable"),
    "a copy in build": ({"kernel": None, "in_build": True}, "equal copy", "two variables"),
    "height and width": ({"kernel": lambda w: tf.transpose(w, (1, 0, 2, 3))}, "unknown", "is not the transpose"),
    "twice": ({"kernel": lambda w: w * w}, "unknown", "computes with a kernel what is no convolution"),
    "reversed": (
        {"strides": 1, "by_conv": True, "kernel": lambda w: tf.transpose(tf.reverse(w, (0, 1)), (0, 1, 3, 2))},
        "tied",
        "one variable",
    ),
    "channels": (
        {"strides": 1, "by_conv": True, "kernel": lambda w: tf.transpose(w, (0, 1, 3, 2))},
        "unknown",
        "with axes 0, 1, 3, 2, which is not the transpose of its convolution",
    ),
}


@pytest.mark.parametrize(("keras", "case"), every(3, [(keras, case) for case in CASES for keras in KERAS]))
def test_a_hand_made_transpose_is_what_it_does(keras: str, case: str) -> None:
    options, status, reason = CASES[case]
    net = model(keras, **options)
    before = [np.asarray(each) for each in net.weights]
    (pair,) = audit(net)
    assert pair.status == status and reason in pair.reason, pair.text
    for each, values in zip(net.weights, before, strict=True):
        assert np.array_equal(np.asarray(each), values), "every variable has its bits again"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keras", every(2, KERAS))
def test_a_tied_model_of_own_layers_is_tied_and_read(name: str, keras: str) -> None:
    net = MODELS[name](keras, tied=True)
    found = audit(net)
    assert [pair.status for pair in found] == ["tied"] * len(found) and len(found) == (3 if name == "image" else 2)
    chain = chain_of_model(net)
    x = np.random.default_rng(0).normal(size=(3, *chain.shape)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(net(x)), atol=2e-5)


def test_a_change_of_the_encoder_is_one_of_the_import() -> None:
    net = model("keras", kernel=None)
    chain = chain_of_model(net)
    x = np.random.default_rng(0).normal(size=(3, *SHAPE)).astype(np.float32)
    net.layers[0].kernel.assign(2 * net.layers[0].kernel)
    np.testing.assert_allclose(chain(x), np.asarray(net(x)), atol=2e-5)
