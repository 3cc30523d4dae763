"""Chains of layers as tied autoencoders: what a tied network computes they compute, and what is none is refused by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from tiedae.compress import InputError
from tiedae.compress.imports.chain import (
    FUNCTIONS,
    Affine,
    BatchNorm,
    Chain,
    ChainArray,
    ChainFunction,
    ChainLayer,
    ChainProduct,
    ChainReshape,
    Refused,
    stored,
)
from tiedae.compress.imports.mirrored import Mirror, mirror
from tiedae.compress.network import TiedNetwork
from tiedae.config.layer_kinds import Activation
from tiedae.config.scaling import Scaling

from .model_files import chain_of

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (17, 12))


def array(name: str, *shape: int) -> ChainArray:
    return stored(name, RNG.normal(0, 0.5, shape).astype(np.float32))


K0, K1 = array("dense/kernel", 12, 8), array("dense_1/kernel", 8, 3)
BIASES = {name: array(name, size) for name, size in (("b0", 8), ("b1", 3), ("c1", 8), ("c0", 12))}


def relu(name: str) -> ChainFunction:
    return ChainFunction(name, "Dense", "relu")


def layers(**changes: Any) -> list[ChainLayer]:
    """A tied chain 12-8-3-8-12, relu and sigmoid; `changes` in place of its layers, None for none of them."""
    named: dict[str, ChainLayer | None] = {
        "head": None,
        "dense": ChainProduct("dense", "Dense", K0, BIASES["b0"]),
        "norm": None,
        "relu": relu("dense"),
        "dense_1": ChainProduct("dense_1", "Dense", K1, BIASES["b1"]),
        "norm_1": None,
        "code": None,
        "tied_1": ChainProduct("tied_1", "DenseTied", K1, BIASES["c1"], transposed=True),
        "norm_2": None,
        "relu_1": relu("tied_1"),
        "tied": ChainProduct("tied", "DenseTied", K0, BIASES["c0"], transposed=True),
        "norm_3": None,
        "sigmoid": ChainFunction("tied", "DenseTied", "sigmoid"),
        "tail": None,
    }
    return [layer for layer in (named | changes).values() if layer is not None]


def chain(shape: tuple[int, ...] = (12,), **changes: Any) -> Chain:
    return chain_of(layers(**changes), shape, source="model.keras")


def network(found: Mirror) -> TiedNetwork:
    weights = found.weights()
    model = TiedNetwork(found.config)
    model.take_weights(weights.kernels, [*(weights.encoder_biases or ()), *(weights.decoder_biases or ())], weights.norms)
    for i, mask in weights.masks.items():
        model.kernels[i].set_mask(mask)
    return model


def computed(found: Mirror, x: np.ndarray) -> np.ndarray:
    """What the tied network gives for samples, in the unit of the chain's output."""
    flat = x.reshape(len(x), -1)
    scaling = found.scaling or Scaling()
    y = network(found)(scaling.apply(flat)).numpy()
    return scaling.invert(y, np.float64) if found.restores else y


BYTES = Affine("rescaling", "Rescaling", np.array(1 / 255), np.array(0.0))
BACK = Affine("rescaling_1", "Rescaling", np.array(255.0), np.array(0.0))
MEANS, DEVIATIONS = RNG.normal(3, 2, 12), RNG.uniform(0.5, 4, 12)
NORMAL = Affine("normalization", "Normalization", 1 / DEVIATIONS, -MEANS / DEVIATIONS)
INVERSE = Affine("denormalization", "Normalization", DEVIATIONS, MEANS)
MASK = stored("mask", (RNG.uniform(size=(12, 8)) < 0.5).astype(np.float32))
SUBTRACTED = {
    "tied_1": ChainProduct("tied_1", "DenseTied", K1, None, transposed=True, before=BIASES["b1"]),
    "tied": ChainProduct("tied", "DenseTied", K0, BIASES["c0"], transposed=True, before=BIASES["b0"]),
}
NO_BIAS = {
    name: ChainProduct(name, "Dense", kernel, transposed=name[0] == "t")
    for name, kernel in (("dense", K0), ("dense_1", K1), ("tied_1", K1), ("tied", K0))
}
TRANSPOSED = {
    "dense": ChainProduct("dense", "Gemm", stored("w", K0.read().T.copy()), BIASES["b0"], transposed=True),
    "tied": ChainProduct("tied", "Gemm", stored("w", K0.read().T.copy()), BIASES["c0"]),
}


def norm(
    name: str, width: int, negative: Sequence[int] = (), *, epsilon: float = 1e-3, **changes: ChainArray | None
) -> BatchNorm:
    """Batch normalization with arrays of its own; `negative`: the channels whose gains are."""
    rng = np.random.default_rng([width, *name.encode()])
    gamma, variance = (np.exp(rng.normal(0, 0.7, width)).astype(np.float32) for _ in range(2))
    gamma[list(negative)] *= -1
    beta, mean = (rng.normal(0, 0.5, width).astype(np.float32) for _ in range(2))
    arrays = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    stored_arrays = {part: stored(f"{name}/{part}", values) for part, values in arrays.items()}
    return BatchNorm(name, "BatchNormalization", epsilon=epsilon, **(stored_arrays | changes))  # type: ignore[arg-type]


NORMS: dict[str, Any] = {"norm": norm("norm", 8), "norm_1": norm("norm_1", 3), "norm_2": norm("norm_2", 8)}
PARTLY = {
    "norm": norm("norm", 8, gamma=None, epsilon=1e-5),
    "norm_1": norm("norm_1", 3, beta=None, variance=stored("v", np.array([1e-7, 0, 1], np.float32)), epsilon=1e-6),
    "norm_2": norm("norm_2", 8, gamma=None, beta=None, epsilon=0.1),
}
TANH = {name: ChainFunction(name, "Activation", "tanh") for name in ("relu", "relu_1")}
NEGATIVE = {"norm": norm("norm", 8, [0, 5]), "norm_2": norm("norm_2", 8, [0, 5])}
FOLDED = Affine("mul", "Mul", np.exp(RNG.normal(0, 0.7, 8)), RNG.normal(0, 0.5, 8))
RIGHT: dict[str, tuple[Chain, np.ndarray]] = {
    "normalized": (chain(**NORMS), X),
    "normalized, without biases": (chain(**NORMS, **NO_BIAS), X),
    "normalized, the encoder's bias subtracted": (chain(**NORMS, **SUBTRACTED), X),
    "without gamma or beta, by another epsilon": (chain(**PARTLY), X),
    "negative gains of both directions behind tanh": (chain(**NEGATIVE, **TANH), X),
    "negative gains of both directions behind nothing": (chain(**NEGATIVE, relu=None, relu_1=None, **SUBTRACTED), X),
    "a gain and a bias of constants": (chain(norm=FOLDED, norm_2=replace(FOLDED, scale=np.array(0.5))), X),
    "plain": (chain(), X),
    "no bias": (chain(**NO_BIAS), X),
    "a bias of the encoder alone": (chain(**{k: v for k, v in NO_BIAS.items() if k[0] == "t"}), X),
    "the encoder's bias subtracted": (chain(**SUBTRACTED), X),
    "kernels stored as [units, inputs]": (chain(**TRANSPOSED), X),
    "masked": (chain(dense=replace(layers()[0], mask=MASK), tied=replace(layers()[-2], mask=MASK)), X),
    "masked, stored as [units, inputs]": (
        chain(**{name: replace(layer, mask=stored("m", MASK.read().T.copy())) for name, layer in TRANSPOSED.items()}),
        X,
    ),
    "an activation of the code": (chain(code=ChainFunction("a", "Activation", "tanh")), X),
    "pictures": (
        chain((3, 4), head=ChainReshape("flatten", "Flatten", (12,)), tail=ChainReshape("reshape", "Reshape", (3, 4))),
        X.reshape(-1, 3, 4),
    ),
    "bytes": (chain(head=BYTES), np.rint(255 * X)),
    "bytes, and back": (chain(head=BYTES, tail=BACK), np.rint(255 * X)),
    "columns": (chain(head=NORMAL, sigmoid=None), MEANS + DEVIATIONS * X),
    "columns, and back": (chain(head=NORMAL, sigmoid=None, tail=INVERSE), MEANS + DEVIATIONS * X),
}


@pytest.mark.parametrize("case", RIGHT)
def test_the_tied_network_computes_what_the_chain_computes(case: str) -> None:
    given, x = RIGHT[case]
    found = mirror(given)
    y = given(x)
    np.testing.assert_allclose(computed(found, x), y.reshape(len(x), -1), atol=1e-5 * np.abs(y).max())
    assert found.widths == (12, 8, 3) and found.tie == "stored" and found.notes == []


@pytest.mark.parametrize(
    ("layers", "shape", "scaling"),
    [
        ([BYTES], (12,), Scaling("byte", 0.0, 255.0)),
        ([Affine("r", "Rescaling", np.array(1 / 127.5), np.array(-1.0))], (12,), Scaling("minmax", 127.5, 127.5)),
        ([BYTES, Affine("n", "Normalization", np.array(2.0), np.array(-1.0))], (12,), Scaling("minmax", 127.5, 127.5)),
        ([Affine(name, "Rescaling", np.array(0.5), np.array(-1.0)) for name in "ab"], (12,), Scaling("minmax", 6.0, 4.0)),
        (
            [Affine("n", "Normalization", np.array([1.0, 2.0]), np.array([0.0, -2.0])), ChainReshape("f", "Flatten", (12,))],
            (6, 2),
            Scaling("standard", (0.0, 1.0) * 6, (1.0, 0.5) * 6),
        ),
    ],
)
def test_scaling_at_the_input_is_that_of_the_data(layers, shape, scaling) -> None:
    tail = [layer for layer in chain().layers]
    found = mirror(chain_of([*layers, *tail], shape)).scaling
    assert found is not None and found.rule == scaling.rule
    np.testing.assert_allclose([found.offset, found.scale], [scaling.offset, scaling.scale], rtol=1e-12, atol=1e-12)


def test_a_mask_is_the_kernels_in_both_directions() -> None:
    masked, _ = RIGHT["masked"]
    weights = mirror(masked).weights()
    kept = MASK.read() != 0
    assert list(weights.masks) == [0] and np.array_equal(weights.masks[0], kept)
    assert not weights.kernels[0][~kept].any() and weights.kernels[0][kept].all()


def other(name: str, of: ChainArray, values: np.ndarray | None = None) -> ChainArray:
    return stored(name, RNG.normal(size=of.shape).astype(np.float32) if values is None else values)


def tied(**changes: Any) -> ChainProduct:
    return replace(ChainProduct("tied", "DenseTied", K0, BIASES["c0"], transposed=True), **changes)


REFUSED: dict[str, tuple[Callable[[], Chain], str]] = {
    "a refused layer": (
        lambda: chain(head=Refused("lstm", "LSTM", "recurrent; tiedae has dense layers")),
        "model.keras: lstm (LSTM): recurrent; tiedae has dense layers",
    ),
    "a classifier": (
        lambda: chain_of(layers()[:3], (12,), source="model.keras"),
        "model.keras: dense_1 (Dense): gives 3 values (12-8-3), must give the 12 values of a sample back",
    ),
    "no mirror": (
        lambda: chain_of(
            [
                ChainProduct("a", "Dense", array("a", 12, 8)),
                ChainProduct("b", "Dense", array("b", 8, 3)),
                ChainProduct("c", "Dense", array("c", 3, 12)),
            ],
            (12,),
            source="model.keras",
        ),
        "model.keras: c (Dense): widths 12-8-3-12, must be mirrored, as 784-128-32-128-784 is",
    ),
    "no kernel in the middle": (
        lambda: chain_of(
            [
                ChainProduct(name, "Dense", array(name, *shape))
                for name, shape in (("a", (12, 8)), ("b", (8, 8)), ("c", (8, 12)))
            ],
            (12,),
            source="model.keras",
        ),
        "model.keras: b (Dense): is one of 3 products, an odd number",
    ),
    "kernels that do not fit": (
        lambda: Chain("model.keras", "arrays", (12,), (layers()[0], ChainProduct("b", "Dense", array("b", 4, 3)))),
        "model.keras: b (Dense): kernel of 4 inputs behind 8 values",
    ),
    "no layer": (
        lambda: chain_of([ChainReshape("a", "Flatten", (12,))], (12,), source="model.keras"),
        "model.keras: has no Dense layer and no convolution, must be",
    ),
    "another activation": (
        lambda: chain(relu_1=ChainFunction("tied_1", "DenseTied", "tanh")),
        "model.keras: tied_1 (DenseTied): activation tanh, must be relu, as of dense (Dense) whose output it gives back",
    ),
    "LeakyReLU": (
        lambda: chain(relu=ChainFunction("leaky", "LeakyReLU", "leaky_relu")),
        "model.keras: leaky (LeakyReLU): activation leaky_relu, must be one of linear, relu, relu6, tanh, sigmoid; [model] "
        'replace = {LeakyReLU = "relu"} in a recipe, with [train] epochs ≥ 1, takes relu in its place',
    ),
    "selu of a Dense": (
        lambda: chain(relu=ChainFunction("dense", "Dense", "selu")),
        'dense (Dense): activation selu, must be one of linear, relu, relu6, tanh, sigmoid; [model] replace = {selu = "relu"}',
    ),
    "an activation first": (
        lambda: chain(head=relu("a")),
        "a (Dense): activation relu of the sample, must be behind a product",
    ),
    "two activations": (
        lambda: chain(code=relu("a"), dense_1=layers()[2], sigmoid=ChainFunction("s", "Activation", "sigmoid"), tail=relu("r")),
        "r (Dense): activation relu behind sigmoid, must be one activation a layer",
    ),
    "BatchNormalization behind the activation": (
        lambda: chain(norm=relu("dense"), relu=norm("batch", 8)),
        "model.keras: batch (BatchNormalization): normalizes relu, must be between a product and its activation; [model] "
        'replace = {BatchNormalization = "linear"} in a recipe, with [train] epochs ≥ 1, leaves it out',
    ),
    "BatchNormalization of the sample": (
        lambda: chain(head=norm("batch", 12)),
        "batch (BatchNormalization): normalizes the sample, must be between a product and its activation",
    ),
    "BatchNormalization twice": (
        lambda: chain(**NORMS, code=norm("batch", 3)),
        "batch (BatchNormalization): normalizes normalized values, must be between",
    ),
    "BatchNormalization of the output": (
        lambda: chain(**NORMS, norm_3=norm("batch", 12)),
        "batch (BatchNormalization): gives each value of the output a gain, which needs a kernel of the decoder's own",
    ),
    "a negative gain behind relu": (
        lambda: chain(norm=norm("batch", 8, [6]), norm_2=norm("norm_2", 8, [6])),
        "batch (BatchNormalization): channel 6 has the gain -",
    ),
    "a negative gain of one direction": (
        lambda: chain(norm=norm("norm", 8, [6]), norm_2=norm("batch", 8, [6, 7]), **TANH),
        "batch (BatchNormalization): channel 7 has the gain -",
    ),
    "a negative gain whose mirror is not normalized": (
        lambda: chain(norm=norm("batch", 8, [2]), **TANH),
        "batch (BatchNormalization): channel 2 has the gain -",
    ),
    "a negative gain of the code": (
        lambda: chain(norm_1=norm("batch", 3, [1])),
        "channel 1 has the gain -",
    ),
    "a gain of 0": (
        lambda: chain(norm=norm("batch", 8, gamma=stored("g", np.zeros(8, np.float32)))),
        "channel 0 has the gain 0, must be above 0: both directions share the kernel's column that its sign would go to",
    ),
    "a negative variance": (
        lambda: chain(norm=norm("batch", 8, variance=stored("v", np.full(8, -2e-3, np.float32)))),
        "batch (BatchNormalization): variance + epsilon is -0.001, must be above 0",
    ),
    "a mean of another shape": (
        lambda: chain(norm=norm("batch", 8, mean=BIASES["c0"])),
        "batch (BatchNormalization): mean: got shape [12], must be [8]",
    ),
    "untied": (
        lambda: chain(tied=tied(kernel=other("w", K0))),
        "model.keras: not tied: dense (Dense) and tied (DenseTied), 12×8: untied (cosine ",
    ),
    "a snapshot": (
        lambda: chain(tied=tied(kernel=other("w", K0, K0.read()))),
        "model.keras: not tied: dense (Dense) and tied (DenseTied), 12×8: equal copy: equal now, two variables: "
        "training changes one; `tie = true` beside model.source trains it tied, as ta.tie(model, data) does",
    ),
    "the kernel itself": (
        lambda: chain_of(
            [ChainProduct("a", "Dense", square := array("s", 12, 12)), ChainProduct("b", "Dense", square)],
            (12,),
            source="model.keras",
        ),
        "model.keras: b (Dense): multiplies by the kernel of a (Dense) itself, must be its transpose",
    ),
    "a kernel twice": (
        lambda: chain_of(
            [
                ChainProduct(name, "Dense", square, transposed=name > "b")
                for square in [array("s", 12, 12)]
                for name in ("a", "b", "c", "d")
            ],
            (12,),
            source="model.keras",
        ),
        "model.keras: b (Dense): uses the kernel of a (Dense) again, must have one of its own",
    ),
    "rows": (
        lambda: chain_of([ChainProduct("dense", "Dense", array("w", 4, 2))], (3, 4), source="model.keras"),
        "model.keras: dense (Dense): multiplies the last axis of [3, 4], must be behind Flatten: one row a sample",
    ),
    "scaling behind an activation": (
        lambda: chain(norm=relu("dense"), relu=replace(BACK, name="scale")),
        "model.keras: scale (Rescaling): scales what is no sample, must be at the input, or at the output as its inverse",
    ),
    "another scaling of the output": (
        lambda: chain(head=BYTES, tail=replace(BACK, scale=np.array(128.0))),
        "model.keras: rescaling_1 (Rescaling): scales the output, must be the inverse of the scaling at the input",
    ),
    "scaling of the output alone": (
        lambda: chain(tail=BACK),
        "model.keras: rescaling_1 (Rescaling): scales the output, must be",
    ),
    "scaling before the last activation": (
        lambda: chain(head=BYTES, sigmoid=BACK, tail=ChainFunction("s", "Activation", "sigmoid")),
        "model.keras: rescaling_1 (Rescaling): gives each value of the output a gain",
    ),
    "a negative scale": (
        lambda: chain(head=replace(BYTES, scale=np.array(-1.0))),
        "model.keras: rescaling (Rescaling): multiplies by -1, must be finite and above 0",
    ),
    "a bias of another shape": (
        lambda: chain(tied=tied(bias=BIASES["b0"])),
        "model.keras: tied (DenseTied): bias: got shape [8], must be [12]",
    ),
    "a mask of the decoder alone": (
        lambda: chain(tied=tied(mask=MASK)),
        "model.keras: tied (DenseTied): its mask takes out ",
    ),
    "a mask of another shape": (
        lambda: chain(dense=replace(layers()[0], mask=array("m", 3, 3))),
        "model.keras: dense (Dense): mask: got shape [3, 3], must be [12, 8]",
    ),
    "NaN": (
        lambda: chain(tied=tied(bias=stored("c", np.full(12, np.nan, np.float32)))),
        "model.keras: tied (DenseTied): bias: holds a value that is not finite in float32; save a model whose training",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_tied_autoencoder_is_refused_in_one_line(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        mirror(make()).weights()
    assert message in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith("model.keras: ")


def test_activations_are_replaced_by_class_or_name() -> None:
    leaky = {name: ChainFunction(name, "LeakyReLU", "leaky_relu") for name in ("relu", "relu_1")}
    found = mirror(
        chain(**leaky, code=ChainFunction("dense_1", "Dense", "selu")), replaced={"LeakyReLU": "relu", "selu": "tanh"}
    )
    assert tuple(layer.activation for layer in found.config.layers) == ("relu", "tanh")
    assert found.replaced == {"relu (LeakyReLU)": "relu", "relu_1 (LeakyReLU)": "relu", "dense_1 (Dense)": "tanh"}
    assert "replaced relu (LeakyReLU) by relu" in found.notes[0]
    refused = [layer if layer is not leaky["relu"] else Refused("relu", "LeakyReLU", "no") for layer in layers(**leaky)]
    other = mirror(chain_of(refused, (12,), source="m"), replaced={"LeakyReLU": "relu"})
    assert other.replaced == {"relu (LeakyReLU)": "relu", "relu_1 (LeakyReLU)": "relu"}
    with pytest.raises(InputError, match=r"m: pool \(MaxPooling2D\): no; .*"):
        mirror(chain_of([*layers()[:2], Refused("pool", "MaxPooling2D", "no; do"), *layers()[2:]], (12,), source="m"))
    with pytest.raises(InputError, match=r"model.keras: replace: has no ELU, must be one of Dense, DenseTied"):
        mirror(chain(), replaced={"ELU": "relu"})


def test_batch_normalization_is_taken_over_in_each_direction() -> None:
    found = mirror(chain(**NORMS))
    weights = found.weights()
    assert found.batch_norm == (True, True) and list(weights.norms) == [0, 2, 1]
    model = network(found)
    assert [layer.batch_norm for layer in model.config.layers] == [True, True]
    for layer, given, product in zip(model.stack, NORMS.values(), found.products, strict=False):
        assert layer.norm is not None and layer.bias is not None and product.bias is not None
        np.testing.assert_array_equal(layer.norm.gamma, given.gamma.read())
        np.testing.assert_array_equal(layer.norm.variance, given.variance.read())
        np.testing.assert_array_equal(layer.norm.mean, given.mean.read() - product.bias.read())
        np.testing.assert_array_equal(layer.bias, given.beta.read())


@pytest.mark.parametrize("name", ["norm", "norm_2"])
def test_a_direction_without_batch_normalization_has_a_gain_of_1(name: str) -> None:
    given = chain(**{name: NORMS[name]})
    found = mirror(given)
    np.testing.assert_allclose(computed(found, X), given(X), atol=1e-5)
    assert found.batch_norm == (True, False)
    gains = [layer.gains for layer in network(found).stack]
    assert gains[0] is not None and gains[2] is not None and gains[1] is gains[3] is None
    np.testing.assert_array_equal(gains[2 if name == "norm" else 0], np.ones(8, np.float32))
    other = "tied_1 (DenseTied)" if name == "norm" else "dense (Dense)"
    assert found.notes == [f"{other} has no batch normalization, its mirror has: a gain of 1 there"]


def test_batch_normalization_behind_an_activation_is_left_out_by_replace() -> None:
    behind = {name: norm(name, 8) for name in ("relu", "relu_1")}
    functions = {"norm": relu("dense"), "norm_2": relu("tied_1")}
    found = mirror(chain(**functions, **behind), replaced={"BatchNormalization": "linear"})
    assert tuple(layer.activation for layer in found.config.layers) == ("relu", "linear") and not any(found.batch_norm)
    assert found.replaced == {"relu (BatchNormalization)": "linear", "relu_1 (BatchNormalization)": "linear"}


def test_assumed_ties_wide_codes_and_layers_left_out_are_said() -> None:
    assumed = mirror(chain(tied=tied(tie="assumed")))
    assert assumed.tie == "assumed" and assumed.assumed == ("tied (DenseTied)",)
    assert "tied (DenseTied) stores no kernel: assumed to use the encoder's (tie: assumed)" in assumed.notes[0]
    kernel = array("w", 12, 20)
    wide = [ChainProduct("a", "Dense", kernel), ChainProduct("b", "Tied", kernel, transposed=True)]
    (note,) = mirror(chain_of(wide, (12,), source="m")).notes
    assert note == "the code of 20 values is wider than a sample of 12: it compresses nothing"
    (note,) = mirror(replace(chain(), left_out=("dropout (Dropout)",))).notes
    assert note == "left out, without effect outside training: dropout (Dropout)"


def test_a_chain_computes_every_activation_of_a_tied_autoencoder() -> None:
    assert set(FUNCTIONS) == set(get_args(Activation))
