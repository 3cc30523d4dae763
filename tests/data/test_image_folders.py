"""Folders of images: conversion, patches, splits by picture, and one message for all that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiedae.base.errors import DataError, FormatError, RecipeError
from tiedae.config.config import DataConfig
from tiedae.data import image_folders
from tiedae.data.patches import PictureSize, cut, join
from tiedae.data.readers import read
from tiedae.pipeline.sources import load_data, load_dataset, split_text

MODES = ("L", "RGB", "P", "CMYK", "1", "LA")


def photos(folder: Path, sizes: list[tuple[int, int]], mode: str = "RGB") -> list[np.ndarray]:
    """Pictures of noise of (width, height) in a folder."""
    rng, pictures = np.random.default_rng(0), []
    folder.mkdir(exist_ok=True, parents=True)
    for i, (width, height) in enumerate(sizes):
        pictures.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        Image.fromarray(pictures[-1]).convert(mode).save(folder / f"{i}.png")
    return pictures


def mixed(folder: Path) -> None:
    for i, mode in enumerate(MODES):
        opaque = (40, 255) if mode == "LA" else None
        image = Image.new(mode, (8, 8), opaque or 0) if mode != "RGB" else Image.new("RGB", (8, 8), (40, 200, 90))
        image.save(folder / f"{i}.{'tif' if mode == 'CMYK' else 'png'}")


@pytest.mark.parametrize(("convert", "shape"), [("rgb", (8, 8, 3)), ("gray", (8, 8))])
def test_pictures_of_all_modes_become_one(tmp_path: Path, convert: str, shape: tuple[int, ...]) -> None:
    mixed(tmp_path)
    values = read(tmp_path, DataConfig("x", convert=convert)).values
    assert (values.shape, values.dtype) == ((len(MODES), *shape), np.uint8)
    luminance = (299 * 40 + 587 * 200 + 114 * 90) / 1000
    assert values[1, 0, 0].tolist() == [40, 200, 90] if convert == "rgb" else abs(int(values[1, 0, 0]) - luminance) <= 1
    assert np.unique(values[5]).tolist() == [40]


def test_all_that_is_wrong_with_a_folder_is_one_message(tmp_path: Path) -> None:
    mixed(tmp_path)
    Image.new("RGB", (9, 8)).save(tmp_path / "large.png")
    Image.new("RGBA", (8, 8)).save(tmp_path / "transparent.png")
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    with pytest.raises(DataError) as raised:
        load_dataset(DataConfig(str(tmp_path)), "sigmoid")
    text = str(raised.value)
    assert text.startswith(
        f"{tmp_path}: 9 images; modes: 2 RGB (1.png), 1 L (0.png), 1 P (2.png), 1 CMYK (3.tif), 1 1 (4.png), "
    )
    for part in (
        "sizes: 7 8×8 (0.png), 1 9×8 (large.png)",
        "2 cannot be used: x.jpg: is not an image or is damaged",
        "transparent.png: has transparent pixels",
        '`convert = "rgb"` (or "gray"), `patch = 16` (patches of each) or `resize = [height, width]`',
        "and the others left out",
    ):
        assert part in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("make", "options", "error", "text"),
    [
        (lambda path: Image.fromarray(np.zeros((8, 8), np.uint16)).save(path), {"convert": "rgb"}, DataError, "gray of uint16"),
        (lambda path: Image.new("RGBA", (8, 8)).save(path), {"convert": "rgb"}, DataError, "has transparent pixels"),
        (lambda path: path.write_bytes(b"x"), {"patch": 4}, FormatError, "is not an image or is damaged"),
    ],
)
def test_one_file_that_is_wrong_is_named_as_it_is(tmp_path: Path, make, options, error, text: str) -> None:
    photos(tmp_path, [(8, 8)] * 5)
    make(tmp_path / "wrong.png")
    with pytest.raises(error, match=rf"^{tmp_path}/wrong\.png: .*{text}"):
        load_dataset(DataConfig(str(tmp_path), **options), "sigmoid")


def test_pictures_of_any_size_are_cut_into_patches(tmp_path: Path) -> None:
    pictures = photos(tmp_path, [(9, 8), (8, 13), (4, 4)])
    arrays = read(tmp_path, DataConfig("x", patch=4))
    np.testing.assert_array_equal(arrays.values, np.concatenate([cut(picture, 4) for picture in pictures]))
    assert arrays.pictures == (PictureSize(8, 9), PictureSize(13, 8), PictureSize(4, 4)) and arrays.labels is None
    assert np.unique(np.asarray(arrays.groups), return_counts=True)[1].tolist() == [6, 8, 1]


def test_no_picture_is_in_two_splits_and_no_patch_beyond_it(tmp_path: Path) -> None:
    pictures = photos(tmp_path, [(9, 8), (8, 13), (12, 9), (4, 4), (17, 8), (8, 8)])
    splits = load_data(tmp_path, patch=4, test=0.3, validation=0.2)
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    names = [set(np.asarray(part.groups).tolist()) for part in parts]
    assert len(parts) == 3 and sum(map(len, names)) == len(set.union(*names)) == len(pictures)
    assert sum(map(len, parts)) == sum((w // 4) * (h // 4) for h, w in (picture.shape[:2] for picture in pictures))
    assert splits.kind == "image" and "split by file: training" in split_text(splits.config, splits)
    for part in parts:
        assert part.patches is not None
        for indices, size in part.patches.pictures(4):
            (name,) = np.unique(np.asarray(part.groups)[indices])
            own = pictures[int(name.partition(".")[0])]
            got = join(part.take(indices).reshape(-1, 4, 4, 3), size)
            np.testing.assert_array_equal(got, own[: size.height, : size.width])


def test_subfolders_are_labels_of_patches(tmp_path: Path) -> None:
    photos(tmp_path / "good", [(8, 8)] * 3)
    photos(tmp_path / "bad", [(8, 4)])
    splits = load_data(tmp_path, patch=4, normal=("good",), seed=1)
    assert np.unique(np.asarray(splits.train.labels)).tolist() == ["good"] and len(splits.train) in (8, 12)


def test_a_test_folder_may_have_the_same_names(tmp_path: Path) -> None:
    photos(tmp_path / "train", [(8, 8)] * 4)
    photos(tmp_path / "test", [(9, 9)])
    splits = load_data(tmp_path / "train", patch=4, test=tmp_path / "test")
    assert (len(splits.train), len(splits.test)) == (16, 4)


def test_many_patches_lie_in_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = photos(tmp_path, [(8, 8)] * 4)
    monkeypatch.setattr(image_folders, "MAPPED_FROM", 4 * 8 * 8 * 3)
    arrays = read(tmp_path, DataConfig("x", patch=4))
    assert isinstance(arrays.values, np.memmap) and arrays.samples.block > 0
    np.testing.assert_array_equal(arrays.values, np.concatenate([cut(picture, 4) for picture in pictures]))
    monkeypatch.setattr(image_folders, "MAPPED_FROM", 4 * 8 * 8 * 3 + 1)
    assert not isinstance(read(tmp_path, DataConfig("x", patch=4)).values, np.memmap)


def test_a_picture_is_read_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(32, dtype=np.uint8).reshape(4, 8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.png", exif=exif)
    arrays = read(tmp_path, DataConfig("x", patch=4))
    assert arrays.pictures == (PictureSize(8, 4),)
    np.testing.assert_array_equal(join(arrays.values, PictureSize(8, 4)), np.rot90(np.arange(32).reshape(4, 8), -1))


@pytest.mark.parametrize(
    ("source", "options", "error", "text"),
    [
        ("photos", {"patch": 0}, RecipeError, "patch: got 0, must be an integer in [2, 1024]"),
        ("photos", {"patch": 9, "kind": "record"}, RecipeError, 'patch: got 9, must be left out, or kind "image"'),
        (
            "photos",
            {"patch": 9},
            DataError,
            "photos: 2 of 5 pictures smaller than a patch, such as 1.png (8×20); `patch` in [data] is 9, must be at most 8",
        ),
        ("x.npy", {"patch": 4}, DataError, "x.npy: `patch` in [data] is for a folder of images; got 4, must be left out, or"),
        ("ecg", {"patch": 4}, DataError, "ecg: `patch` in [data] is for a folder of images; got 4, must be left out, or"),
        ("few", {"patch": 4}, DataError, "few: holds 3 groups (0.png, 1.png, 2.png), must be 4 or more"),
        ("photos", {"groups": "file"}, DataError, "photos: `groups` in [data] is for a .csv file"),
        ("missing", {"patch": 4}, DataError, "missing: no such file or folder"),
    ],
)
def test_patches_that_cannot_be_are_one_line(tmp_path: Path, source: str, options, error, text: str) -> None:
    photos(tmp_path / "photos", [(20, 20), (8, 20), (20, 20), (30, 8), (20, 20)])
    photos(tmp_path / "few", [(8, 8)] * 3)
    np.save(tmp_path / "x.npy", np.zeros((9, 4, 4), np.uint8))
    with pytest.raises(error) as raised:
        load_dataset(DataConfig(source, **options), "sigmoid", base=tmp_path)
    assert text in str(raised.value).replace(f"{tmp_path}/", "")
