"""What a curve of rate and distortion is measured on and where it ends: counts, sizes, rates, qualities, reasons."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tiedae.bundle.task_results import CompressionResult
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.training_codes import fit_code_tables
from tiedae.config.sample_spec import SampleSpec
from tiedae.data.dataset import Dataset
from tiedae.data.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.tasks import coders, compression
from tiedae.tasks.arrangements import Mosaic
from tiedae.tasks.coders import IMAGE_CODERS, PcaChoice
from tiedae.tasks.compression import Opponents
from tiedae.tasks.equal_bytes import CodedFile
from tiedae.tasks.row import Exported

from ..conftest import build_program
from .test_reduction import exported as reduced


def exported(values: np.ndarray | None = None, units: int = 5, *, classes: int = 1, code_bits: int = 8) -> Exported:
    """Random kernels, and tables of their codes: nothing is trained."""
    subject = reduced(None)
    data = subject.data if values is None else Dataset.from_array(values, test=0.4)
    program = build_program((data.inputs, units), ("linear",), code_bits=code_bits)
    backend = ProgramBackend(program, data.spec)
    tables = fit_code_tables(backend, data.train, 0, classes=classes)
    return dataclasses.replace(subject, backend=backend, data=data, keras=None, tables=tables)


def alone(subject: Exported, test: np.ndarray | None = None) -> CompressionResult:
    """Measured without other coders."""
    data = subject.data
    if test is not None:
        data = dataclasses.replace(data, test=Samples(test, scaling=data.scaling))
    result = compression.measure(dataclasses.replace(subject, data=data, others=False)).result
    assert isinstance(result, CompressionResult)
    return result


def test_two_thousand_samples_are_coded_at_most() -> None:
    subject = exported()
    test = np.resize(subject.data.test.take(slice(None)), (2001, 4, 6))
    assert alone(subject, test).samples == 2000
    assert alone(subject, test[:1980]).samples == 1980 and alone(subject, test[:13]).samples == 12


def test_two_million_values_are_coded_at_most() -> None:
    """2²¹ / 1049 is 1,999.2; samples of one axis fill no mosaic, so none is left out for one."""
    values = np.random.default_rng(0).integers(0, 256, (40, 1049), np.uint8)
    found = alone(exported(values, 2), np.resize(values, (2000, 1049)))
    assert found.samples == 1999 and found.sample_bytes == 1049


@pytest.mark.parametrize(("units", "code_bits", "size"), [(5, 8, 5), (4, 8, 4), (5, 4, 3), (4, 4, 2)])
def test_a_code_has_whole_bytes(units: int, code_bits: int, size: int) -> None:
    found = alone(exported(None, units, code_bits=code_bits))
    assert (found.sample_bytes, found.code_bytes) == (24, size)


@pytest.mark.parametrize(("classes", "setting"), [(1, ""), (2, "2 classes")])
def test_the_point_of_a_file_names_the_classes_of_its_tables(classes: int, setting: str) -> None:
    assert alone(exported(classes=classes)).points[0].setting == setting


def test_the_contest_is_of_the_first_samples_in_order() -> None:
    subject = exported()
    contest = compression.measure(dataclasses.replace(subject, others=False), 20).contest
    assert contest is not None and contest.rows.tolist() == list(range(20)) and len(contest.own) == 20


def own_file(samples: np.ndarray, size: int = 100, error: float = 1.0) -> CodedFile:
    """Our file, of some bytes and error."""
    return CodedFile(size, samples, np.full(len(samples), error))


def test_pca_is_asked_for_half_our_rate_up_to_twice_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of it can be had here: that is a skipped row, and the verdict says so."""
    subject = exported()
    asked: list[tuple[float, float]] = []

    def at(_choice: PcaChoice, bits: float, slack: float = 0.1) -> None:
        asked.append((bits, slack))

    monkeypatch.setattr(PcaChoice, "at", at)
    rates, skipped = compression._Rates(subject, subject.data.test.take(slice(0, 20)), Mosaic(np.arange(20))), []
    assert list(rates.pca(own_file(rates.samples), skipped)) == []
    _, others, chosen = subject.held_apart(compression.HELD_SAMPLES, 5, compression.TRAINING_SAMPLES)
    assert subject.tables is not None
    ours = subject.tables.cross_entropy(subject.backend.encode(others.take(chosen))) / len(chosen)
    curve = [bits for bits, slack in asked if slack == 0.1]
    assert set(np.round(curve, 6)) == set(np.round([0.5 * ours, 0.7 * ours, ours, 1.4 * ours, 2 * ours], 6))
    reason = f"no number of components and step costs {ours:.4g} bits a validation sample"
    assert skipped == [Skipped(Kind.TASK, Why.NOT_COMPARABLE, "PCA at our bytes", reason)]
    assert rates.opponents.uncompared == {"pca": reason} and not rates.opponents.compared


def curve_of(
    monkeypatch: pytest.MonkeyPatch, errors: dict[int, float], error: float, size: int = 1
) -> tuple[list[tuple[str, str]], list[Skipped], Opponents]:
    """(setting, chosen) of the points of JPEG where a quality has the error of the largest key that it reaches, and a file of
    100 bytes and 4 more for each quality."""
    subject = exported()
    monkeypatch.setattr(compression, "IMAGE_CODERS", {"jpeg": IMAGE_CODERS["jpeg"]})

    def picture(rates: Any, _name: Any, quality: int) -> CodedFile:
        mse = errors[max(key for key in errors if key <= quality)]
        return CodedFile(100 + 4 * quality, rates.samples, np.full(len(rates.samples), mse), f"quality {quality}")

    monkeypatch.setattr(compression._Rates, "_picture", picture)
    rates = compression._Rates(subject, np.zeros((2, 24), np.uint8), Mosaic(np.arange(2)))
    skipped: list[Skipped] = []
    points = list(rates.images(own_file(rates.samples, size, error), skipped))
    return [(point.setting, point.chosen) for point in points], skipped, rates.opponents


NO_SMALLER = Skipped(Kind.TASK, Why.NOT_COMPARABLE, "JPEG at our bytes", "its smallest file has 100 bytes, ours 1")


def test_a_curve_ends_at_the_first_error_of_a_quarter_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.3 is more than a quarter of 1, and 0.25 is one; the one at no larger error is quality 8."""
    points, skipped, _ = curve_of(monkeypatch, {0: 16.0, 5: 8.0, 8: 0.9, 10: 0.3, 20: 0.25, 35: 0.1}, 1.0)
    assert points == [("quality 0", ""), ("quality 5", ""), ("quality 10", ""), ("quality 20", ""), ("quality 8", "error")]
    assert skipped == [NO_SMALLER]


def test_a_curve_has_eight_qualities_where_none_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    points, skipped, found = curve_of(monkeypatch, {0: 100.0}, 1.0)
    assert [setting for setting, _ in points] == [f"quality {each}" for each in (0, 5, 10, 20, 35, 50, 70, 90)]
    reason = "no quality reaches the mean squared error 1"
    assert skipped == [Skipped(Kind.TASK, Why.NOT_COMPARABLE, "JPEG at no larger error", reason), NO_SMALLER]
    assert found.uncompared == {"jpeg": NO_SMALLER.reason} and not found.compared


def test_a_format_is_compared_at_our_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """138 bytes lie halfway between those of qualities 9 and 10, of errors 8 and 2: 4 by their logarithms."""
    points, skipped, found = curve_of(monkeypatch, {0: 16.0, 5: 8.0, 10: 2.0, 20: 0.25}, 1.0, 138)
    assert [setting for setting, chosen in points if chosen == "bits"] == ["quality 9", "quality 10"] and skipped == []
    np.testing.assert_allclose(found.compared["jpeg"].errors, 4.0)
    text = "at our bytes, between files of 136 and 140 bytes: quality 9, one mosaic of 2 samples"
    assert found.compared["jpeg"].setting == text


def test_a_format_whose_best_file_is_smaller_and_no_worse_is_compared_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quality 100 has 500 bytes."""
    _, skipped, found = curve_of(monkeypatch, {0: 16.0, 5: 0.5}, 1.0, 600)
    assert found.compared["jpeg"].setting == "500 bytes, no more than ours: quality 100, one mosaic of 2 samples"
    assert found.compared["jpeg"].errors.tolist() == [0.5, 0.5] and skipped == []
    _, skipped, found = curve_of(monkeypatch, {0: 16.0, 5: 1.5}, 1.0, 600)
    assert found.uncompared == {"jpeg": "its largest file has 500 bytes, ours 600"}


def rates_of(shape: tuple[int, ...], dtype: str) -> Any:
    """Of samples alone: what coders say before they code."""
    spec = SampleSpec(shape, dtype, kind="record")
    subject: Any = SimpleNamespace(data=SimpleNamespace(spec=spec))
    return compression._Rates(subject, np.zeros((3, spec.inputs), dtype), Mosaic(np.arange(3)))


@pytest.mark.parametrize(
    ("dtype", "why"),
    [
        ("int16", {"FLAC level 8": Why.NOT_INSTALLED}),
        ("uint8", {"FLAC level 8": Why.NOT_COMPARABLE}),
        ("float32", {"differences, LZMA": Why.NOT_COMPARABLE, "FLAC level 8": Why.NOT_COMPARABLE}),
    ],
)
def test_a_lossless_coder_is_left_out_for_its_package_or_for_the_data(
    dtype: str, why: dict[str, Why], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    skipped: list[Skipped] = []
    rates = rates_of((8, 2), dtype)
    sizes = list(rates.lossless(own_file(rates.samples), skipped))
    assert {row.what: row.why for row in skipped} == why and len(sizes) + len(skipped) == 2


def test_an_image_format_is_left_out_for_its_package_or_for_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    for shape, dtype, why in (((4, 4), "uint8", Why.NOT_INSTALLED), ((4, 4, 2), "uint8", Why.NOT_COMPARABLE)):
        skipped: list[Skipped] = []
        rates = rates_of(shape, dtype)
        assert list(rates.images(own_file(rates.samples), skipped)) == []
        assert [row.what for row in skipped] == ["JPEG", "WebP", "AVIF"] and {row.why for row in skipped} == {why}


@pytest.mark.parametrize(
    ("inputs", "samples", "problem"),
    [
        (24, 16, ""),
        (24, 15, "15 training samples, must be 16 or more"),
        (2048, 16, ""),
        (2049, 16, "2,049 values a sample, 2,048 at most are compared"),
    ],
)
def test_components_need_samples_of_few_values(inputs: int, samples: int, problem: str) -> None:
    assert compression.no_pca(inputs, samples) == problem


@pytest.mark.parametrize(
    ("shape", "pictures"),
    [((4, 6), True), ((4, 6, 1), True), ((4, 6, 3), True), ((1, 6, 4), False), ((4, 6, 2), False), ((4, 6, 0), False),
     ((4, 1, 2), False), ((3, 3, 4), False), ((24,), False), ((2, 2, 2, 3), False), ((2, 2, 3, 1), False)],
)  # fmt: skip
def test_pictures_have_two_axes_and_one_or_three_channels(shape: tuple[int, ...], pictures: bool) -> None:
    assert compression.not_pictures(shape, "uint8") == ("" if pictures else f"samples of {list(shape)} are no pictures")
    assert compression.not_pictures(shape, "int16") == "the data are int16, must be uint8"


def test_samples_are_not_printed() -> None:
    assert "samples" not in repr(rates_of((8, 2), "int16"))


@pytest.mark.parametrize("spare", [0, 1])
def test_a_lossless_coder_is_compared_where_its_file_is_no_larger(spare: int) -> None:
    rates, skipped = rates_of((8, 2), "int16"), []
    (size,) = [each.bytes for each in rates.lossless(own_file(rates.samples), skipped) if "LZMA" in each.coder]
    rates = rates_of((8, 2), "int16")
    list(rates.lossless(own_file(rates.samples, size - spare), skipped))
    if spare:
        assert rates.opponents.uncompared["lzma"] == f"its file has {size} bytes, ours {size - 1}"
    else:
        assert rates.opponents.compared["lzma"].errors.tolist() == [0, 0, 0]
        assert rates.opponents.compared["lzma"].setting == f"lossless in {size} bytes, ours {size}"
