"""Somebody else's model as the witness of an import: what can load it runs it, and the layer that differs is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import InputError, UnavailableError
from tiedae.compress.imports.formats import read_model
from tiedae.export import to_onnx
from tiedae.program.interpreter import execute
from tiedae.runtimes.child_process import Ended
from tiedae.verify import original, original_process
from tiedae.verify.original import OriginalAnswer, require_equal, run_original

X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


@pytest.mark.parametrize("name", ["model.onnx", "MODEL.ONNX"])
def test_a_file_of_onnx_is_run_by_onnx_runtime(make_program: Callable[..., Any], tmp_path: Path, name: str) -> None:
    import onnxruntime

    program = make_program((8, 5, 3), quantized=False)
    path = tmp_path / name
    path.write_bytes(to_onnx(program, signature="encode"))
    answer = run_original(path, X)
    assert answer.witness == f"onnxruntime {onnxruntime.__version__} (CPUExecutionProvider)" and answer.layers == {}
    np.testing.assert_allclose(answer.y, execute(program, "encode", X)["code"], atol=1e-6)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Takes the packages that are installed, and why each fails, '' if it does not; gives the list of those that are asked."""

    def installed(**failures: str) -> list[str]:
        asked: list[str] = []

        def run(package: str, path: Path, x: np.ndarray, *, layers: bool) -> OriginalAnswer:
            asked.append(package)
            if failures[package]:
                raise Ended("original_process", failures[package])
            return OriginalAnswer(package, x)

        monkeypatch.setattr(original, "find_spec", lambda name: name if name in failures else None)
        monkeypatch.setattr(original, "_run_package", run)
        return asked

    return installed


def test_packages_are_asked_in_turn_until_one_answers(packages: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "new.keras").write_bytes(b"PK\x03\x04")
    (tmp_path / "old.h5").write_bytes(b"\x89HDF")
    for name, order in {"new.keras": ["keras", "tf_keras"], "old.h5": ["tf_keras", "keras"]}.items():
        asked = packages(keras="", tf_keras="")
        assert run_original(tmp_path / name, X).witness == order[0] and asked == order[:1]
        asked = packages(**{order[0]: "failed: it is another format. See the documentation", order[1]: ""})
        assert run_original(tmp_path / name, X).witness == order[1] and asked == order
    assert packages(tensorflow="") == [] and run_original(tmp_path, X).witness == "tensorflow"


def test_why_no_package_can_run_it_is_said(packages: Callable[..., list[str]], tmp_path: Path) -> None:
    path = tmp_path / "old.h5"
    path.write_bytes(b"\x89HDF")
    packages()
    with pytest.raises(UnavailableError, match=r"^tf_keras and keras are not installed$"):
        run_original(path, X)
    packages(keras="crashed (SIGSEGV)")
    with pytest.raises(UnavailableError, match=r"^keras crashed \(SIGSEGV\)$"):
        run_original(path, X)
    packages(tf_keras="failed: a class is unknown. More of it", keras=f"failed: {'x' * 999}")
    with pytest.raises(UnavailableError, match=r"^tf_keras failed: a class is unknown; keras failed: x{146}$"):
        run_original(path, X)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A model of two layers, and its file."""
    import tf_keras

    layers = [tf_keras.Input((8,)), tf_keras.layers.Dense(5, "tanh", name="one"), tf_keras.layers.Dense(8, name="two")]
    model, path = tf_keras.Sequential(layers), tmp_path_factory.mktemp("original") / "model.h5"
    with pytest.warns(UserWarning, match="HDF5"):
        model.save(path)
    return model, path


def answered(folder: Path, package: str, path: Path, *, layers: bool) -> dict[str, np.ndarray]:
    """What the process of a package writes for the samples."""
    np.save(folder / "x.npy", X)
    plan = {"package": package, "path": str(path), "x": str(folder / "x.npy"), "outputs": str(folder / "y.npz")}
    (version,) = original_process.answer(plan | {"layers": layers})
    assert version == __import__(package).__version__
    with np.load(folder / "y.npz") as found:
        return dict(found)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process sets for itself is as it was afterwards."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("no_gpu")
def test_the_process_computes_a_keras_model_in_float64_with_its_layers(keras_file: tuple[Any, Path], tmp_path: Path) -> None:
    model, path = keras_file
    kernel, bias, second, last = (values.astype(np.float64) for values in model.get_weights())
    one = np.tanh(X.astype(np.float64) @ kernel + bias)
    y = one @ second + last
    found = answered(tmp_path, "tf_keras", path, layers=True)
    assert found.keys() == {"y", "layer one", "layer two"} and {each.dtype for each in found.values()} == {np.dtype(np.float64)}
    for name, expected in {"layer one": one, "layer two": y, "y": y}.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12)
    assert answered(tmp_path, "tf_keras", path, layers=False).keys() == {"y"}


@pytest.mark.usefixtures("no_gpu")
def test_the_process_runs_a_saved_model_by_its_signature(tmp_path: Path) -> None:
    import tensorflow as tf

    module: Any = tf.Module()
    module.run = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None, 8], tf.float64)])
    tf.saved_model.save(module, tmp_path / "saved", signatures=module.run)
    found = answered(tmp_path, "tensorflow", tmp_path / "saved", layers=False)
    np.testing.assert_array_equal(found["y"], 2 * X.astype(np.float64))
    assert found["y"].dtype == np.float64


def outputs_of(chain: Any) -> list[np.ndarray]:
    values, found = X.astype(np.float64), []
    for layer in chain.layers:
        values = layer.apply(values)
        found.append(values)
    return found


@pytest.mark.parametrize(("wrong", "where"), [((0,), 0), ((1,), 1), ((0, 1), 0), ((), None)], ids=str)
def test_the_first_layer_that_differs_is_named(
    keras_file: tuple[Any, Path], wrong: Sequence[int], where: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an original whose output is another, and whose layers are others where it says so."""
    chain = read_model(keras_file[1])
    outputs = outputs_of(chain)
    last = {layer.name: i for i, layer in enumerate(chain.layers)}
    layers = {name: outputs[i] + (at in wrong) for at, (name, i) in enumerate(last.items())}
    answer = OriginalAnswer("a package", outputs[-1] + 1, layers)
    monkeypatch.setattr(original, "run_original", lambda path, x, *, layers: replace(answer, witness=str(layers)))
    named = "the output" if where is None else f"the output of {chain.layers[[*last.values()][where]].title}"
    with pytest.raises(InputError) as error:
        require_equal(outputs[-1], outputs[-1], answer, chain, X, keras_file[1])
    assert f" {named} differs from a package by " in str(error.value)
    with pytest.raises(InputError, match=": the output differs from a package"):
        require_equal(outputs[-1], outputs[-1], answer, chain, X, None)
