"""Patches of pictures: cut and joined again, where each is, and which pixels are the picture's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.data.patches import LONGEST, PictureSize, Places, cut, join

SIZES = st.builds(PictureSize, st.integers(1, 23), st.integers(1, 23))


def picture_of(size: PictureSize, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (*size, *channels), dtype=np.uint8)


@given(SIZES, st.integers(2, 8), st.sampled_from([(), (1,), (3,)]))
def test_a_picture_is_its_patches(size: PictureSize, patch: int, channels: tuple[int, ...]) -> None:
    picture = picture_of(size, channels)
    patches = cut(picture, patch)
    assert patches.shape == (size.patches(patch), patch, patch, *channels)
    np.testing.assert_array_equal(join(patches, size), picture)


def test_patches_go_row_after_row_and_repeat_the_last_column_and_row() -> None:
    patches = cut(np.arange(20).reshape(5, 4), 3)
    assert patches[0].tolist() == [[0, 1, 2], [4, 5, 6], [8, 9, 10]]
    assert patches[1].tolist() == [[3, 3, 3], [7, 7, 7], [11, 11, 11]]
    assert patches[2].tolist() == [[12, 13, 14], [16, 17, 18], [16, 17, 18]]


@given(st.lists(SIZES, min_size=1, max_size=4), st.integers(2, 6))
def test_places_say_what_is_the_pictures_own(sizes: list[PictureSize], patch: int) -> None:
    """The pixels inside are those of the pictures, in order; whole patches have no others; pictures are those of whole ones."""
    pictures = [picture_of(size) for size in sizes]
    patches = np.concatenate([cut(picture, patch) for picture in pictures])
    places = Places.of(sizes, patch)
    inside = places.inside(sizes, patch)
    assert len(places) == len(patches) and inside.sum() == sum(size.height * size.width for size in sizes)
    np.testing.assert_array_equal(inside.all(axis=(1, 2)), places.whole)
    large = [picture for picture in pictures if min(picture.shape) >= patch]
    found = places.pictures(patch)
    assert len(found) == len(large)
    for (indices, size), picture in zip(found, large, strict=True):
        np.testing.assert_array_equal(join(patches[indices], size), picture[: size.height, : size.width])
        assert all(0 <= full - covered < patch for full, covered in zip(picture.shape, size, strict=True))


def test_places_stay_with_their_patches() -> None:
    places = Places.of([PictureSize(4, 6), PictureSize(2, 2)], 2)[np.array([1, 5, 6])]
    assert places.numbers.tolist() == [[0, 0, 1], [0, 1, 2], [1, 0, 0]]


@pytest.mark.parametrize("size", [PictureSize(1, 1), PictureSize(333, 501), PictureSize(LONGEST, LONGEST)])
def test_a_size_is_one_number_of_32_bits(size: PictureSize) -> None:
    assert PictureSize.from_number(size.number) == size and size.number < 1 << 32
