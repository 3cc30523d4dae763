"""Runs: whole, repeated, interrupted, refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Maker, Metrics, Precision, Stage, read_metrics
from tiedae.cli import main


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


RENDERED = ("manifest.json", "metrics.json", "MODEL_CARD.md", "report.html")


def assert_same_run(first: Path, second: Path) -> None:
    """The same bytes in every file of ours, and the same metrics but for the stock files' bytes: tf2onnx numbers its names
    as it happens to walk its sets."""
    mine, theirs = tree(first), tree(second)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name] and name not in RENDERED] == []
    first_metrics, second_metrics = (without_stock_bytes(read_metrics(folder / "metrics.json")) for folder in (first, second))
    assert first_metrics == second_metrics


def without_stock_bytes(metrics: Metrics) -> Metrics:
    return replace(
        metrics, files=tuple(replace(file, bytes=0) if file.maker is Maker.STOCK else file for file in metrics.files)
    )


def test_a_run_leaves_the_bundle_of_the_contract(finished_run: Path) -> None:
    files = set(tree(finished_run / "bundle"))
    whole = {f"mini.{precision}.{ending}" for precision in ("int8", "f32") for ending in ("tflite", "onnx", "kernels.bin")}
    pair = {f"mini.{half}.{precision}.onnx" for half in ("encoder", "decoder") for precision in ("int8", "f32")}
    golden = {f"golden/{name}.npy" for name in ("x", "code", "y", "y.tflite", "code.f32", "y.f32")}
    texts = {"manifest.json", "metrics.json", "MODEL_CARD.md", "report.html", "mini.codec", "mini.residuals"}
    task = {"task/arrays.npz"}
    assert files == whole | pair | golden | texts | task | {"golden/program.npz"}
    manifest = json.loads((finished_run / "bundle" / "manifest.json").read_text())
    assert set(manifest["files"]) == files - {"manifest.json"}
    x, code, y = (np.load(finished_run / "bundle" / "golden" / f"{name}.npy") for name in ("x", "code", "y"))
    assert (x.dtype, code.dtype, y.dtype) == (np.uint8,) * 3 and (x.shape, code.shape) == ((40, 24), (40, 4))
    stages = {f"{stage}.{ending}" for stage in ("train", "prune", "quantize") for ending in ("safetensors", "json")}
    assert {path.name for path in (finished_run / "model").iterdir()} == stages | {"calibration.json"}
    metrics = read_metrics(finished_run / "bundle" / "metrics.json")
    for data in (manifest["data"], metrics.data):
        assert (data["kind"], data["columns"], data["label"], data["peak"]) == ("image", None, None, 255.0)
    for row in metrics.quality:
        assert row.fidelity and row.fidelity.mse == pytest.approx(row.error * 255**2 / 24, rel=1e-5), "the same, times 255"
    assert metrics.warnings == ()
    file = (finished_run / "model" / "calibration.json").read_bytes()
    assert manifest["calibration"]["file_sha256"] == hashlib.sha256(file).hexdigest()
    assert manifest["calibration"] | {"observer": "minmax", "samples": 64} == manifest["calibration"]


def test_the_same_recipe_gives_the_same_bytes(finished_run: Path, recipe_file: Path, tmp_path: Path) -> None:
    assert main(["run", str(recipe_file), "--out", str(tmp_path / "again"), "-q"]) == 0
    assert_same_run(finished_run / "bundle", tmp_path / "again" / "bundle")


def test_the_same_recipe_in_the_same_place_answers_from_what_is_done(
    finished_run: Path, recipe_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["run", str(recipe_file), "--out", str(finished_run)]
    assert main(call) == 2
    line = f"{finished_run}: holds this run already; --resume continues or shows it, --force replaces it"
    assert capsys.readouterr().err == f"tiedae: {line}\n"
    begun = time.monotonic()
    assert main([*call, "--resume"]) == 0
    captured = capsys.readouterr()
    assert time.monotonic() - begun < 5
    assert "done earlier" in captured.err and "epoch" not in captured.err
    assert "tied int8 tflite" in captured.out and str(finished_run / "bundle") in captured.out


@pytest.mark.ci
def test_a_clustered_run_that_learns_from_its_float_model(recipe_file: Path, tmp_path: Path) -> None:
    """Its files hold few values, its rows and findings say so, and stages trained elsewhere are the same bytes."""
    from tiedae.pipeline.recipe import check_inputs, load_recipe
    from tiedae.pipeline.runs import Stages
    from tiedae.pipeline.sources import load_dataset

    path = recipe_file.with_name("clustered.toml")
    text = recipe_file.read_text().replace("epochs = 2\n", "epochs = 2\ndistill = 0.5\n")
    path.write_text(text + UNCOMPARED + "[cluster]\nclusters = 9\nepochs = 2\ndistill = 0.5\n")
    assert main(["run", str(path), "--out", str(tmp_path / "run"), "-q"]) == 0
    metrics = read_metrics(tmp_path / "run" / "bundle" / "metrics.json")
    rows = ["Keras float", "Keras pruned", "Keras clustered", "Keras int8 simulation"]
    assert [row.title for row in metrics.quality][:4] == rows
    assert [row.stage for row in metrics.quality][:4] == [Stage.TRAIN, Stage.PRUNE, Stage.CLUSTER, Stage.QUANTIZE]
    found = [row for row in metrics.storage if row.statement == "clusters"]
    assert {row.kernel for row in found if "encoder" not in row.file} == {"kernel_0", "kernel_1"}
    assert all(row.ok and "expected at most 9" in row.text for row in found)
    files = {row.file for row in metrics.files if row.maker is Maker.TIEDAE}
    assert {row.file for row in found} == files
    assert "Keras clustered" in (tmp_path / "run" / "bundle" / "report.html").read_text()
    assert main(["verify", str(tmp_path / "run" / "bundle"), "--model", str(tmp_path / "run" / "model"), "-q"]) == 0
    recipe = load_recipe(path)
    splits = load_dataset(recipe.data, recipe.model.output_activation, base=path.parent)
    with_inputs = check_inputs(recipe, splits.train.shape)
    models = Stages(with_inputs, splits, lambda _: tmp_path / "again", lambda *_: None).run()
    assert list(models) == ["train", "prune", "cluster", "quantize"]
    for stage, model in models.items():
        assert model.read_bytes() == (tmp_path / "run" / "model" / f"{stage}.safetensors").read_bytes()


@pytest.mark.ci
def test_a_run_trained_for_rate_keeps_its_step_and_is_measured_in_steps(recipe_file: Path, tmp_path: Path, capsys) -> None:
    path = recipe_file.with_name("rate.toml")
    text = recipe_file.read_text().replace("[train]\n", f"{UNCOMPARED}[train]\nrate = 0.02\n")
    path.write_text(text.replace("[quantize]\n", "[quantize]\ncode_scale = 0.2\n"))
    run = tmp_path / "run"
    assert main(["run", str(path), "--out", str(run)]) == 0
    assert "4 of 4 units of the code are worth their bits, at a scale of 0.2\n" in capsys.readouterr().err
    metrics = read_metrics(run / "bundle" / "metrics.json")
    rows = ["Keras float, code in steps", "Keras pruned, code in steps", "Keras int8 simulation"]
    assert [row.title for row in metrics.quality][:3] == rows
    assert all(epoch.bits for epoch in metrics.history)
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    assert manifest["tensors"]["code"]["scale"] == float(np.float32(0.2))
    assert main(["verify", str(run / "bundle"), "--model", str(run / "model"), "-q"]) == 0
    assert " bits a code" in (run / "bundle" / "report.html").read_text()


UNCOMPARED = "[export]\nstock = false\n"
TFLITE_ALONE = UNCOMPARED + 'targets = ["tflite"]\n[verify]'


def changed(recipe_file: Path, old: str, new: str) -> Path:
    """A recipe with other text, without the stock converters' files."""
    path, text = recipe_file.with_name("other.toml"), recipe_file.read_text().removesuffix(UNCOMPARED).replace(old, new)
    path.write_text(text if "[export]" in text else text + UNCOMPARED)
    return path


@pytest.mark.ci
def test_another_recipes_folder_is_refused_and_left_alone(
    finished_run: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(finished_run, tmp_path / "run")
    before = tree(out)
    other = changed(changed(recipe_file, "epochs = 3", "epochs = 4"), "[verify]", TFLITE_ALONE)
    assert main(["run", str(other), "--out", str(out)]) == 2
    assert "holds another recipe's run; choose another --out, or --force" in capsys.readouterr().err
    assert tree(out) == before
    assert main(["run", str(other), "--out", str(out), "--force", "-q"]) == 0
    manifest = json.loads((out / "bundle" / "manifest.json").read_text())
    assert manifest["recipe"]["train"]["epochs"] == 4


@pytest.mark.ci
def test_a_run_whose_checks_fail_exits_1_and_names_the_first_each_time(recipe_file: Path, tmp_path: Path, capsys) -> None:
    impossible = changed(recipe_file, "[verify]", TFLITE_ALONE.replace("tflite", "onnx") + "\nfloat_max_abs = 1e-12")
    bundle = tmp_path / "run" / "bundle"
    for _ in range(2):
        assert main(["run", str(impossible), "--out", str(bundle.parent), "-q", "--resume"]) == 1
        metrics = read_metrics(bundle / "metrics.json")
        counts = f"{len(metrics.failed)} of {len(metrics.checks)} checks failed"
        assert capsys.readouterr().err == f"tiedae: {bundle}: {counts}: {metrics.failed[0].text}\n"


def test_other_data_under_the_same_name_are_refused(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    folder = shutil.copytree(recipe_file.parent, tmp_path / "recipe")
    samples = np.load(folder / "samples.npy")
    np.save(folder / "samples.npy", 255 - samples)
    assert main(["run", str(folder / recipe_file.name), "--out", str(finished_run)]) == 2
    assert "holds a run on other data" in capsys.readouterr().err


def stopped(call: list[str], epoch: int, kill: signal.Signals) -> tuple[int, str]:
    """(exit code, the rest of standard error) of a command that gets a signal in this epoch."""
    with subprocess.Popen([sys.executable, "-m", "tiedae", *call], stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if f"epoch {epoch}/" in line:
                process.send_signal(kill)
                break
        rest = process.stderr.read()
    return process.returncode, rest


@pytest.mark.ci
def test_a_run_that_is_killed_twice_resumes_to_the_same_bundle(recipe_file: Path, tmp_path: Path, capfd) -> None:
    longer = changed(changed(recipe_file, "epochs = 3", "epochs = 60"), "[verify]", TFLITE_ALONE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(["run", str(longer), "--out", str(whole), "-q"]) == 0
    call = ["run", str(longer), "--out", str(killed)]
    code, rest = stopped(call, 5, signal.SIGINT)
    assert code == 130 and "interrupted; the same command with --resume continues" in rest and "Traceback" not in rest
    assert not (killed / "bundle").exists() and (killed / "model" / "checkpoint.safetensors").exists()
    code, _ = stopped([*call, "--resume"], 20, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (killed / "bundle").exists() and (killed / "model" / "checkpoint.safetensors").exists()
    capfd.readouterr()
    assert main([*call, "--resume"]) == 0
    shown = capfd.readouterr().err
    assert "epoch 60/60" in shown and "epoch 10/60" not in shown
    assert_same_run(whole / "bundle", killed / "bundle")


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "run"))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert main(["run", str(recipe_file), "--out", str(tmp_path / "run"), "-q"]) == 2
    error = capsys.readouterr().err
    assert "no space left on the disk" in error and len(error.strip().splitlines()) == 1
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.is_file()] == [".lock"]


def test_a_damaged_stage_is_said(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    out = shutil.copytree(finished_run, tmp_path / "run")
    shutil.rmtree(out / "bundle")
    (out / "model" / "quantize.safetensors").write_bytes(b"PK damaged")
    assert main(["run", str(recipe_file), "--out", str(out), "--resume"]) == 2
    assert "quantize.safetensors: not a tiedae-model file, or damaged" in capsys.readouterr().err


FLOATS = """
name = "floats"
[data]
source = "floats.csv"
[model]
layers = [ {units = 6, activation = "tanh"}, {units = 2} ]
output_activation = "linear"
[train]
epochs = 2
[quantize]
method = "ptq"
granularity = "unit"
[export]
stock = false
targets = ["onnx"]
signatures = ["encode"]
[verify]
max_quality_loss = 5.0
"""


def test_float_data_unit_scales_ptq_and_one_signature(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savetxt(tmp_path / "floats.csv", rng.normal(3, 2, (120, 2)) @ rng.normal(0, 1, (2, 9)), delimiter=",")
    (tmp_path / "floats.toml").write_text(FLOATS)
    assert main(["run", str(tmp_path / "floats.toml"), "--out", str(tmp_path / "out"), "-q"]) == 0
    manifest = json.loads((tmp_path / "out" / "bundle" / "manifest.json").read_text())
    assert {name for name in manifest["files"] if name.endswith(".onnx")} == {
        "floats.encoder.int8.onnx",
        "floats.encoder.f32.onnx",
    }
    assert manifest["data"]["scaling"]["rule"] == "standard" and len(manifest["kernels"][0]["scale"]) == 6


@pytest.mark.ci
@pytest.mark.parametrize(("io", "granularity"), [("auto", "tensor"), ("uint8", "unit"), ("int8", "tensor")])
def test_float_data_through_every_edge(tmp_path: Path, granularity: str, io: str) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "floats.npy", (rng.normal(3, 2, (200, 2)) @ rng.normal(0, 1, (2, 9))).astype(np.float32))
    recipe = FLOATS.replace("csv", "npy").replace('"unit"', f'"{granularity}"')
    recipe = recipe.replace('targets = ["onnx"]\nsignatures = ["encode"]', f'io = "{io}"')
    # Where kernels round otherwise, an LSB grows within a net of two codes.
    (tmp_path / "floats.toml").write_text(recipe.replace("[verify]\n", "[verify]\ncodes_max_lsb = 4\n"))
    assert main(["run", str(tmp_path / "floats.toml"), "--out", str(tmp_path / "out"), "-q"]) == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 3", "epochs = 3\nlearning_rate = 1e30", "train: the loss is nan in epoch 1"),
        ("units = 12", "units = 2000000000", "does not fit in memory"),
    ],
    ids=["divergence", "memory"],
)
def test_training_that_cannot_go_on_says_why(recipe_file: Path, tmp_path: Path, capsys, old: str, new: str, message) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (64 << 30, limits[1]))
    try:
        code = main(["run", str(changed(recipe_file, old, new)), "--out", str(tmp_path / "run"), "-q"])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    error = capsys.readouterr().err
    assert code == 2 and message in error and "Traceback" not in error


def test_quiet_counts_before_and_after_the_command(finished_run: Path, recipe_file: Path, capsys) -> None:
    for call in (["-q", "run"], ["run", "-q"]):
        assert main([*call, str(recipe_file), "--out", str(finished_run), "--resume"]) == 0
        assert capsys.readouterr().err == ""


def test_a_second_run_in_the_same_place_is_refused(finished_run: Path, recipe_file: Path, capsys) -> None:
    import fcntl

    with (finished_run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["run", str(recipe_file), "--out", str(finished_run)]) == 2
    assert "another run is working here" in capsys.readouterr().err


@pytest.mark.ci
def test_the_newest_opset_and_a_pair_without_the_whole(recipe_file: Path, tmp_path: Path, capsys) -> None:
    """tf2onnx knows fewer opsets than we write; encode and decode chained are measured too."""
    export = '[export]\nstock = false\nopset = 23\nsignatures = ["encode", "decode"]\n[verify]'
    assert main(["run", str(changed(recipe_file, "[verify]", export)), "--out", str(tmp_path / "run")]) == 0
    metrics = read_metrics(tmp_path / "run" / "bundle" / "metrics.json")
    exported = (Precision.INT8, Stage.EXPORT)
    measured = {row.runtime for row in metrics.quality if (row.precision, row.stage) == exported}
    assert measured >= {"litert-xnnpack", "ort-cpu"}
    out = capsys.readouterr().out
    assert "tied int8 tflite" in out and "tied int8 onnx decoder" in out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[train]", 'output_activation = "linear"\n[train]\nloss = "bce"', "train.loss: got 'bce'"),
        ("[train]", "[train]\npatience = 2", "train.patience: got 2, must be 0, or data.validation"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(recipe_file: Path, tmp_path: Path, capsys, old, new, message) -> None:
    assert main(["run", str(changed(recipe_file, old, new)), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.ci
def test_a_run_with_classes_has_their_tables(recipe_file: Path, finished_run: Path, tmp_path: Path) -> None:
    """Nothing else of the bundle changes, but what names or describes them, and PCA at as many bits."""
    out = tmp_path / "run"
    assert main(["run", str(changed(recipe_file, "[verify]", "[codec]\nclasses = 4\n[verify]")), "--out", str(out), "-q"]) == 0
    assert Bundle.open(out / "bundle").tables().classes == 4
    mine, theirs = tree(out / "bundle"), tree(finished_run / "bundle")
    assert mine.keys() == theirs.keys()
    assert {name for name in mine if mine[name] != theirs[name]} <= {"mini.codec", "task/arrays.npz", *RENDERED}


@pytest.mark.ci
def test_a_run_that_takes_units_out_ends_in_a_smaller_model(recipe_file: Path, tmp_path: Path) -> None:
    smaller = changed(recipe_file, "[prune]", '[prune]\npattern = "structured"')
    out, killed = tmp_path / "out", tmp_path / "killed"
    assert main(["run", str(smaller), "--out", str(out), "-q"]) == 0
    manifest = json.loads((out / "bundle" / "manifest.json").read_text())
    assert manifest["model"]["widths"] == [24, 6, 4]
    assert [layer["units"] for layer in manifest["recipe"]["model"]["layers"]] == [12, 4]
    assert "24 → 6 → 4 and back; pruning removed units of 24 → 12 → 4" in (out / "bundle" / "MODEL_CARD.md").read_text()
    samples = str(recipe_file.parent / "samples.npy")
    assert main(["verify", str(out / "bundle"), "--model", str(out / "model"), "--data", samples]) == 0
    shutil.copytree(out, killed)
    shutil.rmtree(killed / "bundle")
    (killed / "model" / "quantize.safetensors").unlink()
    assert main(["run", str(smaller), "--out", str(killed), "--resume", "-q"]) == 0
    assert_same_run(out / "bundle", killed / "bundle")


@pytest.mark.ci
def test_the_pattern_of_a_run_is_proven(recipe_file: Path, tmp_path: Path) -> None:
    """By the cross-entropy of bytes, too. Interleaved inputs have 2:4."""
    recipe = changed(recipe_file, "[prune]", '[prune]\npattern = "block"\nblock = [4, 2]')
    recipe = changed(recipe, "epochs = 3", 'epochs = 3\nloss = "bce"')
    assert main(["run", str(recipe), "--out", str(tmp_path / "o"), "-q"]) == 0
    metrics = read_metrics(tmp_path / "o" / "bundle" / "metrics.json")
    found = [row.text for row in metrics.storage if (row.kernel, row.statement) == ("kernel_1", "pattern")]
    assert found and set(found) == {"kernel_1: 3 of 6 blocks of 4 × 2 are zero"}


@pytest.mark.ci
def test_a_run_with_interleaved_inputs_holds_everywhere(recipe_file: Path, tmp_path: Path) -> None:
    """From Keras to every runtime: samples and reconstructions keep their order, the pattern is that of the stored rows."""
    recipe = changed(changed(recipe_file, "[model]", "[model]\ninterleave = 4"), "[prune]", '[prune]\npattern = "2:4"')
    recipe = changed(recipe, "[verify]", "[verify]\ncodes_max_lsb = 4")  # runtimes of other roundings, a net of four codes
    out = tmp_path / "out"
    assert main(["run", str(recipe), "--out", str(out), "-q"]) == 0
    assert json.loads((out / "bundle" / "manifest.json").read_text())["model"]["interleave"] == 4
    assert "Rows of the first kernel are interleaved from 4 equal parts" in (out / "bundle" / "MODEL_CARD.md").read_text()
    metrics = read_metrics(out / "bundle" / "metrics.json")
    assert metrics.failed == []
    text = "kernel_0: at most 2 of every 4 values are not zero, along inputs and along units"
    assert {row.text for row in metrics.storage if (row.kernel, row.statement) == ("kernel_0", "pattern")} == {text}
    assert "row 4·i + j is input 6·j + i" in (out / "bundle" / "report.html").read_text()
    samples = str(recipe_file.parent / "samples.npy")
    assert main(["verify", str(out / "bundle"), "--bundle-limits", "--model", str(out / "model"), "--data", samples]) == 0


@pytest.mark.ci
def test_layers_of_one_shape_are_told_apart(recipe_file: Path, tmp_path: Path) -> None:
    square = changed(recipe_file, "{units = 4}", '{units = 12, activation = "relu"}, {units = 12}')
    main(["run", str(square), "--out", str(tmp_path / "run"), "-q"])
    metrics = read_metrics(tmp_path / "run" / "bundle" / "metrics.json")
    wrong = {check.peer or check.runtime for check in metrics.failed}
    assert wrong <= {"openvino-onnx"}, "the one runtime that takes a square W for its transpose"


def test_a_bundle_that_was_changed_is_no_answer(finished_run: Path, recipe_file: Path, tmp_path: Path, capsys) -> None:
    out = shutil.copytree(finished_run, tmp_path / "run")
    (out / "bundle" / "mini.int8.onnx").unlink()
    assert main(["run", str(recipe_file), "--out", str(out), "--resume"]) == 2
    assert "mini.int8.onnx: missing or changed, its sha256 is not the manifest's; delete" in capsys.readouterr().err
