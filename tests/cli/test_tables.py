"""A .csv table through a whole run: names, scales per column and their R² in every place where they are told."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tiedae.base.errors import DataError
from tiedae.bundle.manifest import read
from tiedae.bundle.results import ColumnWarning, Stage, read_metrics
from tiedae.cli import main
from tiedae.config.config import DataConfig
from tiedae.export.kinds import Kind, Precision
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.run_artifacts import load_test
from tiedae.pipeline.sources import load_dataset

from ..conftest import ONE_FORMAT

pytestmark = pytest.mark.ci
NAMES = ("pressure", "flow", "noise", "still", "tiny", "huge")

RECIPE = """
[data]
source = "plant.csv"
drop = ["when"]
[model]
layers = [ {units = 16, activation = "relu"}, {units = 3} ]
[train]
epochs = 40
batch_size = 32
[quantize]
epochs = 5
samples = 64
[verify]
max_quality_loss = 5.0
"""


def rows() -> np.ndarray:
    """Four columns of one hidden factor and scales from 1e-3 to 1e4, one of a factor of its own, one that never changes."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(400, 1))
    x = hidden * [2.0, 0.5, 0, 0, 1e-3, 1e4] + rng.normal(0, 1, (400, 6)) * [0.1, 0.02, 0.3, 0, 1e-4, 500]
    return x + np.array([100, 3, 0, 42.5, 0.01, -1e5])


def write_csv(path: Path, order: tuple[str, ...]) -> None:
    table = dict(zip(NAMES, rows().T, strict=True))
    cells = {name: [repr(float(value)) for value in values] for name, values in table.items()}
    cells |= {"when": [f"2026-01-{i % 28 + 1:02}" for i in range(400)], "Class": [("ok", "leak")[i % 2] for i in range(400)]}
    lines = [",".join(order), *(",".join(row) for row in zip(*(cells[name] for name in order), strict=True))]
    path.write_text("\n".join(lines))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the recipe, its data and its run in `out`; beside them what the run said."""
    folder = tmp_path_factory.mktemp("plant")
    write_csv(folder / "plant.csv", ("when", *NAMES, "Class"))
    (folder / "plant.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def said(plant: Path) -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert main(["run", str(plant / "plant.toml"), "--out", str(plant / "out")]) == 0
    return out.getvalue() + err.getvalue()


@pytest.fixture
def bundle(plant: Path, said: str) -> Path:
    return plant / "out" / "bundle"


def test_what_was_chosen_is_said_and_written(bundle: Path, said: str) -> None:
    chosen = f"plant.csv: 6 columns ({', '.join(NAMES)}), scaled per feature (minmax); label: Class, not trained on"
    assert chosen in said
    manifest, metrics = json.loads((bundle / "manifest.json").read_text()), read_metrics(bundle / "metrics.json")
    for data in (manifest["data"], metrics.data):
        assert (data["kind"], data["columns"], data["label"], data["peak"]) == ("table", list(NAMES), "Class", None)
        assert len(data["scaling"]["scale"]) == 6
    card, report = ((bundle / name).read_text() for name in ("MODEL_CARD.md", "report.html"))
    for name in NAMES:
        assert f"`{name}`" in card and name in report
    assert "`Class`, not trained on" in card and "<td>Class</td>" in report


def test_every_row_of_quality_has_r2_of_the_test_samples_in_the_users_unit(bundle: Path, plant: Path) -> None:
    """That of Keras float follows from what the bundle's float file gives for the same samples."""
    from ai_edge_litert.interpreter import Interpreter

    metrics = read_metrics(bundle / "metrics.json")
    assert all(row.fidelity and len(row.fidelity.columns) == 6 for row in metrics.quality)
    assert {row.stage for row in metrics.quality} == {Stage.TRAIN, Stage.QUANTIZE, Stage.EXPORT, Stage.STOCK}
    test = load_test(bundle, read(bundle), str(plant / "plant.csv"))[0]
    x = test.take(slice(None)).astype(np.float64)
    reconstruct = Interpreter(str(bundle / "plant.f32.tflite")).get_signature_runner("reconstruct")
    y = reconstruct(x=x.astype(np.float32))["y"].astype(np.float64)  # not scaled, as the file takes and gives it
    varies = [0, 1, 2, 4, 5]
    r2 = 1 - np.square(y - x).sum(axis=0)[varies] / np.square(x - x.mean(axis=0)).sum(axis=0)[varies]
    of = ("plant.f32.tflite", "litert-xnnpack")
    (fit,) = [row.fidelity for row in metrics.quality if (row.file, row.runtime) == of]
    assert fit is not None
    found = {column.name: column.r2 for column in fit.columns}
    assert found["still"] is None
    assert [found[NAMES[i]] for i in varies] == pytest.approx(r2.tolist(), abs=1e-4)
    assert r2.min() > 0.9
    assert fit.value == pytest.approx(r2.mean(), abs=1e-4)
    assert fit.mse == pytest.approx(np.square(y - x).mean(), rel=1e-3)


def test_the_check_of_the_error_names_the_column_that_loses_most_in_its_unit_of_measure(bundle: Path) -> None:
    metrics = read_metrics(bundle / "metrics.json")
    keras = next(row.fidelity for row in metrics.quality if row.stage is Stage.TRAIN)
    texts = {(check.file, check.runtime): check.text for check in metrics.checks if check.kind is Kind.QUALITY}
    losses = {}
    for row in (row for row in metrics.quality if row.stage is Stage.EXPORT and row.precision is Precision.INT8):
        assert row.fidelity is not None and keras is not None
        lost, ours, theirs = row.fidelity.lost(keras)[0]
        losses[row.file, row.runtime] = lost
        end = f"; most of it in {ours.name}: RMSE {ours.rmse:.4g} instead of {theirs.rmse:.4g}"
        assert texts[row.file, row.runtime].endswith(end) == (lost > 0)
    assert max(losses.values()) > 0


def test_a_column_that_never_changes_comes_back_and_is_warned_of(bundle: Path, said: str) -> None:
    assert read_metrics(bundle / "metrics.json").warnings == (ColumnWarning("still", None),)
    assert "warning: column still: never changes in the measured samples" in said
    for page in ("MODEL_CARD.md", "report.html"):
        assert "still: never changes in the measured samples" in (bundle / page).read_text().replace("Column still", "still")
    np.testing.assert_allclose(np.load(bundle / "golden" / "y.f32.npy")[:, 3], 42.5, rtol=0.05)


def test_the_final_table_and_the_summary_give_r2_and_the_worst_column(bundle: Path, said: str, tmp_path: Path) -> None:
    metrics = read_metrics(bundle / "metrics.json")
    fit = next(row for row in metrics.quality if row.stage is Stage.TRAIN).fidelity
    assert fit is not None
    r2, name = min((column.r2, column.name) for column in fit.columns if column.r2 is not None)
    expected = f"R² {fit.value:.4g}, worst {r2:.3g} ({name})"
    (line,) = [line for line in said.splitlines() if line.startswith("  Keras float ")]
    assert expected in line
    assert "quality: R² = 1 − squared error / squared distance from the column's mean" in said


def test_a_verification_finds_the_columns_by_name_in_any_order(bundle: Path, tmp_path: Path, capsys) -> None:
    write_csv(tmp_path / "plant.csv", ("huge", "Class", "tiny", "when", "still", "noise", "flow", "pressure"))
    out = tmp_path / "metrics.json"
    assert (
        main(
            ["verify", str(bundle), "--data", str(tmp_path / "plant.csv"), "--json", str(out), "--limit", "max_quality_loss=5"]
        )
        == 0
    )
    mine, theirs = read_metrics(out), read_metrics(bundle / "metrics.json")
    files, again = ({(row.file, row.runtime): row.fidelity for row in each.quality if row.file} for each in (theirs, mine))
    stock = {key for key in files if "stock" in key[0]}
    assert again == {key: files[key] for key in files.keys() - stock} and len(again) >= 4
    trained, by_files = (next(row for row in each.quality if not row.file) for each in (theirs, mine))
    assert by_files.title == "float files" and by_files.error == pytest.approx(trained.error, rel=1e-5)
    assert mine.warnings == theirs.warnings
    assert "warning: column still" in capsys.readouterr().err
    write_csv(tmp_path / "plant.csv", ("huge", "Class", "tiny", "when", "still", "noise", "flow"))
    assert main(["verify", str(bundle), "--data", str(tmp_path / "plant.csv")]) == 2
    assert "no column 'pressure', which `columns` in [data] names" in capsys.readouterr().err


@pytest.mark.ci
def test_a_calibration_belongs_to_its_scales_of_each_column(bundle: Path, plant: Path, tmp_path: Path, capsys) -> None:
    folder = shutil.copytree(plant, tmp_path / "plant", ignore=shutil.ignore_patterns("out"))
    out, model = folder / "c.json", plant / "out" / "model"
    assert main(["calibrate", str(folder / "plant.toml"), "--model", str(model), "--out", str(out), "-q"]) == 0
    named = RECIPE.replace("samples = 64", 'samples = 64\ncalibration = "c.json"') + ONE_FORMAT
    one_scale = r"minmax of each value, must be minmax \(− .*\) / "
    for data, wrong in (("per_feature = false", one_scale), ('scaling = "standard"', "minmax of each value, must be standard")):
        (folder / "other.toml").write_text(named.replace("[model]", f"{data}\n[model]"))
        assert main(["run", str(folder / "other.toml"), "--out", str(folder / "o"), "-q"]) == 2
        assert re.search(f"c.json: on data scaled by {wrong}", capsys.readouterr().err)
    (folder / "plant.toml").write_text(named)
    assert main(["run", str(folder / "plant.toml"), "--out", str(folder / "o"), "-q"]) == 0


@pytest.mark.ci
def test_one_scale_for_all_loses_the_small_columns_and_says_which(plant: Path, tmp_path: Path, capsys) -> None:
    """What every table did before scales were per column."""
    recipe = load_recipe(plant / "plant.toml")
    assert structs.replace(recipe.data, per_feature=False) != recipe.data
    (plant / "one.toml").write_text(
        RECIPE.replace("[model]", "per_feature = false\n[model]").replace("5.0", "1e9") + ONE_FORMAT
    )
    assert main(["run", str(plant / "one.toml"), "--out", str(tmp_path / "one")]) == 0
    lost = {warning.column for warning in read_metrics(tmp_path / "one" / "bundle" / "metrics.json").warnings}
    assert {"flow", "tiny", "still"} <= lost
    assert "columns have an R² below 0, the worst tiny with " in capsys.readouterr().err
    page = (tmp_path / "one" / "bundle" / "report.html").read_text()
    columns = page[page.index('<section id="columns">') :]
    assert columns.index("tiny") < columns.index("huge")


@pytest.mark.parametrize("empty", ["", "NA", "?", "nan"])
def test_every_column_with_missing_values_is_named(tmp_path: Path, empty: str) -> None:
    rows = [[str(i), empty if i % 10 == 3 else "1.5", str(-i), empty if i == 7 else "2"] for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["id,age,b,cabin", *map(",".join, rows)]))
    with pytest.raises(DataError) as caught:
        load_dataset(DataConfig("x.csv"), "linear", base=tmp_path)
    assert "missing values: age (4), cabin (1)" in str(caught.value)
    if empty != "nan":
        assert "x.csv: line 5, column 2 (age): " in str(caught.value) and '`drop = ["age", "cabin"]`' in str(caught.value)
