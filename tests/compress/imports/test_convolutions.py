"""Files of convolutional autoencoders: what they compute, which of their pairs are tied, and what no tied autoencoder is."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.compress.imports.chain import Chain, Refused
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.live_chain import chain_of_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.compress.imports.pairs import pairs

from .conv_models import IMAGE, MODELS, image, sequential
from .hand_made import KERAS, SUFFIXES, library


def read(model: Any, folder: Path, suffix: str = ".keras") -> Chain:
    path = folder / f"model{suffix}"
    with warnings.catch_warnings(action="ignore"):
        model.save(path)
    return read_model(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("keras", KERAS)
@pytest.mark.parametrize("name", MODELS)
def test_a_file_computes_what_keras_does_and_says_what_is_tied(
    name: str, keras: str, tied: bool, suffix: str, tmp_path: Path
) -> None:
    model = MODELS[name](keras, tied=tied)
    chain = read(model, tmp_path, suffix)
    x = np.random.default_rng(0).normal(size=(3, *chain.shape)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(model(x)), atol=2e-5)
    assert [pair.status for pair in pairs(chain)] == ["tied" if tied else "untied"] * (len(chain.products) // 2)
    found = mirror(chain, tie=None)
    assert found.untied is not tied and found.widths[0] == x[0].size


def test_layers_are_those_of_a_recipe(tmp_path: Path) -> None:
    config = mirror(read(image("keras"), tmp_path), tie=True).config
    assert [layer.kind for layer in config.layers] == ["conv2d", "conv2d", "dense"]
    assert config.shapes == (IMAGE, (4, 6, 4), (2, 2, 6), (5,))
    assert config.layers[2].flatten and config.layers[0].batch_norm and config.layers[0].pools == (2, 2)


def test_a_convolution_behind_upsampling_is_a_transposed_one_for_a_tie(tmp_path: Path) -> None:
    chain = read(image("keras", upsampled=True), tmp_path)
    last = mirror(chain, tie=True).decoder[-1]
    z = np.random.default_rng(0).normal(size=(2, 8, 12, 4))
    np.testing.assert_allclose(last.apply(z), chain.products[-1].apply(z), atol=1e-12)
    with pytest.raises(InputError, match="is a convolution, must be the transposed convolution over the kernel of first"):
        mirror(chain)


@pytest.mark.ci
@pytest.mark.parametrize("keras", KERAS)
def test_a_live_model_is_read_by_its_configuration(keras: str) -> None:
    model = image(keras)
    chain = chain_of_model(model)
    assert mirror(chain, tie=None).untied
    x = np.random.default_rng(0).normal(size=(3, *IMAGE)).astype(np.float32)
    np.testing.assert_allclose(chain(x), np.asarray(model(x)), atol=2e-5)


CONV: dict[str, Any] = {"filters": 4, "kernel_size": 3, "padding": "same"}
REFUSED = {
    "dilated": ("Conv2D", CONV | {"dilation_rate": 2}, "a larger kernel or strides would do"),
    "groups": ("Conv2D", CONV | {"groups": 2}, "a convolution of all channels would do"),
    "gaps": ("Conv2D", CONV | {"strides": 4}, "strides of at most the kernel would do"),
    "channels first": ("Conv2D", CONV | {"data_format": "channels_first"}, "data_format='channels_last' would do"),
    "output padding": ("Conv2DTranspose", CONV | {"strides": 2, "output_padding": 1}, "has output_padding"),
    "overlapping pool": ("MaxPooling2D", {"pool_size": 3, "strides": 2}, "strides of the pool's size would do"),
    "average": ("AveragePooling2D", {"pool_size": 2}, "MaxPooling or strides would do"),
    "bilinear": ("UpSampling2D", {"interpolation": "bilinear"}, "interpolation nearest would do"),
    "separable": ("SeparableConv2D", CONV, "Conv1D or Conv2D would do"),
    "edges": ("ZeroPadding2D", {}, 'padding "same" of the convolution would do'),
    "all places": ("GlobalMaxPooling2D", {}, "Flatten would do"),
}


@pytest.mark.parametrize(("kind", "options", "what_would_do"), REFUSED.values(), ids=REFUSED)
def test_layers_that_no_chain_has_are_refused_by_name(kind: str, options: Any, what_would_do: str, tmp_path: Path) -> None:
    model = sequential("keras", (8, 12, 4), [getattr(library("keras").layers, kind)(name="it", **options)])
    (layer,) = read(model, tmp_path).layers
    assert isinstance(layer, Refused) and layer.title == f"it ({kind})" and what_would_do in layer.reason


def test_a_causal_convolution_is_refused(tmp_path: Path) -> None:
    layer = library("keras").layers.Conv1D(2, 3, padding="causal", name="it")
    with pytest.raises(InputError, match=r'it \(Conv1D\): has padding causal; padding "same" or "valid" would do'):
        read(sequential("keras", (8, 2), [layer]), tmp_path).require_readable()


def unmirrored(name: str) -> tuple[tuple[int, ...], list[Any]]:
    """A sample's shape and the layers of a model that does not mirror itself."""
    kinds = library("keras").layers
    conv, turned = kinds.Conv2D(4, 3, 2, "same", name="conv"), kinds.Conv2DTranspose(1, 3, 2, "same", name="turned")
    return {
        "size": ((7, 8, 1), [conv, turned]),
        "window": ((8, 8, 1), [conv, kinds.Conv2DTranspose(1, 5, 2, "same", name="turned")]),
        "strides": ((8, 8, 1), [kinds.Conv2D(4, 3, 1, "same"), kinds.MaxPooling2D(), turned]),
        "pool": ((7, 8, 1), [kinds.Conv2D(4, 3, 1, "same"), kinds.MaxPooling2D(name="pool"), kinds.UpSampling2D(), turned]),
        "encoder": ((8, 8, 1), [kinds.Conv2DTranspose(4, 3, 1, "same", name="up"), kinds.Conv2D(1, 3, 1, "same")]),
        "upsampling": ((8, 8, 1), [kinds.UpSampling2D(name="up"), kinds.Conv2D(4, 3, 2, "same"), turned]),
        "end": ((8, 8, 1), [conv, kinds.Conv2DTranspose(1, 3, 1, "same"), kinds.UpSampling2D(name="up")]),
        "norm": (
            (8, 8, 1),
            [kinds.Conv2D(4, 2, 1, "same"), kinds.MaxPooling2D(), kinds.BatchNormalization(name="norm"), turned],
        ),
    }[name]


UNMIRRORED = {
    "size": r"turned \(Conv2DTranspose\): gives \[8, 8, 1\], must be \[7, 8, 1\] as of conv",
    "window": r"turned \(Conv2DTranspose\): has a kernel \[5, 5, 1, 4\].*, must be has a kernel \[3, 3, 1, 4\]",
    "strides": r"turned \(Conv2DTranspose\): has a kernel .* strides \[2, 2\]",
    "pool": r"pool \(MaxPooling2D\): takes windows of \[2, 2\] of \[7, 8\], must divide them",
    "encoder": r"up \(Conv2DTranspose\): is in the encoder, must be a convolution",
    "upsampling": r"turned \(Conv2DTranspose\): gives \[16, 16, 1\], must be \[8, 8, 1\]",
    "end": r"up \(UpSampling2D\): must be directly in front of a transposed convolution",
    "norm": r"norm \(BatchNormalization\): normalizes max pooling, must be between a product and its activation",
}


@pytest.mark.parametrize(("name", "message"), UNMIRRORED.items(), ids=UNMIRRORED)
def test_a_model_that_does_not_mirror_itself_is_refused_by_layer(name: str, message: str, tmp_path: Path) -> None:
    chain = read(sequential("keras", *unmirrored(name)), tmp_path)
    with pytest.raises(InputError, match=message):
        mirror(chain, tie=True)
