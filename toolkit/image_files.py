"""Folders of images."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tiedae.compress.errors import DataError, FormatError
from tiedae.compress.files import read_regular

from .arrays import Arrays

if TYPE_CHECKING:
    from PIL import ImageFile

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
DAMAGE = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for a damaged image."""


def read_images(folder: Path, resize: Sequence[int] = (), *, grayscale: bool = False) -> Arrays:
    """The images of a folder and its subfolders in order of their paths, [n, height, width] or [n, height, width, 3].

    `resize`: (height, width), bilinear with antialiasing. `grayscale`: conversion to luminance (ITU-R 601-2). All images must
    then have one size and kind: 8-bit gray or black and white (uint8), deeper gray (uint16, int32 or float32, as stored) or
    RGB (uint8; palettes and other color spaces are converted). Reads the first image of a file, turned as its EXIF
    orientation says. Drops an opaque alpha channel; transparent pixels and 16-bit colors are errors. With several
    subfolders, the label is the path of the subfolder, such as good or train/good.
    """
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    values = np.empty(0, np.uint8)
    for i, path in enumerate(paths):
        try:
            with (
                warnings.catch_warnings(action="ignore"),  # of damage that Pillow reads over
                Image.open(io.BytesIO(read_regular(path))) as image,  # of a file, Pillow allocates the size that a chunk states
            ):
                pixels = _pixels(image, path, grayscale=grayscale)
            pixels = _resized(pixels, resize) if resize else pixels
        except (*DAMAGE, Image.DecompressionBombError) as error:
            raise FormatError(f"{path}: is not an image or is damaged ({error or type(error).__name__})") from None
        if i == 0:
            values = np.empty((len(paths), *pixels.shape), pixels.dtype.newbyteorder("="))
        if pixels.shape != values.shape[1:] or pixels.dtype != values.dtype:
            got = f"is {_size(pixels)}, but {paths[0]} is {_size(values[0])}"
            raise DataError(f"{path}: {got}; all must be of one size and kind: {_remedy(pixels, values[0])}")
        values[i] = pixels
    names = [path.parent.relative_to(folder).as_posix() for path in paths]
    labels = np.array(names) if len(set(names)) > 1 else None
    return Arrays(values, labels)


def _remedy(pixels: np.ndarray, first: np.ndarray) -> str:
    """The keys of [data] that convert both images to one size and kind."""
    keys = ["`grayscale = true`"] if pixels.ndim != first.ndim else []
    keys += ["`resize = [height, width]`"] if pixels.shape[:2] != first.shape[:2] else []
    return f"{' and '.join(keys)} in [data]" if keys else "convert them"


def _resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The image resized to (height, width), in its dtype."""
    from PIL import Image

    height, width = size
    deep = pixels.dtype != np.uint8
    image = Image.fromarray(pixels.astype(np.float32) if deep else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return (np.rint(resized) if np.issubdtype(pixels.dtype, np.integer) else resized).astype(pixels.dtype)


def _pixels(image: ImageFile.ImageFile, path: Path, *, grayscale: bool = False) -> np.ndarray:
    """Shape [height, width] of uint8, uint16, int32 or float32, or [height, width, 3] of uint8."""
    from PIL import ImageOps

    deep_gray = image.mode == "F" or image.mode.startswith("I")
    if not deep_gray and ";16" in str(image.tile):
        raise DataError(f"{path}: has 16 bits per color, must be 8; convert them, or save them as one array in a .npy file")
    if image.has_transparency_data and (deep_gray or np.asarray(image.convert("RGBA"))[..., 3].min() < 255):
        remedy = "flatten the images onto a background, or save them as one array with an alpha channel in a .npy file"
        raise DataError(f"{path}: has transparent pixels, which gray or RGB values cannot hold; {remedy}")
    upright = ImageOps.exif_transpose(image)
    if deep_gray:
        return np.asarray(upright)
    return np.asarray(upright.convert("L" if grayscale or image.mode in ("1", "L", "LA") else "RGB"))


def _size(pixels: np.ndarray) -> str:
    kind = "RGB" if pixels.ndim == 3 else "gray"
    return f"{pixels.shape[1]}×{pixels.shape[0]} {kind}" + ("" if pixels.dtype == np.uint8 else f" of {pixels.dtype}")
