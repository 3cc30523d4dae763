"""PNG images as data URIs, and the palette of signed values."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDES = (128, 96, 64, 48, 32, 16)
"""Longest sides in pixels, tried in order until the images fit."""
STEPS = 13
"""Number of colours; odd, so that zero has its own."""
NEGATIVE, ZERO, POSITIVE = (166, 74, 0), (247, 247, 247), (8, 81, 168)
"""Orange, white and blue; distinguishable with every kind of colour vision."""


def diverging(levels: np.ndarray) -> np.ndarray:
    """Values in −1…1 (others saturate), [...] → RGB, uint8 [..., 3]."""
    level = np.clip(levels, -1, 1)[..., None]
    end = np.where(level < 0, NEGATIVE, POSITIVE)
    return np.rint(ZERO + (end - np.array(ZERO)) * np.abs(level)).astype(np.uint8)


def encode_images(arrays: Sequence[np.ndarray], budget: int) -> list[str]:
    """Images, uint8 [h, w] or [h, w, 3], as data URIs, all shrunk until they take at most `budget` bytes."""
    for side in SIDES:
        encoded, left = [], budget
        for array in arrays:
            encoded.append(_encode_image(array, side))
            left -= len(encoded[-1])
            if left < 0:
                break
        if left >= 0:
            return encoded
    return [_encode_image(array, SIDES[-1]) for array in arrays]


def _encode_image(values: np.ndarray, side: int) -> str:
    image = Image.fromarray(np.ascontiguousarray(values))
    ratio = side / max(image.size)
    if ratio < 1:
        shrunk = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
        image = image.resize(shrunk, Image.Resampling.BOX)
    return _uri(image)


def indexed(indices: np.ndarray, palette: np.ndarray, *, transparent: int) -> str:
    """A data URI of palette indices, uint8 [h, w], with a `palette`, RGB uint8 [n, 3], n ≤ 16; 4 bits per pixel."""
    image = Image.fromarray(indices, "L")
    image.putpalette(palette.tobytes())
    return _uri(image, transparency=transparent, bits=4)


def _uri(image: Image.Image, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
