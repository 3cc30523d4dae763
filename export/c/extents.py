"""The extents of NAME.c and NAME.h: arrays, the code that every file repeats, and the rest."""

from __future__ import annotations

from pathlib import Path

from tiedae.base.files import read_regular

from ..extents import Extent, FileBytes, Part
from .reader import arrays_in, kernels_in, read_c
from .text import named_parts


def read_c_extents(path: Path) -> FileBytes:
    """Find the extents of NAME.c and the NAME.h beside it; raises as `read_c`, which gives the storage of a kernel."""
    read_c(path)
    header = path.with_suffix(".h")
    data = {"": memoryview(read_regular(path)), header.name: memoryview(read_regular(header))}
    extents: list[Extent] = []
    for file, each in data.items():
        text = bytes(each).decode("ascii")
        parts, rest = _parts(text, path.stem, file)
        found = sorted([*parts, *_arrays(rest, path, file)], key=lambda extent: extent.start)
        between = zip((0, *(extent.stop for extent in found)), (*(extent.start for extent in found), len(text)), strict=True)
        extents += [*found, *(Extent(start, stop, Part.STRUCTURE, "", file) for start, stop in between if stop > start)]
    return FileBytes(data, tuple(extents))


def _parts(text: str, name: str, file: str) -> tuple[list[Extent], str]:
    """The parts that are ours letter by letter, and the text with a comment of their lengths in their place."""
    found = []
    for known in named_parts(name):
        whole, at = f"\n{known}", 0
        while (at := text.find(whole, at)) >= 0:
            found.append(Extent(at + 1, at := at + len(whole), Part.CODE, "", file))
        text = text.replace(whole, f"\n/*{' ' * (len(known) - 5)}*/\n")
    return found, text


def _arrays(text: str, path: Path, file: str) -> list[Extent]:
    """The arrays of a text; all those of a kernel have its storage for a name."""
    arrays = list(arrays_in(text, path))
    storages = {
        array.start: kernel.storage
        for kernel, stored in kernels_in(text, {array.start: array for array in arrays}, path)
        for array in stored
    }
    return [Extent(array.start, array.stop, Part.VALUES, storages.get(array.start, array.name), file) for array in arrays]
