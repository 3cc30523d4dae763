"""SavedModels as chains: what they compute against TensorFlow, ties by resource, and one line for each bad folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.compress.imports.chain import Affine, BatchNorm, ChainFunction, ChainProduct, ChainReshape
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.pairs import pairs

from ...variants import every
from .saved_models import BETWEEN, DATA, PRODUCTS, Net, Tensor, close, dense, tf, tied


@pytest.mark.parametrize("seed", every(20, range(20)))
def test_a_chain_computes_what_tensorflow_computes(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    layers = [
        layer
        for _ in range(3)
        for layer in (
            *(BETWEEN[i] for i in rng.permutation(len(BETWEEN))[: rng.integers(0, 4)]),
            PRODUCTS[rng.integers(len(PRODUCTS))],
        )
    ]
    path = Net(*layers, seed=seed).save(tmp_path)
    chain = read_model(path)
    chain.require_readable()
    assert close(path, chain)


def test_every_operation_is_read(tmp_path: Path) -> None:
    path = Net(*BETWEEN).save(tmp_path)
    chain = read_model(path)
    chain.require_readable()
    assert close(path, chain)
    assert sum(isinstance(layer, BatchNorm) for layer in chain.layers) == 5


@pytest.mark.parametrize("transpose", [True, False])
def test_one_resource_in_both_directions_is_one_variable(transpose: bool, tmp_path: Path) -> None:
    path = Net(tied(transpose=transpose)).save(tmp_path)
    chain = read_model(path)
    assert [type(layer) for layer in chain.layers] == [ChainProduct, ChainFunction, ChainProduct]
    encoder, decoder = chain.products
    assert encoder.kernel == decoder.kernel
    assert (encoder.transposed, decoder.transposed) == (False, True)
    assert (decoder.before is None) == transpose
    assert [pair.status for pair in pairs(chain)] == ["tied"]
    assert close(path, chain)


def test_equal_variables_are_two(tmp_path: Path) -> None:
    def copied(net: Net, x: Tensor) -> Tensor:
        first, second = net.array(8, 3), net.array(8, 3)
        second.assign(first) if tf.executing_eagerly() else None
        return tf.matmul(tf.matmul(x, first), second, transpose_b=True)

    chain = read_model(Net(copied).save(tmp_path))
    assert [pair.status for pair in pairs(chain)] == ["equal copy"]


def test_integers_that_the_model_scales(tmp_path: Path) -> None:
    path = Net(lambda _, x: tf.cast(x, tf.float32) / 255.0, dense(3)).save(tmp_path, dtype=tf.uint8)
    chain = read_model(path)
    assert isinstance(chain.layers[0], Affine)
    assert close(path, chain, dtype=np.uint8)


def keras_net(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((2, 4)),
            layers.Flatten(),
            layers.Dense(6, activation="relu6"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(8, activation="sigmoid"),
            layers.Reshape((2, 4)),
        ]
    )


def keras3(folder: Path) -> Path:
    import keras

    keras_net(keras).export(str(folder / "net"), verbose=False)
    return folder / "net"


def keras2(folder: Path) -> Path:
    import tf_keras

    keras_net(tf_keras).save(str(folder / "net"), save_format="tf")
    return folder / "net"


@pytest.mark.parametrize("save", [keras3, pytest.param(keras2, marks=pytest.mark.ci)])
def test_keras_models(save: Callable[[Path], Path], tmp_path: Path) -> None:
    path = save(tmp_path)
    chain = read_model(path)
    assert [type(layer) for layer in chain.layers] == [
        ChainReshape,
        ChainProduct,
        ChainFunction,
        BatchNorm,
        ChainProduct,
        ChainFunction,
        ChainReshape,
    ]
    assert chain.shape == (2, 4) and chain.format == "SavedModel"
    assert close(path, chain)


@pytest.mark.skipif(not DATA.is_dir(), reason="TIEDAE_DATA is not set: no real files")
def test_a_real_file_without_keras_metadata() -> None:
    path = DATA / "gearbox" / "saved_model"
    chain = read_model(path)
    chain.require_readable()
    assert [layer.widths for layer in chain.products] == [(16, 8), (8, 4), (4, 4), (4, 8), (8, 16)]
    assert close(path, chain)
