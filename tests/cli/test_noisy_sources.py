"""Pairs of noisy and clean samples by `[data] clean`, and noise that cannot be: one line, exit code 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.cli.tae_files import encode_test, quality_text
from tiedae.cli.verification import verify
from tiedae.codec.opening import load
from tiedae.config.config import DataConfig
from tiedae.pipeline.calibrating import calibrate
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.runs import data_digest
from tiedae.pipeline.sources import load_data, load_dataset

from ..conftest import smallest_recipe

CLEAN = np.random.default_rng(0).integers(0, 256, (40, 4, 6), dtype=np.uint8)
NOISY = np.clip(CLEAN + np.random.default_rng(1).normal(0, 40, CLEAN.shape), 0, 255).astype(np.uint8)


def test_a_target_is_split_with_its_source(tmp_path: Path) -> None:
    np.save(tmp_path / "noisy.npy", NOISY)
    np.save(tmp_path / "clean.npy", CLEAN)
    config = DataConfig("noisy.npy", clean="clean.npy", test=0.25, validation=0.25)
    data = load_dataset(config, "sigmoid", base=tmp_path)
    for part in (data.train, data.validation, data.test):
        every = np.arange(len(part))
        assert np.array_equal(part.take(every), NOISY[part.rows].reshape(len(part), -1))
        assert np.array_equal(part.wanted.take(every), CLEAN[part.rows].reshape(len(part), -1))
    again = load_data(tmp_path / "noisy.npy", clean=tmp_path / "clean.npy", test=0.25, validation=0.25)
    assert data_digest(again) == data_digest(data) != data_digest(load_data(tmp_path / "noisy.npy", test=0.25, validation=0.25))


def test_a_test_set_of_its_own_has_targets_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "noisy.npz", x_train=NOISY[:30], x_test=NOISY[30:])
    np.savez(tmp_path / "clean.npz", x_train=CLEAN[:30], x_test=CLEAN[30:])
    data = load_dataset(DataConfig("noisy.npz", clean="clean.npz"), "sigmoid", base=tmp_path)
    assert np.array_equal(data.test.wanted.take(slice(0, 10)), CLEAN[30:].reshape(10, -1))
    np.save(tmp_path / "clean.npy", CLEAN[:30])
    line = refused(tmp_path, capsys, source="noisy.npz", data='clean = "clean.npy"')
    assert line.endswith("clean.npy: has no test set, must have one: the clean samples of noisy.npz, test set")


def refused(
    folder: Path, capsys: pytest.CaptureFixture[str], *, source: str = "noisy.npy", data: str = "", more: str = ""
) -> str:
    """The line of a run that is refused with exit code 2."""
    recipe = folder / "r.toml"
    recipe.write_text(smallest_recipe(source, data=data, more=more), encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(folder / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (folder / "out" / "bundle").exists()
    return line


@pytest.mark.parametrize(
    ("clean", "text"),
    [
        (CLEAN[:, :3], "clean.npy: got clean samples of uint8 [40, 3, 6], must be uint8 [40, 4, 6] as the noisy ones"),
        (CLEAN[:39], "clean.npy: got clean samples of uint8 [39, 4, 6], must be uint8 [40, 4, 6] as the noisy ones"),
        (CLEAN / 255, "clean.npy: got clean samples of float64 [40, 4, 6], must be uint8 [40, 4, 6] as the noisy ones"),
    ],
    ids=["shape", "length", "dtype"],
)
def test_pairs_that_are_unequal_are_refused(clean: np.ndarray, text: str, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "noisy.npy", NOISY)
    np.save(tmp_path / "clean.npy", clean)
    assert text in refused(tmp_path, capsys, data='clean = "clean.npy"')


@pytest.mark.parametrize(
    ("data", "more", "text"),
    [
        (
            "",
            '[train]\nnoise = { kind = "gaussian", level = 25 }',
            "train.noise.level: got 25.0, must be in (0, 10], a stand",
        ),
        (
            "",
            '[train]\nnoise = { kind = "gaussian", level = -1 }',
            "train.noise.level: got -1, must be a finite number, abo",
        ),
        ("", '[train]\nnoise = { kind = "masking", level = 1.0 }', "train.noise.level: got 1.0, must be in (0, 1), a fraction"),
        (
            "",
            '[train]\nnoise = { kind = "rain", level = 0.1 }',
            "train.noise.kind: got 'rain', must be one of gaussian, mask",
        ),
        (
            'clean = "clean.npy"',
            '[train]\nnoise = { kind = "gaussian", level = 0.3 }',
            "data.clean: got 'clean.npy', must be left out beside train.noise",
        ),
        ("", '[task]\nkind = "denoising"', "task.kind: got 'denoising', must be another kind, or beside train.noise"),
        ('clean = "clean.npy"', "", "clean.npy: no such file or folder"),
    ],
)
def test_noise_that_cannot_be_is_refused(data: str, more: str, text: str, tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "noisy.npy", NOISY)
    assert text in refused(tmp_path, capsys, data=data, more=more)


MEASURED = 20
DENOISER = """
name = "clean"
[data]
source = "clean.npy"
[model]
layers = [{units = 8, activation = "relu"}, {units = 4}]
[train]
epochs = 2
noise = {kind = "gaussian", level = 0.4}
[quantize]
epochs = 1
samples = 64
[export]
stock = false
targets = ["tflite"]
[verify]
max_decibels_lost = 20.0
[task]
kind = "denoising"
"""


@pytest.mark.ci
def test_a_denoising_run_is_judged_against_clean_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its console, report, .tae file and calibration; of a large test set the first samples, which is stated."""
    for module in ("pipeline.assemble", "pipeline.trained", "verify.collecting", "verify.verify", "pipeline.run_artifacts"):
        monkeypatch.setattr(f"tiedae.{module}.MAX_SAMPLES", MEASURED)
    monkeypatch.setattr("tiedae.tasks.denoisers.find_spec", lambda name: None)
    clean = np.random.default_rng(0).integers(0, 256, (300, 4, 6), dtype=np.uint8)
    np.save(tmp_path / "clean.npy", clean)
    recipe, out = tmp_path / "clean.toml", tmp_path / "out"
    recipe.write_text(DENOISER, encoding="utf-8")
    assert main(["run", str(recipe), "--out", str(out)]) == 0
    assert "baseline median: not measured, scipy not installed" in capsys.readouterr().out
    reasons = {row.what: row.reason for row in read_metrics(out / "bundle" / "metrics.json").skipped}
    assert reasons["10 test samples"] == "the first 20 are measured"
    assert "seed, against the clean samples." in " ".join((out / "bundle" / "report.html").read_text().split())

    monkeypatch.chdir(tmp_path)
    done, path = encode_test(out)
    decoded = load(out).decompress(path.read_bytes())
    test = load_dataset(DataConfig("clean.npy"), "sigmoid", base=tmp_path).test.take(slice(0, MEASURED))
    assert done.quality is not None and done.quality.mse == pytest.approx(
        np.square(decoded.reshape(len(test), -1) - test.astype(float)).mean(), rel=1e-2
    )
    assert quality_text(done).endswith(" against the clean samples")
    metrics = verify(out / "bundle", model=None, data="clean.npy", announce=lambda _: None)
    assert "10 test samples" in {row.what for row in metrics.skipped}

    found = calibrate(load_recipe(recipe), base=tmp_path, model=out / "model")
    keras = next(row.error for row in read_metrics(out / "bundle" / "metrics.json").quality if row.stage == "train")
    assert found.test_samples == 30 and found.error["float"] == pytest.approx(keras, rel=0.2)
