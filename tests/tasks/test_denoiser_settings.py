"""Settings that denoisers are chosen from, each against a direct call of its library; what a denoising is measured on."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.task_results import INPUT, PROGRAM, DenoisingResult
from tiedae.codec.backends import ProgramBackend
from tiedae.config.config import NoiseConfig, TrainConfig
from tiedae.data.dataset import Dataset
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.tasks import denoising
from tiedae.tasks.denoisers import DENOISERS, Selection
from tiedae.tasks.row import Exported, TaskMeasurement

from ..conftest import build_program
from ..samples import curve, images
from .test_reduction import exported as reduced


def given(shape: tuple[int, ...], deviation: float = 0.125, train: int = 20) -> Selection:
    """Three smooth samples with noise of exactly this deviation: so much more or less in each value."""
    inputs = int(np.prod(shape))
    clean = curve(train + 3, inputs).astype(np.float32)
    signs = np.random.default_rng(0).choice([-1, 1], (3, inputs))
    return Selection(clean[:train], (clean[train:] + deviation * signs).astype(np.float32), clean[train:], shape)


def settings_of(name: str, selection: Selection) -> list[str]:
    return [setting for setting, _ in DENOISERS[name].candidates(selection)]


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((12, 12), ["3×3", "5×5", "7×7"]),
        ((12, 12, 3), ["3×3", "5×5", "7×7"]),
        ((64,), ["3", "5", "7"]),
        ((64, 2), ["3×3", "5×5", "7×7"]),
    ],
)
def test_medians_are_of_three_windows(shape: tuple[int, ...], settings: list[str]) -> None:
    pytest.importorskip("scipy")
    assert settings_of("median", given(shape)) == settings


def test_wavelets_shrink_by_four_deviations() -> None:
    pytest.importorskip("skimage")
    pytest.importorskip("pywt")
    factors = ("0.0625", "0.0938", "0.125", "0.188")
    expected = [f"{wavelet}, σ {each}" for wavelet in ("db1", "db2", "sym4") for each in factors]
    assert settings_of("wavelet", given((16, 16))) == settings_of("wavelet", given((16, 16, 3))) == expected
    assert settings_of("wavelet", given((4, 16))) == expected[:4], "db2 and sym4 are longer than four values"


def test_means_of_patches_have_three_sizes_and_five_strengths() -> None:
    pytest.importorskip("skimage")
    strengths = ("0.0125", "0.025", "0.0375", "0.05", "0.075")
    expected = [f"patches of {patch}, h {each}" for patch in (3, 5, 7) for each in strengths]
    assert settings_of("nl-means", given((16, 16))) == expected


def test_components_are_fewer_than_the_inputs() -> None:
    counts = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
    assert settings_of("pca", given((257,))) == [f"{count} components" for count in counts]
    assert settings_of("pca", given((256,))) == [f"{count} components" for count in counts[:-1]]
    assert settings_of("pca", given((4,))) == []


def outputs_of(name: str, selection: Selection) -> list[np.ndarray]:
    outputs = [denoise(selection.noisy) for _, denoise in DENOISERS[name].candidates(selection)]
    assert all(each.shape == selection.noisy.shape and each.dtype == np.float32 for each in outputs)
    return outputs


SHAPES = [(16, 16), (16, 12, 3)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_median_is_that_of_scipy(shape: tuple[int, ...]) -> None:
    """Of each channel alone; values at the edge repeat."""
    ndimage = pytest.importorskip("scipy.ndimage")
    selection = given(shape)
    for size, output in zip((3, 5, 7), outputs_of("median", selection), strict=True):
        channels = np.moveaxis(selection.noisy.reshape(3, *shape[:2], -1), -1, 1)
        direct = [[ndimage.median_filter(channel, size, mode="nearest") for channel in sample] for sample in channels]
        np.testing.assert_array_equal(output, np.moveaxis(np.array(direct), 1, -1).reshape(3, -1))


@pytest.mark.parametrize("shape", SHAPES)
def test_wavelet_shrinkage_is_that_of_scikit_image(shape: tuple[int, ...]) -> None:
    restoration, pywt = pytest.importorskip("skimage.restoration"), pytest.importorskip("pywt")
    selection, axis = given(shape), -1 if len(shape) == 3 else None
    settings = [(wavelet, factor) for wavelet in ("db1", "db2", "sym4") for factor in (0.5, 0.75, 1.0, 1.5)]
    settings = [each for each in settings if min(shape[:2]) >= 2 * (pywt.Wavelet(each[0]).dec_len - 1)]
    for (wavelet, factor), output in zip(settings, outputs_of("wavelet", selection), strict=True):
        levels = pywt.dwt_max_level(min(shape[:2]), wavelet)
        options: Any = {"sigma": factor * 0.125, "wavelet": wavelet, "wavelet_levels": levels, "channel_axis": axis}
        direct = [restoration.denoise_wavelet(sample.reshape(shape), **options).ravel() for sample in selection.noisy]
        np.testing.assert_allclose(output, direct, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_non_local_means_are_those_of_scikit_image(shape: tuple[int, ...]) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    selection, axis = given(shape), -1 if len(shape) == 3 else None
    settings = [(patch, factor) for patch in (3, 5, 7) for factor in (0.1, 0.2, 0.3, 0.4, 0.6)]
    for (patch, factor), output in zip(settings, outputs_of("nl-means", selection), strict=True):
        options: Any = {"patch_size": patch, "patch_distance": 7, "h": factor * 0.125, "sigma": 0.125, "channel_axis": axis}
        direct = [restoration.denoise_nl_means(sample.reshape(shape), **options).ravel() for sample in selection.noisy]
        np.testing.assert_allclose(output, direct, atol=1e-5)


def test_the_mean_and_projections_are_those_of_the_training_samples() -> None:
    selection = given((6,), train=40)
    (mean,) = outputs_of("mean", selection)
    centre = selection.train.mean(axis=0)
    np.testing.assert_allclose(mean, np.tile(centre, (3, 1)), atol=1e-6)
    (projected,) = outputs_of("pca", selection)
    axes = np.linalg.svd(selection.train - centre, full_matrices=False)[2][:4].T
    np.testing.assert_allclose(projected, centre + (selection.noisy - centre) @ axes @ axes.T, atol=1e-5)


def test_the_deviation_is_that_of_the_noise() -> None:
    assert given((8,)).deviation == pytest.approx(0.125, rel=1e-6)


def test_a_selection_is_printed_without_its_samples_and_equals_itself_alone() -> None:
    selection = given((8,))
    assert repr(selection) == "Selection(shape=(8,))"
    assert selection == selection and selection != dataclasses.replace(selection) and len({selection}) == 1


def exported(noise: NoiseConfig | None = None, *, pairs: bool = False, others: bool = False, test: int = 0) -> Exported:
    """Random kernels; the samples are bytes, with noise of training or with clean ones of their own."""
    subject, x = reduced(None), images()
    noisy = np.clip(x.astype(int) + np.random.default_rng(0).integers(-20, 21, x.shape), 0, 255).astype(np.uint8)
    data = Dataset.from_array(noisy, clean=x, test=0.4) if pairs else subject.data
    if test:
        data = dataclasses.replace(data, test=Samples(np.resize(x, (test, 4, 6)), scaling=data.scaling))
    backend = ProgramBackend(build_program((24, 12, 5)), data.spec)
    recipe = replace(subject.recipe, train=TrainConfig(noise=noise))
    return dataclasses.replace(subject, backend=backend, data=data, recipe=recipe, keras=None, others=others)


def result_of(measured: TaskMeasurement) -> DenoisingResult:
    assert isinstance(measured.result, DenoisingResult)
    return measured.result


GAUSSIAN = NoiseConfig("gaussian", 0.25)


@pytest.mark.parametrize(("test", "samples"), [(2001, 2000), (1999, 1999)])
def test_two_thousand_samples_are_denoised_at_most(test: int, samples: int) -> None:
    measured = denoising.measure(exported(GAUSSIAN, test=test), factors=(1.0,))
    assert result_of(measured).samples == samples and measured.contest is not None
    assert measured.contest.rows.tolist() == list(range(samples))


def test_without_noise_and_without_pairs_there_is_nothing_to_measure() -> None:
    measured = denoising.measure(exported())
    reason = "neither train.noise nor data.clean is stated"
    assert measured.result is None and measured.skipped == (Skipped(Kind.TASK, Why.NO_SAMPLES, "denoising", reason),)


def test_pairs_have_the_level_of_the_data() -> None:
    subject = exported(pairs=True)
    result = result_of(denoising.measure(subject))
    assert (result.noise, result.level) == (None, None)
    assert [(row.method, row.level) for row in result.rows] == [(INPUT, None), (PROGRAM, None)]
    test = subject.data.test
    errors = np.square(test.take(slice(None)).astype(float) - test.wanted.take(slice(None)))
    assert result.row(INPUT).mse == pytest.approx(errors.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("factors", "levels"), [((1.0,), []), ((0.5, 1.0), [0.125]), ((0.0, 1.0, 2.0), [0.0, 0.5]), ((0.5,), [0.125])]
)
def test_the_level_of_training_is_measured_once_and_first(factors: tuple[float, ...], levels: list[float]) -> None:
    measured = denoising.measure(exported(GAUSSIAN), factors=factors)
    rows = result_of(measured).rows
    assert [(row.method, row.level) for row in rows] == [(name, each) for each in (0.25, *levels) for name in (INPUT, PROGRAM)]
    assert len(measured.arrays["noisy"]) == len(factors) and measured.contest is not None and not measured.contest.baselines
    assert measured.contest.own.mean() == pytest.approx(rows[1].mse, rel=1e-6)


def test_outputs_of_baselines_on_bytes_end_where_bytes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 0 and above 1 no byte is."""
    subject = exported(GAUSSIAN, others=True)
    x = np.linspace(-1, 3, 48, dtype=np.float32).reshape(2, 24)
    same = dataclasses.replace(DENOISERS["mean"], candidates=lambda _: iter([("same", lambda given: given)]))
    monkeypatch.setattr(denoising, "denoisers_of", lambda spec: {"mean": same})
    outputs, skipped = denoising._baselines(subject, x)
    assert outputs["mean"][0] == "same" and skipped == []
    np.testing.assert_array_equal(outputs["mean"][1], np.clip(x, 0, 1))


def test_the_candidate_nearest_to_the_clean_samples_is_chosen() -> None:
    """Not the one nearest to their opposite, nor the first; of settings that are equally good the first is."""
    selection = given((8,))
    factors = {"opposite": -1.0, "none": 0.0, "near": 0.9, "same": 0.9, "far": 2.0}
    candidates = [(name, lambda x, factor=factor: factor * selection.clean) for name, factor in factors.items()]
    denoiser = dataclasses.replace(DENOISERS["mean"], candidates=lambda _: iter(candidates))
    chosen = denoiser.chosen(selection)
    assert chosen is not None and chosen[0] == "near"
    assert dataclasses.replace(denoiser, candidates=lambda _: iter(())).chosen(selection) is None
