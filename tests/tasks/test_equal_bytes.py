"""Other coders at our bytes: the files around them, the error between them, and PCA in the scaling that suits it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.bundle.task_results import CompressionResult
from tiedae.bundle.verdict import Criterion, Reason, Verdict
from tiedae.compress import Dataset
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.report.verdict import uncompared_text, verdict_rows
from tiedae.tasks import compression, pca_files
from tiedae.tasks.equal_bytes import Around, CodedFile, around
from tiedae.tasks.judging import better_than, judge
from tiedae.tasks.pca_files import UNSCALED, PcaFiles, standardized
from tiedae.tasks.sample_errors import SampleError

from .test_compression import exported_of

X = np.zeros((4, 1))


def file(size: int, error: float = 1.0) -> CodedFile:
    return CodedFile(size, X, np.full(4, error))


@given(st.integers(1, 400), st.integers(0, 60), st.integers(1, 5))
def test_the_files_are_those_of_neighbouring_settings(size: int, start: int, factor: int) -> None:
    found = around(lambda setting: file(100 + factor * setting), size, start=start, least=0, most=60)
    sizes = [100 + factor * setting for setting in range(61)]
    assert [each.size for each in found.files] == [
        *([max(s for s in sizes if s <= size)] if size >= 100 else []),
        *([min(s for s in sizes if s > size)] if size < sizes[-1] else []),
    ]


def test_few_files_are_made_to_find_them() -> None:
    made: list[int] = []
    around(lambda setting: made.append(setting) or file(100 + setting), 125, start=20, least=-1000, most=1000)
    assert len(set(made)) <= 6


def test_the_logarithm_of_the_error_is_linear_in_the_bytes() -> None:
    smaller, larger = CodedFile(100, X, np.array([8.0, 0, 8, 0])), CodedFile(108, X, np.array([2.0, 0, 0, 2]))
    for size, error in ((100, 4.0), (104, 2.0), (106, 2**0.5), (108, 1.0)):
        errors = Around(size, smaller, larger).errors()
        assert errors.mean() == pytest.approx(error) and errors[1] == 0
    assert Around(104, file(100, 0.0), file(108, 0.0)).errors().tolist() == [0] * 4
    assert Around(104, file(100, 2.0), file(108, 0.0)).errors().tolist() == [1] * 4
    assert Around(104, file(100, 2.0), file(108, 2.0)).errors().tolist() == [2] * 4


@pytest.mark.parametrize(
    ("smaller", "larger", "problem"),
    [
        (100, 110, ""),
        (100, 111, "its files around our 105 bytes have 100 and 111, more than 10 % apart"),
        (100, None, "its largest file has 100 bytes, ours 105"),
        (None, 111, "its smallest file has 111 bytes, ours 105"),
    ],
)
def test_files_far_apart_or_on_one_side_say_nothing(smaller: int | None, larger: int | None, problem: str) -> None:
    ends = (None if size is None else file(size) for size in (smaller, larger))
    assert Around(105, *ends).problem == problem


def axes(n: int, seed: int) -> np.ndarray:
    """Eight channels, one of which is a hundred times as large as the others and of as much shape."""
    latent = np.random.default_rng(seed).normal(size=(n, 8))
    return (latent @ np.random.default_rng(9).normal(size=(8, 8)) * [100, 1, 1, 1, 1, 1, 1, 1] + 50).astype(np.float32)


def fair_pca(spec: SampleSpec, train: np.ndarray, held: np.ndarray, bits: float) -> PcaFiles:
    return pca_files.fair_pca(spec, train, held, bits, SampleError.of(spec.kind, held))


def fitted(spec: SampleSpec, scaling: Scaling, train: np.ndarray, held: np.ndarray) -> PcaFiles:
    return PcaFiles.fit(spec, scaling, train, held, SampleError.of(spec.kind, held))


def per_channel(x: np.ndarray) -> SampleSpec:
    """Of records of one time step."""
    means, deviations = (tuple(each.tolist()) for each in (x.mean(axis=0, dtype=float), x.std(axis=0, dtype=float)))
    return SampleSpec((1, *x.shape[1:]), "float32", Scaling("standard", means, deviations), kind="record")


def test_samples_as_they_are_have_components_of_less_squared_error_where_channels_differ() -> None:
    train, held = axes(800, 0), axes(200, 1)
    spec = per_channel(train)
    pca = fair_pca(spec, train, held, 16.0)
    assert pca.scaling == UNSCALED
    scaled = fitted(spec, spec.scaling, train, held)
    assert pca.held_error(16.0) < 0.5 * scaled.held_error(16.0)
    coder = pca.coder(16.0)
    assert coder is not None and pca.file(coder, held).setting.endswith(", values not scaled")


def test_scaled_values_are_taken_where_they_have_less_error_on_held_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of both on held samples decides, whichever it is."""
    train, held = axes(800, 0), axes(200, 1)
    monkeypatch.setattr(PcaFiles, "held_error", lambda files, bits: 1.0 + (files.scaling == UNSCALED))
    assert fair_pca(per_channel(train), train, held, 16.0).scaling == per_channel(train).scaling


def test_one_scale_for_all_values_leaves_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Scaling] = []
    fit = PcaFiles.fit
    monkeypatch.setattr(PcaFiles, "fit", lambda spec, scaling, *x: made.append(scaling) or fit(spec, scaling, *x))
    spec = SampleSpec((1, 8), "float32", Scaling("minmax", 0.0, 300.0), kind="record")
    fair_pca(spec, axes(100, 0), axes(50, 1), 16.0)
    assert made == [spec.scaling]


TABLES = (Scaling("minmax", 0.0, 300.0), Scaling("minmax", (-300.0,) + (0.0,) * 7, (1.0,) * 8), Scaling())


@pytest.mark.parametrize("scaling", TABLES, ids=str)
def test_the_columns_of_a_table_are_standardized_where_that_has_less_error(scaling: Scaling) -> None:
    """However the model's values are scaled: each column counts by its variance."""
    train, held = axes(800, 0), axes(200, 1)
    spec = SampleSpec((8,), "float32", scaling, kind="table")
    pca = fair_pca(spec, train, held, 16.0)
    assert pca.held_error(16.0) < 0.5 * fitted(spec, scaling, train, held).held_error(16.0)
    coder = pca.coder(16.0)
    assert coder is not None
    coded = pca.file(coder, held)
    assert coded.setting.endswith(", columns standardized")
    lost, power = np.square(held - coded.decoded.astype(float)), np.square(held - held.mean(axis=0, dtype=float))
    r2 = 1 - lost.sum(axis=0) / power.sum(axis=0)
    assert coded.error == pytest.approx(1 - r2.mean())


def test_columns_that_do_not_change_have_no_part_in_what_is_unexplained() -> None:
    """0.1 is no number of the computer: its mean is another one."""
    x = np.array([[1.0, 0.1, 1e9], [3, 0.1, 1e9 + 2], [2, 0.1, 1e9 + 1]])
    y = np.array([[1.0, 0.7, 1e9 + 1], [1, 0.1, 1e9 + 1], [2, 0.1, 1e9 + 1]])
    error = SampleError.of("table", x)
    np.testing.assert_allclose(error(x, y), [0.75, 3.75, 0])
    assert error.criterion is Criterion.UNEXPLAINED
    assert SampleError.of("table", np.full((300, 1), 0.1)).criterion is SampleError.of("record", x).criterion is Criterion.MSE
    assert SampleError.of("table", x[:1]).criterion is Criterion.MSE, "of one sample no column changes"
    np.testing.assert_allclose(SampleError.of("table", x[:1])(x, y)[2:], 0)
    assert standardized(np.concatenate([axes(30, 0), np.full((30, 1), 0.1)], axis=1)).scale[-1] == 1  # pyright: ignore[reportIndexIssue]


def test_values_of_1e9_keep_their_small_part() -> None:
    """float32 has steps of 64 there."""
    train, held = (1e9 + axes(n, seed).astype(np.float64) for n, seed in ((800, 0), (200, 1)))
    spec = replace(per_channel(train), dtype="float64")
    coded = fair_pca(spec, train, held, 16.0)
    coder = coded.coder(16.0)
    assert coder is not None
    assert coded.file(coder, held).error < 0.01 * coded.error(held, train.mean(axis=0)).mean()


@pytest.mark.parametrize("size", [300, 420, 600])
def test_pca_lies_at_our_bytes_whatever_its_bits_on_held_samples_are(size: int) -> None:
    """Held samples cost a fifth of what test samples do: at the same bits there the file would have other bytes."""
    train, held, test = axes(800, 0), 0.05 * (axes(200, 1) - 50) + 50, axes(200, 2)
    pca = fair_pca(per_channel(train), train, held, 8 * size / 200)
    found = pca.around(test, 8 * size / 200, size)
    assert found is not None and not found.problem
    smaller, larger = found.files
    assert smaller.size <= size < larger.size <= 1.1 * smaller.size and larger.error < 1.01 * smaller.error
    assert smaller.setting.split(",")[0] == larger.setting.split(",")[0]
    least, most = sorted([larger.error, smaller.error])
    assert least <= found.errors().mean() <= most


def test_held_samples_choose_the_components_at_the_rate_of_our_bytes() -> None:
    """From a sixth of the rate, or six times as much, a coder is found whose file has nearly our bytes."""
    train, held, test = axes(800, 0), axes(200, 1), axes(300, 2)
    pca = fair_pca(per_channel(train), train, held, 20.0)
    for bits in (20.0, 20.0 / 6, 120.0):
        coder = pca._matched(test, bits, 800)
        assert coder is not None and pca.file(coder, test).size == pytest.approx(800, rel=0.1)


def test_the_interpolated_error_is_that_of_a_file_of_our_bytes() -> None:
    """The step is bisected until a file has exactly our bytes, or as near as files come."""
    train, held, test = axes(800, 0), axes(200, 1), axes(300, 2)
    pca, size = fair_pca(per_channel(train), train, held, 20.0), 800
    found = pca.around(test, 20.0, size)
    assert found is not None
    units, steps, real = int(found.files[0].setting.split()[0]), [2.0**-12, 2.0**12], found.files[0]
    for _ in range(50):
        middle = np.sqrt(steps[0] * steps[1])
        real = pca.file(pca.choice.coder(units, middle), test)
        steps = [middle, steps[1]] if real.size > size else [steps[0], middle]
    assert real.size == pytest.approx(size, rel=0.005) and found.errors().mean() == pytest.approx(real.error, rel=0.01)


def test_a_verdict_says_what_it_does_not_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file larger than any of PCA's: nothing is compared, the table and the check of `better_than` have the reason."""
    exported = exported_of(Dataset.from_array(axes(600, 0), test=0.3, validation=0.2, output_activation="linear"), 3)
    monkeypatch.setattr(pca_files, "OCTAVES", 0)
    measured = compression.measure(exported)
    verdict = judge(measured, exported.backend, exported.data.test, exported.data.test, 0)
    assert [row.baseline for row in verdict.comparisons] == ["mean"] and not verdict.against("pca")
    (row,) = verdict.uncompared
    assert row.baseline == "pca" and "file has" in row.reason and uncompared_text(verdict) == f"PCA: {row.reason}"
    assert verdict_rows(verdict)[-1] == (f"PCA: {row.reason}", "", "", "", "", "", "not compared")
    (check,) = better_than(verdict, ("pca",))
    assert not check.ok and check.text.endswith(row.reason)


def test_a_table_is_compared_by_r2() -> None:
    """One column is a hundred times as large as the others: PCA of samples as they are has less squared error, and loses."""
    data = Dataset.from_array(axes(1500, 0), test=0.3, validation=0.2, output_activation="linear")
    measured = compression.measure(exported_of(data, 6, epochs=60))
    contest, result = measured.contest, measured.result
    assert contest is not None and contest.criterion is Criterion.UNEXPLAINED and isinstance(result, CompressionResult)
    assert contest.own.mean() == pytest.approx(1 - (result.points[0].value or 0), rel=1e-4)
    assert "not scaled" not in contest.settings["pca"] and contest.baselines["mean"].mean() == pytest.approx(1, abs=0.1)


def test_pca_of_samples_as_they_are_is_the_baseline_of_a_record() -> None:
    """What is compared: the squared error in the unit of measure, in which one channel is most of it."""
    made = Dataset.from_array(axes(1500, 0)[:, None], test=0.3, validation=0.2, output_activation="linear", per_feature=True)
    exported = exported_of(dataclasses.replace(made, windows=True), 3, epochs=5)
    measured = compression.measure(exported)
    assert measured.contest is not None and "values not scaled" in measured.contest.settings["pca"]
    verdict: Verdict = judge(measured, exported.backend, exported.data.test, exported.data.test, 0)
    assert (Reason.WORSE, "pca") in {(finding.reason, finding.subject) for finding in verdict.findings}
