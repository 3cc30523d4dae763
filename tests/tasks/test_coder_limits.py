"""Coders at their limits: rounding at its ends, steps and components that are tried, the bytes of formats, and searches."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.codec.frames import FileModel
from tiedae.codec.streams import StreamEncoder
from tiedae.codec.training_codes import fit_code_tables
from tiedae.tasks import coders
from tiedae.tasks.coders import IMAGE_CODERS, PcaChoice, PcaCoder, Rounding, file_bytes, grid_of, least_quality
from tiedae.tasks.neighbourhoods import Pca

from ..samples import curve, images
from .test_reduction import exported


@pytest.mark.parametrize("least", [-8, -7, 0, 1])
@pytest.mark.parametrize("bits", [4, 5, 8])
def test_numbers_saturate_at_both_ends_of_the_codes(bits: int, least: int) -> None:
    """Training samples that fill all codes, wherever they begin: 0…2^bits − 1, and nothing beyond."""
    values = np.arange(1 << bits, dtype=np.float64)[:, None] + least
    rounding = Rounding.of(values, 1.0)
    assert rounding.bits == bits and rounding.wide.size == 0
    assert rounding.codes(values)[:, 0].tolist() == list(range(1 << bits))
    assert rounding.codes(np.array([[-1e6], [1e6]]))[:, 0].tolist() == [0, (1 << bits) - 1]
    assert rounding.values(rounding.codes(np.array([[1e6]]))) == values.max()


def test_numbers_of_two_codes_saturate_too() -> None:
    values = np.array([[0.0, 0.0], [300.0, 200.0]])
    rounding = Rounding.of(values, 1.0)
    assert rounding.wide.tolist() == [0] and rounding.bits == 8
    assert rounding.codes(np.array([[-1e6, -1e6], [1e6, 1e6]])).tolist() == [[0, 0, 0], [255, 255, 255]]
    np.testing.assert_array_equal(rounding.values(rounding.codes(values)), values)


@pytest.mark.parametrize(("span", "bits", "wide"), [(7, 4, []), (15, 4, []), (16, 5, []), (255, 8, []), (256, 8, [0])])
def test_a_component_has_the_least_bits_of_its_numbers(span: int, bits: int, wide: list[int]) -> None:
    rounding = Rounding.of(np.array([[0.0], [span]]), 1.0)
    assert (rounding.bits, rounding.wide.tolist()) == (bits, wide)


def choice(inputs: int = 12, seed: int = 0) -> PcaChoice:
    rng = np.random.default_rng(seed)
    train, held = (rng.normal(size=(n, inputs)) * np.geomspace(5, 0.05, inputs) + 3 for n in (400, 200))
    return PcaChoice(train.astype(np.float32), held.astype(np.float32))


def test_steps_go_from_the_coarsest_to_the_finest_half_an_octave_apart() -> None:
    """Where no step reaches the rate, each was tried: 2^1.5 to 2^−10 standard deviations of the first component."""
    subject = choice()
    assert subject.at(1e6) is None
    deviation = subject.pca.encode(subject.train)[:, 0].std()
    np.testing.assert_allclose(np.array(list(subject._costs)) / deviation, 2 ** (np.arange(3, -21, -1) / 2), rtol=1e-12)


def test_the_best_step_is_tried_with_those_a_quarter_of_an_octave_beside_it() -> None:
    subject = choice()
    coder = subject.at(20.0)
    assert coder is not None
    deviation = subject.pca.encode(subject.train)[:, 0].std()
    *coarse, finer, same, coarser = np.log2(np.array(list(subject._costs)) / deviation)
    tried = {round(4 * each) for each in (*coarse, finer, same, coarser)}
    between = sorted(each for each in tried if each % 2)
    assert len(between) == 2 and between[1] - between[0] == 2
    assert round(4 * np.log2(coder.rounding.step / deviation)) in (between[0], between[0] + 1, between[1])


def test_costs_of_a_step_are_computed_once() -> None:
    subject = choice()
    assert subject.costs(0.5) is subject.costs(0.5) and len(subject._costs) == 1
    assert len(choice()._costs) == 0


def test_components_are_256_at_most_and_fewer_than_the_training_samples() -> None:
    rng = np.random.default_rng(0)
    for n, inputs, components in ((300, 257, 256), (300, 40, 40), (30, 40, 29)):
        train = rng.normal(size=(n, inputs)).astype(np.float32)
        assert PcaChoice(train, train[:10]).pca.components.shape == (inputs, components)


def test_constant_samples_have_no_coder() -> None:
    same = np.ones((40, 6), np.float32)
    assert PcaChoice(same, same[:10]).at(8.0) is None


def test_a_setting_is_the_number_of_components_and_the_step() -> None:
    pca = Pca.fit(np.random.default_rng(0).normal(size=(40, 6)), 6).first(2)
    values = np.zeros((3, 2))
    coder = PcaCoder(pca, Rounding.of(values, 0.12345), None)  # pyright: ignore[reportArgumentType] - the setting has no tables
    assert coder.setting == "2 components, step 0.123"


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 700])
def test_a_file_of_codes_has_the_size_of_a_real_one(samples: int) -> None:
    """Whole frames, a part of one, and more of them."""
    subject = exported(None)
    tables = fit_code_tables(subject.backend, subject.data.train, 0)
    x = np.resize(images().reshape(-1, 24), (samples, 24))
    encoder = StreamEncoder(FileModel(subject.backend, tables, bytes(8)), subject.backend)
    real = b"".join([*encoder.push(x), *encoder.finish()])
    assert file_bytes(tables, subject.backend.encode(x), 24) == len(real)


def test_a_mosaic_of_no_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^0$"):
        grid_of(0)
    assert grid_of(1) == (1, 1) and grid_of(12) == (4, 3) and grid_of(13) == (4, 3)


def pillow_bytes(picture: np.ndarray, name: str, **options: Any) -> int:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, name, **options)
    return len(buffer.getvalue())


def picture() -> np.ndarray:
    return np.round(255 * curve(96, 96, 1)).astype(np.uint8)


def test_jpeg_is_progressive_and_its_tables_are_optimized() -> None:
    sizes = {
        progressive: pillow_bytes(picture(), "JPEG", quality=70, optimize=True, progressive=progressive)
        for progressive in (True, False)
    }
    assert IMAGE_CODERS["jpeg"].code(picture(), 70)[0] == sizes[True] != sizes[False]
    assert sizes[True] < pillow_bytes(picture(), "JPEG", quality=70)


@pytest.mark.parametrize(("thorough", "speed"), [(False, 6), (True, 3)])
def test_avif_is_of_speed_6_or_of_speed_3_where_it_is_thorough(thorough: bool, speed: int) -> None:
    coder = IMAGE_CODERS["avif"]
    if coder.missing:
        pytest.skip(coder.missing)
    subject = coder.thorough if thorough else coder
    sizes = {each: pillow_bytes(picture(), "AVIF", quality=60, speed=each) for each in (speed - 1, speed, speed + 1)}
    assert len(set(sizes.values())) == 3, "a picture whose size says the speed"
    assert subject.code(picture(), 60)[0] == sizes[speed]


def test_formats_without_slow_options_are_as_they_are() -> None:
    assert IMAGE_CODERS["jpeg"].thorough == IMAGE_CODERS["jpeg"] and IMAGE_CODERS["webp"].thorough == IMAGE_CODERS["webp"]
    assert IMAGE_CODERS["avif"].thorough != IMAGE_CODERS["avif"]


@given(st.lists(st.integers(0, 100), min_size=1, unique=True), st.integers(0, 102), st.integers(0, 3))
def test_a_search_measures_few_qualities_and_each_once(known: list[int], error: int, flat: int) -> None:
    """The least quality from the least known one on whose error is small enough; what is known is not measured again."""

    def error_of(quality: int) -> float:
        return float((100 - quality) >> flat << flat)

    asked: list[int] = []

    def measure(quality: int) -> float:
        assert quality not in (*known, *asked) and min(known) < quality <= 100
        asked.append(quality)
        return error_of(quality)

    errors = {quality: error_of(quality) for quality in known}
    right = next((quality for quality in range(min(known), 101) if error_of(quality) <= error), None)
    found = least_quality(errors, error, measure)
    assert found == right
    assert len(asked) <= 8
    assert all(errors[quality] == error_of(quality) for quality in asked)


def test_the_least_known_quality_is_taken_at_once() -> None:
    def never(quality: int) -> float:
        raise AssertionError(quality)

    assert least_quality({5: 2.0, 50: 1.0}, 2.0, never) == 5
    assert least_quality({5: 3.0, 6: 2.0}, 2.0, never) == 6
    assert least_quality({99: 3.0, 100: 2.5}, 2.0, never) is None


@pytest.mark.parametrize("missing", [True, False])
def test_without_pillow_no_format_is_coded(missing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(coders, "find_spec", lambda name: asked.append(name) or (None if missing else name))
    pytest.importorskip("PIL.features")
    assert IMAGE_CODERS["jpeg"].missing == ("Pillow is not installed" if missing else "") and asked == ["PIL"]


def test_flac_of_unsigned_integers_is_that_of_signed_ones() -> None:
    """The same changes around another middle."""
    pytest.importorskip("soundfile", reason="soundfile is not installed: pip install 'tiedae[tasks]'")
    walk = np.random.default_rng(0).integers(-40, 41, (2000, 2)).cumsum(axis=0)
    signed, unsigned = walk.astype(np.int16), (walk + 32768).astype(np.uint16)
    assert coders._flac(signed) == coders._flac(unsigned)


def test_a_choice_is_printed_without_its_samples() -> None:
    train = np.zeros((2, 3), np.float32)
    assert repr(PcaChoice(train, train)) == "PcaChoice()"
