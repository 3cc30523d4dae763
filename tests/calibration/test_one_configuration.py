"""One configuration: QuantizeConfig says what is chosen, the data's scaling and the decoder's layout say the rest."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.calibration import Representative, quantize_post_training, representative
from tiedae.compress import (
    DataError,
    Dataset,
    InputError,
    LayerConfig,
    ModelConfig,
    QuantizationSpec,
    QuantizeConfig,
    RecipeError,
    Samples,
    Scaling,
    TiedAutoencoder,
    TrainConfig,
    fit,
    train_quantized,
)
from tiedae.compress.quantizers import DecoderLayout
from tiedae.export import execute, lower
from tiedae.program.interpreter import program_input

BYTES_BY_255 = Scaling("byte", 0.0, 255.0)


def splits_of(scaling: Scaling, dtype: str) -> Dataset:
    """256 and 64 samples of 24 values on a curve of three dimensions: bytes, or floats of both signs and magnitudes to ±6."""
    rng = np.random.default_rng(0)
    values = rng.uniform(-1, 1, (320, 3)) @ rng.normal(0, 2, (3, 24))
    whole = values.astype(np.float32) if dtype == "float32" else np.rint(255 / (1 + np.exp(-values))).astype(np.uint8)
    train, test = (Samples(part, scaling=scaling) for part in np.split(whole, [256]))
    return Dataset(train, None, test, scaling)


def model_of(output: str = "linear") -> TiedAutoencoder:
    return TiedAutoencoder(ModelConfig((LayerConfig(12, "relu"), LayerConfig(4)), output, 24), seed=1)


def test_floats_need_nothing_but_the_configuration() -> None:
    """Bytes were assumed, whatever the data were: ranges of x and y were 0…1, and values beyond them were cut off."""
    splits, model = splits_of(Scaling(), "float32"), model_of()
    fit(model, splits, TrainConfig(epochs=30, batch_size=32))
    x = splits.test.scaling.apply(splits.test.take(np.arange(64)))
    floating = np.square(model(x) - x).sum(axis=1).mean()
    quantize_post_training(model, representative(splits.train, 128), QuantizeConfig(method="ptq", refinements=()))
    program = lower(model, "floats", layout="split")
    y = program.quantization("y").dequantize(execute(program, "reconstruct", program_input(program, x))["y"])
    assert np.square(y - x).sum(axis=1).mean() < 1.1 * floating + 0.1
    assert not model.quantizers.spec.byte_data


def test_bits_and_granularity_are_those_of_the_configuration() -> None:
    config = QuantizeConfig(bits=(4,), granularity="unit", code_bits=6)
    model, data = model_of("sigmoid"), representative(splits_of(BYTES_BY_255, "uint8").train, 64)
    quantize_post_training(model, data, config)
    assert [(kernel.bits, kernel.granularity) for kernel in model.kernels] == [(4, "unit")] * 2
    assert model.quantizers.spec == QuantizationSpec("unit", "split", True, (4,), 6)


@pytest.mark.parametrize("layout", ["split", "fused"])
@pytest.mark.parametrize(
    ("scaling", "bytes_in"), [(BYTES_BY_255, True), (Scaling("minmax", 0.0, 255.0), False), (Scaling(), False)]
)
def test_the_rest_follows_from_scaling_and_layout(layout: DecoderLayout, scaling: Scaling, bytes_in: bool) -> None:
    assert QuantizationSpec.of(QuantizeConfig(), scaling, layout) == QuantizationSpec("tensor", layout, bytes_in)


def test_another_layout_is_refused() -> None:
    with pytest.raises(RecipeError, match="layout: got 'tflite', must be"):
        QuantizationSpec.of(QuantizeConfig(), BYTES_BY_255, "tflite")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "scaling", "text"),
    [
        ({"bits": (8,)}, BYTES_BY_255, r"bits \(4,\), but QuantizeConfig says \(8,\)"),
        ({"bits": (4,), "granularity": "unit"}, BYTES_BY_255, "granularity 'tensor', but QuantizeConfig says 'unit'"),
        ({"bits": (4,)}, Scaling("minmax", 0.0, 255.0), "byte_data True, but data scaled by 'minmax' says False"),
        ({"bits": (4,), "code_bits": 5}, BYTES_BY_255, "code_bits 8, but QuantizeConfig says 5"),
    ],
)
def test_training_by_another_configuration_is_an_error(config: dict, scaling: Scaling, text: str) -> None:
    """It trained on with the bits and the granularity that the model had, without a word."""
    splits, model = splits_of(BYTES_BY_255, "uint8"), model_of("sigmoid")
    start = QuantizeConfig(bits=(4,), refinements=())
    quantize_post_training(model, representative(splits.train, 64), start, layout="fused")
    with pytest.raises(RecipeError, match=f"the model is quantized: {text}; the two must agree"):
        train_quantized(model, splits_of(scaling, "uint8"), QuantizeConfig(epochs=1, **config), TrainConfig())
    train_quantized(model, splits, QuantizeConfig(epochs=1, bits=(4,)), TrainConfig())


def test_training_aware_of_no_quantization_is_an_error() -> None:
    with pytest.raises(InputError, match="got a float model; quantize_post_training must quantize it first"):
        train_quantized(model_of(), splits_of(BYTES_BY_255, "uint8"), QuantizeConfig(epochs=1), TrainConfig())


def test_quantizing_twice_is_an_error() -> None:
    model, data = model_of(), representative(splits_of(BYTES_BY_255, "uint8").train, 64)
    quantize_post_training(model, data, QuantizeConfig(refinements=()))
    with pytest.raises(InputError, match="the model is quantized already; must be a float model"):
        quantize_post_training(model, data, QuantizeConfig())


@pytest.mark.parametrize(("granularity", "bits"), [("unit", (8,)), ("tensor", (8, 4)), (None, (8,))])
def test_activations_are_quantized_beside_the_kernels_of_their_spec(granularity: str | None, bits: tuple[int, ...]) -> None:
    model = model_of()
    if granularity is not None:
        model.quantize_kernels(granularity, bits)
    with pytest.raises(InputError, match=r"kernel_[01]: got .*, must be 8 bits per tensor as the spec says"):
        model.quantize_activations(QuantizationSpec(), {})


@pytest.mark.parametrize(
    "given", [np.zeros((20, 24), np.uint8), splits_of(BYTES_BY_255, "uint8"), [[1.0]]], ids=["array", "splits", "list"]
)
def test_representative_takes_samples_alone_since_they_know_their_scaling(given: object) -> None:
    with pytest.raises(DataError, match=r"representative: got (ndarray|Dataset|list), must be Samples such as `splits.train`"):
        representative(given, 8)


@pytest.mark.parametrize("count", [0, -5])
def test_a_count_is_one_or_more(count: int) -> None:
    with pytest.raises(RecipeError, match=f"count: got {count}, must be at least 1"):
        representative(splits_of(BYTES_BY_255, "uint8").train, count)


def test_raw_values_are_no_representative_data() -> None:
    raw = np.random.default_rng(0).integers(0, 256, (20, 24))
    with pytest.raises(DataError, match="got uint8, must be float32 in scaled values"):
        Representative(np.arange(20), raw.astype(np.uint8), 0, BYTES_BY_255, 20)
    with pytest.raises(TypeError, match="scaling"):
        Representative(np.arange(20), raw.astype(np.float32), 0)  # pyright: ignore[reportCallIssue]
    with pytest.raises(DataError, match=r"values from 0 to 255, must be 0…1, bytes / 255, with scaling 'byte'"):
        quantize_post_training(
            model_of(), Representative(np.arange(20), raw.astype(np.float32), 0, BYTES_BY_255, 20), QuantizeConfig()
        )
