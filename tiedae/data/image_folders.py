"""Folders of images: images of one size and kind, or patches of pictures of any size; and one message for all that is wrong."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, FormatError, TiedaeError
from tiedae.base.files import expanded
from tiedae.base.numbers import counted
from tiedae.config.config import DataConfig

from .arrays import MAPPED_FROM, Arrays
from .data_sets import DATA_SETS
from .image_files import IMAGE_SUFFIXES, ImageFacts, Reading
from .patches import cut

EXAMPLES = 8
"""Modes, sizes or files that a message lists, at most."""
PATCH = 16
"""Rows and columns of a patch, where nothing says otherwise."""


def is_picture(path: Path, config: DataConfig) -> bool:
    """Whether a path is a picture that is cut into patches."""
    return config.patch is not None and path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES


def require_pictures(config: DataConfig, base: Path) -> None:
    """Raise DataError for patches of a source that is neither a folder nor a picture, and of a folder of recordings."""
    path = base / expanded(config.source)
    if config.source in DATA_SETS or (path.exists() and not path.is_dir() and not is_picture(path, config)):
        right = "must be left out, or the source be a folder of pictures"
        raise DataError(f"{config.source}: `patch` in [data] is for a folder of images; got {config.patch}, {right}")


def image_paths(path: Path) -> Sequence[Path]:
    """The images of a folder and its subfolders in order of their paths, or the one that a path is; DataError without any."""
    if path.is_file():
        return [path]
    paths = sorted(each for each in path.rglob("*") if each.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise DataError(f"{path}: holds no image ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def read_images(source: Path, config: DataConfig) -> Arrays:
    """The images of a folder, [n, height, width] or [n, height, width, 3], or the patches of them and of a single image.

    All must be of one kind: 8-bit gray or black and white (uint8), deeper gray (uint16, int32 or float32, as stored) or
    RGB (uint8; palettes and other color spaces are converted), or become so by `convert`; and of one size, unless `patch` or
    `resize` is stated. Drops an opaque alpha channel. With several subfolders, the label is the path of the subfolder, such as
    good or train/good. The group of a patch is the path of its picture.

    Heads are read first, so that sizes are known before pixels take memory. More than `MAPPED_FROM` bytes of pixels lie in a
    temporary file. Raises DataError or FormatError, with all that is wrong with the folder.
    """
    survey, reading = surveyed(source, config), Reading(config.convert, config.resize)
    paths = sorted([*survey.facts, *survey.problems])
    names = [path.relative_to(source).as_posix() if path != source else path.name for path in paths]
    folders = np.array([Path(name).parent.as_posix() for name in names])
    if survey.mixed:
        for path in survey.facts:
            survey.decode(path, reading)
        raise survey.error()
    if config.patch is None:
        values = _decoded(survey, reading, [1] * len(survey.facts))
        return Arrays(values, folders if len(set(folders.tolist())) > 1 else None)
    sizes = [facts.size for facts in survey.facts.values()]
    counts = [size.patches(config.patch) for size in sizes]
    values = _decoded(survey, reading, counts)
    labels = np.repeat(folders, counts) if len(set(folders.tolist())) > 1 else None
    return Arrays(values, labels, groups=np.repeat(np.array(names), counts), pictures=tuple(sizes))


def require_large(arrays: Arrays, config: DataConfig, source: str) -> None:
    """Raise DataError, with the number and the smallest, for pictures without a whole patch."""
    small = [i for i, size in enumerate(arrays.pictures) if min(size) < arrays.values.shape[1]]
    if small:
        name = list(dict.fromkeys(np.asarray(arrays.groups).tolist()))
        least = min(small, key=lambda i: min(arrays.pictures[i]))
        size = arrays.pictures[least]
        got = f"{len(small):,} of {counted(len(arrays.pictures), 'picture')} smaller than a patch, such as {name[least]}"
        right = f"must be at most {min(size)}, or leave them out"
        raise DataError(f"{source}: {got} ({size.width}×{size.height}); `patch` in [data] is {config.patch}, {right}")


def surveyed(source: Path, config: DataConfig) -> Survey:
    """What the heads of the images of a folder say; DataError without any."""
    survey, reading = Survey(source, config), Reading(config.convert, config.resize)
    for path in image_paths(source):
        survey.look(path, reading)
    return survey


@dataclass
class Survey:
    """What the images of a folder are, by path, and what is wrong with others."""

    source: Path
    config: DataConfig
    facts: dict[Path, ImageFacts] = field(default_factory=dict)
    problems: dict[Path, TiedaeError] = field(default_factory=dict)

    def look(self, path: Path, reading: Reading) -> None:
        """Note what the head of an image says."""
        try:
            self.facts[path] = reading.facts(path)
        except (DataError, FormatError) as error:
            self.problems[path] = error

    def decode(self, path: Path, reading: Reading) -> np.ndarray | None:
        """The pixels; None, and a note, where they cannot be used."""
        try:
            return reading.pixels(path)
        except (DataError, FormatError) as error:
            self.problems[path] = error
            return None

    @property
    def mixed(self) -> bool:
        """Whether there are several kinds, or sizes where all must be of one."""
        return len(self.kinds) > 1 or self.sizes_differ

    @property
    def kinds(self) -> Sequence[str]:
        return list(dict.fromkeys(facts.kind for facts in self.facts.values()))

    @property
    def sizes_differ(self) -> bool:
        free = self.config.patch is not None or self.config.resize
        return not free and len({facts.size for facts in self.facts.values()}) > 1

    def error(self) -> TiedaeError:
        """All that is wrong, in one line: that of a single file as it is."""
        if len(self.problems) == 1 and not self.mixed:
            return next(iter(self.problems.values()))
        total = len(self.facts.keys() | self.problems.keys())
        parts = [f"{self.source}: {counted(total, 'image')}", *self.differences]
        if self.problems:
            texts = [self._text(path) for path in list(self.problems)[:EXAMPLES]]
            more = len(self.problems) - len(texts)
            listed = "; ".join([*texts, *([f"{more} more"] if more else [])])
            parts.append(f"{len(self.problems)} cannot be used: {listed}")
        parts.append(f"all must be {self._right}" + (", and the others left out" if self.mixed and self.problems else ""))
        damaged = not self.mixed and all(isinstance(error, FormatError) for error in self.problems.values())
        return (FormatError if damaged else DataError)("; ".join(parts))

    @property
    def differences(self) -> Sequence[str]:
        """The modes and the sizes, where there are several that cannot be read together."""
        modes = {path: facts.mode for path, facts in self.facts.items()} if len(self.kinds) > 1 else {}
        sizes = {path: f"{facts.size.width}×{facts.size.height}" for path, facts in self.facts.items() if self.sizes_differ}
        return [f"{name}: {self._examples(found)}" for name, found in (("modes", modes), ("sizes", sizes)) if found]

    def _text(self, path: Path) -> str:
        """What is wrong with a file, in short, below the source."""
        return str(self.problems[path]).removeprefix(f"{self.source}/").partition(";")[0]

    @property
    def _right(self) -> str:
        """What is right, and the keys of [data] that make it so."""
        kinds, keys = set(self.kinds), []
        if len(kinds) > 1 and kinds - {"gray", "RGB"}:
            keys.append("deeper gray saved with 8 bits")
        if kinds >= {"gray", "RGB"}:
            keys.append('`convert = "rgb"` (or "gray")')
        if self.sizes_differ:
            keys.append(f"`patch = {PATCH}` (patches of each) or `resize = [height, width]`")
        if not keys:
            return "images that Pillow opens, of 8 bits a channel or deeper gray, without transparent pixels"
        return f"of one {'kind' if self.config.patch else 'size and kind'}: in [data] {', '.join(keys)}"

    def _examples(self, found: Mapping[Path, str]) -> str:
        """`7 RGB (a.png), 2 L (b.png)`."""
        counts = Counter(found.values()).most_common()
        first = {value: path for path, value in reversed([*found.items()])}
        texts = [f"{count:,} {value} ({first[value].relative_to(self.source)})" for value, count in counts[:EXAMPLES]]
        return ", ".join([*texts, *([f"{len(counts) - EXAMPLES} others"] if len(counts) > EXAMPLES else [])])


def _decoded(survey: Survey, reading: Reading, counts: Sequence[int]) -> np.ndarray:
    """All images, or their patches, `counts` of each; raises what `Survey.error` gives."""
    values: np.ndarray | None = None
    at, patch = 0, survey.config.patch
    for path, count in zip(list(survey.facts), counts, strict=True):
        pixels = survey.decode(path, reading)
        if pixels is None:
            continue
        samples = pixels[None] if patch is None else cut(pixels, patch)
        if values is None:
            values = _room((sum(counts), *samples.shape[1:]), samples.dtype.newbyteorder("="))
        if len(samples) != count or samples.shape[1:] != values.shape[1:]:
            survey.problems[path] = FormatError(f"{path}: is damaged: its pixels are of another size than its head states")
            continue
        values[at : at + count] = samples
        at += count
    if survey.problems or values is None:
        raise survey.error()
    return values


def _room(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in memory, or of `MAPPED_FROM` bytes or more in a temporary file that ends with it."""
    if np.prod(shape, dtype=np.int64) * dtype.itemsize < MAPPED_FROM:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)
