"""A model trained on datasets or by Keras' own loop, and the check of samples that it takes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import tf_keras

import tiedae as ta
from tiedae.base.errors import DataError, InputError, RecipeError
from tiedae.config.config import QuantizeConfig
from tiedae.config.sample_spec import SampleSpec

from ..samples import Frame, curve, images, table

KINDS = {"image": images, "table": table}
ROUNDING = QuantizeConfig(refinements=())
"""Without the steps of post-training quantization, which take most of its time."""


def test_nan_and_infinity_are_named() -> None:
    spec = SampleSpec((2,), "float32", columns=("a", "b"))
    x = np.zeros((5, 2), np.float32)
    x[3, 1] = np.inf
    with pytest.raises(DataError, match="column b of sample 13 is inf, must be finite"):
        spec.require_finite(x, 10)
    x[3, 1] = 1e30  # its square is infinite in float32, it is not
    spec.require_finite(x)


def test_fit_trains_on_and_masks_hold() -> None:
    data = ta.Dataset.from_array(images(), test=0.2, validation=0.1)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    pruned = ta.prune(model, data, sparsity=0.5, epochs=1, verbose=0)
    masks = pruned.masks()
    history = pruned.fit(data, epochs=2, verbose=0)
    assert len(history.history["val_loss"]) == 2
    for kernel in pruned.kernels:
        np.testing.assert_array_equal(kernel.variable.numpy()[~masks[kernel.name]], 0)


@pytest.mark.ci
def test_keras_own_loop_obeys_masks_and_quantizers() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    pruned = ta.prune(model, data, sparsity=0.5, epochs=1, verbose=0)
    x = data.scaling.apply(data.train.take(slice(None)))
    for each in (pruned, ta.quantize(pruned, data, epochs=0, config=ROUNDING, verbose=0)):
        masks = each.masks()
        each.compile(tf_keras.optimizers.legacy.Adam(1e-3), "mse")
        history = each.fit(x, epochs=2, batch_size=32, verbose=0)
        assert isinstance(history, tf_keras.callbacks.History) and history.history["loss"][0] > 1e-5
        for kernel in each.kernels:
            np.testing.assert_array_equal(kernel.variable.numpy()[~masks[kernel.name]], 0)
            if kernel.granularity:
                assert np.abs(kernel.integers().astype(int)).max() <= 127
    with pytest.raises(InputError, match="the model is compiled"):
        pruned.fit(data)


def test_a_model_is_built_when_it_first_sees_data(tmp_path: Path) -> None:
    model = ta.TiedAutoencoder([16, 4])
    with pytest.raises(InputError, match="not built"):
        model.save(tmp_path / "m.safetensors")
    with pytest.raises(InputError, match="not built"):
        _ = model.kernels
    model.compile("adam", "mse")
    model.fit(curve(64, 24).astype(np.float32), verbose=0)
    assert model.config.inputs == 24 and model.predict(curve(3, 24).astype(np.float32), verbose=0).shape == (3, 24)


def test_standardized_samples_are_refused_by_a_bounded_output() -> None:
    data = ta.Dataset.from_array(table(), output_activation="linear")
    with pytest.raises(DataError, match="output_activation sigmoid"):
        ta.TiedAutoencoder([8, 2]).fit(data, epochs=1)
    ta.TiedAutoencoder([8, 2], output_activation="linear").fit(data, epochs=1, verbose=0)


def test_models_copy_and_pickle() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    small = ta.quantize(model, data, epochs=1, config=ROUNDING, verbose=0)
    pickled = pickle.loads(pickle.dumps(small))  # noqa: S301
    for other in (pickled, copy.deepcopy(small), small.copy()):
        assert all(np.array_equal(values, other.arrays()[name]) for name, values in small.arrays().items())
        assert other.spec == small.spec and list(other.lineage.earlier) == ["train"]
        np.testing.assert_array_equal(other.encode(data), small.encode(data))


def test_a_data_frame_is_read_by_its_names() -> None:
    spec = SampleSpec((2,), "float32", columns=("a", "b"))
    x = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(spec.flatten(Frame(x, ["c", "b", "a"]))[0], x[:, [2, 1]])
    with pytest.raises(DataError, match="no column b; the columns must be a, b"):
        spec.flatten(Frame(x[:, :2], ["a", "c"]))


def test_without_a_target_validation_and_evaluation_are_against_the_input() -> None:
    x = curve(64, 24).astype(np.float32)
    model = ta.TiedAutoencoder([16, 4])
    model.compile("adam", "mse")
    first = model.fit(x, validation_data=(x,), verbose=0).history["val_loss"][0]
    right = float(np.mean(np.square(model.predict(x, verbose=0) - x)))
    assert first == pytest.approx(right, rel=1e-4) and right > 1e-4
    for given in (x, (x, x)):
        assert (
            model.fit(x, validation_data=given, callbacks=tf_keras.callbacks.TerminateOnNaN(), verbose=0).history["val_loss"][0]
            > 0
        )
    assert model.evaluate(x, verbose=0) == pytest.approx(float(np.mean(np.square(model.predict(x, verbose=0) - x))), rel=1e-4)


@pytest.mark.ci
def test_a_later_fit_has_its_stage_s_settings_and_copies_train_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiedae.compress import autoencoder

    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    small = ta.quantize(model, data, epochs=3, config=ROUNDING, verbose=0)
    copies = [small.copy(), pickle.loads(pickle.dumps(small))]  # noqa: S301
    seen, fit = [], autoencoder.fit
    monkeypatch.setattr(autoencoder, "fit", lambda *a, **k: seen.append(a[2].config) or fit(*a, **k))
    for each in (small, *copies):
        each.fit(data, epochs=3, verbose=0)
    config = seen[0]
    assert (config.learning_rate, config.weight_decay, config.epochs) == (1e-3, 0.02, 3)
    for each in copies:
        for name, values in small.arrays().items():
            np.testing.assert_array_equal(each.arrays()[name], values, err_msg=name)


def test_columns_are_held_to_their_names() -> None:
    x, names = table(), list("abcde")
    data = ta.Dataset.from_array(Frame(x, names))
    assert data.columns == tuple(names) == ta.Dataset.from_array(x, columns=names).columns
    model = ta.TiedAutoencoder([8, 2])
    model.fit(data, epochs=1, verbose=0)
    assert model.spec is not None
    turned = ta.Dataset.from_array(Frame(x[:, ::-1], names[::-1])).with_scaling(data.scaling)
    with pytest.raises(DataError, match="columns: got e, d, c, b, a, the model was trained on a, b, c, d, e"):
        model.predict(turned)
    flat, _ = model.spec.flatten(Frame(x[:, ::-1], names[::-1]))
    np.testing.assert_array_equal(flat, x)
    with pytest.raises(RecipeError, match="columns: got"):
        ta.Dataset.from_array(x, columns=["a"])


def test_data_scaled_for_another_activation_are_refused() -> None:
    data = ta.Dataset.from_array(table(), output_activation="tanh")
    with pytest.raises(DataError, match="scaled values lie in -1…1, output_activation sigmoid gives 0…1"):
        ta.TiedAutoencoder([8, 2]).fit(data, epochs=1)
    ta.TiedAutoencoder([8, 2], output_activation="tanh").fit(data, epochs=1, verbose=0)


def test_empty_arrays_and_booleans() -> None:
    flags = (curve(100, 6) > 0.5).astype(bool)
    data = ta.Dataset.from_array(flags)
    model = ta.TiedAutoencoder([4, 2])
    model.fit(data, epochs=1, verbose=0)
    assert model.encode(np.zeros((0, 6), np.float32)).shape == (0, 2)
    assert model.spec is not None and model.spec.flatten(flags)[0].shape == (100, 6)
    with pytest.raises(DataError, match="must be finite in float32"):
        model.spec.require_finite(np.array([[1e300] * 6]))


def test_a_flat_batch_of_one_is_a_batch() -> None:
    spec = SampleSpec((1, 6), "float32")
    for count in (1, 2):
        flat, single = spec.flatten(np.zeros((count, 6), np.float32))
        assert flat.shape == (count, 6) and not single
    assert not spec.flatten(np.zeros((3, 1, 6), np.float32))[1]
