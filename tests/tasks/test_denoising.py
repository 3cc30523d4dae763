"""Denoising as it is measured: through the int8 program, at several levels, beside denoisers chosen on validation samples."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.records import decode, plain
from tiedae.bundle.manifest import Data
from tiedae.bundle.task_results import INPUT, KERAS, PROGRAM, Denoised, DenoisingResult
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.compress import Dataset, NoiseConfig, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.config.sample_spec import Kind as SampleKind
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import Denoising
from tiedae.export import lower
from tiedae.export.kinds import Kind, Why
from tiedae.program.file_io import FileIO
from tiedae.report.tasks import denoising as denoising_view
from tiedae.tasks import denoisers, denoising
from tiedae.tasks.denoisers import DENOISERS, Selection
from tiedae.tasks.row import Exported, TaskMeasurement
from tiedae.verify.parity.keras_device import keras_function

from ..variants import every

NOISE = NoiseConfig("gaussian", 0.25)


def blobs(n: int = 300, side: int = 12) -> np.ndarray:
    """Bytes of smooth pictures: a disc of some radius and brightness."""
    rng = np.random.default_rng(0)
    radius, bright = rng.uniform(2, 5, (n, 1, 1)), rng.uniform(0.4, 1, (n, 1, 1))
    i, j = np.mgrid[:side, :side] - side / 2
    return (255 * bright / (1 + np.exp(2 * (np.hypot(i, j) - radius)))).astype(np.uint8)


def exported_of(data: Dataset, noise: NoiseConfig | None = NOISE, epochs: int = 60) -> Exported:
    train = TrainConfig(epochs=epochs, batch_size=16, noise=noise)
    config = data.config if noise is not None else replace(data.config, clean="clean.npy")
    floating = TiedAutoencoder([48], inputs=data.inputs, output_activation="sigmoid" if data.kind == "image" else "linear")
    train_float(floating, data, train)
    recipe = Recipe("d", config, floating.config, train, quantize=QuantizeConfig(method="ptq"), task=Denoising())
    model = floating.copy()
    quantize_post_training(model, representative(data.train, 128, noise=noise), recipe.quantize)
    io = FileIO.of(recipe.export, data.scaling, data.train.dtype.name)
    return Exported(ProgramBackend(lower(model, "d", layout="fused"), data.spec, io), data, recipe, keras_function(floating))


@pytest.fixture(scope="module")
def exported() -> Exported:
    return exported_of(Dataset.from_array(blobs(), test=0.2, validation=0.2))


@pytest.fixture(scope="module")
def measured(exported: Exported) -> TaskMeasurement:
    return denoising.measure(exported)


def result_of(measured: TaskMeasurement) -> DenoisingResult:
    assert isinstance(measured.result, DenoisingResult)
    return measured.result


def test_the_program_removes_noise_as_the_float_model_does(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    assert (result.noise, result.level, result.samples) == ("gaussian", 0.25, 60)
    before, program, keras = (result.row(name) for name in (INPUT, PROGRAM, KERAS))
    assert before.gain_db is None and program.gain_db is not None and keras.gain_db is not None
    assert program.gain_db > 2 and abs(program.gain_db - keras.gain_db) < 0.3
    assert before.ssim is not None and program.ssim is not None and program.ssim > before.ssim
    assert program.gain_db == pytest.approx(10 * np.log10(before.mse / program.mse))
    assert before.value is not None and program.value is not None
    assert program.value - before.value == pytest.approx(program.gain_db), "PSNR gains what the squared error loses"


def test_levels_are_measured_around_that_of_training_and_clean_samples_too(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    found = {row.level: row for row in result.rows if row.method == INPUT}
    assert sorted(found) == [0, 0.125, 0.25, 0.375, 0.5]
    assert found[0].mse == 0 and found[0].value is None
    errors = [found[level].mse for level in sorted(found)]
    assert errors == sorted(errors)
    assert {row.level for row in result.rows if row.method == PROGRAM} == set(found)
    clean, noisy, denoised = (measured.arrays[name] for name in ("clean", "noisy", "denoised"))
    assert clean.shape == (8, 144) and noisy.shape == denoised.shape == (5, 8, 144) and noisy.dtype == np.uint8
    assert np.array_equal(noisy[0], clean) and not np.array_equal(noisy[2], clean)


def test_a_fraction_stays_below_one(exported: Exported) -> None:
    recipe = replace(exported.recipe, train=replace(exported.recipe.train, noise=NoiseConfig("masking", 0.6)))
    other = dataclasses.replace(exported, recipe=recipe)
    assert denoising.levels(other, denoising.FACTORS) == [0, 0.3, 0.6, pytest.approx(0.9)]


@pytest.mark.ci
def test_the_same_seed_gives_the_same_figures(exported: Exported, measured: TaskMeasurement) -> None:
    again = denoising.measure(exported, factors=(1.0,))
    assert result_of(again).row(PROGRAM) == result_of(measured).row(PROGRAM)
    recipe = replace(exported.recipe, data=replace(exported.recipe.data, seed=1))
    other = denoising.measure(dataclasses.replace(exported, recipe=recipe), factors=(1.0,))
    assert result_of(other).row(INPUT) != result_of(measured).row(INPUT)


def test_every_baseline_is_better_than_nothing(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    ran = {row.method: row for row in result.at(0.25) if row.method in DENOISERS}
    lacking = {row.what for row in measured.skipped}
    assert {f"baseline {name}" for name in DENOISERS} == lacking | {f"baseline {name}" for name in ran} and "pca" in ran
    mean = ran.pop("mean")
    assert mean.setting == "" and mean.mse > max(row.mse for row in ran.values())
    assert all(row.gain_db is not None and row.gain_db > 0.5 and row.setting for row in ran.values())
    assert result.best_baseline == min(ran.values(), key=lambda row: row.mse)


def test_parameters_come_from_validation_samples_alone(exported: Exported) -> None:
    """Other test samples leave the choice as it is; other validation samples are what it is made on."""
    data = exported.data
    swapped = dataclasses.replace(exported, data=dataclasses.replace(data, test=data.validation))
    one, other = denoising.selection(exported), denoising.selection(swapped)
    assert np.array_equal(one.noisy, other.noisy) and np.array_equal(one.clean, other.clean) and len(one.clean) == 60
    assert np.array_equal(one.clean[0], data.scaling.apply(data.validation.take(slice(0, 1)))[0])
    unheld = dataclasses.replace(exported, data=dataclasses.replace(data, validation=None))
    chosen = denoising.selection(unheld)
    rows = {row.tobytes() for row in chosen.train}
    assert len(chosen.clean) == 90 and not any(row.tobytes() in rows for row in chosen.clean), "not those it is fitted on"


def test_the_best_candidate_is_chosen() -> None:
    rng = np.random.default_rng(0)
    clean = (rng.normal(size=(400, 3)) @ rng.normal(size=(3, 40))).astype(np.float32)
    noisy = clean + rng.normal(0, 0.3, clean.shape).astype(np.float32)
    given = Selection(clean[:300], noisy[300:], clean[300:], (40,))
    chosen = DENOISERS["pca"].chosen(given)
    assert chosen is not None
    setting, denoise = chosen
    errors = {name: np.square(run(given.noisy) - given.clean).mean() for name, run in DENOISERS["pca"].candidates(given)}
    assert errors[setting] == min(errors.values()) and setting == "4 components"
    assert given.deviation == pytest.approx(0.3, rel=0.05)
    np.testing.assert_allclose(np.square(denoise(given.noisy) - given.clean).mean(), errors[setting])


def test_outputs_of_baselines_on_bytes_are_clipped_as_ours_are(exported: Exported) -> None:
    """Beyond bytes no output can be right: unclipped, a baseline would look weaker than it is."""
    x = 2 * exported.data.scaling.apply(exported.data.test.take(slice(None)))
    chosen = DENOISERS["pca"].chosen(denoising.selection(exported))
    assert chosen is not None
    _, denoise = chosen
    y = denoise(x)
    outputs, _ = denoising._baselines(exported, x)
    assert y.max() > 1.5 and np.array_equal(outputs["pca"][1], np.clip(y, 0, 1))


def test_the_contest_holds_the_errors_of_the_table(measured: TaskMeasurement) -> None:
    result, contest = result_of(measured), measured.contest
    assert contest is not None and contest.own.mean() == pytest.approx(result.row(PROGRAM).mse, rel=1e-6)
    assert {INPUT, "pca", "mean"} <= contest.baselines.keys() and KERAS not in contest.baselines
    for name, errors in contest.baselines.items():
        assert errors.mean() == pytest.approx(result.row(name).mse, rel=1e-5), name


def test_a_baseline_without_its_package_is_skipped_with_the_reason(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoisers, "find_spec", lambda name: None)
    found = denoising.measure(exported, factors=(1.0,))
    assert [row.method for row in result_of(found).rows] == [INPUT, PROGRAM, KERAS, "pca", "mean"]
    assert [(row.kind, row.why, row.what) for row in found.skipped] == [
        (Kind.TASK, Why.NOT_INSTALLED, f"baseline {name}") for name in ("median", "wavelet", "nl-means")
    ]
    assert found.skipped[1].reason == 'skimage, pywt not installed: pip install "tiedae[tasks]"'


BYTES = np.random.default_rng(0).integers(0, 256, (120, 24), np.uint8)


@pytest.mark.parametrize(
    ("values", "windows", "measured", "too_small"),
    every(
        2,
        [
            (BYTES, False, {"pca"}, set()),
            (BYTES.reshape(120, 1, 24), False, {"median", "nl-means", "pca"}, {"wavelet"}),
            (BYTES.reshape(120, 24, 1), False, {"median", "nl-means", "pca"}, {"wavelet"}),
            (BYTES.reshape(120, 1, 8, 3), False, {"median", "nl-means", "pca"}, {"wavelet"}),
            (BYTES.reshape(120, 2, 2, 2, 3), False, {"pca"}, set()),
            (BYTES.reshape(-1, 2).astype(np.int16), True, {"median", "wavelet"}, {"pca"}),
            (BYTES.reshape(120, 24).astype(np.float32), False, {"pca"}, set()),
        ],
    ),
)
def test_every_shape_of_samples_has_the_baselines_that_fit(
    values: np.ndarray, windows: bool, measured: set[str], too_small: set[str]
) -> None:
    data = Dataset.from_array(values, test=0.2, validation=0.2, output_activation="linear", per_feature=False)
    data = dataclasses.replace(data, windows=windows)
    found = denoising.measure(exported_of(data, epochs=1), factors=(1.0,))
    assert {row.method for row in result_of(found).rows} - {INPUT, PROGRAM, KERAS, "mean"} == measured
    shape = list(data.spec.shape)
    assert {(row.what, row.reason) for row in found.skipped} == {
        (f"baseline {name}", f"samples of shape {shape} are smaller than all of its settings") for name in too_small
    }


def waves(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(64) / 64
    return np.sin(2 * np.pi * (rng.integers(1, 5, (n, 1)) * t + rng.uniform(size=(n, 1)))).astype(np.float32)


def pairs_of_records() -> Dataset:
    clean = waves()
    noisy = clean + np.random.default_rng(1).normal(0, 0.5, clean.shape).astype(np.float32)
    data = Dataset.from_array(noisy, clean=clean, test=0.2, validation=0.2, output_activation="linear", per_feature=False)
    return dataclasses.replace(data, windows=True)


@pytest.mark.ci
def test_pairs_are_measured_as_they_are() -> None:
    found = denoising.measure(exported_of(pairs_of_records(), None))
    result = result_of(found)
    assert (result.noise, result.level) == (None, None) and {row.level for row in result.rows} == {None}
    assert result.row(PROGRAM).measure == "PRDN" and result.row(PROGRAM).ssim is None
    assert (result.row(PROGRAM).gain_db or 0) > 1
    methods = {row.method for row in result.rows} | {row.what.split()[-1] for row in found.skipped}
    assert methods == {INPUT, PROGRAM, KERAS, "median", "wavelet", "pca", "mean"}
    html = denoising_view.section(manifest_of((64,), "float32", "record"), result, found.arrays)
    assert html.count('aria-label="sample ') == 2 * 8 and "As given" in html
    channels = denoising_view.section(manifest_of((16, 4), "float32", "record"), result, found.arrays)
    assert channels.count("<figcaption>channel 3</figcaption>") == channels.count("<h4>sample ") == 8


def manifest_of(shape: tuple[int, ...], dtype: str, kind: SampleKind) -> Any:
    """What a section reads of a manifest."""
    counts, inputs = {"train": 1, "validation": 0, "test": 1}, math.prod(shape)
    scaling, peak = Scaling(), 255.0 if kind == "image" else None
    data = Data(source="x", kind=kind, peak=peak, inputs=inputs, shape=shape, dtype=dtype, sha256="", scaling=scaling, **counts)
    return type("M", (), {"data": data})()


def test_report_card_and_table_say_what_was_measured(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    html = str(denoising_view.section(manifest_of((12, 12), "uint8", "image"), result, measured.arrays))
    program = result.row(PROGRAM)
    figures = (denoising_view.quality_text(program), denoising_view.gain_text(program))
    assert all(text in html for text in figures) and html.count("<img") == 5 * 8 * 3
    assert "Level 0.25, as trained" in html and "Level 0.5<" in html and "level 0.375" in html
    card = denoising_view.card(result)
    assert f"| int8 program | {figures[0]} | {figures[1]} |" in card and "gaussian noise of level 0.25" in card
    assert "| 0.25 (trained) |" in card and "| 0.5 |" in card
    rows = denoising_view.rows(result)
    assert rows[1] == ("denoised, int8", "", figures[0], "", f"{figures[1]}, 60 test samples") and rows[2][0].startswith(
        "best baseline: "
    )
    assert any(name.startswith("PCA, ") for name, *_ in denoising_view.table(result))
    found = denoising_view.VIEW.headline(result)
    assert found is not None and found[0] == figures[1] and figures[0] in found[1]


def test_a_result_is_read_back_as_it_was_written(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    assert plain(result)["kind"] == "denoising" and decode(DenoisingResult, plain(result), "x") == result


@pytest.mark.parametrize(
    ("value", "text"),
    [(19.0412, "PSNR 19.04 dB, SSIM 0.620"), (9.9, "PSNR 9.90 dB, SSIM 0.620"), (None, "PSNR not defined, SSIM 0.620")],
)
def test_text_of_a_quality(value: float | None, text: str) -> None:
    assert denoising_view.quality_text(Denoised("int8", 0.3, 1.0, "PSNR", "dB", value, None, 0.62)) == text


def test_tables_are_compared_by_r2() -> None:
    """The squared error is that of the column of the largest numbers."""
    rows = [("input", 100.0, 0.5), ("int8", 400.0, 0.9), ("pca", 90.0, 0.3), ("mean", 500.0, 0.8)]
    of = tuple(Denoised(name, 1.0, mse, "R²", "", r2) for name, mse, r2 in rows)
    assert [row.error for row in of] == pytest.approx([0.5, 0.1, 0.7, 0.2])
    records = tuple(replace(row, measure="PRDN") for row in of)
    for each, method in ((of, "mean"), (records, "pca")):
        best = DenoisingResult("gaussian", 1.0, 9, each).best_baseline
        assert best is not None and best.method == method
