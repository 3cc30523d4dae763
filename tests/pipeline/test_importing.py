"""Runs that start from a model which somebody else trained: its weights, its scaling, what is said of it, what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tf_keras

import tiedae as ta
from tiedae.base.archive import FORMAT, unpack
from tiedae.base.errors import InputError, TiedaeError, UnavailableError
from tiedae.bundle.manifest import read
from tiedae.cli import main
from tiedae.compress.imports.chain import Chain, stored
from tiedae.compress.imports.formats import read_model
from tiedae.pipeline.importing import Start
from tiedae.pipeline.recipe import load_recipe, recipe_to_toml
from tiedae.pipeline.sources import recipe_data
from tiedae.verify.original import OriginalAnswer, require_equal, run_original

from .imported_models import normalized_model, samples, save, tied_model

QUICK = """
[quantize]
method = "ptq"
samples = 64
[export]
stock = false
targets = [{targets}]
[verify]
max_quality_loss = 20.0
"""


@pytest.fixture(scope="session")
def models(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder of models and samples: tied.h5, bytes.h5 (it divides by 255), leaky.h5, untied.h5; bytes.npy, floats.npy."""

    def fill(folder: Path) -> None:
        save(tied_model(), folder / "tied.h5")
        save(tied_model([tf_keras.layers.Rescaling(1 / 255)]), folder / "bytes.h5")
        save(tied_model(hidden="selu"), folder / "selu.h5")
        save(tied_model(tied=False, epochs=20), folder / "untied.h5")
        for name, units in {"classifier": (3,), "skewed": (12, 4, 7, 24)}.items():
            layers = [tf_keras.Input((24,)), *map(tf_keras.layers.Dense, units)]
            save(tf_keras.Sequential(layers), folder / f"{name}.h5")
        np.save(folder / "floats.npy", samples())
        np.save(folder / "bytes.npy", np.rint(255 * samples()).astype(np.uint8))
        np.save(folder / "wide.npy", 100 * samples())
        np.save(folder / "narrow.npy", samples()[:, :20])

    return make_once("imported", fill)


ASSUME = ["Tied"]
"""The class of the layers of tied.h5, bytes.h5 and selu.h5."""


def start_of(path: Path) -> Start:
    return Start.read(path, assume=ASSUME)


def recipe(folder: Path, model: str, *, data: str = 'source = "bytes.npy"', more: str = "", targets: str = '"tflite"') -> Path:
    path = folder / f"r{abs(hash((model, data, more, targets)))}.toml"
    model += '\nassume = ["Tied"]' if re.search(r'"(tied|bytes|selu)\.h5"', model) else ""
    text = f'name = "r"\n[data]\n{data}\n[model]\n{model}\n{more}'
    path.write_text(text + ("" if "[quantize]" in more else QUICK.format(targets=targets)))
    return path


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(models, tmp_path / "models"))


def test_a_run_starts_from_the_file_and_its_bundle_needs_it_no_more(folder: Path, capsys) -> None:
    path, out = recipe(folder, 'source = "tied.h5"', targets='"tflite", "onnx", "c"'), folder / "out"
    assert main(["run", str(path), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "bytes.npy: values are divided by 255, since neither" in printed.err
    _, arrays = unpack(out / "model" / "train.safetensors", FORMAT)
    kept = {name: values for name, values in arrays.items() if name != "spec"}
    expected = start_of(folder / "tied.h5").tied().arrays()
    assert kept.keys() == expected.keys() and all(np.array_equal(kept[name], expected[name]) for name in kept)
    imported = read(out / "bundle").imported
    assert imported is not None and (imported.source, imported.tie) == ("tied.h5", start_of(folder / "tied.h5").mirror.tie)
    assert imported.difference is None and "Tied" in imported.reason
    assert imported.sha256 in (out / "bundle" / "MODEL_CARD.md").read_text() and imported.sha256 in (
        (out / "bundle" / "report.html").read_text()
    )
    assert main(["run", str(path), "--out", str(out), "--resume", "-q"]) == 0
    with (folder / "tied.h5").open("ab") as file:
        file.write(b" ")
    capsys.readouterr()
    assert main(["run", str(path), "--out", str(out), "--resume", "-q"]) == 2
    assert "holds a run from another model" in capsys.readouterr().err
    (folder / "tied.h5").unlink()
    assert main(["verify", str(out / "bundle"), "-q"]) == 0
    codec = ta.load(out / "bundle")
    assert (
        np.abs(codec.decode(codec.encode(np.load(folder / "bytes.npy"))).astype(int) - np.load(folder / "bytes.npy")).mean()
        < 20
    )


WRONG = {
    "both": (
        'source = "tied.h5"\nlayers = [4]',
        "",
        "model.layers: got [4], must be left out beside `source`, which has its own",
    ),
    "an output": (
        'source = "tied.h5"\noutput_activation = "tanh"',
        "",
        "model.output_activation: got 'tanh', must be left out",
    ),
    "neither": ("", "", "model.layers: is missing, must be a list, such as [256, 16]; or `source`, a trained model"),
    "no text": ("source = 3", "", "model.source: got 3, must be"),
    "missing": ('source = "nope.h5"', "", "nope.h5: no such file or folder"),
    "another file": ('source = "floats.npy"', "", "floats.npy: is no model that can be read"),
    "untied": ('source = "untied.h5"', "", "untied.h5: not tied: dense"),
    "tied, to be tied": ('source = "tied.h5"\ntie = true', "", "tied.h5: is tied already; leave `tie` out"),
    "a tie that is not trained": (
        'source = "untied.h5"\ntie = true',
        "[train]\nepochs = 0\n",
        "train.epochs: got 0, must be 1 or more with model.tie: a tie is trained",
    ),
    "a tie without a source": ("layers = [4]\ntie = true", "", "model.tie: got True, must be left out, or beside `source`"),
    "a tie that is no tie": ('source = "untied.h5"\ntie = 3', "", "model.tie: got 3, must be"),
    "a classifier": ('source = "classifier.h5"\ntie = true', "", "gives 3 values (24-3), must give the 24 values of a sample"),
    "no mirror": ('source = "skewed.h5"\ntie = true', "", "widths 24-12-4-7-24, must be mirrored"),
    "a teacher without a tie": ('source = "tied.h5"', "[train]\ndistill = 0.5\n", "train.distill: got 0.5, must be 0, or"),
    "selu": (
        'source = "selu.h5"',
        "",
        "(selu): is no activation of a chain (linear, relu, relu6, tanh, sigmoid); replace = {selu",
    ),
    "replaced, not trained": (
        'source = "selu.h5"\nreplace = { selu = "relu" }',
        "",
        "train.epochs: got 0, must be 1 or more with model.replace: other activations need fine-tuning",
    ),
    "replaced by what": (
        'source = "selu.h5"\nreplace = { selu = "elu" }',
        "",
        "model.replace.selu: got 'elu', must be one of linear",
    ),
    "nothing to replace": (
        'source = "tied.h5"\nreplace = { ELU = "relu" }',
        "[train]\nepochs = 1\n",
        "tied.h5: replace: has no ELU, must be one of",
    ),
    "replaced layers": (
        'layers = [4]\nreplace = { selu = "relu" }',
        "",
        "model.replace: got {'selu': 'relu'}, must be left out",
    ),
    "a rate": ('source = "tied.h5"', "[train]\nrate = 0.1\n", "train.rate: got 0.1, must be 0, or beside train.epochs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_source_is_one_line_before_any_work(models: Path, tmp_path: Path, capsys, case: str) -> None:
    model, more, message = WRONG[case]
    for name in ("tied.h5", "selu.h5", "untied.h5", "classifier.h5", "skewed.h5", "bytes.npy", "floats.npy"):
        (tmp_path / name).symlink_to(models / name)
    assert main(["run", str(recipe(tmp_path, model, more=more)), "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line and not (tmp_path / "out").exists()


WRONG_DATA = {
    "values": ('source = "narrow.npy"', "tied.h5", "narrow.npy: has 20 values per sample, .*tied.h5 takes 24"),
    "another scale": (
        'source = "wide.npy"',
        "tied.h5",
        "wide.npy: scaled values lie in .*, output_activation sigmoid gives 0…1: the model was trained on values in another sc",
    ),
    "a scaling beside its own": (
        'source = "bytes.npy"\nscaling = "minmax"',
        "bytes.h5",
        "data.scaling: got 'minmax', must be left out: .*bytes.h5 scales its input itself",
    ),
}


@pytest.mark.parametrize("case", WRONG_DATA)
def test_data_that_the_model_does_not_take_are_refused(folder: Path, case: str) -> None:
    data, model, message = WRONG_DATA[case]
    found = load_recipe(recipe(folder, f'source = "{model}"', data=data))
    with pytest.raises(InputError, match=message):
        recipe_data(found, folder)


@pytest.mark.parametrize(
    ("data", "model", "rule"),
    [
        ('source = "bytes.npy"', "tied.h5", "byte"),
        ('source = "floats.npy"', "tied.h5", "none"),
        ('source = "wide.npy"\nscaling = "minmax"\nper_feature = false', "tied.h5", "minmax"),
        ('source = "bytes.npy"', "bytes.h5", "byte"),
    ],
)
def test_data_are_scaled_as_the_model_or_the_recipe_says(folder: Path, data: str, model: str, rule: str) -> None:
    found = load_recipe(recipe(folder, f'source = "{model}"', data=data))
    splits = recipe_data(found, folder)
    assert splits.scaling.rule == rule
    text = start_of(folder / model).scaling_text(found.data, splits)
    assert ("scaling" in data) == (text == "")
    assert model != "bytes.h5" or "scales its input, which the data's scaling does from now on (byte)" in text


def test_a_scale_that_it_was_not_trained_on_is_said(folder: Path) -> None:
    np.save(folder / "dark.npy", 0.02 * samples())
    splits = recipe_data(load_recipe(recipe(folder, 'source = "tied.h5"', data='source = "dark.npy"')), folder)
    start = start_of(folder / "tied.h5")
    (note,) = [note for note in start.compared(start.model(), splits, _unavailable).notes if "mean sample" in note]
    assert "were the data scaled otherwise for its training? State `scaling` in [data]" in note
    right = recipe_data(load_recipe(recipe(folder, 'source = "tied.h5"')), folder)
    assert not any("mean sample" in note for note in start.compared(start.model(), right, _unavailable).notes)


def _unavailable(_: np.ndarray) -> Any:
    raise UnavailableError("nothing")


def test_a_recipe_of_a_source_is_written_without_its_layers(folder: Path) -> None:
    path = recipe(folder, 'source = "selu.h5"\nreplace = { selu = "relu" }', more="[train]\nepochs = 2\n")
    found = load_recipe(path)
    (folder / "again.toml").write_text(text := recipe_to_toml(found))
    assert load_recipe(folder / "again.toml") == found and "layers" not in text and "inputs" not in text
    assert [layer.activation for layer in found.model.layers] == ["relu", "linear"]


@pytest.mark.ci
def test_replaced_activations_are_trained_and_their_cost_is_reported(folder: Path, capsys) -> None:
    more = "[train]\nepochs = 4\nlearning_rate = 1e-3\n"
    path = recipe(folder, 'source = "selu.h5"\nreplace = { selu = "relu" }', more=more)
    assert main(["run", str(path), "--out", str(folder / "out")]) == 0
    imported = read(folder / "out" / "bundle").imported
    assert imported is not None and [*imported.replaced.values()] == ["relu", "relu"]
    assert [*imported.errors] == ["activations replaced", "trained on"]
    assert imported.errors["trained on"] < imported.errors["activations replaced"]
    assert "replaced activations (" in capsys.readouterr().err
    assert imported.cost in (folder / "out" / "bundle" / "report.html").read_text().replace("&#39;", "'")


@pytest.mark.ci
def test_an_original_is_run_by_what_can_load_it(models: Path) -> None:
    path = models / "untied.h5"
    x = samples(5)
    answer = run_original(path, x, layers=True)
    original: Any = tf_keras.models.load_model(path, compile=False)
    expected = original(x).numpy()
    np.testing.assert_allclose(answer.y, expected, atol=1e-6)
    assert answer.y.dtype == np.float64
    assert answer.witness == f"tf_keras {tf_keras.__version__}"
    chain = read_model(path)
    assert require_equal(chain(x), chain(x), answer, chain, x, path) < 1e-12
    second = [i for i, layer in enumerate(chain.layers) if layer in chain.products][1]
    changed = replace(chain.products[1], bias=stored("b", np.ones(4, np.float32)))
    wrong = replace(chain, layers=(*chain.layers[:second], changed, *chain.layers[second + 1 :]))
    with pytest.raises(InputError) as error:
        require_equal(wrong(x), wrong(x), answer, wrong, x, path)
    assert f"untied.h5: the output of {changed.title} differs from tf_keras" in str(error.value)


@pytest.mark.parametrize(
    ("dtype", "rounding", "fits"), [("float64", 1.0, False), ("float32", 1.0, True), ("float32", 0.1, False)]
)
def test_an_original_in_float32_may_differ_by_its_rounding(dtype: str, rounding: float, fits: bool) -> None:
    chain = Chain("m.onnx", "ONNX", (2,), ())
    wide = np.array([[1.0, 2.0]])
    narrow, answer = wide + 4e-5 * rounding, OriginalAnswer("a runtime", (wide + 1e-4).astype(dtype))
    if fits:
        assert require_equal(wide, narrow, answer, chain, wide, None) == pytest.approx(5e-5, rel=1e-2)
        return
    with pytest.raises(InputError, match=r"m\.onnx: the output differs from a runtime by 5e-05 of full scale, must be .*e-05"):
        require_equal(wide, narrow, answer, chain, wide, None)


@pytest.mark.ci
def test_what_nothing_can_load_is_said(models: Path) -> None:
    with pytest.raises(UnavailableError, match=r"tf_keras failed: .*Tied.*; keras failed"):
        run_original(models / "tied.h5", samples(2))


def test_a_class_that_no_package_has_is_said(models: Path) -> None:
    start = start_of(models / "tied.h5")
    origin = start.compared(start.model(), None)
    assert origin.compared == (
        "not compared with the original: no package has the class Tied: its code is not read; taken for x·Wᵀ + b, as "
        "`assume` says; ta.from_keras(model) compares the live model"
    )


@pytest.mark.parametrize("options", [["--from", "tied.h5"], ["--from", "tied.h5", "--data", "bytes.npy"]])
def test_a_recipe_for_a_model_is_one_that_it_runs_by(folder: Path, monkeypatch, capsys, options: list[str]) -> None:
    monkeypatch.chdir(folder)
    (folder / "deep").mkdir()
    shutil.copy("bytes.npy", "deep/samples.npy")
    assert main(["recipe", *options, "--set", 'model.assume=["Tied"]', "-o", "deep/r.toml"]) == 0
    found = load_recipe(Path("deep/r.toml"))
    assert found.model.source == "../tied.h5" and found.model.widths == (24, 12, 4) and found.train.epochs == 0
    assert found.model.assume == ("Tied",)
    assert recipe_data(found, Path("deep")).scaling.rule == "byte"
    assert ("--data" in options) == (found.quantize.method == "ptq") and not found.train.for_rate


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--from", "tied.h5", "--schema"], "--schema: got it beside --from, must be one of them"),
        (["--from", "tied.h5", "--task", "anomaly"], "--task: goes with --data"),
        (
            ["--from", "tied.h5", "--data", "bytes.npy", "--set", "model.layers=[3]"],
            "--set: got ['model.layers'], must be left out",
        ),
        (["--from", "skewed.h5"], "skewed.h5: dense"),
        (
            ["--from", "tied.h5", "--data", "narrow.npy", "--set", 'model.assume=["Tied"]'],
            "narrow.npy: has 20 values per sample, tied.h5 takes 24",
        ),
        (["--from", "tied.h5", "--set", "data.window=3"], "--set: got ['data.window'], must be model.assume, or beside --data"),
    ],
)
def test_a_wrong_recipe_for_a_model_is_one_line(models: Path, monkeypatch, capsys, options: list[str], text: str) -> None:
    monkeypatch.chdir(models)
    assert main(["recipe", *options]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.ci
def test_calibrate_sensitivity_and_search_take_a_source(folder: Path, capsys) -> None:
    path, out = recipe(folder, 'source = "tied.h5"', data='source = "bytes.npy"\nvalidation = 0.2'), folder / "out"
    assert main(["run", str(path), "--out", str(out), "-q"]) == 0
    assert main(["calibrate", str(path), "--model", str(out / "model"), "-q"]) == 0
    assert main(["sensitivity", str(path), "--model", str(out / "model"), "-q"]) == 0
    searched, limit = folder / "searched", ["--max-bytes", "100k"]
    assert (
        main(["search", str(path), "--out", str(searched), "--trials", "2", "-q", *limit, "--json", str(folder / "front.json")])
        == 0
    )
    front = json.loads((folder / "front.json").read_text())
    names = [row["name"] for row in front["front"]]
    assert names and load_recipe(searched / f"{names[0]}.toml").model.widths == (24, 12, 4)
    (folder / "kept.toml").write_text(path.read_text() + "[search]\ncode = [2]\n")
    capsys.readouterr()
    assert main(["search", str(folder / "kept.toml"), "--out", str(folder / "no"), *limit]) == 2
    assert "search.code: got [2], must be left out: a model from model.source keeps its layers" in capsys.readouterr().err


def test_from_keras_gives_the_model_of_a_file(models: Path) -> None:
    x = samples(9)
    model = ta.from_keras(models / "tied.h5", assume=ASSUME)
    start = start_of(models / "tied.h5")
    np.testing.assert_allclose(model(x), start.mirror.chain(x), atol=1e-6)
    assert model.lineage.origin is not None and "Tied" in model.lineage.origin.reason
    scaled = ta.from_keras(models / "bytes.h5", ta.Dataset.from_array(np.load(models / "bytes.npy")), assume=ASSUME)
    assert scaled.spec is not None and scaled.spec.scaling.rule == "byte"
    with pytest.raises(TiedaeError, match=r"data: has 20 values per sample, .*tied.h5 takes 24"):
        ta.from_keras(models / "tied.h5", ta.Dataset.from_array(samples()[:, :20]), assume=ASSUME)


def tied_onnx(path: Path) -> Path:
    """A 24-12-4-12-24 of two initializers, each of which two Gemm nodes use."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(0, 0.4, shape) for name, shape in (("w0", (24, 12)), ("w1", (12, 4)))}
    arrays |= {name: rng.normal(0, 0.2, size) for name, size in (("b0", 12), ("b1", 4), ("c1", 12), ("c0", 24))}
    steps = [("w0", "b0", 0, "Relu"), ("w1", "b1", 0, ""), ("w1", "c1", 1, "Relu"), ("w0", "c0", 1, "Sigmoid")]
    nodes, x = [], "x"
    for i, (kernel, bias, transposed, function) in enumerate(steps):
        nodes.append(onnx.helper.make_node("Gemm", [x, kernel, bias], [f"h{i}"], f"gemm_{i}", transB=transposed))
        x = f"h{i}"
        if function:
            nodes.append(onnx.helper.make_node(function, [x], [f"a{i}"], f"act_{i}"))
            x = f"a{i}"
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 24]) for name in ("x", x)]
    initializers = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays.items()]
    graph = onnx.helper.make_graph(nodes, "tied", values[:1], values[1:], initializers)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_an_onnx_file_is_compared_with_onnx_runtime(tmp_path: Path) -> None:
    data = ta.Dataset.from_array(samples(), scaling="none")
    origin = ta.from_keras(tied_onnx(tmp_path / "tied.onnx"), data).lineage.origin
    assert origin is not None and origin.witness.startswith("onnxruntime ") and origin.tie == "stored"
    assert origin.difference is not None and origin.difference < 1e-6
    assert origin.compared.startswith("as onnxruntime ") and origin.compared.endswith(" of full scale")


def test_an_import_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    start = Start.read(tied_onnx(tmp_path / "tied.onnx"))
    with pytest.raises(
        InputError, match=r"tied.onnx: the output differs from another by 0.02\d* of full scale, must be 1e-05 at"
    ):
        start.compared(start.model(), None, lambda x: OriginalAnswer("another", start.mirror.chain(x) * 1.02))


@pytest.mark.parametrize("before", [(), (tf_keras.layers.Rescaling(1 / 255),)])
def test_a_live_model_is_compared_with_itself(before) -> None:
    live = tied_model(before, epochs=0)
    model = ta.from_keras(live)
    x = samples(9)
    np.testing.assert_allclose(model(x), live(255 * x if before else x), atol=1e-6)
    origin = model.lineage.origin
    assert origin is not None and origin.witness == "the live model (tf_keras)" and origin.tie == "stored"
    assert origin.difference is not None and origin.difference < 1e-5 and not origin.sha256


@pytest.mark.parametrize(
    "written", [pytest.param("live", marks=pytest.mark.ci), ".h5", ".keras", pytest.param("", marks=pytest.mark.ci)]
)
def test_batch_normalization_is_imported_from_every_format(written: str, tmp_path: Path) -> None:
    live, path, x = normalized_model(), tmp_path / f"net{written}", samples(9)
    if written == ".h5":
        save(live, path)
    elif written != "live":
        live.save(path)
    model = ta.from_keras(live if written == "live" else path, assume=ASSUME if written in (".h5", ".keras") else ())
    np.testing.assert_allclose(model(x), live(x), atol=1e-6)
    assert all(layer.batch_norm for layer in model.config.layers)
    assert all(layer.gains is None or (layer.gains > 0).all() for layer in model.stack)
    origin = model.lineage.origin
    assert origin is not None and (origin.difference is None) == (written in (".h5", ".keras"))


def test_batch_normalization_of_an_onnx_file_is_compared_with_onnx_runtime(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sizes = {"gamma": 12, "beta": 12, "mean": 12, "variance": 12}
    arrays = {name: np.exp(rng.normal(0, 0.3, size)).astype(np.float32) for name, size in sizes.items()}
    proto = onnx.load(tied_onnx(tmp_path / "tied.onnx"))
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in arrays.items())
    for gemm in ("gemm_0", "gemm_2"):
        place = next(i for i, node in enumerate(proto.graph.node) if node.name == gemm)
        proto.graph.node[place + 1].input[0] = f"{gemm}_norm"
        inputs = [proto.graph.node[place].output[0], *arrays]
        proto.graph.node.insert(place + 1, onnx.helper.make_node("BatchNormalization", inputs, [f"{gemm}_norm"], epsilon=1e-5))
    onnx.save(proto, tmp_path / "normalized.onnx")
    model = ta.from_keras(tmp_path / "normalized.onnx")
    assert [layer.batch_norm for layer in model.config.layers] == [True, False]
    origin = model.lineage.origin
    assert origin is not None and origin.difference is not None and origin.difference < 1e-6


@pytest.mark.ci
def test_what_comes_from_keras_is_said_in_a_bundle_of_the_python_api(tmp_path: Path) -> None:
    data = ta.Dataset.from_array(samples(), scaling="none")
    model = ta.from_keras(tied_onnx(tmp_path / "tied.onnx"), data)
    small = ta.quantize(model, data, epochs=0)
    export = ta.export_bundle(small, tmp_path / "bundle", data=data, targets=["tflite"], verbose=False)
    assert export.manifest.imported == model.lineage.origin
    assert "onnxruntime" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text()


@pytest.mark.ci
def test_a_saved_model_is_compared_with_tensorflow(tmp_path: Path) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    module = tf.Module()
    module.w, module.b = (tf.Variable(rng.normal(0, 0.4, size).astype(np.float32)) for size in ((24, 6), (24,)))

    @tf.function(input_signature=[tf.TensorSpec([None, 24], tf.float32)])
    def run(x: Any) -> dict[str, Any]:
        return {"y": tf.sigmoid(tf.matmul(tf.matmul(x, module.w), module.w, transpose_b=True) + module.b)}

    module.run = run
    tf.saved_model.save(module, tmp_path / "saved", signatures={"serving_default": run})
    origin = ta.from_keras(tmp_path / "saved").lineage.origin
    assert origin is not None and origin.witness == f"tensorflow {tf.__version__}" and origin.tie == "stored"
    assert origin.difference is not None and origin.difference < 1e-6 and len(origin.sha256) == 64
