"""An anomaly recipe from a table with labels to `tiedae score`, and what is refused in one line with exit code 2."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import read_metrics
from tiedae.cli import main, verification
from tiedae.cli.verification import verify
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.codec.opening import load
from tiedae.export.kinds import Kind
from tiedae.export.targets import read_model
from tiedae.pipeline.run_artifacts import load_measured, load_source
from tiedae.pipeline.sources import load_dataset

COLUMNS = ("a", "b", "c", "d")


def table(folder: Path, name: str = "t.csv", *, n: int = 300, odd: float = 0.3) -> Path:
    """Rows near a plane in four columns, labelled `good`; those labelled `worn` lie off it."""
    rng = np.random.default_rng(0)
    worn = rng.random(n) < odd
    x = rng.normal(size=(n, 2)) @ np.array([[1, 0.5, -1, 0], [0, 1, 1, 2.0]]) + np.where(
        worn[:, None], rng.normal(0, 2, (n, 4)), 0
    )
    x += rng.normal(0, 0.25, x.shape)
    lines = [",".join((*COLUMNS, "state"))]
    lines += [",".join([*(f"{v:.6g}" for v in row), "worn" if w else "good"]) for row, w in zip(x, worn, strict=True)]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return folder / name


RECIPE = """
name = "plane"
[data]
source = "t.csv"
label = "state"
validation = 0.25
test = 0.25
[model]
layers = [8, 2]
output_activation = "linear"
[train]
epochs = 30
batch_size = 16
[quantize]
method = "ptq"
[export]
stock = false
targets = ["tflite", "onnx"]
[task]
kind = "anomaly"
normal = ["good"]
quantile = 0.9
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plane")
    table(folder)
    (folder / "plane.toml").write_text(RECIPE, encoding="utf-8")
    assert main(["run", str(folder / "plane.toml"), "--out", str(folder / "out")]) == 0
    return folder / "out"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(each) for each in arguments]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    return line


def test_a_run_trains_on_normal_samples_and_leaves_a_detector(run: Path) -> None:
    manifest = Bundle.open(run / "bundle").manifest
    detector = manifest.detector
    labels = [line.rsplit(",", 1)[1] for line in (run.parent / "t.csv").read_text().splitlines()[1:]]
    assert manifest.data.test == 75 and manifest.data.train + manifest.data.validation < labels.count("good")
    assert detector is not None and detector.samples == manifest.data.validation and detector.quantile == 0.9
    metrics = json.loads((run / "bundle" / "metrics.json").read_text())["task"]
    assert metrics["kind"] == "anomaly" and metrics["methods"][0]["roc_auc"]["value"] > 0.8
    assert {row["label"]: row["normal"] for row in metrics["labels"]} == {"good": True, "worn": False}
    assert "Anomaly detection" in (run / "bundle" / "report.html").read_text()
    assert "### Anomaly detection" in (run / "bundle" / "MODEL_CARD.md").read_text()


def test_quality_is_that_of_normal_samples_and_the_areas_are_limited(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = read_metrics(run / "bundle" / "metrics.json")
    assert stated.samples is not None and (stated.samples.samples, stated.samples.normal) == (50, True)
    quality = {check.detail: check for check in stated.checks if check.kind is Kind.QUALITY}
    assert list(quality) == ["ROC-AUC", "PR-AUC", "alarm rate"] and all(check.ok for check in quality.values())
    codec, manifest = load(run), Bundle.open(run / "bundle").manifest
    test = load_measured(run, manifest, str(run.parent / "t.csv")).test
    good = test.take(np.flatnonzero(np.asarray(test.labels) == "good"))
    x, y = (manifest.data.scaling.apply(each.astype(np.float64)) for each in (good, codec.decode(codec.encode(good))))
    (row,) = [row for row in stated.quality if row.file == "plane.int8.onnx" and row.runtime == "ort-cpu"]
    assert len(good) == 50 and row.error == pytest.approx(np.square(x - y).sum(axis=1).mean(), rel=1e-2)
    x, y = (
        manifest.data.scaling.apply(of(test.take(slice(None)))) for of in (np.float64, lambda x: codec.decode(codec.encode(x)))
    )
    assert np.square(x - y).sum(axis=1).mean() > 1.2 * row.error, "anomalies have larger errors"
    capsys.readouterr()
    arguments = ["verify", str(run), "--data", str(run.parent / "t.csv"), "--json", str(tmp_path / "again.json"), "--force"]
    assert main(arguments) == 0
    again = read_metrics(tmp_path / "again.json")
    measured = {check.detail: check for check in again.checks if check.kind is Kind.QUALITY}
    assert all("the float files" in check.text for check in measured.values())
    texts = {key: check.text.replace("the float files", "Keras float") for key, check in measured.items()}
    assert {key: replace(check, text=texts[key]) for key, check in measured.items()} == quality
    out = capsys.readouterr().out
    assert "over 50 normal test samples" in out and "PR-AUC" in out
    assert main([*arguments, "--limit", "max_points_lost=0", "--limit", "max_alarms_added=0", "-q"]) == 0, "luck is no loss"


def test_figures_of_the_float_model_that_are_gone_are_a_skipped_row(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no float file holds the model before compression either."""
    monkeypatch.setattr(verification, "float_files", lambda *_: None)
    copy = tmp_path / "bundle"
    shutil.copytree(run / "bundle", copy)
    (copy / "task" / "arrays.npz").unlink()
    found = verify(copy, model=None, data=str(run.parent / "t.csv"), announce=lambda _: None)
    assert [check.file for check in found.failed] == ["task/arrays.npz"]
    assert not [check for check in found.checks if check.kind is Kind.QUALITY]
    assert [row.what for row in found.skipped if row.kind is Kind.QUALITY] == [
        "ROC-AUC, PR-AUC, alarm rate against Keras float"
    ]


def test_scores_of_a_table_with_labels(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "score",
        run,
        run.parent / "t.csv",
        "--label",
        "state",
        "--csv",
        tmp_path / "s.csv",
        "--map",
        tmp_path / "s.npy",
        "--json",
        tmp_path / "s.json",
    ]
    assert main([*map(str, arguments)]) == 0
    out = capsys.readouterr().out
    rows = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1, usecols=range(3))
    assert (tmp_path / "s.csv").read_text().startswith("sample,score,anomaly,split\n0,")
    codec = load(run)
    x = np.loadtxt(run.parent / "t.csv", delimiter=",", skiprows=1, usecols=range(4))
    np.testing.assert_array_equal(rows[:, 1], codec.score(x))
    np.testing.assert_array_equal(rows[:, 2], codec.is_anomaly(x))
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), codec.errors(x).astype(np.float32))
    brief = json.loads((tmp_path / "s.json").read_text())
    assert brief["alarms"] == rows[:, 2].sum() and brief["threshold"] == codec.threshold and brief["missing"] == 0
    area = brief["detection"]["roc_auc"]
    assert 0.8 < area["low"] < area["value"] < area["high"] and f"ROC-AUC {area['value']:.4f}" in out and "seed 0" in out
    assert [row["label"] for row in brief["labels"]] == ["good", "worn"]
    assert f"anomalies: {brief['alarms']} of 300" in out and "drift:" in out and brief["drift"]["samples"] == 300


@pytest.mark.parametrize(("runtime", "layout"), [("litert-xnnpack", "split"), ("ort-cpu", "fused"), ("program", "fused")])
def test_a_runtime_is_compared_with_its_own_layout(run: Path, runtime: str, layout: str) -> None:
    bundle = Bundle.open(run / "bundle")
    manifest, codec = bundle.manifest, load(run, runtime=runtime)
    detector = manifest.detector
    assert detector is not None and codec.threshold == detector.threshold(layout)
    programs = bundle.programs({name: read_model(bundle.path / name) for name in manifest.models if ".int8." in name})
    backend = ProgramBackend(getattr(programs, layout), manifest.data.spec, manifest.io, manifest.integer_maps)
    x = np.loadtxt(run.parent / "t.csv", delimiter=",", skiprows=1, usecols=range(4))
    expected = detector.scoring.totals(integer_errors(detector.scoring, backend, x)[0])
    np.testing.assert_allclose(codec.score(x), expected * detector.scoring.factor, rtol=1e-9)
    np.testing.assert_array_equal(codec.is_anomaly(x), expected > getattr(detector.thresholds, layout))


def test_rows_with_nan_are_anomalies_without_a_score(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(tmp_path, "gaps.csv", n=20).read_text().splitlines()
    lines[1] = "nan" + lines[1][lines[1].index(",") :]
    (tmp_path / "gaps.csv").write_text("\n".join(lines))
    assert (
        main(
            [
                "score",
                str(run),
                str(tmp_path / "gaps.csv"),
                "--csv",
                str(tmp_path / "s.csv"),
                "--json",
                str(tmp_path / "s.json"),
            ]
        )
        == 0
    )
    brief = json.loads((tmp_path / "s.json").read_text())
    assert brief["missing"] == 1 and brief["largest_at"] != 0 and "1 with NaN or infinity apart" in capsys.readouterr().out
    assert (tmp_path / "s.csv").read_text().splitlines()[1] == "0,nan,1,none"


@pytest.mark.parametrize(
    ("label", "odd", "text"),
    [
        ("stat", 0.3, "--label stat: must be a column of {}: a, b, c, d, state"),
        ("a", 0.3, "--label a: is a column that the bundle scores, must be another"),
        ("state", 0.0, "{}: got labels good, must be normal ones (good) and others, to compare the scores of both"),
        ("state", 1.1, "{}: got labels worn, must be normal ones (good) and others"),
    ],
)
def test_labels_that_cannot_be_measured_by(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], label: str, odd: float, text: str
) -> None:
    data = table(tmp_path, "x.csv", odd=odd)
    assert text.format(data) in refused(capsys, "score", run, data, "--label", label)
    assert main(["score", str(run), str(data)]) == 0, "without --label there is nothing wrong"


def splits_of(run: Path, source: Path, *options: str) -> tuple[list[str], dict[str, int], int]:
    """The column `split` of `tiedae score`, and from its JSON the samples of each split and those trained on."""
    folder = source.parent
    files = ["--csv", str(folder / "s.csv"), "--json", str(folder / "s.json"), "--force"]
    assert main(["score", str(run), str(source), *files, *options]) == 0
    brief = json.loads((folder / "s.json").read_text())
    column = [line.rsplit(",", 1)[1] for line in (folder / "s.csv").read_text().splitlines()[1:]]
    return column, {row["split"]: row["samples"] for row in brief["splits"]}, brief["trained_on"]


def test_score_knows_the_samples_that_were_trained_on(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = Bundle.open(run / "bundle").manifest
    copy = tmp_path / "copy.csv"
    copy.write_bytes((run.parent / "t.csv").read_bytes())
    column, counts, trained_on = splits_of(run, copy)
    assert f"{trained_on} trained on (mean " in capsys.readouterr().out
    states = [line.rsplit(",", 1)[1] for line in copy.read_text().splitlines()[1:]]
    data = load_dataset(manifest.recipe.data, "linear", base=run.parent, normal=("good",))
    for part, name in ((data.train, "train"), (data.validation, "validation"), (data.test, "test")):
        assert part is not None and part.rows is not None
        assert [i for i, each in enumerate(column) if each == name] == part.rows.tolist() and counts[name] == len(part)
    assert trained_on == manifest.data.train == column.count("train") and counts["none"] == column.count("none") > 0
    assert {states[i] for i, each in enumerate(column) if each in ("none", "train")} == {"worn", "good"}
    assert all(states[i] == "worn" for i, each in enumerate(column) if each == "none")


def test_the_areas_of_test_samples_come_before_those_of_samples_that_were_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = run.parent / "t.csv"
    files = ["--csv", str(tmp_path / "s.csv"), "--json", str(tmp_path / "s.json")]
    assert main(["score", str(run), str(source), "--label", "state", *files]) == 0
    rows = [line.split(",") for line in (tmp_path / "s.csv").read_text().splitlines()[1:]]
    worn = np.array([line.endswith("worn") for line in source.read_text().splitlines()[1:]])
    scores, test = np.array([float(row[1]) for row in rows]), np.array([row[3] == "test" for row in rows])
    direct = np.mean(scores[test & worn][:, None] > scores[test & ~worn])
    brief = json.loads((tmp_path / "s.json").read_text())
    assert brief["tested"]["roc_auc"]["value"] == pytest.approx(direct) and brief["tested_intervals"] is None
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("with labels")]
    assert lines[0].startswith(f"with labels, test samples: ROC-AUC {direct:.4f} (")
    trained_on, area = brief["trained_on"], brief["detection"]["roc_auc"]["value"]
    assert (
        lines[1].startswith(f"with labels, all 300, {trained_on} of them trained on: ROC-AUC {area:.4f} (") and area != direct
    )
    other = table(tmp_path, "other.csv", n=100)
    assert main(["score", str(run), str(other), "--label", "state"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("with labels")]
    assert line.startswith("with labels: ROC-AUC"), "none of them were trained on"


@pytest.mark.parametrize("change", ["other values", "other order", "fewer", "one"])
def test_score_says_that_other_data_were_not_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    heading, *rows = (run.parent / "t.csv").read_text().splitlines()
    rows = {"other values": ["7.5,1,2,3,good", *rows[1:]], "other order": rows[::-1], "fewer": rows[:-1], "one": rows[:1]}[
        change
    ]
    (tmp_path / "x.csv").write_text("\n".join([heading, *rows]))
    assert splits_of(run, tmp_path / "x.csv") == (["none"] * len(rows), {"none": len(rows)}, 0)
    assert "trained on: none of these" in capsys.readouterr().out


def test_a_label_is_a_column(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 4)))
    assert "x.npy, it is for a .csv file; other sources hold their labels" in refused(
        capsys, "score", run, tmp_path / "x.npy", "--label", "y"
    )


def test_a_bundle_of_another_task_has_no_anomalies(
    finished_run: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = recipe_file.parent / "samples.npy"
    line = refused(capsys, "score", finished_run, samples, "--label", "state")
    assert "--label: bundle" in line and 'must be one of a recipe with [task] kind = "anomaly"' in line
    assert main(["score", str(finished_run), str(samples)]) == 0


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"good"', '"godd"', "no training sample has the label 'godd' of task.normal, must be among good, worn"),
        ("quantile = 0.9", "quantile = 0.999", "held-out normal samples, must be 1000 or more for task.quantile 0.999"),
        ("validation = 0.25\n", "", "data.validation: got 0.0, must be above 0 with [task] anomaly"),
        ('label = "state"', 'drop = ["state"]', "t.csv: has no labels, must have those of task.normal: good"),
    ],
)
def test_recipes_that_are_refused_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, text: str
) -> None:
    table(tmp_path)
    assert old in RECIPE
    (tmp_path / "r.toml").write_text(RECIPE.replace(old, new), encoding="utf-8")
    assert text in refused(capsys, "run", tmp_path / "r.toml", "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.ci
def test_derived_bundles_have_thresholds_for_their_codes(run: Path, tmp_path: Path) -> None:
    data = run.parent / "t.csv"
    assert main(["rescale", str(run), "--data", str(data), "--factor", "4", "--out", str(tmp_path / "coarse")]) == 0
    before, after = (Bundle.open(path).manifest for path in (run / "bundle", tmp_path / "coarse"))
    assert before.detector is not None and after.detector is not None
    assert after.detector.samples == before.detector.samples and after.data.train == before.data.train
    assert after.detector.thresholds != before.detector.thresholds and after.detector.scoring == before.detector.scoring


@pytest.mark.ci
def test_a_score_of_each_time_step_of_a_record(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    record = np.sin(np.arange(4000) / 5) + rng.normal(0, 0.05, 4000)
    np.save(tmp_path / "r.npy", record.astype(np.float32))
    recipe = RECIPE.replace('"t.csv"\nlabel = "state"', '"r.npy"\nwindow = 20\nstride = 5').replace('normal = ["good"]\n', "")
    (tmp_path / "r.toml").write_text(recipe, encoding="utf-8")
    assert main(["run", str(tmp_path / "r.toml"), "--out", str(tmp_path / "out")]) == 0
    expected = ["train"] * 100 + ["validation"] * 50 + ["test"] * 50
    assert [*dict.fromkeys(splits_of(tmp_path / "out", tmp_path / "r.npy")[0])] == ["train", "validation", "test"]
    assert splits_of(tmp_path / "out", tmp_path / "r.npy")[0][::20] == expected
    record[107] += 3
    np.save(tmp_path / "new.npy", record[:200].astype(np.float32))
    assert main(["score", str(tmp_path / "out"), str(tmp_path / "new.npy"), "--csv", str(tmp_path / "s.csv"), "--force"]) == 0
    lines = (tmp_path / "s.csv").read_text().splitlines()
    rows = np.loadtxt(lines[1:], delimiter=",", usecols=range(5))
    assert lines[0] == "step,error,sample,score,anomaly,split" and rows[:, 0].tolist() == list(range(200))
    assert rows[:, 1].argmax() == 107 and rows[107, 2] == 5 and rows[107, 4] == 1
    np.testing.assert_allclose(rows[:, 1].reshape(10, 20).mean(axis=1), rows[::20, 3])


def test_labels_of_a_table_for_a_bundle_without_columns(run: Path) -> None:
    """Of samples that were trained on as an array."""
    manifest = Bundle.open(run / "bundle").manifest
    recipe = replace(manifest.recipe, data=replace(manifest.recipe.data, label="auto"))
    array = replace(manifest, recipe=recipe, data=replace(manifest.data, columns=None, label=None))
    found = load_source(array, str(run.parent / "t.csv"), "state")
    assert found.values.shape == (300, 4) and found.labels is not None and {*found.labels.tolist()} == {"good", "worn"}
