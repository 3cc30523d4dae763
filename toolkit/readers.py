"""Sample files and folders, by kind: what is read, how it is checked, and one clear line where it cannot be.

Every reader raises FormatError for a file that is damaged or of another kind than its name says, DataError for contents that
are no table of numbers; both name the file.
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
from tiedae.compress.archive import DAMAGE
from tiedae.compress.config import DataConfig
from tiedae.compress.errors import DataError, FormatError

if TYPE_CHECKING:
    from PIL import ImageFile

MAPPED_FROM = 256 << 20
"""Array files of so many bytes or more are memory-mapped instead of loaded."""

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm")


@dataclass(frozen=True)
class Arrays:
    """What a source holds: samples first, [n, ...]; labels [n] or None; a test set of its own or None.

    `columns` are the names of a sample's values and `label` that of the labels, where the source has names.
    """

    values: np.ndarray
    labels: np.ndarray | None = None
    test_values: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    columns: tuple[str, ...] | None = None
    label: str | None = None


TABLE_KEYS, IMAGE_KEYS = ("columns", "drop", "label"), ("resize", "grayscale")
"""The keys of [data] that are for .csv files alone, and for folders of images alone."""


def require_keys(config: DataConfig, source: object, mine: Sequence[str]) -> None:
    """Raise DataError, naming `source`, where the configuration gives a key of another kind of source than `mine`."""
    for key in fields(config):
        if key.name in {*TABLE_KEYS, *IMAGE_KEYS} - {*mine} and getattr(config, key.name) != key.default:
            which = "a .csv file" if key.name in TABLE_KEYS else "a folder of images"
            got = getattr(config, key.name)
            got = list(got) if isinstance(got, tuple) else got
            raise DataError(f"{source}: `{key.name}` in [data] is for {which}; got {got!r}, must be left out")


def read(path: Path, config: DataConfig | None = None) -> Arrays:
    """Read a file or folder by the kind that its name says, and of it what `config` chooses.

    A missing path is a DataError, another kind too, and a choice that such a source does not have.
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
    """One array; memory-mapped where it is large."""
    with path.open("rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise FormatError(f"{path}: is not a .npy file")
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            with warnings.catch_warnings(action="ignore"):  # of Python 2, or of what a damaged header looks like
                shape, _, dtype = header(file)
        except (ValueError, *DAMAGE) as error:
            raise FormatError(f"{path}: its header is damaged ({error})") from None
        start = file.tell()
    if min(shape, default=0) < 0:
        raise FormatError(f"{path}: its header is damaged (shape {list(shape)})")
    if dtype.hasobject:
        raise DataError(f"{path}: holds Python objects (ragged samples?), must be an array of numbers")
    needed, size = start + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if size < needed:
        raise FormatError(f"{path}: is truncated: {size} bytes, must be {needed} for shape {list(shape)} of {dtype}")
    try:
        with warnings.catch_warnings(action="ignore"):
            return Arrays(np.load(path, mmap_mode="r" if size >= MAPPED_FROM else None, allow_pickle=False))
    except (ValueError, *DAMAGE) as error:
        raise FormatError(f"{path}: cannot be read as shape {list(shape)} of {dtype} ({error})") from None


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
        raise DataError(f"{path}: holds something else than arrays of numbers ({error})") from None
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray):
            raise FormatError(f"{path}: {name} is no array; a .npz holds .npy files alone")
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
"""Headings, in any case, of the column that holds the labels where no name is given."""


def read_csv(path: Path, columns: Sequence[str] = (), *, drop: Sequence[str] = (), label: str = "auto") -> Arrays:
    """Rows of numbers, separated by comma, semicolon or tab. Line 1 is a heading where none of its cells is a number.

    `columns` are the features, in this order; without them all are, but those of `drop` and the label. `label` names the
    column that becomes the labels; auto: the one whose heading is among `LABELS`, if it is not among `columns`; empty: none.
    A `y` beside a column `x` is a coordinate. Labels are float64 [n]; where one of them is text all are names, and the labels
    are integers: each name's place in sorted order. What is neither feature nor label may hold anything.
    """
    labels = list[str]()

    def keep(cell: str) -> float:
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
                converters[chosen.label] = keep
            try:
                with warnings.catch_warnings(action="ignore", category=UserWarning):  # no row of numbers: named below
                    values = np.loadtxt(file, comments=None, delimiter=delimiter, converters=converters, ndmin=2, quotechar='"')
            except ValueError:
                _explain_csv(path, delimiter, heading, chosen)
    except UnicodeDecodeError:
        raise FormatError(f"{path}: is not text in UTF-8, must be .csv") from None
    except csv.Error as error:
        raise FormatError(f"{path}: is damaged or no table of numbers ({error})") from None
    if values.size == 0:
        raise DataError(f"{path}: holds no row of numbers")
    if not heading:
        return Arrays(values)
    if len(names) != values.shape[1]:
        raise DataError(f"{path}: line 1 has {len(names)} values, line 2 has {values.shape[1]}; must be the same number")
    features = [chosen.names[i] for i in chosen.features]
    label_name = None if chosen.label is None else chosen.names[chosen.label]
    return Arrays(
        values[:, chosen.features], _labels(labels) if label_name else None, columns=tuple(features), label=label_name
    )


@dataclass(frozen=True)
class _Chosen:
    """The headings of a .csv file, and the places of its features and its label among them."""

    names: Sequence[str]
    features: Sequence[int]
    label: int | None = None

    @property
    def ignored(self) -> list[int]:
        return [i for i in range(len(self.names)) if i not in {self.label, *self.features}]


def read_headings(path: Path) -> list[str]:
    """The headings of a .csv file, [] where line 1 is none."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        names = [name.strip() for name in _cells(file.readline())]
    return names if _is_heading(names) else []


def _cells(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=_delimiter(line)), [])


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _is_heading(names: Sequence[str]) -> bool:
    return bool(names) and all(_number(cell) is None for cell in names)


def _choose(path: Path, names: Sequence[str] | None, columns: Sequence[str], drop: Sequence[str], label: str) -> _Chosen:
    """What is a feature and what the label; DataError for a name that is not there, or a choice that is not clear."""
    if names is None:
        asked = {"columns": columns, "drop": drop, "label": "" if label == "auto" else label}
        for key, value in asked.items():
            if value:
                raise DataError(f"{path}: line 1 is no heading, which `{key}` in [data] would need; write one, or leave it out")
        return _Chosen((), ())
    place = _place(path, names, "label", label) if label not in ("", "auto") else None
    dropped = {_place(path, names, "drop", name) for name in drop}
    if columns:
        features = [_place(path, names, "columns", name) for name in columns]
    else:
        features = [i for i in range(len(names)) if i != place and i not in dropped]
    if label == "auto":
        candidates = [i for i in range(len(names)) if _reads_as_label(names, i) and i not in dropped]
        found = [i for i in candidates if not columns or i not in features]
        if len(found) > 1 and not columns:
            named = " and ".join(names[i] for i in found)
            right = 'name one as `label` in [data], or `label = ""` to train on all'
            raise DataError(f"{path}: {named} are named like labels; {right}")
        place = found[0] if len(found) == 1 else None
        features = [i for i in features if i != place]
    for i in features:
        if not names[i]:
            right = 'must have a name, be left out of `columns`, or be dropped (`drop = [""]` in [data])'
            raise DataError(f"{path}: line 1, column {i + 1} has no name (the index of a table?); {right}")
        if names.count(names[i]) > 1:
            raise DataError(f"{path}: {names.count(names[i])} columns are named {names[i]!r}; must be each name once")
    if not features:
        raise DataError(f"{path}: no column of {len(names)} is left to train on")
    return _Chosen(names, features, place)


def _reads_as_label(names: Sequence[str], i: int) -> bool:
    name = names[i].lower()
    return name in LABELS and not (name == "y" and "x" in {each.lower() for each in names})


def _place(path: Path, names: Sequence[str], key: str, name: str) -> int:
    """Where a heading stands; DataError with the nearest one where it does not, or stands twice."""
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise DataError(f"{path}: {names.count(name)} columns are named {name!r}; must be one for `{key}` in [data]")
    folded = {each.lower(): each for each in reversed(names)}
    close = difflib.get_close_matches(name.lower(), folded, 1)
    listed = ", ".join([*names[:SHOWN], *["…"] * (len(names) > SHOWN)])
    right = f"did you mean {folded[close[0]]}?" if close else f"there are {listed}"
    raise DataError(f"{path}: no column {name!r}, as `{key}` in [data] has it; {right}")


SHOWN = 12
"""How many names a line lists."""


def _labels(cells: list[str]) -> np.ndarray:
    numbers = [_number(cell) for cell in cells]
    return np.unique(cells, return_inverse=True)[1] if None in numbers else np.array(numbers, np.float64)


def _explain_csv(path: Path, delimiter: str, heading: bool, chosen: _Chosen) -> NoReturn:
    """Find and name the first cell or row that is wrong."""
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
                place = f"line {rows.line_num}, column {column + 1}" + (f" ({names[column]})" if heading else "")
                if column == chosen.label and not cell.strip():
                    raise DataError(f"{path}: {place} is empty, must be a label")
                if column != chosen.label and column not in chosen.ignored and _number(cell) is None:
                    raise DataError(f"{path}: {place}: {cell!r} is not a number")
    raise DataError(f"{path}: is no table of numbers")


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


IDX_TYPES: Mapping[int, str] = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Arrays:
    """An idx file, gzip or not, as MNIST's page describes it; labels from the file beside it that is named like MNIST's."""
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

    `resize` is their (height, width): each pixel the mean of those that it stands for, or between them where the image grows.
    `grayscale` turns colors into luminance (ITU-R 601-2). Then all have to be of one size and kind: gray of 8 bits (uint8;
    black and white too), gray with more (uint16, int32 or float32, as stored) or RGB (uint8; palettes and other color spaces
    become RGB). Of a file with several images the first is read. An alpha channel that is opaque everywhere is left out;
    transparent pixels and colors of 16 bits are refused. Where the images lie in subfolders, the subfolder is the label: its
    place in sorted order.
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
            raise FormatError(f"{path}: is no image or is damaged ({error})") from None
        if i == 0:
            values = np.empty((len(paths), *pixels.shape), pixels.dtype.newbyteorder("="))
        if pixels.shape != values.shape[1:] or pixels.dtype != values.dtype:
            got = f"is {_size(pixels)}, but {paths[0]} is {_size(values[0])}"
            raise DataError(f"{path}: {got}; all must be of one size and kind: {_remedy(pixels, values[0])}")
        values[i] = pixels
    parents = [path.parent for path in paths]
    folders = sorted(set(parents))
    labels = np.array([folders.index(parent) for parent in parents]) if len(folders) > 1 else None
    return Arrays(values, labels)


def _remedy(pixels: np.ndarray, first: np.ndarray) -> str:
    """The keys of [data] that make two images alike."""
    keys = ["`grayscale = true`"] if pixels.ndim != first.ndim else []
    keys += ["`resize = [height, width]`"] if pixels.shape[:2] != first.shape[:2] else []
    return f"{' and '.join(keys)} in [data]" if keys else "convert them"


def _resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The image with (height, width), in its dtype."""
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
