"""How test samples are put into files of pictures: whole pictures where they are known, else one mosaic of all samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tiedae.base.numbers import counted
from tiedae.data.patches import PictureSize, cut, join
from tiedae.data.samples import Samples

from .coders import ImageCoder, grid_of

MOST_PICTURE_VALUES = 1 << 22
"""Values of the pictures that are compared, at most; one picture always is."""


class Arrangement(Protocol):
    """Which test samples are compared, `rows` of the test set; how many whole `pictures` they are, what is said of it, and
    their `ends` in a .tae file, as `StreamEncoder.push` takes them."""

    @property
    def rows(self) -> np.ndarray: ...
    @property
    def pictures(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def ends(self) -> Sequence[tuple[int, int]]: ...
    def coded(self, coder: ImageCoder, images: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        """(bytes of all files, what is decoded) of images [n, h, w, …] of `rows` in a format of pictures."""
        ...


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Samples of unknown pictures, side by side in one picture; of other data just samples."""

    rows: np.ndarray = field(repr=False)
    ends: Sequence[tuple[int, int]] = ()
    pictures: int = 0

    @property
    def text(self) -> str:
        return f"one mosaic of {len(self.rows):,} samples"

    def coded(self, coder: ImageCoder, images: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        return coder.code_images(images, quality)


@dataclass(frozen=True, eq=False)
class WholePictures:
    """Patches of whole pictures, row after row, one picture after the other; a file for each picture."""

    rows: np.ndarray = field(repr=False)
    sizes: Sequence[PictureSize]
    patch: int

    @property
    def pictures(self) -> int:
        return len(self.sizes)

    @property
    def text(self) -> str:
        return counted(self.pictures, "whole picture")

    @property
    def ends(self) -> Sequence[tuple[int, int]]:
        return [(stop, size.number) for stop, size in zip(self._stops, self.sizes, strict=True)]

    @property
    def _stops(self) -> Sequence[int]:
        return np.cumsum([size.patches(self.patch) for size in self.sizes]).tolist()

    def coded(self, coder: ImageCoder, images: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        parts = np.split(images, self._stops[:-1])
        coded = [coder.code(join(part, size), quality) for part, size in zip(parts, self.sizes, strict=True)]
        return sum(size for size, _ in coded), np.concatenate([cut(back, self.patch) for _, back in coded])


def arrangement_of(test: Samples, count: int, *, pictures: bool) -> Arrangement:
    """That of test samples: of patches as many whole pictures as `MOST_PICTURE_VALUES` allows; else the first `count` samples,
    or, where they are `pictures`, as many as fill a mosaic."""
    if test.patches is None:
        rows, columns = grid_of(count) if pictures else (count, 1)
        return Mosaic(np.arange(rows * columns))
    patch, channels = test.shape[0], test.inputs // test.shape[0] ** 2
    chosen, values = [], 0
    for indices, size in test.patches.pictures(patch):
        values += size.height * size.width * channels
        if chosen and values > MOST_PICTURE_VALUES:
            break
        chosen.append((indices, size))
    return WholePictures(np.concatenate([indices for indices, _ in chosen]), [size for _, size in chosen], patch)
