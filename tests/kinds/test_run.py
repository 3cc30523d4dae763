"""Whole runs of the kind `blocks`: from a recipe to verified files, .tae files and a report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Kind, Metrics, read_metrics
from tiedae.cli import main

from ..export.c.compiled import built_check
from ..without_openvino import without_openvino
from .blocks import registered
from .test_blocks import SHAPE, samples

pytestmark = pytest.mark.ci

HEAD = """
[data]
source = "samples.npy"
validation = 0.1
[model]
layers = [{ kind = "blocks", units = 16, activation = "relu", side = 4 }, 4]
[verify]
max_quality_loss = 0.3
[export]
targets = ["tflite", "onnx", "c"]
"""
RUNS = {
    "trained": """stock = false
[train]
epochs = 30
batch_size = 16
learning_rate = 0.01
[prune]
pattern = "2:4"
epochs = 2
[cluster]
clusters = 64
epochs = 1
[quantize]
epochs = 1
samples = 64
""",
    "rate": """
[train]
epochs = 30
batch_size = 16
learning_rate = 0.01
rate = 0.0005
[quantize]
method = "ptq"
granularity = "unit"
bits = [8, 4]
[codec]
classes = 2
""",
}
"""Recipes that have every step together: 2:4, clusters and training with fake quantization; rate, classes, 4 bits, per unit."""

SEARCH = """
[train]
epochs = 1
[quantize]
method = "ptq"
samples = 32
[search]
hidden = [0.5]
code = [2, 4]
bits = [8]
"""


@pytest.fixture(scope="module", autouse=True)
def blocks() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("blocks")
    np.save(path / "samples.npy", samples())
    for name, text in RUNS.items():
        (path / f"{name}.toml").write_text(HEAD + text)
    return path


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest, folder: Path) -> Path:
    out = folder / f"{request.param}.out"
    assert main(["run", str(folder / f"{request.param}.toml"), "--out", str(out), "-q"]) in (0, 1)
    return out


def metrics_of(run: Path) -> Metrics:
    return read_metrics(run / "bundle" / "metrics.json")


def test_every_check_holds(run: Path) -> None:
    metrics = metrics_of(run)
    assert [check.text for check in metrics.checks if not check.ok] == []
    assert {Kind.STORAGE, Kind.CODES, Kind.OPERATIONS, Kind.FLOAT, Kind.LAYERS} <= {check.kind for check in metrics.checks}


def test_files_of_every_format_run_in_every_runtime_that_is_installed(run: Path) -> None:
    metrics = metrics_of(run)
    ran = {row.runtime for row in metrics.parity}
    assert {"litert-xnnpack", "litert-builtin", "litert-reference", "ort-cpu", "c"} <= ran


def test_verify_repeats_it(run: Path) -> None:
    with without_openvino():
        assert main(["verify", str(run / "bundle"), "-q"]) == 0


def test_samples_become_tae_files_and_come_back(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", samples()[:50])
    bundle, file, back = str(run / "bundle"), str(tmp_path / "x.tae"), str(tmp_path / "y.npy")
    assert main(["encode", bundle, str(tmp_path / "x.npy"), "-o", file, "-q"]) == 0
    assert main(["decode", bundle, file, "-o", back, "-q"]) == 0
    y = np.load(back)
    assert y.shape == (50, *SHAPE) and y.dtype == np.uint8
    import tiedae

    codec = tiedae.load(run / "bundle", runtime="program")
    assert codec.encode(samples()[:3]).shape[:3] == (3, 2, 3)
    np.testing.assert_array_equal(codec.decode(codec.encode(samples()[:50])), y)


def test_lossless_tae_files(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", samples()[:50])
    bundle, file, back = str(run / "bundle"), str(tmp_path / "x.tae"), str(tmp_path / "y.npy")
    assert main(["encode", bundle, str(tmp_path / "x.npy"), "-o", file, "--lossless", "-q"]) == 0
    assert main(["decode", bundle, file, "-o", back, "-q"]) == 0
    np.testing.assert_array_equal(np.load(back), samples()[:50])


def test_the_report_draws_the_blocks(run: Path) -> None:
    page = (run / "bundle" / "report.html").read_text()
    units = Bundle.open(run / "bundle").manifest.kernels[0].shape[1]
    assert f"all {units} units, each drawn over its inputs" in page
    assert "Cut, 4 × 4" in page and "Join, 4 × 4" in page
    assert f" → 2 × 3 × {units} → " in page
    card = (run / "bundle" / "MODEL_CARD.md").read_text()
    macs = 6 * (48 * units + 4 * units)
    assert f"| multiply-adds of a sample | {macs:,} to encode, {macs:,} to decode |" in card


@pytest.mark.parametrize("run", ["rate"], indirect=True)
def test_codes_of_another_scale(run: Path, folder: Path, tmp_path: Path) -> None:
    data, out = str(folder / "samples.npy"), tmp_path / "coarser"
    with without_openvino():
        assert main(["rescale", str(run / "bundle"), "--data", data, "--factor", "1.5", "-o", str(out), "-q"]) in (0, 1)
    kinds = (Kind.STORAGE, Kind.CODES, Kind.OPERATIONS)
    assert [check.text for check in read_metrics(out / "metrics.json").checks if check.kind in kinds and not check.ok] == []


def test_the_c_folder_compiles_and_gives_the_golden_codes(run: Path, tmp_path: Path) -> None:
    assert main(["package", str(run / "bundle"), "--for", "c", "-o", str(tmp_path / "c"), "-q"]) == 0
    done = subprocess.run([built_check(tmp_path / "c", tmp_path / "check")], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("samples equal\n"), done.stdout + done.stderr


def test_the_manifest_keeps_the_kind(run: Path) -> None:
    written = json.loads((run / "bundle" / "manifest.json").read_text())
    assert [layer.get("kind") for layer in written["recipe"]["model"]["layers"]] == ["blocks", None]
    assert written["recipe"]["model"]["inputs"] == list(SHAPE)
    assert Bundle.open(run / "bundle").manifest.tensor("code").shape[:2] == (2, 3)


@pytest.mark.parametrize("run", ["trained"], indirect=True)
def test_calibration_and_sensitivity_take_it(run: Path, folder: Path, tmp_path: Path) -> None:
    options = [str(folder / "trained.toml"), "--model", str(run / "model"), "-q"]
    assert main(["calibrate", *options, "--out", str(tmp_path / "c.json")]) == 0
    assert main(["sensitivity", *options, "--html", str(tmp_path / "s.html")]) == 0


def test_search_takes_it(folder: Path, tmp_path: Path) -> None:
    recipe = folder / "small.toml"
    recipe.write_text(f"{HEAD}stock = false\n{SEARCH}")
    call = ["search", str(recipe), "--max-bytes", "8k", "--trials", "1", "--out", str(tmp_path / "search"), "-q"]
    with without_openvino():
        assert main(call) == 0
