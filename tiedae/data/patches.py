"""Patches of pictures: squares that a picture is cut into, row after row, and that are put together to it.

picture of 5 × 4, patches of 2          rows and columns of patches

    a b c d │                            0,0  0,1
    e f g h │                            1,0  1,1
    i j k l │                            2,0  2,1   its second row repeats the picture's last
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

HALF = 16
LONGEST = (1 << HALF) - 1
"""Rows or columns of a picture in a .tae file, at most."""


class PictureSize(NamedTuple):
    """Rows and columns of a picture, in pixels."""

    height: int
    width: int

    @property
    def number(self) -> int:
        """One number of 32 bits, which the end of a picture in a .tae file states; see `from_number`."""
        return self.height << HALF | self.width

    @classmethod
    def from_number(cls, number: int) -> PictureSize:
        """The size of a number; sides of 0 are of no picture."""
        return cls(number >> HALF, number & LONGEST)

    def grid(self, patch: int) -> tuple[int, int]:
        """Rows and columns of its patches; the last ones may reach beyond it."""
        return -(-self.height // patch), -(-self.width // patch)

    def patches(self, patch: int) -> int:
        """How many patches it has."""
        rows, columns = self.grid(patch)
        return rows * columns


def cut(picture: np.ndarray, patch: int) -> np.ndarray:
    """The patches of a picture [h, w] or [h, w, channels], row after row: [n, patch, patch, …].

    Those at the right and at the bottom repeat the picture's last column and row where it ends.
    """
    height, width, *channels = picture.shape
    rows, columns = PictureSize(height, width).grid(patch)
    beyond = ((0, rows * patch - height), (0, columns * patch - width), *[(0, 0)] * len(channels))
    whole = np.pad(picture, beyond, mode="edge") if any(last for _, last in beyond) else picture
    return whole.reshape(rows, patch, columns, patch, *channels).swapaxes(1, 2).reshape(-1, patch, patch, *channels)


def join(patches: np.ndarray, size: PictureSize) -> np.ndarray:
    """The picture [h, w, …] of its patches [n, patch, patch, …], as `cut` gives them."""
    _, patch, _, *channels = patches.shape
    rows, columns = size.grid(patch)
    whole = patches.reshape(rows, columns, patch, patch, *channels).swapaxes(1, 2)
    return whole.reshape(rows * patch, columns * patch, *channels)[: size.height, : size.width]


@dataclass(frozen=True, eq=False)
class Places:
    """Where patches are: the number of the picture, the row and the column among its patches, int64 [n, 3]; `whole`: whether
    a patch lies within the picture, bool [n]."""

    numbers: np.ndarray = field(repr=False)
    whole: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, indices: np.ndarray) -> Places:
        return Places(self.numbers[indices], self.whole[indices])

    def inside(self, sizes: Sequence[PictureSize], patch: int) -> np.ndarray:
        """Which pixels of patches lie within their pictures, whose sizes are all given; bool [n, patch, patch]."""
        left = np.array(sizes).reshape(-1, 2)[self.numbers[:, 0]] - self.numbers[:, 1:] * patch
        rows, columns = (np.arange(patch) < left[:, i, None] for i in (0, 1))
        return rows[:, :, None] & columns[:, None, :]

    @classmethod
    def of(cls, sizes: Sequence[PictureSize], patch: int) -> Places:
        """Those of the patches of pictures, one after the other."""
        numbers: list[np.ndarray] = [np.empty((0, 3), np.int64)]
        whole: list[np.ndarray] = [np.empty(0, bool)]
        for i, size in enumerate(sizes):
            places = np.indices(size.grid(patch)).reshape(2, -1).T
            numbers.append(np.insert(places, 0, i, axis=1))
            whole.append(np.asarray(((places + 1) * patch <= np.array(size)).all(axis=1)))
        return cls(np.concatenate(numbers), np.concatenate(whole))

    def pictures(self, patch: int) -> list[tuple[np.ndarray, PictureSize]]:
        """Of each picture in order: the indices of its whole patches, row after row, and the size that they cover."""
        found = []
        for number in np.unique(self.numbers[:, 0]).tolist():
            indices = np.flatnonzero((self.numbers[:, 0] == number) & self.whole)
            if len(indices):
                rows, columns = (self.numbers[indices, 1:].max(axis=0) + 1).tolist()
                found.append((indices, PictureSize(rows * patch, columns * patch)))
        return found
