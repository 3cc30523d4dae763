"""Files of images, one by one."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.base.files import read_regular
from tiedae.config.config import Convert

from .patches import PictureSize

if TYPE_CHECKING:
    from PIL import ImageFile

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
PNG = ".png"
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
GRAY_MODES = ("1", "L", "LA")
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag of an image's orientation, and its values that swap height and width."""


@dataclass(frozen=True)
class Reading:
    """How images are read: see `convert` and `resize` of [data]."""

    convert: Convert = "none"
    resize: Sequence[int] = ()

    def facts(self, path: Path) -> ImageFacts:
        """What the head of a file states; raises as `pixels`, but for damage and transparent pixels behind the head."""
        with _opened(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in TURNED
            return ImageFacts(
                image.mode, PictureSize(width, height) if turned else PictureSize(height, width), self._kind(image, path)
            )

    def pixels(self, path: Path) -> np.ndarray:
        """The first image of a file, upright as its EXIF orientation says: [height, width] of uint8, uint16, int32 or float32,
        or [height, width, 3] of uint8.

        Raises FormatError for a damaged file, DataError for transparent pixels, 16-bit colors, and deep gray to become RGB.
        """
        with _opened(path) as image:
            pixels = self._pixels(image, path)
            return _resized(pixels, self.resize) if self.resize else pixels

    def _kind(self, image: ImageFile.ImageFile, path: Path) -> str:
        """`gray`, `RGB`, or the dtype of deep gray."""
        if deep := _deep(image):
            if self.convert == "rgb":
                right = 'must have 8 for convert = "rgb"; save it with 8 bits, or all as one array in a .npy file'
                raise DataError(f"{path}: is gray of {deep}, {right}")
            return f"gray of {deep}"
        if ";16" in str(image.tile):
            raise DataError(f"{path}: has 16 bits per color, must be 8; convert them, or save them as one array in a .npy file")
        if self.convert == "none":
            return "gray" if image.mode in GRAY_MODES else "RGB"
        return "RGB" if self.convert == "rgb" else "gray"

    def _pixels(self, image: ImageFile.ImageFile, path: Path) -> np.ndarray:
        from PIL import ImageOps

        kind, deep = self._kind(image, path), _deep(image)
        if image.has_transparency_data and (deep or np.asarray(image.convert("RGBA"))[..., 3].min() < 255):
            remedy = "flatten the images onto a background, or save them as one array with an alpha channel in a .npy file"
            raise DataError(f"{path}: has transparent pixels, which gray or RGB values cannot hold; {remedy}")
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright if deep else upright.convert({"gray": "L", "RGB": "RGB"}[kind]))


@dataclass(frozen=True)
class ImageFacts:
    """The head of an image: Pillow's `mode`, the upright size, and what its pixels become, such as RGB."""

    mode: str
    size: PictureSize
    kind: str


def png_of(picture: np.ndarray, path: Path) -> bytes:
    """The file of a picture, uint8 [h, w], [h, w, 1] or [h, w, 3], or uint16 [h, w]; InputError, with its path, for another."""
    from PIL import Image

    flat = picture[..., 0] if picture.shape[2:] == (1,) else picture
    if not (flat.ndim == 2 and flat.dtype in (np.uint8, np.uint16)) and not (flat.dtype == np.uint8 and flat.shape[2:] == (3,)):
        got = f"pictures are {picture.dtype} [h, w{''.join(f', {each}' for each in picture.shape[2:])}]"
        raise InputError(f"{path}: {got}, must be gray or RGB bytes, or gray uint16, in a {PNG} file; .npy holds others")
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(flat)).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """An image whose damage is a FormatError."""
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            warnings.catch_warnings(action="ignore"),  # of damage that Pillow reads over
            Image.open(io.BytesIO(read_regular(path))) as image,  # of a file, Pillow allocates the size that a chunk states
        ):
            yield image
    except UnidentifiedImageError:
        raise FormatError(f"{path}: is not an image or is damaged (of no format that Pillow knows)") from None
    except (*DAMAGE, Image.DecompressionBombError) as error:
        raise FormatError(f"{path}: is not an image or is damaged ({error or type(error).__name__})") from None


def _deep(image: ImageFile.ImageFile) -> str:
    """The dtype of gray of more than 8 bits; empty for others."""
    if image.mode == "F":
        return "float32"
    return ("uint16" if ";16" in image.mode else "int32") if image.mode.startswith("I") else ""


def _resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The image resized to (height, width), bilinear with antialiasing, in its dtype."""
    from PIL import Image

    height, width = size
    deep = pixels.dtype != np.uint8
    image = Image.fromarray(pixels.astype(np.float32) if deep else pixels)
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return (np.rint(resized) if np.issubdtype(pixels.dtype, np.integer) else resized).astype(pixels.dtype)
