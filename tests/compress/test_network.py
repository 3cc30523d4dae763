"""The autoencoder: ties through every stage, through save and load, and against an untied twin of plain Keras layers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from safetensors import safe_open

from tiedae.base import archive as archives
from tiedae.base.errors import NotBuiltError
from tiedae.calibration import quantize_post_training, representative
from tiedae.compress import FormatError, LayerConfig, ModelConfig, QuantizeConfig, RecipeError, TiedAutoencoder
from tiedae.compress.quantizers import DecoderLayout
from tiedae.compress.tied_layers import RULES

from ..variants import every


def config(**changes: object) -> ModelConfig:
    layers = (LayerConfig(12, "relu"), LayerConfig(8, "tanh"), LayerConfig(4))
    return ModelConfig(**{"layers": layers, "inputs": 24, **changes})


def finished(make_splits, layout: DecoderLayout = "split", **options: object) -> TiedAutoencoder:
    """A model that is masked and quantized, with scales that its weights alone do not give."""
    model = TiedAutoencoder(config(), seed=3)
    rng = np.random.default_rng(0)
    for kernel in model.kernels:
        kernel.set_mask((rng.uniform(size=kernel.variable.shape) < 0.7).astype(np.float32))
    quantize = QuantizeConfig(method="ptq", refinements=("round",), **options)  # type: ignore[arg-type]
    quantize_post_training(model, representative(make_splits().train, 64), quantize, layout=layout)
    return model


@pytest.mark.parametrize("activation", list(RULES))
@pytest.mark.parametrize("use_bias", [True, False])
def test_it_computes_what_keras_layers_with_transposed_kernels_compute(activation: str, use_bias: bool) -> None:
    layers = (LayerConfig(12, activation, use_bias), LayerConfig(4, "linear", use_bias))
    model = TiedAutoencoder(ModelConfig(layers, activation, 24))
    for variable in model.trainable_variables:
        variable.assign(tf.random.stateless_normal(variable.shape, [1, 2]) * 0.5)
    dense = tf_keras.layers.Dense
    twin = tf_keras.Sequential(
        [dense(n, a, use_bias) for n, a in ((12, activation), (4, None), (12, activation), (24, activation))]
    )
    x = np.random.default_rng(0).uniform(size=(9, 24)).astype(np.float32)
    twin(x)
    first, second = (kernel.variable.numpy() for kernel in model.kernels)
    biases = [layer.bias.numpy() if use_bias else None for layer in model.stack]
    for layer, kernel, bias in zip(twin.layers, (first, second, second.T, first.T), biases, strict=True):
        layer.set_weights([kernel] if bias is None else [kernel, bias])
    np.testing.assert_allclose(model(x), twin(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.decoder(model.encoder(x)), model(x), atol=1e-7)


def test_every_kernel_is_one_trainable_variable() -> None:
    model = TiedAutoencoder(config())
    matrices = [variable for variable in model.trainable_variables if len(variable.shape) == 2]
    assert [tuple(v.shape) for v in matrices] == [(24, 12), (12, 8), (8, 4)]
    for kernel, decode in zip(model.kernels, reversed(model.decoder.stack), strict=True):
        assert decode.kernel is kernel


@pytest.mark.parametrize(
    ("options", "granularity"),
    every(
        3,
        itertools.product(
            ({"layout": "split"}, {"layout": "fused"}, {"bits": (4,), "code_bits": 5}, {"bits": (8, 4, 2)}), ("tensor", "unit")
        ),
    ),
)
def test_ties_masks_quantizers_and_ranges_survive_save_and_load(make_splits, tmp_path: Path, granularity, options) -> None:
    model = finished(make_splits, granularity=granularity, **options)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = TiedAutoencoder.load(path)
    assert loaded.config == model.config and loaded.quantizers.spec == model.quantizers.spec
    assert loaded.quantizers.ranges() == model.quantizers.ranges()
    x = make_splits().test.scaling.apply(make_splits().test.values)
    np.testing.assert_array_equal(loaded(x), model(x))
    for mine, theirs, decode in zip(model.kernels, loaded.kernels, reversed(loaded.decoder.stack), strict=True):
        assert decode.kernel is theirs
        assert mine.bits == theirs.bits
        np.testing.assert_array_equal(mine.integers(), theirs.integers())
        np.testing.assert_array_equal(mine.mask, theirs.mask)
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("bits", "bounds"), [((4,), [(-8, 7)] * 3), ((8, 4, 2), [(-127, 127), (-8, 7), (-2, 1)])])
def test_bits_are_one_width_or_one_per_kernel(bits, bounds) -> None:
    model = TiedAutoencoder(config())
    model.quantize_kernels("tensor", bits)
    for kernel in model.kernels:
        kernel.variable.assign(9 * kernel.variable)
    assert [(kernel.integers().min(), kernel.integers().max()) for kernel in model.kernels] == bounds
    with pytest.raises(RecipeError, match=r"bits: got \(4, 8\), must be one width, or 3, one per kernel"):
        model.quantize_kernels("tensor", (4, 8))


def test_archives_hold_no_pickle_and_damage_is_said(make_splits, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = finished(make_splits)
    model.save(path)
    whole = path.read_bytes()
    with safe_open(path, "numpy") as file:
        assert json.loads(file.metadata()["tiedae"])["format"] == "tiedae-model"
        np.testing.assert_array_equal(file.get_tensor("kernel_0"), model.kernels[0].variable)
    for name, data in {
        "half": whole[: len(whole) // 2],
        "flipped": whole[:-30] + bytes([whole[-30] ^ 255]) + whole[-29:],
        "longer": whole + b"\0",
        "empty": b"",
        "foreign": b"hello",
    }.items():
        path.write_bytes(data)
        with pytest.raises(FormatError, match=str(path)):
            TiedAutoencoder.load(path)
            pytest.fail(name)
    with pytest.raises(FormatError, match="no such file"):
        TiedAutoencoder.load(tmp_path / "absent.safetensors")
    with path.open("wb") as plain:
        np.savez(plain, a=np.zeros(3))
    with pytest.raises(FormatError, match="not a tiedae-model file"):
        TiedAutoencoder.load(path)
    with path.open("wb") as plain:
        np.save(plain, np.zeros(3))
    with pytest.raises(FormatError, match=r"model\.safetensors: not a tiedae-model file"):
        TiedAutoencoder.load(path)


@pytest.mark.parametrize(("key", "value"), [("units", -1), ("activation", "gelu")])
def test_an_archive_with_a_wrong_configuration_is_named(tmp_path: Path, key: str, value: object) -> None:
    model, path = TiedAutoencoder(config()), tmp_path / "model.safetensors"
    header = model.describe()
    header["model"]["layers"][1][key] = value
    path.write_bytes(archives.pack(header, {name: variable.numpy() for name, variable in model.state().items()}))
    with pytest.raises(
        FormatError, match=rf"model\.safetensors: its configuration is wrong: model.layers\[1\].{key}: got {value!r}"
    ):
        TiedAutoencoder.load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_archive_with_weights_that_are_not_finite_is_refused(tmp_path: Path, value: float) -> None:
    model, path = TiedAutoencoder(config()), tmp_path / "model.safetensors"
    model.kernels[1].variable[3, 2].assign(value)
    model.save(path)
    with pytest.raises(FormatError, match=r"model\.safetensors: kernel_1 holds values that are not finite"):
        TiedAutoencoder.load(path)


def test_an_archive_whose_shapes_contradict_its_configuration_is_refused(make_splits, tmp_path: Path) -> None:
    model = TiedAutoencoder(config())
    arrays = {name: variable.numpy() for name, variable in model.state().items()}
    arrays["kernel_0"] = arrays["kernel_0"][:, :5]
    path = tmp_path / "model.safetensors"
    path.write_bytes(archives.pack(model.describe(), arrays))
    with pytest.raises(FormatError, match=r"kernel_0: shape \(24, 5\), the configuration says \(24, 12\)"):
        TiedAutoencoder.load(path)


def test_a_failed_save_leaves_the_old_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = TiedAutoencoder(config()), tmp_path / "model.safetensors"
    model.save(path)
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        TiedAutoencoder(config(), seed=9).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_without_a_number_of_inputs_has_no_variables_yet() -> None:
    model = TiedAutoencoder(config(inputs=0))
    with pytest.raises(NotBuiltError, match="kernels: the model is not built"):
        _ = model.kernels
    model.build_for((9,))
    assert model.kernels[0].inputs == 9


@pytest.mark.ci
def test_it_is_tf_keras_although_the_environment_says_otherwise() -> None:
    program = (
        "from tiedae.compress import TiedAutoencoder, ModelConfig, LayerConfig, QuantizationSpec; import tf_keras;"
        "m = TiedAutoencoder(ModelConfig((LayerConfig(2),), inputs=3)); m.quantize_kernels('tensor');"
        "m.quantize_activations(QuantizationSpec(), {});"
        "print(isinstance(m, tf_keras.Model))"
    )
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
