"""Runs and calls that tie a model which is not: what they start from, what they write of its cost, what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiedae as ta
from tiedae.base.errors import InputError
from tiedae.bundle.manifest import read
from tiedae.bundle.results import FILE, read_metrics
from tiedae.cli import main
from tiedae.config.config import TrainConfig
from tiedae.pipeline.recipe import load_recipe, recipe_to_toml
from tiedae.report.tie_cost import tie_rows

from .imported_models import samples, save, tied_model

RECIPE = """
name = "r"
[data]
source = "bytes.npy"
validation = 0.2
[model]
source = "untied.h5"
tie = true
[train]
epochs = 6
batch_size = 32
[quantize]
method = "ptq"
samples = 64
[export]
targets = ["tflite", "onnx"]
[verify]
max_quality_loss = 20.0
"""


@pytest.fixture(scope="session")
def models(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder of untied.h5, its samples bytes.npy and a recipe r.toml that ties it."""

    def fill(folder: Path) -> None:
        save(tied_model(tied=False), folder / "untied.h5")
        np.save(folder / "bytes.npy", np.rint(255 * samples()).astype(np.uint8))
        (folder / "r.toml").write_text(RECIPE)

    return make_once("untied", fill)


@pytest.fixture(scope="session")
def run(models: Path, make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """OUT of the recipe's run."""

    def fill(folder: Path) -> None:
        assert main(["run", str(models / "r.toml"), "--out", str(folder / "out"), "-q"]) == 0

    return make_once("tied_run", fill) / "out"


def test_a_run_says_what_the_tie_costs(run: Path) -> None:
    bundle = run / "bundle"
    metrics, imported = read_metrics(bundle / FILE), read(bundle).imported
    assert imported is not None and (imported.tie, imported.source) == ("trained", "untied.h5")
    assert imported.difference is not None and imported.difference < 1e-5
    assert [row.title for row in metrics.untied] == ["float", "TFLite int8 by TFLiteConverter", "ONNX int8 by ORT quantizer"]
    floating, *files = metrics.untied
    assert floating.bytes == 4 * (2 * (24 * 12 + 12 * 4) + 12 + 4 + 12 + 24)
    assert [row.bytes for row in files] == [
        (run / "stock" / f"r-untied.stock.int8.{suffix}").stat().st_size for suffix in ("tflite", "onnx")
    ]
    assert metrics.history[0].starts is not None and "tied from " in metrics.history[0].start
    rows = tie_rows(metrics)
    assert [row[0] for row in rows] == ["tied float", "tied TFLite int8", "tied ONNX int8"] + [
        f"untied {row.title}" for row in metrics.untied
    ]
    page, card = (bundle / "report.html").read_text(), (bundle / "MODEL_CARD.md").read_text()
    assert "Cost of the tie" in page and "### Cost of the tie" in card
    for row in rows:
        assert all(cell in page and cell in card for cell in (row[0], row[1], row[4]))


def test_the_error_of_the_untied_model_is_that_of_its_file(run: Path, models: Path) -> None:
    import tf_keras

    recipe = load_recipe(models / "r.toml")
    from tiedae.pipeline.sources import recipe_data

    test = recipe_data(recipe, models).test
    x = test.scaling.apply(test.take(np.arange(len(test))))
    original: Any = tf_keras.models.load_model(models / "untied.h5", compile=False)
    error = float(np.square(original(x).numpy() - x).sum(1).mean())
    assert read_metrics(run / "bundle" / FILE).untied[0].error == pytest.approx(error, rel=1e-5)


@pytest.mark.night
def test_the_terminal_shows_the_cost_and_a_run_resumes(models: Path, tmp_path: Path, capsys) -> None:
    folder = Path(shutil.copytree(models, tmp_path / "models"))
    call = ["run", str(folder / "r.toml"), "--out", str(folder / "out")]
    assert main([*call, "--json", str(folder / "m.json")]) == 0
    printed = capsys.readouterr()
    assert "Cost of the tie" in printed.out and "untied TFLite int8 by TFLiteConverter" in printed.out
    assert "train: tied from " in printed.err
    assert len(json.loads((folder / "m.json").read_text())["untied"]) == 3
    weights = (folder / "out" / "model" / "train.safetensors").read_bytes()
    shutil.rmtree(folder / "out" / "bundle")
    (folder / "out" / "model" / "train.safetensors").unlink()
    assert main([*call, "--resume"]) == 0
    assert (folder / "out" / "model" / "train.safetensors").read_bytes() == weights
    (folder / "untied.h5").unlink()
    assert main(["verify", str(folder / "out" / "bundle"), "-q"]) == 0


@pytest.mark.parametrize("options", [["--from", "untied.h5"], ["--from", "untied.h5", "--data", "bytes.npy"]])
def test_a_recipe_for_an_untied_model_ties_it(models: Path, tmp_path: Path, monkeypatch, capsys, options: list[str]) -> None:
    folder = Path(shutil.copytree(models, tmp_path / "models"))
    monkeypatch.chdir(folder)
    shutil.copy("bytes.npy", "samples.npy")
    assert main(["recipe", *options, "-o", "made.toml"]) == 0
    found = load_recipe(Path("made.toml"))
    assert found.model.tie and found.train.epochs == 15
    (folder / "again.toml").write_text(recipe_to_toml(found))
    assert load_recipe(folder / "again.toml") == found


def test_a_comment_has_the_epochs_that_are_stated(models: Path, tmp_path: Path, monkeypatch) -> None:
    folder = Path(shutil.copytree(models, tmp_path / "models"))
    monkeypatch.chdir(folder)
    call = ["recipe", "--from", "untied.h5", "--data", "bytes.npy", "--set", "train.epochs=4", "-o", "made.toml"]
    assert main(call) == 0
    text = (folder / "made.toml").read_text()
    assert "ties them ([train] epochs is 4)" in text and "epochs = 4" in text and "epochs is 15" not in text


def test_inspect_says_that_it_can_be_tied(models: Path, capsys) -> None:
    assert main(["inspect", str(models / "untied.h5")]) == 0
    assert "2 of its pairs, which are not tied; `[model] tie = true` would tie it" in capsys.readouterr().out


@pytest.mark.ci
def test_a_live_model_is_tied_and_its_bundle_says_the_cost(tmp_path: Path) -> None:
    live, data = tied_model(tied=False), ta.Dataset.from_array(samples(), scaling="none", validation=0.2)
    model = ta.tie(live, data, epochs=6, distill=0.25, verbose=0)
    origin, lineage = model.lineage.origin, model.lineage
    assert origin is not None and (origin.tie, origin.witness) == ("trained", "the live model (tf_keras)")
    assert lineage.configs["train"].distill == 0.25 and len(lineage.history) == 6
    x = samples()
    error, untied = (float(np.square(np.asarray(each(x)) - x).mean()) for each in (model, live))
    assert error < 3 * untied
    export = ta.export_bundle(ta.quantize(model, data, epochs=0), tmp_path / "b", data=data, targets=["tflite"], verbose=False)
    assert [row.title for row in read_metrics(export.path / FILE).untied] == ["float", "TFLite int8 by TFLiteConverter"]
    model.fit(data, epochs=1, verbose=0)  # without a teacher
    assert model.lineage.configs["train"].distill == 0


def test_a_model_with_its_own_scaling_is_tied_on_its_samples() -> None:
    import tf_keras

    live = tied_model([tf_keras.layers.Rescaling(1 / 255)], tied=False, epochs=1)
    data = ta.Dataset.from_array(np.rint(255 * samples()).astype(np.uint8))
    model = ta.tie(live, data, epochs=1, verbose=0)
    assert model.spec is not None and model.spec.scaling.rule == "byte"


@pytest.mark.parametrize(("values", "rule"), [(1, "none"), (255, "byte")])
def test_samples_without_a_stated_scaling_are_taken_as_they_are(models: Path, values: int, rule: str) -> None:
    """As a recipe takes them: the file's weights mean nothing on values of another scale."""
    x = samples() if values == 1 else np.rint(255 * samples()).astype(np.uint8)
    model = ta.tie(models / "untied.h5", ta.Dataset.from_array(0.5 * x if values == 1 else x), epochs=1, verbose=0)
    assert model.spec is not None and model.spec.scaling.rule == rule


def test_a_tie_without_data_or_epochs_is_refused(models: Path) -> None:
    data = ta.Dataset.from_array(samples(), scaling="none")
    with pytest.raises(InputError, match="tie: data: got NoneType, must be a Dataset: a tie is trained"):
        ta.tie(models / "untied.h5", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="epochs: got 0, must be 1 or more"):
        ta.tie(models / "untied.h5", data, epochs=0)
    with pytest.raises(InputError, match="is tied already; leave `tie` out"):
        ta.tie(tied_model(epochs=0), data)
    with pytest.raises(InputError, match=r"not tied: .*`tie = true` beside model.source .* ta.tie\(model, data\)"):
        ta.from_keras(models / "untied.h5")
    with pytest.raises(InputError, match=r"data: has 20 values per sample, .*untied.h5 takes 24"):
        ta.tie(models / "untied.h5", ta.Dataset.from_array(samples()[:, :20]))
    with pytest.raises(InputError, match=r"distill: got 0.5, must be 0: fit has no teacher"):
        ta.from_keras(tied_model(epochs=0)).fit(data, train=TrainConfig(distill=0.5))
