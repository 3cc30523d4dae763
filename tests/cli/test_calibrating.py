"""`tiedae calibrate` on a finished run, what a run does with its file, and every wrong call as one line."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tiedae.calibration import read_calibration, write_calibration
from tiedae.cli import main

from ..conftest import ONE_FORMAT


@pytest.fixture
def folder(recipe_file: Path, tmp_path: Path) -> Path:
    """The recipe and its data in a folder of one test's own."""
    return Path(shutil.copytree(recipe_file.parent, tmp_path / "recipe"))


def run(*call: object) -> int:
    return main([str(each) for each in call])


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error of a call that went wrong."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_calibrate_writes_ranges_a_page_and_what_it_found(finished_run: Path, folder: Path, capsys) -> None:
    files = {name: folder / f"made.{name}" for name in ("json", "html")}
    call = ["calibrate", folder / "mini.toml", "--model", finished_run / "model", "--observer", "mse", "--samples", 96]
    assert run(*call, "--out", files["json"], "--html", files["html"]) == 0
    shown = capsys.readouterr().out
    calibration = read_calibration(files["json"])
    assert (calibration.observer, calibration.samples, calibration.data.scaling.rule) == ("mse", 96, "byte")
    assert "Calibration of mini" in files["html"].read_text()
    assert f"calibration: {files['json']}" in shown and "with ranges of 72 samples" in shown
    before = files["json"].read_bytes()
    assert run(*call, "--out", files["json"], "--json", files["html"]) == 2
    assert told(capsys) == f"tiedae: --out {files['json']}: is there already, must be a new file; --force replaces it"
    assert run(*call, "--out", files["json"], "--json", "-", "--force") == 0
    found = json.loads(capsys.readouterr().out)
    assert files["json"].read_bytes() == before
    assert found["calibration"]["file_sha256"] == hashlib.sha256(before).hexdigest()
    assert found["tensors"].keys() == calibration.tensors.keys()
    assert found["error"]["float"] < found["error"]["int8 simulation"] < 1.5 * found["error"]["float"]
    assert found["model"].endswith("prune.safetensors") and found["halves"]["held_out"] == 24


@pytest.mark.ci
def test_the_file_that_a_run_without_refinements_leaves_is_what_calibrate_makes(folder: Path) -> None:
    """Refinements change the model that a run calibrates."""
    recipe, made = folder / "mini.toml", folder / "made.json"
    recipe.write_text(recipe.read_text().replace("samples = 64", "samples = 64\nrefinements = []") + ONE_FORMAT)
    assert run("run", recipe, "--out", folder / "plain", "-q") == 0
    assert run("calibrate", recipe, "--model", folder / "plain" / "model", "--out", made, "-q") == 0
    assert made.read_bytes() == (folder / "plain" / "model" / "calibration.json").read_bytes()


def with_calibration(folder: Path, more: str = "") -> Path:
    path = folder / "mini.toml"
    text = path.read_text().replace("samples = 64", f'samples = 64\ncalibration = "made.json"\n{more}')
    path.write_text(text + ONE_FORMAT)
    return path


@pytest.mark.ci
def test_a_run_starts_from_the_calibration_that_its_recipe_names(
    finished_run: Path, folder: Path, tmp_path: Path, capsys
) -> None:
    out = Path(shutil.copytree(finished_run, tmp_path / "run"))
    made = folder / "made.json"
    call = ["calibrate", folder / "mini.toml", "--model", out / "model", "--observer", "percentile"]
    assert run(*call, "--out", made, "-q") == 0
    recipe = with_calibration(folder)
    assert run("run", recipe, "--out", out, "-q") == 2
    assert "holds another recipe's run" in told(capsys)
    assert run("run", recipe, "--out", out, "--force", "-q") == 0
    manifest = json.loads((out / "bundle" / "manifest.json").read_text())
    assert manifest["calibration"]["observer"] == "percentile"
    assert manifest["calibration"]["file_sha256"] == hashlib.sha256(made.read_bytes()).hexdigest()
    assert run("calibrate", recipe, "--model", out / "model", "--observer", "kl", "--out", made, "-q", "--force") == 0
    capsys.readouterr()
    assert run("run", recipe, "--out", out, "-q") == 2
    assert "holds a run with another calibration; choose another --out, or --force to replace it" in told(capsys)


def test_a_calibration_of_another_model_or_scaling_is_one_line(
    finished_run: Path, folder: Path, tmp_path: Path, capsys
) -> None:
    made = folder / "made.json"
    assert run("calibrate", folder / "mini.toml", "--model", finished_run / "model", "--out", made, "-q") == 0
    recipe = with_calibration(folder)
    text = recipe.read_text()
    recipe.write_text(text.replace("epochs = 3", "epochs = 1"))
    assert run("run", recipe, "--out", tmp_path / "other", "-q") == 2
    assert "calibration: of another model of the same shape, the values of kernel_0 differ" in told(capsys)
    recipe.write_text(text.replace("[data]", '[data]\nscaling = "minmax"'))
    assert run("run", recipe, "--out", tmp_path / "scaled", "-q") == 2
    assert f"{made}: on data scaled by byte (− 0) / 255, must be minmax" in told(capsys)
    assert not (tmp_path / "scaled").exists()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "made.json: no such calibration; `tiedae calibrate` makes one"),
        (b"{", "made.json: damaged: "),
        (b"{}", "made.json: not a calibration of tiedae"),
    ],
)
def test_a_wrong_calibration_file_is_told_before_anything_is_trained(
    folder: Path, tmp_path: Path, capsys, content: bytes | None, text: str
) -> None:
    if content is not None:
        (folder / "made.json").write_bytes(content)
    assert run("run", with_calibration(folder), "--out", tmp_path / "run") == 2
    assert text in told(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--observer", "median"],
            "--observer: got 'median', must be one of auto, kl, minmax, moving-average, mse, percentile",
        ),
        (["--samples", "3"], "--samples: got 3, must be an integer, 8 or more"),
        (["--samples", "some"], "argument --samples: invalid int value: 'some'"),
        (["--max-clipping", "1.5"], "--max-clipping: got 1.5, must be a number in [0, 1)"),
        (["--model", "nowhere"], "nowhere: holds no model"),
    ],
)
def test_a_wrong_call_is_one_line_and_writes_nothing(
    finished_run: Path, folder: Path, tmp_path: Path, capsys, options: list[str], text: str
) -> None:
    out = tmp_path / "c.json"
    assert run("calibrate", folder / "mini.toml", "--model", finished_run / "model", "--out", out, *options) == 2
    assert text in told(capsys)
    assert not out.exists()


def test_a_recipe_states_its_observer_or_a_file_that_does(folder: Path, tmp_path: Path, capsys) -> None:
    assert run("run", with_calibration(folder, 'observer = "mse"'), "--out", tmp_path / "run") == 2
    assert "quantize.observer: got 'mse', must be left out beside `calibration`, whose file states it" in told(capsys)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.eye(8, 24), "calibration data: 7 samples, must be 8 or more"),
        (np.eye(40, 20), "prune.safetensors: a model of 24 inputs, samples.npy has 20"),
        (np.full((40, 24), 3.0), "samples.npy: every value to train on is 3.0"),
        (np.where(np.eye(40, 24) > 0, np.nan, 1), "samples.npy: sample 0, value 0 is nan, must be finite"),
    ],
)
def test_data_that_no_range_follows_from_are_one_line(
    finished_run: Path, folder: Path, tmp_path: Path, capsys, data: np.ndarray, text: str
) -> None:
    np.save(folder / "samples.npy", data)
    out = tmp_path / "c.json"
    assert run("calibrate", folder / "mini.toml", "--model", finished_run / "model", "--out", out) == 2
    assert text in told(capsys)
    assert not out.exists()


def test_too_few_samples_are_told_before_a_run_starts(folder: Path, tmp_path: Path, capsys) -> None:
    np.save(folder / "samples.npy", np.eye(8, 24))
    assert run("run", folder / "mini.toml", "--out", tmp_path / "run") == 2
    assert "calibration data: 7 samples, must be 8 or more" in told(capsys)
    assert not (tmp_path / "run").exists()


def test_a_written_calibration_replaces_a_file_whole(finished_run: Path, tmp_path: Path) -> None:
    calibration = read_calibration(finished_run / "model" / "calibration.json")
    path = tmp_path / "c.json"
    path.write_text("x" * 10_000_000)
    write_calibration(path, calibration)
    assert read_calibration(path).to_json() == calibration.to_json()
