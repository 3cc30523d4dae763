"""A kind of layer is one row of each table: here is another one, registered by the test alone, from Keras to the program."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pytest
import tensorflow as tf
from tiedae.bundle.reference_outputs import float_program
from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import (
    Dataset,
    ExportError,
    LayerConfig,
    ModelConfig,
    QuantizeConfig,
    RecipeError,
    Scaling,
    TiedAutoencoder,
    TiedKernel,
    TrainConfig,
    fit,
)
from tiedae.compress.layers import LAYER_KINDS, LayerKind, TiedDecoderLayer, TiedLayer
from tiedae.program.interpreter import execute
from tiedae.program.lowering import LOWERINGS, LayerLowering, Lowering, lower
from tiedae.program.operations import Activate, Dense, Operation, Product
from tiedae.verify.parity.keras_device import CPU, Device, keras_layers

X = np.random.default_rng(0).uniform(-1, 1, (256, 12)).astype(np.float32)
DATA = Representative(np.arange(len(X)), X, 0, Scaling())


class RampConfig(LayerConfig, frozen=True):
    """y = activation(relu(x · W)) without bias, W `gain` times the identity at first."""

    use_bias: bool = False
    gain: float = 0.5


class Ramp(TiedLayer):
    @classmethod
    def of(cls, config: RampConfig, kernel: TiedKernel, activation: str, name: str) -> Self:
        kernel.variable.assign(config.gain * np.eye(kernel.inputs, kernel.units))
        return super().of(config, kernel, activation, name)

    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.units

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.matmul(x, kernel))


class RampTranspose(TiedDecoderLayer):
    @staticmethod
    def size(kernel: TiedKernel) -> int:
        return kernel.inputs

    def product(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.matmul(x, kernel, transpose_b=True))


def encode_ramp(lowering: Lowering, layer: TiedLayer, x: str) -> list[Operation]:
    kernel = lowering.kernels[layer.kernel.name]
    y, rest = lowering.output(layer, x, kernel.units)
    return [Dense(x, y, kernel.name, False, None, "relu"), *rest]


def decode_ramp(lowering: Lowering, layer: TiedLayer, x: str) -> list[Operation]:
    kernel = lowering.kernels[layer.kernel.name]
    x, rescale = lowering.rescaled(layer, x)
    y, rest = lowering.output(layer, x, kernel.inputs)
    if lowering.layout == "fused":
        return [*rescale, Dense(x, y, kernel.name, True, None, "relu"), *rest]
    if lowering.quantized:
        return [*rescale, Product(x, y, kernel.name), *rest]  # the range of y starts at 0
    product = lowering.tensor(f"{layer.tensor_name}.product", lowering.rows(x, kernel.inputs))
    return [Product(x, product, kernel.name), Activate(product, y, "relu"), *rest]


@pytest.fixture
def ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYER_KINDS, "ramp", LayerKind(RampConfig, Ramp, RampTranspose))
    monkeypatch.setitem(LOWERINGS, "ramp", LayerLowering(encode_ramp, decode_ramp))


def mixed(activation: str) -> TiedAutoencoder:
    """A dense layer, then two of the new kind; trained a little, so that nothing is as it was initialised."""
    layers = (LayerConfig(10, "relu"), RampConfig(8, activation), RampConfig(6))
    model = TiedAutoencoder(ModelConfig(layers, "linear", 12), seed=1)
    fit(model, Dataset.from_array(X, scaling="none"), TrainConfig(epochs=2, batch_size=32))
    return model


def test_both_tables_have_the_same_kinds() -> None:
    assert list(LAYER_KINDS) == list(LOWERINGS)


@pytest.mark.usefixtures("ramp")
def test_a_new_kind_is_built_from_its_own_configuration() -> None:
    kernel = TiedAutoencoder(ModelConfig((RampConfig(8, gain=3.0),), "linear", 12)).kernels[0]
    np.testing.assert_array_equal(kernel.matrix, 3 * np.eye(12, 8))


@pytest.mark.usefixtures("ramp")
@pytest.mark.parametrize("form", ["split", "fused"])
@pytest.mark.parametrize("activation", ["linear", "relu6", "tanh"])
def test_a_float_model_with_a_new_kind_lowers_to_what_keras_computes(activation: str, form: str) -> None:
    model = mixed(activation)
    values = execute(lower(model, "p", layout=form), "reconstruct", X)
    code, y = model.encode_decode(X)
    np.testing.assert_allclose(values["code"], code, atol=1e-5)
    np.testing.assert_allclose(values["y"], y, atol=1e-5)
    layers = keras_layers(model, Device(CPU, "CPU"))(X)
    np.testing.assert_allclose(layers["y"], y, atol=1e-6)
    assert {layer.tensor_name for layer in model.stack} == set(layers)


@pytest.mark.usefixtures("ramp")
@pytest.mark.parametrize("form", ["split", "fused"])
@pytest.mark.parametrize("granularity", ["tensor", "unit"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_quantized_model_with_a_new_kind_lowers_to_what_it_simulates(activation: str, granularity: str, form: str) -> None:
    model = mixed(activation)
    config = QuantizeConfig(method="ptq", refinements=(), granularity=granularity)  # type: ignore[arg-type]
    quantize_post_training(model, DATA, config, layout=form)
    program = lower(model, "p", layout=form)
    values = execute(program, "reconstruct", program.quantization("x").quantize(X))
    for name, simulated in zip(("code", "y"), model.encode_decode(X), strict=True):
        quantization = program.quantization(name)
        steps = np.abs(quantization.dequantize(values[name]) - simulated.numpy()) / quantization.scale
        assert steps.mean() < 0.1, f"{name}: {np.mean(steps > 0.5):.2%} differ, up to {steps.max():.1f} steps"


@pytest.mark.usefixtures("ramp")
def test_the_float_program_of_a_new_kind_is_read_from_its_integer_program() -> None:
    model = mixed("tanh")
    constants, y = lower(model, "p", layout="fused").constants, model(X)
    quantize_post_training(model, DATA, QuantizeConfig(method="ptq", refinements=(), granularity="unit"), layout="fused")
    program = float_program(lower(model, "p", layout="fused"), constants)
    np.testing.assert_allclose(execute(program, "reconstruct", X)["y"], y, atol=1e-5)


@pytest.mark.usefixtures("ramp")
def test_an_archive_keeps_the_kinds_of_its_layers(tmp_path: Path) -> None:
    model = mixed("tanh")
    model.save(tmp_path / "m.safetensors")
    assert [layer.get("kind") for layer in model.describe()["model"]["layers"]] == [None, "ramp", "ramp"]
    loaded = TiedAutoencoder.load(tmp_path / "m.safetensors")
    assert loaded.config == model.config and [type(layer) for layer in loaded.stack] == [type(layer) for layer in model.stack]
    np.testing.assert_array_equal(loaded(X), model(X))


def test_a_kind_that_is_not_registered_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError, match="layers: got RampConfig, must be one of LayerConfig"):
        TiedAutoencoder(ModelConfig((RampConfig(8),), "linear", 12))
    with monkeypatch.context() as registered:
        registered.setitem(LAYER_KINDS, "ramp", LayerKind(RampConfig, Ramp, RampTranspose))
        model = TiedAutoencoder(ModelConfig((RampConfig(8),), "linear", 12))
        with pytest.raises(ExportError, match="layers of kind ramp have no lowering, must be one of dense"):
            lower(model, "p", layout="split")
        model.save(tmp_path / "m.safetensors")
    with pytest.raises(RecipeError, match="kind: got 'ramp', must be one of dense"):
        TiedAutoencoder.rebuild({"model": {"layers": [{"kind": "ramp", "units": 8}]}}, {})
