"""`ta.TiedAutoencoderTransformer` as scikit-learn uses it: its own checks, pipelines, pickles, bundles, memory maps."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tiedae as ta
from tiedae.base.errors import InputError, RecipeError
from tiedae.compress import ExportConfig
from tiedae.data.samples import CHUNK_BYTES

from ..samples import curve, images, table
from ..variants import every

REASON = "scikit-learn is not installed: pip install 'tiedae[tasks]'"
checks = pytest.importorskip("sklearn.utils.estimator_checks", reason=REASON)
clone = checks.clone

SMALL = {"hidden_layer_sizes": (16,), "epochs": 5, "random_state": 0}
EXPECTED_FAILURES: dict[str, str] = {}
"""Checks of scikit-learn that it fails, with the reason. None is known."""


def small(**options) -> ta.TiedAutoencoderTransformer:
    return ta.TiedAutoencoderTransformer(**{**SMALL, **options})


@pytest.fixture(scope="module")
def fitted() -> ta.TiedAutoencoderTransformer:
    return small(n_components=3, epochs=100, batch_size=32).fit(table())


@pytest.fixture(scope="module")
def quantized() -> ta.TiedAutoencoderTransformer:
    return small(n_components=3, epochs=100, batch_size=32, bits=8, quantize_epochs=2).fit(table())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, quantized: ta.TiedAutoencoderTransformer) -> Path:
    model = quantized.model_
    data = ta.Dataset.from_array(table(), test=0.2).with_scaling(model.spec.scaling)
    return ta.export_bundle(
        model, tmp_path_factory.mktemp("transformer") / "table", data=data, export=ExportConfig(stock=False), verbose=False
    ).path


CHECKS = checks.parametrize_with_checks([small(epochs=3)], expected_failed_checks=lambda _: EXPECTED_FAILURES)


@pytest.mark.parametrize(("estimator", "check"), every(4, CHECKS.args[1]), ids=CHECKS.kwargs["ids"])
def test_scikit_learn_checks_it(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "X", every(4, [table(), table().astype(np.float64), images().reshape(300, -1), np.arange(200).reshape(50, 4)])
)
def test_codes_are_real_numbers_that_decode_to_samples_like_x(X: np.ndarray) -> None:
    transformer = small(n_components=3, epochs=100, batch_size=16)
    codes = transformer.fit_transform(X)
    assert codes.shape == (len(X), 3) and codes.dtype == np.float32
    y = transformer.inverse_transform(codes)
    assert y.shape == X.shape and y.dtype == (X.dtype if X.dtype != np.int64 else np.float32)
    spread = X.std(axis=0)
    assert np.sqrt(np.mean(np.square((y.astype(float) - X) / spread))) < 0.6
    assert transformer.score(X) > 0.6
    np.testing.assert_array_equal(transformer.transform(X.tolist()) if X.dtype == np.int64 else codes, codes)


@pytest.mark.ci
def test_the_score_is_the_explained_variance(fitted, quantized) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    X = table()
    for transformer in (fitted, quantized):
        scaled = StandardScaler().fit(table()).transform(X)
        y = StandardScaler().fit(table()).transform(transformer.inverse_transform(transformer.transform(X)))
        expected = 1 - np.square(scaled - y).sum() / np.square(scaled - scaled.mean(axis=0)).sum()
        assert transformer.score(X) == pytest.approx(expected, abs=1e-4)
        assert 0.8 < transformer.score(X) <= 1
    pca = PCA(3).fit(scaled := StandardScaler().fit_transform(X))
    assert fitted.score(X) > 0.9 * pca.explained_variance_ratio_.sum()
    assert scaled.shape == X.shape


def test_the_score_of_constant_samples() -> None:
    transformer = small().fit(np.full((20, 3), 7.0))
    assert transformer.score(np.full((5, 3), 7.0)) in (0.0, 1.0)
    assert np.isfinite(transformer.transform(np.full((5, 3), 7.0))).all()


def test_codes_of_a_quantized_model_are_multiples_of_their_scale(quantized) -> None:
    codes = quantized.transform(table())
    scale = np.float32(quantized.codec_.code.quantization.scale)
    np.testing.assert_allclose(codes / scale, np.rint(codes / scale), atol=1e-4)
    assert len(np.unique(codes)) > 20
    np.testing.assert_array_equal(
        quantized.inverse_transform(codes), quantized.codec_.decode(quantized.codec_.encode(table())).reshape(300, -1)
    )
    np.testing.assert_array_equal(quantized.inverse_transform(codes + scale / 3), quantized.inverse_transform(codes))


def test_distances_survive_quantization(quantized) -> None:
    """Codes of the int8 program lie where the model's float codes lie, up to steps of the scale."""
    model = quantized.model_
    x = model.spec.scaling.apply(table())
    scale = quantized.codec_.code.quantization.scale
    assert np.abs(quantized.transform(table()) - model.encode(x)).max() <= 2 * scale


@pytest.mark.parametrize("options", every(2, [{}, {"bits": 4, "quantize_epochs": 1}]))
def test_the_same_seed_gives_the_same_bytes(options) -> None:
    X = table()
    one, two = (pickle.dumps(small(**options).fit(X).transform(X)) for _ in range(2))
    assert one == two
    assert one != pickle.dumps(small(**options, **{"random_state": 1}).fit(X).transform(X))
    state = small(random_state=np.random.RandomState(3), **options)
    assert np.isfinite(state.fit(X).transform(X)).all()


def test_a_pipeline_a_data_frame_and_names() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X = pandas.DataFrame(table(), columns=list("abcde"))
    pipeline = make_pipeline(StandardScaler(), small(n_components=2)).set_output(transform="pandas")
    codes = pipeline.fit_transform(X)
    assert list(codes.columns) == ["tiedautoencodertransformer0", "tiedautoencodertransformer1"]
    assert list(codes.columns) == list(pipeline[-1].get_feature_names_out())
    assert codes.shape == (300, 2) and list(codes.index) == list(X.index)
    transformer = small().fit(X)
    assert list(transformer.feature_names_in_) == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        transformer.transform(X[list("edcba")])


@pytest.mark.ci
def test_a_grid_search_finds_the_larger_code() -> None:
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline

    X = table()
    search = GridSearchCV(small(epochs=20), {"n_components": [1, 3]}, cv=2, refit=False).fit(X)
    assert search.best_params_ == {"n_components": 3}
    labels = (X[:, 0] > np.median(X[:, 0])).astype(int)
    assert make_pipeline(small(epochs=20), KNeighborsClassifier(5)).fit(X, labels).score(X, labels) > 0.7


def test_parameters_are_cloned_and_set() -> None:
    transformer = small(n_components=3, bits=8)
    assert clone(transformer).get_params() == transformer.get_params()
    assert transformer.set_params(n_components=4).n_components == 4


@pytest.mark.ci
def test_pickles_transform_without_tensorflow(tmp_path: Path, fitted, quantized) -> None:
    X = table()
    np.save(tmp_path / "x.npy", X)
    code = (
        "import sys, pickle; sys.modules['tensorflow'] = sys.modules['tf_keras'] = None\nimport numpy as np\n"
        "for name, t in pickle.load(open(sys.argv[1], 'rb')).items():\n"
        "    z = t.transform(np.load('x.npy')); np.savez(name, z=z, y=t.inverse_transform(z))"
    )
    kept = {"fitted.npz": fitted, "quantized.npz": quantized}
    (tmp_path / "kept.pickle").write_bytes(pickle.dumps(kept))
    subprocess.run([sys.executable, "-c", code, "kept.pickle"], check=True, cwd=tmp_path)
    for name, transformer in kept.items():
        with np.load(tmp_path / name) as out:
            np.testing.assert_array_equal(out["z"], transformer.transform(X))
            np.testing.assert_array_equal(out["y"], transformer.inverse_transform(out["z"]))


def test_the_trained_model_is_kept_whole(quantized) -> None:
    again = pickle.loads(pickle.dumps(quantized))  # noqa: S301
    assert again.model_.quantized and list(again.model_.lineage.earlier) == ["train"]
    assert again.get_params() == quantized.get_params()


@pytest.mark.parametrize("runtime", every(3, ["auto", "ort-cpu", "program"]))
def test_a_bundle_transforms_in_every_runtime(bundle: Path, quantized, runtime: str) -> None:
    X = table()
    transformer = ta.TiedAutoencoderTransformer.from_bundle(bundle, runtime=runtime)
    np.testing.assert_array_equal(transformer.transform(X), quantized.transform(X))
    assert transformer.codec_.runtime != "program" or runtime == "program"
    step = np.abs(quantized.inverse_transform(quantized.transform(X)) - transformer.inverse_transform(transformer.transform(X)))
    assert (step.mean(axis=0) <= 0.05 * X.std(axis=0)).all()
    assert transformer.score(X) == pytest.approx(quantized.score(X), abs=0.01)
    again = pickle.loads(pickle.dumps(transformer))  # noqa: S301
    assert again.codec_.runtime == transformer.codec_.runtime
    np.testing.assert_array_equal(again.transform(X), transformer.transform(X))
    named = {name: transformer.get_params()[name] for name in ("n_components", "hidden_layer_sizes", "bits")}
    assert named == {"n_components": 3, "hidden_layer_sizes": (16,), "bits": 8}


def test_the_clone_of_a_bundle_can_be_fitted(bundle: Path) -> None:
    transformer = clone(ta.TiedAutoencoderTransformer.from_bundle(bundle)).set_params(epochs=1, quantize_epochs=0)
    assert np.isfinite(transformer.fit(table()).transform(table())).all()


def test_a_bundle_needs_no_tensorflow(bundle: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = sys.modules['tf_keras'] = None\nimport numpy as np, tiedae as ta\n"
        "t = ta.TiedAutoencoderTransformer.from_bundle(sys.argv[1]); print(t.transform(np.zeros((2, 5), 'f4')).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(2, 3)"


@pytest.mark.parametrize("mapped_fit", every(2, [False, True]))
def test_a_memory_map_is_read_in_pieces(tmp_path: Path, mapped_fit: bool) -> None:
    """256 MB, of which numpy holds less than a sixth at a time, codes included."""
    shape = (1 << 17, 512)
    X = np.memmap(tmp_path / "x.dat", np.float32, "w+", shape=shape)
    X[:400] = curve(400, shape[1])
    transformer = small(epochs=1).fit(np.load(_saved(tmp_path, X[:400]), mmap_mode="r") if mapped_fit else np.array(X[:400]))
    tracemalloc.start()
    codes = transformer.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes.shape == (shape[0], 2) and peak < X.nbytes / 6
    piece = CHUNK_BYTES // X[0].nbytes  # products of fewer rows may add in another order
    np.testing.assert_array_equal(codes[:piece], transformer.transform(np.array(X[:piece])))


def _saved(folder: Path, X: np.ndarray) -> Path:
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t, X: small().fit(np.where(X > 300, np.nan, X)), ValueError, "Input X contains NaN"),
        (lambda t, X: small().fit(X[:1]), ValueError, "minimum of 2 is required"),
        (lambda t, X: small().fit(X.astype(complex)), ValueError, "Complex data not supported"),
        (lambda t, X: small(n_components=6).fit(X), RecipeError, "n_components: got 6, must be at most n_features = 5"),
        (lambda t, X: small(n_components=0).fit(X), RecipeError, r"units"),
        (lambda t, X: small(activation="elu").fit(X), RecipeError, "activation"),
        (lambda t, X: small(bits=9).fit(X), RecipeError, "bits"),
        (lambda t, X: small(epochs=-1).fit(X), RecipeError, "epochs: got -1"),
        (lambda t, X: small(scaling="log").fit(X), RecipeError, "scaling"),
        (lambda t, X: t.transform(X[:, :4]), ValueError, "X has 4 features, but TiedAutoencoderTransformer is expecting 5"),
        (lambda t, X: t.transform(np.where(X > 300, np.inf, X)), ValueError, "Input X contains infinity"),
        (lambda t, X: t.transform(X[0]), ValueError, "Expected 2D array, got 1D"),
        (lambda t, X: t.inverse_transform(X), ValueError, r"X: got codes of shape \[300, 5\], must be \[n, 3\]"),
        (lambda t, X: t.inverse_transform(np.full((1, 3), np.nan)), ValueError, "Input X contains NaN"),
        (lambda t, X: small().transform(X), checks.NotFittedError, "is not fitted yet"),
        (lambda t, X: small().model_, AttributeError, "trained_"),
    ],
)
def test_wrong_calls_are_one_line(fitted, call, error, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        call(fitted, table())
    assert "\n" not in str(raised.value).partition("\n")[0]


def test_a_folder_that_is_no_bundle_is_one_line(tmp_path: Path, fitted) -> None:
    with pytest.raises(InputError, match=r"must hold manifest.json \(a bundle\)"):
        ta.TiedAutoencoderTransformer.from_bundle(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        ta.TiedAutoencoderTransformer.from_bundle(tmp_path / "nothing")
    fitted.model_.save(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="is a model archive, must be a bundle"):
        ta.TiedAutoencoderTransformer.from_bundle(tmp_path / "model.safetensors")
