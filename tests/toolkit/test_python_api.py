"""`import tiedae as ta`: the public names, on data of seconds."""

from __future__ import annotations

import copy
import importlib
import pickle
import pkgutil
import types
from pathlib import Path

import numpy as np
import pytest
import tf_keras
import tiedae as ta
from tiedae.compress.config import TrainConfig
from tiedae.compress.errors import DataError, FormatError, InputError, RecipeError
from tiedae.export.verify.results import Kind


def curve(count: int, features: int, seed: int = 0) -> np.ndarray:
    """Samples near a surface of three dimensions, in 0…1."""
    rng = np.random.default_rng(seed)
    return 1 / (1 + np.exp(-rng.uniform(-1, 1, (count, 3)) @ rng.normal(0, 2, (3, features))))


def images() -> np.ndarray:
    return np.round(255 * curve(300, 24)).astype(np.uint8).reshape(300, 4, 6)


def table() -> np.ndarray:
    """Columns of very different units: around 300 ± 5, 0.002, a thousand."""
    return (curve(300, 5) * [10, 0.004, 2000, 1, 50] + [300, 0, -1000, 7, 0]).astype(np.float32)


KINDS = {"images": images, "table": table}


@pytest.fixture(scope="module", params=list(KINDS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """(dataset, float model, quantized model, bundle, verified metrics) of a kind of data."""
    data = ta.Dataset.from_array(KINDS[request.param](), test=0.2)
    model = ta.TiedAutoencoder([16, 4], activation="relu")
    history = model.fit(data, epochs=3, verbose=0)
    assert len(history.history["loss"]) == 3 and history.history["loss"][-1] < history.history["loss"][0]
    before = model.arrays()
    small = ta.quantize(model, data, epochs=1, verbose=0)
    assert all(np.array_equal(before[name], values) for name, values in model.arrays().items())
    assert small.quantized and not model.quantized
    folder = tmp_path_factory.mktemp("made") / "clothes"
    bundle = ta.export_bundle(small, folder, data=data, verbose=False)
    return data, model, small, bundle


def test_no_public_name_is_a_submodule() -> None:
    for module in pkgutil.walk_packages(ta.__path__, "tiedae."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ta.__all__:
        assert not isinstance(getattr(ta, name), types.ModuleType), name
        assert callable(getattr(ta, name))
    submodules = {module.name for module in pkgutil.iter_modules(ta.__path__)}
    assert not submodules & set(ta.__all__)
    assert set(ta.__all__) <= set(dir(ta))


def test_the_bundle_verifies_and_says_where_it_comes_from(made) -> None:
    data, _, _, bundle = made
    metrics = bundle.verify(data)
    assert [check.text for check in metrics.failed if check.kind is not Kind.QUALITY] == []
    assert metrics.quality
    assert bundle.path.name == "clothes" and (bundle.path / "report.html").is_file()


def test_a_failed_check_is_raised(made, tmp_path: Path) -> None:
    import shutil

    _, _, _, bundle = made
    copied = shutil.copytree(bundle.path, tmp_path / "copied")
    (copied / "MODEL_CARD.md").write_text("changed", encoding="utf-8")
    with pytest.raises(ta.CheckError, match=r"MODEL_CARD\.md was changed"):
        ta.ExportedBundle.open(copied).verify().raise_for_failures()


def test_codes_are_those_of_every_runtime_and_samples_come_back_in_their_unit(made) -> None:
    data, _, _, bundle = made
    x = data.test.values[data.test.rows]
    codecs = {runtime: ta.load(bundle.path, runtime=runtime) for runtime in ("auto", "ort-cpu", "program")}
    codes = {runtime: codec.encode(x) for runtime, codec in codecs.items()}
    for runtime, codec in codecs.items():
        assert codes[runtime].dtype == np.uint8 and codes[runtime].shape == (len(x), 4)
        np.testing.assert_array_equal(codes[runtime], codes["program"])
        y = codec.decode(codes[runtime])
        assert y.shape == x.shape and y.dtype == x.dtype
        np.testing.assert_allclose(y, codec.reconstruct(x), rtol=1e-6)
        spread = x.std(axis=0) + 1e-9
        assert np.mean(np.abs(y.astype(float) - x) / spread) < 1.0
        np.testing.assert_array_equal(codec.encode(x[7]), codes[runtime][7])
        assert codec.decode(codes[runtime][7]).shape == x.shape[1:]
        np.testing.assert_array_equal(codec.encode(x.reshape(len(x), -1)), codes[runtime])
        assert codec.encode(x[:0]).shape == (0, 4) and codec.decode(codes[runtime][:0]).shape == (0, *x.shape[1:])


def test_scores_per_sample_and_per_feature(made) -> None:
    data, _, _, bundle = made
    codec, x = ta.load(bundle.path), data.test.values[data.test.rows]
    scale = np.asarray(codec.spec.scaling.scale)
    flat = x.reshape(len(x), -1).astype(np.float64)
    squares = np.square((flat - codec.reconstruct(x).reshape(flat.shape)) / scale)
    np.testing.assert_allclose(codec.score(x), squares.mean(axis=1), rtol=2e-3)
    np.testing.assert_allclose(codec.score(x, axis=0), squares.mean(axis=0), rtol=2e-3)
    assert codec.score(x, axis=None) == pytest.approx(squares.mean(), rel=2e-3)
    assert codec.score(x[3]) == pytest.approx(codec.score(x)[3])
    with pytest.raises(InputError, match="axis: got 2, must be 1"):
        codec.score(x, axis=2)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x: x[..., :-1], "samples: got shape"),
        (lambda x: x.astype(np.float32) if x.dtype == np.uint8 else x.astype(np.uint8), "samples: got "),
        (lambda x: x.astype(complex), "samples: got complex"),
        (lambda x: np.array(["a"] * x.shape[-1]), "samples: got "),
    ],
    ids=["shape", "dtype", "complex", "text"],
)
def test_wrong_samples_are_one_line(made, wrong, message: str) -> None:
    data, _, _, bundle = made
    with pytest.raises(DataError, match=message):
        ta.load(bundle.path).encode(wrong(data.test.values[data.test.rows]))


def test_nan_and_infinity_are_named() -> None:
    from tiedae.compress.sample_spec import SampleSpec

    spec = SampleSpec((2,), "float32", columns=("a", "b"))
    x = np.zeros((5, 2), np.float32)
    x[3, 1] = np.inf
    with pytest.raises(DataError, match="column b of sample 13 is inf, must be finite"):
        spec.require_finite(x, 10)
    x[3, 1] = 1e30  # its square is infinite in float32, it is not
    spec.require_finite(x)


def test_wrong_codes_are_one_line(made) -> None:
    codec = ta.load(made[3].path)
    with pytest.raises(DataError, match=r"codes: code must be uint8 \[batch, 4\], got float64"):
        codec.decode(np.zeros((2, 4)))
    with pytest.raises(DataError, match=r"codes: code must be uint8"):
        codec.decode(np.zeros((2, 5), np.uint8))


def test_load_says_what_it_looked_for(tmp_path: Path, made) -> None:
    with pytest.raises(InputError, match="nothing here: no such file or folder"):
        ta.load(tmp_path / "nothing here")
    with pytest.raises(InputError, match=r"must hold manifest.json \(a bundle\) or bundle/manifest.json \(OUT of a run\)"):
        ta.load(tmp_path)
    with pytest.raises(InputError, match="runtime: got 'onnx', must be one of auto, program, litert-xnnpack"):
        ta.load(made[3].path, runtime="onnx")
    (tmp_path / "x.txt").write_text("no archive")
    with pytest.raises(FormatError, match="not a tiedae-model file"):
        ta.load(tmp_path / "x.txt")


def test_load_refuses_a_changed_file(made, tmp_path: Path) -> None:
    import shutil

    copied = shutil.copytree(made[3].path, tmp_path / "copied")
    file = next(copied.glob("*.int8.tflite"))
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(FormatError, match="missing or changed"):
        ta.load(copied)


def test_an_archive_is_a_codec_too(made, tmp_path: Path) -> None:
    data, model, small, bundle = made
    x = data.test.values[data.test.rows]
    small.save(tmp_path / "small.safetensors")
    np.testing.assert_array_equal(ta.load(tmp_path / "small.safetensors").encode(x), ta.load(bundle.path).encode(x))
    model.save(tmp_path / "model.safetensors")
    codec = ta.load(tmp_path / "model.safetensors")
    np.testing.assert_allclose(codec.encode(x), model.encode(data), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(codec.reconstruct(x), model.predict(data), rtol=1e-3, atol=1)


def test_pruned_and_clustered_models_are_new_ones_and_keep_their_zeros() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=2, verbose=0)
    pruned = ta.prune(model, data, sparsity=0.5, epochs=2, verbose=0)
    clustered = ta.cluster(pruned, data, clusters=8, epochs=1, verbose=0)
    small = ta.quantize(clustered, data, epochs=1, verbose=0)
    assert all(mask.all() for mask in model.masks().values())
    for each in (pruned, clustered, small):
        assert all(0.45 < 1 - mask.mean() < 0.55 for mask in each.masks().values())
    assert all(kernel.clusters is None for kernel in pruned.kernels)
    assert list(small.lineage.earlier) == ["train", "prune", "cluster"]
    assert {record["stage"] for record in small.lineage.history} == {"train", "prune", "cluster", "quantize"}
    halved = ta.prune(model, data, pattern="2:4", epochs=1, verbose=0)
    assert all(abs(mask.mean() - 0.5) < 1e-9 for mask in halved.masks().values())


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


def test_keras_own_loop_obeys_masks_and_quantizers() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    pruned = ta.prune(model, data, sparsity=0.5, epochs=1, verbose=0)
    x = data.scaling.apply(data.train.take(slice(None)))
    for each in (pruned, ta.quantize(pruned, data, epochs=0, verbose=0)):
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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model, data: model.fit(data, callbacks=[1]), InputError, "fit: callbacks beside a Dataset"),
        (lambda model, data: model.fit(data, epochs=-1), RecipeError, "epochs: got -1"),
        (lambda model, data: model.fit(images().reshape(300, 24)), DataError, "got uint8, must be float32 in model units"),
        (lambda model, data: model.predict(images().reshape(300, 24)), DataError, "got uint8"),
        (lambda model, data: model.fit(curve(9, 24).astype("f4"), learning_rate=1.0), InputError, "are for a Dataset"),
        (lambda model, data: ta.quantize(model, ta.Dataset.from_array(7 * curve(50, 24))), DataError, "with_scaling"),
        (lambda model, data: ta.export_bundle(model, "out", data=data), InputError, "got a float model"),
        (lambda model, data: model.save("m.keras"), InputError, "m.keras: must end in .safetensors"),
    ],
)
def test_wrong_calls_are_one_line(call, error, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=0, verbose=0)
    with pytest.raises(error, match=message):
        call(model, data)
    assert not list(tmp_path.iterdir())


def test_standardized_samples_are_refused_by_a_bounded_output() -> None:
    data = ta.Dataset.from_array(table(), output_activation="linear")
    with pytest.raises(DataError, match="output_activation sigmoid"):
        ta.TiedAutoencoder([8, 2]).fit(data, epochs=1)
    ta.TiedAutoencoder([8, 2], output_activation="linear").fit(data, epochs=1, verbose=0)


def test_models_copy_and_pickle() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    small = ta.quantize(model, data, epochs=1, verbose=0)
    pickled = pickle.loads(pickle.dumps(small))  # noqa: S301
    for other in (pickled, copy.deepcopy(small), small.copy()):
        assert all(np.array_equal(values, other.arrays()[name]) for name, values in small.arrays().items())
        assert other.spec == small.spec and list(other.lineage.earlier) == ["train"]
        np.testing.assert_array_equal(other.encode(data), small.encode(data))


def test_training_settings_are_kept_for_later_stages() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, train=TrainConfig(epochs=2, batch_size=16, loss="mae"), verbose=0)
    small = ta.quantize(model, data, epochs=1, verbose=0)
    assert small.lineage.configs["train"] == TrainConfig(epochs=2, batch_size=16, loss="mae")


def test_a_bundle_is_not_overwritten_unless_told(made, tmp_path: Path) -> None:
    data, _, small, bundle = made
    with pytest.raises(InputError, match="exists; choose another folder, or overwrite=True"):
        ta.export_bundle(small, bundle.path, data=data)
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="is no bundle, so it is not overwritten"):
        ta.export_bundle(small, tmp_path / "photos", data=data, overwrite=True)


def test_a_data_frame_is_read_by_its_names() -> None:
    from tiedae.compress.sample_spec import SampleSpec

    class Frame:
        """What pandas and polars have in common."""

        def __init__(self, **columns: np.ndarray) -> None:
            self.values, self.columns = columns, list(columns)

        def __getitem__(self, names: list[str]) -> Frame:
            return Frame(**{name: self.values[name] for name in names})

        def to_numpy(self) -> np.ndarray:
            return np.stack(list(self.values.values()), axis=1)

    spec = SampleSpec((2,), "float32", columns=("a", "b"))
    a, b, c = np.arange(3.0), np.ones(3), np.zeros(3)
    np.testing.assert_array_equal(spec.flatten(Frame(c=c, b=b, a=a))[0], np.stack([a, b], axis=1))
    with pytest.raises(DataError, match="no column b; the columns must be a, b"):
        spec.flatten(Frame(a=a, c=c))


def test_threads_share_a_codec(made) -> None:
    from concurrent.futures import ThreadPoolExecutor

    data, _, _, bundle = made
    codec, x = ta.load(bundle.path), data.test.values[data.test.rows]
    parts = [x[start : start + size] for start in range(0, 40) for size in (1, 7, 20)]
    expected = [ta.load(bundle.path, runtime="program").encode(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for got, right in zip(pool.map(codec.encode, parts), expected, strict=True):
                np.testing.assert_array_equal(got, right)


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


def test_evaluate_measures_a_dataset(made) -> None:
    data, model, _, _ = made
    x = data.test.take(slice(None)).astype(np.float64)
    y = model.predict(data).reshape(x.shape).astype(np.float64)
    scale = np.asarray(data.scaling.scale)
    assert model.evaluate(data) == pytest.approx(np.mean(np.square((x - y) / scale)), rel=0.02)


def test_a_model_that_lost_units_keeps_the_one_before() -> None:
    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    smaller = ta.prune(model, data, pattern="structured", sparsity=0.5, epochs=1, verbose=0)
    assert smaller.config.widths == (24, 8, 4) and smaller.stage == "prune"
    smaller.fit(data, epochs=1, verbose=0)
    small = ta.quantize(smaller, data, epochs=1, verbose=0)
    assert list(small.lineage.earlier) == ["train", "prune"]
    assert small.lineage.earlier["train"].header["model"]["layers"][0]["units"] == 16
    assert [record["stage"] for record in small.lineage.history] == ["train", "prune", "prune", "quantize"]


def test_a_later_fit_has_its_stage_s_settings_and_copies_train_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    from tiedae.compress import train

    data = ta.Dataset.from_array(images(), test=0.2)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    small = ta.quantize(model, data, epochs=3, verbose=0)
    copies = [small.copy(), pickle.loads(pickle.dumps(small))]  # noqa: S301
    seen, fit = [], train.fit
    monkeypatch.setattr(train, "fit", lambda *a, **k: seen.append((a[2].config, k["range_epochs"])) or fit(*a, **k))
    for each in (small, *copies):
        each.fit(data, epochs=3, verbose=0)
        assert each.quantizers is not None and each.quantizers.frozen
    config, range_epochs = seen[0]
    assert (config.learning_rate, config.weight_decay, config.epochs, range_epochs) == (1e-3, 0.02, 3, 2)
    for each in copies:
        for name, values in small.arrays().items():
            np.testing.assert_array_equal(each.arrays()[name], values, err_msg=name)


def test_columns_are_held_to_their_names() -> None:
    class Frame:
        def __init__(self, values: np.ndarray, columns: list[str]) -> None:
            self.values, self.columns = values, columns

        def __getitem__(self, names: list[str]) -> Frame:
            return Frame(self.values[:, [self.columns.index(name) for name in names]], names)

        def to_numpy(self) -> np.ndarray:
            return self.values

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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ta_, m, s, d: ta_.cluster(s, d), InputError, "kernel_0 is quantized; cluster before"),
        (lambda ta_, m, s, d: ta_.quantize(s, d), InputError, "got a quantized model"),
        (lambda ta_, m, s, d: m.predict(d.test.take(slice(3)).astype(np.float32)), DataError, "must be in model units"),
        (lambda ta_, m, s, d: m.encode(d.test.take(slice(3)).tolist()), DataError, "got int64, must be float32"),
        (lambda ta_, m, s, d: m.encode(np.zeros(24, np.float32)), DataError, r"got shape \[24\], must be \[n, 24\]"),
        (lambda ta_, m, s, d: ta_.TiedAutoencoder([4]).fit(np.zeros((9, 4, 6))), DataError, r"must be \[n, inputs\]"),
        (
            lambda ta_, m, s, d: ta_.TiedAutoencoder([4]).fit(3 * np.ones((9, 4))),
            DataError,
            "output_activation sigmoid gives 0…1",
        ),
        (lambda ta_, m, s, d: m.save_weights("w.h5"), InputError, r"use save\(path.safetensors\)"),
        (lambda ta_, m, s, d: m.copy().build_for(0) or ta_.TiedAutoencoder([4]).build_for(0), InputError, "state inputs="),
    ],
)
def test_more_wrong_calls_are_one_line(made, call, error, message: str) -> None:
    data, model, small, _ = made
    if data.train.dtype == np.uint8:
        with pytest.raises(error, match=message):
            call(ta, model, small, data)


def test_data_scaled_for_another_activation_are_refused() -> None:
    data = ta.Dataset.from_array(table(), output_activation="tanh")
    with pytest.raises(DataError, match="values in model units lie in -1…1, output_activation sigmoid gives 0…1"):
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
    from tiedae.compress.sample_spec import SampleSpec

    spec = SampleSpec((1, 6), "float32")
    for count in (1, 2):
        flat, single = spec.flatten(np.zeros((count, 6), np.float32))
        assert flat.shape == (count, 6) and not single
    assert not spec.flatten(np.zeros((3, 1, 6), np.float32))[1]
