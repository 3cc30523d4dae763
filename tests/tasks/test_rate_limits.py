"""What a curve of rate and distortion is measured on and where it ends: counts, sizes, rates, qualities, reasons."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiedae.bundle.task_results import CompressionResult, RatePoint
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.training_codes import fit_code_tables
from tiedae.compress.data import Dataset
from tiedae.compress.sample_spec import SampleSpec
from tiedae.compress.samples import Samples
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.tasks import coders, compression
from tiedae.tasks.coders import IMAGE_CODERS, PcaChoice
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


def test_pca_is_asked_for_half_our_rate_up_to_twice_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of it can be had here: the one at the same bits is a skipped row."""
    subject = exported()
    asked: list[float] = []

    def at(_choice: PcaChoice, bits: float) -> None:
        asked.append(bits)

    monkeypatch.setattr(PcaChoice, "at", at)
    rates, skipped = compression._Rates(subject, subject.data.test.take(slice(0, 20))), []
    assert list(rates.pca(skipped)) == []
    _, others, chosen = subject.held_apart(compression.HELD_SAMPLES, 5, compression.TRAINING_SAMPLES)
    assert subject.tables is not None
    ours = subject.tables.cross_entropy(subject.backend.encode(others.take(chosen))) / len(chosen)
    assert asked == pytest.approx([0.5 * ours, 0.7 * ours, ours, 1.4 * ours, 2 * ours])
    reason = f"no number of components and step costs {ours:.4g} bits a validation sample"
    assert skipped == [Skipped(Kind.TASK, Why.NOT_COMPARABLE, "PCA at the same bits", reason)]


def curve_of(monkeypatch: pytest.MonkeyPatch, errors: dict[int, float], error: float) -> tuple[list[RatePoint], list[Skipped]]:
    """The points of JPEG where a quality has the error of the largest key that it reaches."""
    subject = exported()
    monkeypatch.setattr(compression, "IMAGE_CODERS", {"jpeg": IMAGE_CODERS["jpeg"]})

    def picture(_rates: Any, name: Any, quality: int, chosen: Any = "") -> RatePoint:
        mse = errors[max(key for key in errors if key <= quality)]
        return RatePoint(name, chosen, 100, 1.0, mse, None, None, f"quality {quality}")

    monkeypatch.setattr(compression._Rates, "_picture", picture)
    skipped: list[Skipped] = []
    return list(compression._Rates(subject, np.zeros((2, 24), np.uint8)).images(error, skipped)), skipped


def test_a_curve_ends_at_the_first_error_of_a_quarter_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """0.3 is more than a quarter of 1, and 0.25 is one; the one at no larger error is quality 8."""
    points, skipped = curve_of(monkeypatch, {0: 16.0, 5: 8.0, 8: 0.9, 10: 0.3, 20: 0.25, 35: 0.1}, 1.0)
    assert [(point.setting, point.chosen) for point in points] == [
        ("quality 0", ""), ("quality 5", ""), ("quality 8", "error"), ("quality 10", ""), ("quality 20", ""),
    ]  # fmt: skip
    assert skipped == []


def test_a_curve_has_eight_qualities_where_none_is_good_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    points, skipped = curve_of(monkeypatch, {0: 100.0}, 1.0)
    assert [point.setting for point in points] == [f"quality {each}" for each in (0, 5, 10, 20, 35, 50, 70, 90)]
    reason = "no quality reaches the mean squared error 1"
    assert skipped == [Skipped(Kind.TASK, Why.NOT_COMPARABLE, "JPEG at no larger error", reason)]


def rates_of(shape: tuple[int, ...], dtype: str) -> Any:
    """Of samples alone: what coders say before they code."""
    spec = SampleSpec(shape, dtype, kind="record")
    subject: Any = SimpleNamespace(data=SimpleNamespace(spec=spec))
    return compression._Rates(subject, np.zeros((3, spec.inputs), dtype))


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
    sizes = list(rates_of((8, 2), dtype).lossless(skipped))
    assert {row.what: row.why for row in skipped} == why and len(sizes) + len(skipped) == 2


def test_an_image_format_is_left_out_for_its_package_or_for_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    for shape, dtype, why in (((4, 4), "uint8", Why.NOT_INSTALLED), ((4, 4, 2), "uint8", Why.NOT_COMPARABLE)):
        skipped: list[Skipped] = []
        assert list(rates_of(shape, dtype).images(1.0, skipped)) == []
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
