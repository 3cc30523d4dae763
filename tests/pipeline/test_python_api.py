"""`import tiedae as ta`: the public names, on data of seconds."""

from __future__ import annotations

import importlib
import pkgutil
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

import tiedae as ta
from tiedae.base.errors import DataError, FormatError, InputError, RecipeError
from tiedae.bundle.results import Kind
from tiedae.compress import ExportConfig
from tiedae.config.config import DataConfig, PruneConfig, QuantizeConfig, TrainConfig
from tiedae.pipeline.runs import data_digest

from ..samples import curve, images, table
from ..variants import every

KINDS = {"image": images, "table": table}
OF_SCIKIT_LEARN = () if find_spec("sklearn") else ("TiedAutoencoderTransformer", "tiedae.pipeline.transformer")
"""What cannot be loaded where scikit-learn is not installed."""


@pytest.fixture(scope="module", params=every(2, KINDS))
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
    bundle = ta.export_bundle(small, folder, data=data, export=ExportConfig(stock=False), verbose=False)
    return data, model, small, bundle


def test_no_public_name_is_a_submodule() -> None:
    for module in pkgutil.walk_packages(ta.__path__, "tiedae."):
        if not module.name.endswith("__main__") and module.name not in OF_SCIKIT_LEARN:
            importlib.import_module(module.name)
    for name in set(ta.__all__) - set(OF_SCIKIT_LEARN):
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


@pytest.mark.ci
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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model, data: model.fit(data, callbacks=[1]), InputError, "fit: callbacks beside a Dataset"),
        (lambda model, data: model.fit(data, epochs=-1), RecipeError, "epochs: got -1"),
        (lambda model, data: model.fit(images().reshape(300, 24)), DataError, "got uint8, must be float32 scaled values"),
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


@pytest.mark.ci
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


def test_evaluate_measures_a_dataset(made) -> None:
    data, model, _, _ = made
    x = data.test.take(slice(None)).astype(np.float64)
    y = model.predict(data).reshape(x.shape).astype(np.float64)
    scale = np.asarray(data.scaling.scale)
    assert model.evaluate(data) == pytest.approx(np.mean(np.square((x - y) / scale)), rel=0.02)


@pytest.mark.ci
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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ta_, m, s, d: ta_.cluster(s, d), InputError, "kernel_0 is quantized; cluster before"),
        (lambda ta_, m, s, d: ta_.quantize(s, d), InputError, "got a quantized model"),
        (
            lambda ta_, m, s, d: m.predict(d.test.take(slice(3)).astype(np.float32)),
            DataError,
            "must be scaled: data.scaling.apply",
        ),
        (lambda ta_, m, s, d: m.encode(d.test.take(slice(3)).tolist()), DataError, "got int64, must be float32"),
        (lambda ta_, m, s, d: m.encode(np.zeros(24, np.float32)), DataError, r"got shape \[24\], must be \[n, 24\]"),
        (lambda ta_, m, s, d: ta_.TiedAutoencoder([4]).fit(np.zeros((9, 4, 6))), DataError, r"must be \[n, inputs\]"),
        (
            lambda ta_, m, s, d: ta_.TiedAutoencoder([4]).fit(3 * np.ones((9, 4))),
            DataError,
            "output_activation sigmoid gives 0…1",
        ),
        (lambda ta_, m, s, d: m.save_weights("w.h5"), InputError, r"use save\(path.safetensors\)"),
        (lambda ta_, m, s, d: ta_.TiedAutoencoder([4]).build_for((0,)), InputError, "state inputs="),
    ],
)
def test_more_wrong_calls_are_one_line(made, call, error, message: str) -> None:
    data, model, small, _ = made
    if data.train.dtype == np.uint8:
        with pytest.raises(error, match=message):
            call(ta, model, small, data)


def test_data_are_read_by_the_keys_of_a_recipe_or_by_its_table(tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", images())
    config = DataConfig(str(tmp_path / "samples.npy"), test=0.25, seed=3)
    by_keys = ta.load_data(tmp_path / "samples.npy", test=0.25, seed=np.int64(3))
    tables = (config, replace(config, seed=0))
    assert [data_digest(ta.load_data(stated, seed=3)) for stated in tables] == [data_digest(by_keys)] * 2
    with pytest.raises(RecipeError, match=r"^sede: unknown key; did you mean seed\?"):
        ta.load_data(tmp_path / "samples.npy", sede=3)
    with pytest.raises(RecipeError, match=r"^validation: got 2, must be a number"):
        ta.load_data(config, validation=2)


@pytest.mark.ci
def test_the_recipe_of_a_bundle_gives_its_files_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python did and what `tiedae run` does of its recipe are the same bytes, with seeds of their own."""
    from tiedae.cli import main
    from tiedae.pipeline.recipe import recipe_to_toml

    monkeypatch.chdir(tmp_path)
    np.save("samples.npy", images())
    data = ta.load_data("samples.npy", seed=3)
    model = ta.TiedAutoencoder([16, 4])
    model.fit(data, epochs=1, verbose=0)
    pruned = ta.prune(model, data, sparsity=0.25, epochs=1, config=PruneConfig(distill=0.5), verbose=0)
    small = ta.quantize(pruned, data, epochs=1, config=QuantizeConfig(samples=64, distill=0.5), verbose=0)
    bundle = ta.export_bundle(small, "made", data=data, export=ExportConfig(stock=False), verbose=False)
    (tmp_path / "made.toml").write_text(recipe_to_toml(bundle.manifest.recipe), encoding="utf-8")
    assert main(["run", "made.toml", "--out", "again", "-q"]) in (0, 1)
    again = ta.ExportedBundle.open("again/bundle")
    compared = [*bundle.manifest.models, "made.codec"]
    assert len(compared) == 9
    for name in compared:
        assert again.manifest.files[name].sha256 == bundle.manifest.files[name].sha256, name
