"""What live models prove of their ties, in Keras 2 and 3 in one process; no variable is changed, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import InputError, NotBuiltError
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.live import audit
from tiedae.compress.imports.live_calls import array_of, calls_of, random_samples, variables_of
from tiedae.compress.imports.pairs import Pair, pairs

from ...variants import every
from .hand_made import KERAS, SUFFIXES, VARIANTS, WIDTHS, Variant, chain, encoder, layers, library, mirrored, operations


def bits(model: Any) -> list[bytes]:
    return [array_of(variable).tobytes() for variable in model.weights]


def statuses(found: tuple[Pair, ...]) -> list[str]:
    return [pair.status for pair in found]


def title(value: Any) -> str | None:
    return value.name if isinstance(value, Variant) else None


@pytest.mark.parametrize(("variant", "keras"), every(5, [(v, keras) for v in VARIANTS for keras in KERAS]), ids=title)
def test_a_live_model_proves_what_it_does(variant: Variant, keras: str) -> None:
    model = variant.model(keras)
    before = bits(model)
    assert statuses(audit(model)) == [variant.live] * 2
    assert bits(model) == before


SAVED = [(v, keras, suffix) for v in VARIANTS for keras in KERAS for suffix in SUFFIXES]


@pytest.mark.parametrize(("variant", "keras", "suffix"), every(5, SAVED), ids=title)
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")
def test_a_file_proves_what_it_holds(variant: Variant, keras: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    variant.model(keras).save(path)
    assert set(statuses(pairs(read_model(path)))) == {variant.saved}


def glued(keras: str, *, tied: bool) -> Any:
    """A model whose decoder is code between layers; untied, it multiplies by a variable of its own."""
    base, ops = library(keras), operations(library(keras))

    class Glued(base.Model):
        def __init__(self) -> None:
            super().__init__(name="glued")
            self.dense = base.layers.Dense(5, activation="tanh", name="dense")

        def build(self, shape: Any) -> None:
            self.dense.build(shape)
            self.own = self.add_weight(shape=(5, 24), initializer="glorot_uniform", name="own")
            self.built = True

        def call(self, x: Any) -> Any:
            return ops.matmul(self.dense(x), ops.transpose(self.dense.kernel) if tied else self.own)

    model = Glued()
    model.build((None, 24))
    return model


def functional(keras: str) -> Any:
    """The transpose between layers of a functional model: in Keras 2 part of the graph, in Keras 3 computed once."""
    base = library(keras)
    dense, x = base.layers.Dense(5, name="dense"), base.layers.Input((24,))
    z = dense(x)
    if keras == "tf_keras":
        return base.Model(x, operations(base).matmul(z, dense.kernel, transpose_b=True))
    return base.Model(x, base.ops.matmul(z, base.ops.transpose(dense.kernel)))


def square(keras: str) -> Any:
    """Its largest weights are on the diagonal, where a kernel and its transpose are the same."""
    dense = library(keras).layers.Dense(24, activation="tanh", name="dense")
    model = chain(library(keras), [dense, layers(keras).DenseTied(dense, "relu")])
    dense.kernel.assign(array_of(dense.kernel) + 3 * np.eye(24, dtype=np.float32))
    return model


def pruned(keras: str) -> Any:
    """Half of the kernel is zero, held there by a mask in the decoder."""
    dense, ops = library(keras).layers.Dense(5, name="dense"), operations(library(keras))

    class Masked(library(keras).layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.matmul(x, ops.transpose(dense.kernel * mask))

    mask = (np.random.default_rng(0).uniform(size=(24, 5)) < 0.5).astype(np.float32)
    return chain(library(keras), [dense, Masked()])


def images(keras: str) -> Any:
    shapes, (wide, code), own = library(keras).layers, encoder(library(keras)), layers(keras).DenseTranspose
    layout = [shapes.Input((4, 6)), shapes.Flatten(), wide, code, own(code, "elu"), own(wide), shapes.Reshape((4, 6))]
    return library(keras).Sequential(layout)


def double(keras: str) -> Any:
    with_floats = {"dtype": "float64"}
    dense = library(keras).layers.Dense(5, name="dense", **with_floats)
    return chain(library(keras), [dense, layers(keras).DenseTied(dense, **with_floats)])


OTHERS = [
    (lambda keras: glued(keras, tied=True), ["tied"]),
    (lambda keras: glued(keras, tied=False), ["untied"]),
    (square, ["tied"]),
    (pruned, ["tied"]),
    (images, ["tied", "tied"]),
    (double, ["tied"]),
]


@pytest.mark.parametrize(("make", "expected", "keras"), every(2, [(*other, keras) for other in OTHERS for keras in KERAS]))
def test_ties_in_other_places(make: Any, expected: list[str], keras: str) -> None:
    model = make(keras)
    samples = np.random.default_rng(0).normal(0, 1, (64, 24)).astype(np.float32)
    assert statuses(audit(model, samples if model.name == "glued" else None)) == expected


@pytest.mark.parametrize(("keras", "expected"), [("tf_keras", "tied"), ("keras", "equal copy")])
def test_a_transpose_between_layers_is_what_keras_makes_of_it(keras: str, expected: str) -> None:
    assert statuses(audit(functional(keras))) == [expected]


def test_a_snapshot_stays_behind_when_the_encoder_is_trained() -> None:
    model = mirrored("Snapshot")("keras")
    model.layers[0].kernel.assign(model.layers[0].kernel * 1.05)
    model.layers[1].kernel.assign(-model.layers[1].kernel)
    assert statuses(audit(model)) == ["near", "untied"]


def test_a_decoder_in_one_layer_uses_the_encoders_kernels() -> None:
    keras, ops, held = library("keras"), operations(library("keras")), encoder(library("keras"))

    class Decoder(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            hidden = ops.relu(ops.matmul(x, ops.transpose(held[1].kernel)))
            return ops.sigmoid(ops.matmul(hidden, ops.transpose(held[0].kernel)))

    found = audit(chain(keras, [*held, Decoder(name="decoder")]))
    assert [(pair.encoder, pair.decoder, pair.status) for pair in found] == [
        ("wide (Dense)", "decoder/kernel (Decoder)", "tied"),
        ("code (Dense)", "decoder/kernel (Decoder)", "tied"),
    ]


def test_what_does_not_react_is_unknown_with_the_reason() -> None:
    found = audit(next(v for v in VARIANTS if v.live == "unknown").model("keras"))
    assert found[0].text == (
        "wide (Dense) and out_1 (DenseTied): unknown: out_1 (DenseTied) reacts to none of the inputs and weights that were "
        "tried, as behind a relu that is never active"
    )


class Broken(Exception):
    """What a layer raises."""


@pytest.mark.parametrize("keras", KERAS)
@pytest.mark.parametrize("kind", ["DenseTied", "Subtracting"])
def test_a_layer_that_raises_leaves_every_bit(keras: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mirrored(kind)(keras)
    layer, before = model.layers[-1], bits(model)
    own = type(layer).call
    for last in (1, 2, 3):
        calls = iter(range(last))

        def call(self: Any, x: Any, calls: Iterator[int] = calls) -> Any:
            if self is layer and next(calls, None) is None:
                raise Broken
            return own(self, x)

        monkeypatch.setattr(type(layer), "call", call)
        with pytest.raises(Broken):
            audit(model)
        assert bits(model) == before
        assert "call" not in vars(layer)


WIDE = st.lists(st.integers(2, 40), min_size=2, max_size=4)


@settings(max_examples=5, deadline=None)
@given(widths=WIDE, activation=st.sampled_from(["relu", "tanh", "elu", "sigmoid"]), seed=st.integers(0, 99), tied=st.booleans())
def test_ties_are_found_in_models_of_any_width(widths: list[int], activation: str, seed: int, tied: bool) -> None:
    keras = library("keras")
    keras.utils.set_random_seed(seed)
    held = [keras.layers.Dense(units, activation=activation) for units in widths[1:]]
    sizes = list(zip(held, widths, strict=False))[::-1]
    dense = keras.layers.Dense
    outputs = [layers("keras").DenseTied(layer, activation) if tied else dense(units, activation) for layer, units in sizes]
    model = keras.Sequential([keras.layers.Input((widths[0],)), *held, *outputs])
    before = bits(model)
    found = statuses(audit(model))
    assert len(found) == len(held) and ("tied" in found, "untied" in found) == (tied, not tied)
    assert bits(model) == before


def test_bits_that_are_no_numbers_are_restored_too() -> None:
    model = mirrored("DenseTied")("keras")
    kernel = array_of(model.layers[0].kernel)
    kernel[0, 0] = np.array([0x7FC01234], np.uint32).view(np.float32)[0]
    model.layers[0].kernel.assign(kernel)
    before = bits(model)
    audit(model)
    assert bits(model) == before


def test_calls_are_taken_apart_as_far_as_they_are_chains() -> None:
    model = next(v for v in VARIANTS if v.name == "nested Sequentials").model("keras")
    steps = calls_of(model, random_samples(model)).steps
    assert [step.layer.name for step in steps] == ["wide", "code", "out_0", "out_1"]
    assert len(variables_of([model, *(step.layer for step in steps)])) == len(model.weights)


def test_what_cannot_be_audited_is_one_line() -> None:
    keras = library("keras")
    with pytest.raises(InputError, match=r"^model: got ndarray, must be a model of Keras 2 or 3$"):
        audit(np.zeros(3))
    with pytest.raises(NotBuiltError, match=r"^empty: has no variables yet: build it, or call it on samples first$"):
        audit(keras.Sequential([keras.layers.Dense(3)], name="empty"))
    with pytest.raises(InputError, match=r"^glued: its input's shape is None: give samples that it takes, inputs=x\[:128\]$"):
        audit(glued("keras", tied=True))
    assert WIDTHS[0] == 24
