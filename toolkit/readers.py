"""Readers of sample files and folders, by kind.

Every reader raises FormatError for a file that is damaged or of another kind than its name, DataError for contents other than
numeric arrays; both name the file.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import math
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from msgspec.structs import fields
from tiedae.compress import npy
from tiedae.compress.archive import DAMAGE
from tiedae.compress.config import DataConfig
from tiedae.compress.errors import DataError, FormatError, listed

if TYPE_CHECKING:
    from PIL import ImageFile

MAPPED_FROM = 256 << 20
"""Minimum size in bytes of a memory-mapped file; smaller ones are loaded."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass(frozen=True)
class Arrays:
    """The contents of a source: samples [n, ...], labels [n] or None, and its own test set or None.

    `columns`: names of the features, `label`: name of the labels, if the source has names.
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    test_values: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None


TABLE_KEYS, IMAGE_KEYS = ("columns", "drop", "label"), ("resize", "grayscale")
"""Keys of [data] for .csv files only, and for folders of images only."""


def require_keys(config: DataConfig, source: object, allowed: Sequence[str]) -> None:
    """Raise DataError, naming `source`, for a key of another kind of source that is not in `allowed`."""
    for key in fields(config):
        if key.name in {*TABLE_KEYS, *IMAGE_KEYS} - {*allowed} and getattr(config, key.name) != key.default:
            which = "a .csv file" if key.name in TABLE_KEYS else "a folder of images"
            got = getattr(config, key.name)
            got = list(got) if isinstance(got, tuple) else got
            raise DataError(f"{source}: `{key.name}` in [data] is for {which}; got {got!r}, must be left out")


def read(path: Path, config: DataConfig | None = None) -> Arrays:
    """Read a file or folder by its extension, with the columns or images that `config` selects.

    Raises DataError for a missing path, an unknown kind and keys of another kind of source.
    """
    config = config or DataConfig(str(path))
    if path.is_dir():
        require_keys(config, path, IMAGE_KEYS)
        return read_images(path, config.resize, grayscale=config.grayscale)
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    name = path.name.removesuffix(".gz")
    kind = ".idx" if name.endswith(("ubyte", ".idx")) else path.suffix.lower()
    if kind not in READERS:
        raise DataError(f"{path}: unknown kind; must be {', '.join(READERS)}, .idx.gz or a folder of images")
    if kind == ".csv":
        require_keys(config, path, TABLE_KEYS)
        return read_csv(path, config.columns, drop=config.drop, label=config.label)
    require_keys(config, path, ())
    return READERS[kind](path)


def read_npy(path: Path) -> Arrays:
    """One array, memory-mapped from `MAPPED_FROM` bytes."""
    return Arrays(npy.read_npy(path, mapped_from=MAPPED_FROM))


def read_npz(path: Path) -> Arrays:
    """One array of any name, or `x` (with `labels` or `y`), or `x_train` and `x_test` (with `y_train`, `y_test`)."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise FormatError(f"{path}: is a .npy file, must be .npz; rename it")
            with warnings.catch_warnings(action="ignore"):
                arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise FormatError(f"{path}: is damaged or not a .npz file ({error})") from None
    except ValueError as error:
        raise DataError(f"{path}: must hold arrays of numbers only ({error})") from None
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray):
            raise FormatError(f"{path}: {name} is not an array; a .npz holds .npy files only")
    labels = arrays.get("labels", arrays.get("y"))
    if "x_train" in arrays:
        y_test = arrays.get("y_test", arrays.get("labels_test"))
        return Arrays(arrays["x_train"], arrays.get("y_train", arrays.get("labels_train")), arrays.get("x_test"), y_test)
    if "x" in arrays:
        return Arrays(arrays["x"], labels)
    if len(arrays) == 1:
        return Arrays(next(iter(arrays.values())))
    names = ", ".join(arrays) or "none"
    raise DataError(f"{path}: holds the arrays {names}; must be one array, or x (and labels), or x_train and x_test")


LABELS = ("label", "class", "target", "y")
"""Headings that `label` auto recognizes, in any case."""


def read_csv(path: Path, columns: Sequence[str] = (), *, drop: Sequence[str] = (), label: str = "auto") -> Arrays:
    """Rows of numbers separated by comma, semicolon or tab; line 1 is a heading if none of its cells is a number.

    `columns`: the features, in this order; default: all columns except `drop` and the label. `label`: the column of the
    labels; auto: the one with a heading in `LABELS` that is not in `columns` (y beside x is a coordinate); empty: none.
    Labels are float64 [n], or as written if one is text. Other columns may hold anything.
    """
    labels = list[str]()

    def add_label(cell: str) -> float:
        if not cell.strip():
            raise ValueError("no label")
        labels.append(cell.strip())
        return 0.0

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            delimiter, names = _delimiter(first), _cells(first)
            heading = _is_heading(names)
            if not heading:
                file.seek(0)
            chosen = _choose(path, [name.strip() for name in names] if heading else None, columns, drop, label)
            converters: dict[int | str, Callable[[str], float]] = dict.fromkeys(chosen.ignored, lambda _: 0.0)
            if chosen.label is not None:
                converters[chosen.label] = add_label
            try:
                with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty file, see below
                    values = np.loadtxt(file, comments=None, delimiter=delimiter, converters=converters, ndmin=2, quotechar='"')
            except ValueError:
                _explain_csv(path, delimiter, heading, chosen)
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is not text in UTF-8, must be .csv") from None
    except csv.Error as error:
        raise FormatError(f"{path}: is damaged or not a table of numbers ({error})") from None
    if values.size == 0:
        raise DataError(f"{path}: holds no row of numbers")
    if not heading:
        return Arrays(values)
    if len(names) != values.shape[1]:
        raise DataError(f"{path}: line 1 has {len(names)} values, line 2 has {values.shape[1]}; must be the same number")
    features, label_name = tuple(chosen.names[i] for i in chosen.features), None
    encoded: np.ndarray | None = None
    if chosen.label is not None:
        label_name, numbers = chosen.names[chosen.label], [_number(cell) for cell in labels]
        is_text = None in numbers
        encoded = np.array(labels) if is_text else np.array(numbers, np.float64)
    return Arrays(values[:, chosen.features], encoded, columns=features, label=label_name)


@dataclass(frozen=True)
class _Columns:
    """The headings of a .csv file, and the indices of its features and its label."""

    names: Sequence[str]
    features: Sequence[int]
    label: int | None = None

    @property
    def ignored(self) -> list[int]:
        return [i for i in range(len(self.names)) if i not in {self.label, *self.features}]


def read_headings(path: Path) -> list[str]:
    """The headings of a .csv file, [] without a heading."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = [name.strip() for name in _cells(file.readline())]
    return names if _is_heading(names) else []


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _is_heading(names: Sequence[str]) -> bool:
    return bool(names) and all(_number(cell) is None for cell in names)


def _choose(path: Path, names: Sequence[str] | None, columns: Sequence[str], drop: Sequence[str], label: str) -> _Columns:
    """Select the features and the label; DataError for unknown names and ambiguous selections."""
    if names is None:
        asked = {"columns": columns, "drop": drop, "label": "" if label == "auto" else label}
        for key, value in asked.items():
            if value:
                raise DataError(f"{path}: line 1 is not a heading, which `{key}` in [data] requires; add one, or leave it out")
        return _Columns((), ())
    index = _index(path, names, "label", label) if label not in ("", "auto") else None
    dropped = {_index(path, names, "drop", name) for name in drop}
    if columns:
        features = [_index(path, names, "columns", name) for name in columns]
    else:
        features = [i for i in range(len(names)) if i != index and i not in dropped]
    if label == "auto":
        lower = [name.lower() for name in names]
        known = {*LABELS} - ({"y"} if "x" in lower else set())
        candidates = [i for i, name in enumerate(lower) if name in known and i not in dropped]
        found = [i for i in candidates if not columns or i not in features]
        if len(found) > 1 and not columns:
            named = " and ".join(names[i] for i in found)
            right = 'name one as `label` in [data], or `label = ""` to train on all'
            raise DataError(f"{path}: {named} are named like labels; {right}")
        index = found[0] if len(found) == 1 else None
        features = [i for i in features if i != index]
    for i in features:
        if not names[i]:
            right = 'must have a name, be left out of `columns`, or be dropped (`drop = [""]` in [data])'
            raise DataError(f"{path}: line 1, column {i + 1} has no name (the index of a table?); {right}")
        if names.count(names[i]) > 1:
            raise DataError(f"{path}: {names.count(names[i])} columns are named {names[i]!r}; must be each name once")
    if not features:
        raise DataError(f"{path}: no column of {len(names)} is left to train on")
    return _Columns(names, features, index)


def _index(path: Path, names: Sequence[str], key: str, name: str) -> int:
    """The index of a heading; DataError, with the closest match, if it is missing or a duplicate."""
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise DataError(f"{path}: {names.count(name)} columns are named {name!r}; must be one for `{key}` in [data]")
    folded = {each.lower(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.lower(), folded, 1)
    right = f"did you mean {folded[close[0]]}?" if close else f"there are {listed(names)}"
    raise DataError(f"{path}: no column {name!r}, which `{key}` in [data] names; {right}")


def _explain_csv(path: Path, delimiter: str, heading: bool, chosen: _Columns) -> NoReturn:
    """Raise DataError for the first invalid cell or row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter)
        names = next(rows) if heading else []
        width, width_line = (len(names), 1) if heading else (0, 0)
        for row in rows:
            if not row:
                continue
            width, width_line = (width, width_line) if width else (len(row), rows.line_num)
            if len(row) != width:
                got = f"line {rows.line_num} has {len(row)} values, line {width_line} has {width}"
                raise DataError(f"{path}: {got}; must be the same number")
            for column, cell in enumerate(row):
                where = f"line {rows.line_num}, column {column + 1}" + (f" ({names[column]})" if heading else "")
                if column == chosen.label and not cell.strip():
                    raise DataError(f"{path}: {where} is empty, must be a label")
                if column != chosen.label and column not in chosen.ignored and _number(cell) is None:
                    raise DataError(f"{path}: {where}: {cell!r} is not a number")
    raise DataError(f"{path}: is not a table of numbers")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


IDX_TYPES: Mapping[int, str] = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Arrays:
    """An idx file of MNIST's format, optionally gzip; labels from the file beside it that follows MNIST's names."""
    labels = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    return Arrays(_idx(path), _idx(labels) if labels != path and labels.exists() else None)


def _idx(path: Path) -> np.ndarray:
    packed = path.name.endswith(".gz")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            magic = file.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in IDX_TYPES or magic[3] == 0:
                raise FormatError(f"{path}: is not an idx file")
            dtype, axes = np.dtype(IDX_TYPES[magic[2]]), magic[3]
            shape = tuple(int(n) for n in np.frombuffer(file.read(4 * axes), ">u4"))
            data = file.read() if packed else b""
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise FormatError(f"{path}: is damaged or truncated ({error})") from None
    start, needed = 4 + 4 * axes, math.prod(shape) * dtype.itemsize
    size = len(data) if packed else path.stat().st_size - start
    if len(shape) < axes or size != needed:
        raise FormatError(f"{path}: holds {max(size, 0)} bytes of data, must be {needed} for shape {list(shape)}; damaged")
    if packed:
        return np.frombuffer(data, dtype).reshape(shape)
    if needed >= MAPPED_FROM:
        return np.memmap(path, dtype, "r", start, shape)
    return np.fromfile(path, dtype, offset=start).reshape(shape)


def read_images(folder: Path, resize: Sequence[int] = (), *, grayscale: bool = False) -> Arrays:
    """The images of a folder and its subfolders in order of their paths, [n, height, width] or [n, height, width, 3].

    `resize`: (height, width), bilinear with antialiasing. `grayscale`: conversion to luminance (ITU-R 601-2). All images must
    then have one size and kind: 8-bit gray or black and white (uint8), deeper gray (uint16, int32 or float32, as stored) or
    RGB (uint8; palettes and other color spaces are converted). Reads the first image of a file. Drops an opaque alpha
    channel; transparent pixels and 16-bit colors are errors. With several subfolders, the label is the path of the
    subfolder, such as good or train/good.
    """
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{folder}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    values = np.empty(0, np.uint8)
    for i, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                pixels = _pixels(image, path, grayscale=grayscale)
            pixels = _resized(pixels, resize) if resize else pixels
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise FormatError(f"{path}: is not an image or is damaged ({error})") from None
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
    deep_gray = image.mode == "F" or image.mode.startswith("I")
    if not deep_gray and ";16" in str(image.tile):
        raise DataError(f"{path}: has 16 bits per color, must be 8; convert them, or save them as one array in a .npy file")
    if image.has_transparency_data and (deep_gray or np.asarray(image.convert("RGBA"))[..., 3].min() < 255):
        remedy = "flatten the images onto a background, or save them as one array with an alpha channel in a .npy file"
        raise DataError(f"{path}: has transparent pixels, which gray or RGB values cannot hold; {remedy}")
    if deep_gray:
        return np.asarray(image)
    return np.asarray(image.convert("L" if grayscale or image.mode in ("1", "L", "LA") else "RGB"))


def _size(pixels: np.ndarray) -> str:
    kind = "RGB" if pixels.ndim == 3 else "gray"
    return f"{pixels.shape[1]}×{pixels.shape[0]} {kind}" + ("" if pixels.dtype == np.uint8 else f" of {pixels.dtype}")


READERS: Mapping[str, Callable[[Path], Arrays]] = {".npy": read_npy, ".npz": read_npz, ".csv": read_csv, ".idx": read_idx}
