"""From a folder of recordings with faults as intervals, through an anomaly recipe, to `tiedae score`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import main
from tiedae.codec.opening import load

pytestmark = pytest.mark.ci
WINDOW, STEPS, RATE, FILES = 16, 330, 100, 8
FAULTS = {"m6": ("0.4,0.9,bearing", "2.0,2.05,belt"), "m7": ("1.0,1.3,belt",), "m2": ("0.2,0.6,bearing",)}

RECIPE = """
name = "machines"
[data]
source = "machines"
kind = "record"
time = "t"
groups = "file"
intervals = "faults.csv"
window = 16
stride = 4
validation = 0.25
test = 0.25
split = "tail"
[model]
layers = [12, 4]
output_activation = "linear"
[train]
epochs = 8
batch_size = 32
[quantize]
method = "ptq"
[export]
stock = false
[task]
kind = "anomaly"
quantile = 0.9
"""


def recording(number: int, faults: tuple[str, ...] = ()) -> str:
    """Times and two channels, a sine and its quarter turn; at a fault the second one is shaken."""
    rng = np.random.default_rng(number)
    t = np.arange(STEPS) / RATE
    x = np.stack([np.sin(2 * np.pi * 4 * t + number), np.cos(2 * np.pi * 4 * t + number)], 1) + rng.normal(0, 0.02, (STEPS, 2))
    for row in faults:
        start, end = (round(float(cell) * RATE) for cell in row.split(",")[:2])
        x[start:end, 1] += np.where(np.arange(start, end) % 2, 1.5, -1.5)
    lines = [f"{time:.2f},{a:.5f},{b:.5f}" for time, (a, b) in zip(t, x, strict=True)]
    return "\n".join(["t,ax,ay", *lines]) + "\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("machines")
    (folder / "machines").mkdir()
    rows = []
    for number in range(FILES):
        faults = FAULTS.get(f"m{number}", ())
        (folder / "machines" / f"m{number}.csv").write_text(recording(number, faults), encoding="utf-8")
        rows += [f"m{number}.csv,{row}" for row in faults]
    (folder / "faults.csv").write_text("\n".join(["file,start,end,kind", *rows]) + "\n", encoding="utf-8")
    (folder / "machines.toml").write_text(RECIPE, encoding="utf-8")
    (folder / "new").mkdir()
    (folder / "new" / "m9.csv").write_text(recording(9, ("1.0,1.5,x",)), encoding="utf-8")
    assert main(["run", str(folder / "machines.toml"), "--out", str(folder / "out")]) == 0
    return folder


def scored(run: Path, source: str | Path, *options: str) -> dict:
    assert main(["score", str(run / "out"), str(run / source), "--json", str(run / "s.json"), "--force", *options]) == 0
    return json.loads((run / "s.json").read_text())


def test_a_run_measures_windows_and_intervals(run: Path) -> None:
    task = json.loads((run / "out/bundle/metrics.json").read_text())["task"]
    assert {row["label"]: row["normal"] for row in task["labels"]} == {"bearing": False, "belt": False, "normal": True}
    assert {row["label"]: row["samples"] for row in task["intervals"]["labels"]} == {"bearing": 1, "belt": 2, "normal": 32}
    methods = {row["method"]: row["roc_auc"]["value"] for row in task["intervals"]["methods"]}
    assert methods["int8"] > 0.9 and {"int8", "float", "pca"} <= methods.keys()
    page, card = (run / "out/bundle/report.html").read_text(), (run / "out/bundle/MODEL_CARD.md").read_text()
    assert "By interval" in page and "Intervals, each with the largest score of its windows" in card
    manifest = json.loads((run / "out/bundle/manifest.json").read_text())
    assert manifest["data"]["train"] < (20 * 4 - 3) * 4, "windows that overlap the interval of m2 are not trained on"


def test_score_reads_the_folder_of_the_recipe_with_its_intervals(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(run, "machines")
    assert found["samples"] == 20 * FILES and found["trained_on"] > 0
    assert {row["label"]: row["samples"] for row in found["intervals"]["labels"]} == {"bearing": 2, "belt": 2, "normal": 149}
    whole = f"intervals, all {20 * FILES}, {found['trained_on']} of them trained on: 4 of 4 flagged; ROC-AUC"
    assert whole in capsys.readouterr().out


def test_errors_per_time_step_and_channel_are_columns_by_name(run: Path) -> None:
    scored(run, "machines", "--csv", str(run / "s.csv"))
    with (run / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "step", "error ax", "error ay", "sample", "score", "anomaly", "split"]
    assert len(rows) == 20 * WINDOW * FILES and [row["step"] for row in rows[:3]] == ["0", "1", "2"]
    last = rows[-1]
    assert (last["file"], last["step"], last["sample"]) == ("m7.csv", str(20 * WINDOW - 1), str(20 * FILES - 1))
    codec = load(run / "out")
    windows = np.loadtxt(run / "machines/m7.csv", delimiter=",", skiprows=1)[: 20 * WINDOW, 1:].reshape(20, WINDOW, 2)
    wanted = codec.errors(windows).reshape(-1, 2)
    own = [row for row in rows if row["file"] == "m7.csv"]
    assert np.allclose([[float(row["error ax"]), float(row["error ay"])] for row in own], wanted)
    shaken = np.array([100 <= int(row["step"]) < 130 for row in own])
    assert wanted[shaken, 1].mean() > 3 * wanted[shaken, 0].mean() > 0, "the fault is in the second channel"


def test_other_recordings_are_scored_with_intervals_of_their_own(run: Path) -> None:
    (run / "new.csv").write_text("file,start,end\nm9.csv,1.0,1.5\nother.csv,0,1\n", encoding="utf-8")
    for source in ("new", "new/m9.csv"):
        found = scored(run, source, "--intervals", str(run / "new.csv"))
        assert found["intervals"]["methods"][0]["roc_auc"]["value"] > 0.9 and found["trained_on"] == 0
        assert {row["label"]: row["samples"] for row in found["intervals"]["labels"]} == {"anomaly": 1, "normal": 16}
    assert scored(run, "new")["intervals"] is None
    (run / "other.csv").write_text("file,start,end\nm0.csv,0.2,0.3\n", encoding="utf-8")
    own = scored(run, "machines", "--intervals", str(run / "other.csv"))
    assert own["trained_on"] == scored(run, "machines")["trained_on"] > 0, "the split is that of the training"


def test_intervals_of_no_file_or_beside_a_label_are_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "none.csv").write_text("file,start,end\nother.csv,0,1\n", encoding="utf-8")
    base = ["score", str(run / "out"), str(run / "new" / "m9.csv"), "--intervals", str(run / "none.csv")]
    assert main(base) == 2
    assert f"none.csv: no interval is of {run}/new/m9.csv, must be one at least" in capsys.readouterr().err
    assert main([*base, "--label", "ax"]) == 2
    assert "--intervals: got" in (error := capsys.readouterr().err) and "must be left out beside --label" in error


def test_groups_have_a_row_each_in_report_and_score(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads((run / "out/bundle/metrics.json").read_text())["groups"]
    assert [row["group"] for row in rows] == ["m6.csv", "m7.csv"] and [row["samples"] for row in rows] == [20, 20]
    for row, anomalous in zip(rows, (5, 3), strict=True):
        assert row["normal"] == 20 - anomalous and row["flagged"] >= row["false_alarms"] and row["roc_auc"]["value"] > 0.7
        assert row["fidelity"]["measure"] == "PRDN" and row["mean"] > 0
    assert '<section id="groups">' in (page := (run / "out/bundle/report.html").read_text()) and "PRDN (%)" in page
    found = scored(run, "machines")["groups"]
    assert [row["group"] for row in found] == [f"m{i}.csv" for i in range(FILES)]
    test = {row["group"]: row["mean"] for row in rows}
    assert all(
        row["mean"] == pytest.approx(test[row["group"]], rel=1e-2) for row in found if row["group"] in test
    )  # of two layouts
    out = capsys.readouterr().out
    assert "group m0.csv: 20 samples, mean " in out and "normal ones" in out and ", no anomalies" in out


def test_recordings_of_channels_come_back_from_a_tae_file(run: Path, tmp_path: Path) -> None:
    values = np.loadtxt(run / "machines/m3.csv", delimiter=",", skiprows=1)[:, 1:]
    bundle, file, back = str(run / "out"), str(tmp_path / "x.tae"), str(tmp_path / "back.npy")
    assert main(["encode", bundle, str(run / "machines/m3.csv"), "-o", file, "--max-error", "0.01"]) == 0
    assert main(["decode", bundle, file, "-o", back]) == 0
    found = np.load(back)
    assert found.shape == values.shape == (STEPS, 2) and np.abs(found - values).max() <= 0.01 + 1e-9
