"""Formats of models that somebody else trained: `FORMATS`, what recognizes each and what reads it. `read_model` reads any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tiedae.base.errors import FormatError
from tiedae.base.files import open_regular

from .chain import Chain
from .keras_files import SAVE_WHOLE, read_archive, read_hdf5

FIRST = 8
"""Bytes of a file that `Format.recognizes` gets."""


@dataclass(frozen=True)
class Format:
    """A format of models. `recognizes`: whether a path, whose first bytes are given and empty for a folder, has it."""

    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path], Chain]


ONNX = ".onnx"
"""The format of `FORMATS` that is also one of exported files."""
SAVED_MODEL = "saved_model.pb"
"""The file of a SavedModel that has its graph."""
IR_VERSION = b"\x08"
"""The first byte of an .onnx file as every library writes it: the tag of its first field."""


def _read_saved_model(path: Path) -> Chain:
    from .saved_model import read_saved_model

    return read_saved_model(path)


def _read_onnx(path: Path) -> Chain:
    from .onnx_chain import read_onnx

    return read_onnx(path)


FORMATS: Mapping[str, Format] = {
    "SavedModel": Format(lambda path, _: (path / SAVED_MODEL).is_file(), _read_saved_model),
    "HDF5": Format(lambda _, first: first == b"\x89HDF\r\n\x1a\n", read_hdf5),
    ".keras": Format(lambda _, first: first[:4] == b"PK\x03\x04", read_archive),
    ONNX: Format(lambda path, first: first[:1] == IR_VERSION or path.suffix == ONNX, _read_onnx),
}
"""Readers by format, tried in order."""


def format_of(path: Path) -> Format | None:
    """The format of a file or folder, by its first bytes and not by its name; None for another one.

    Raises FormatError for what is neither file nor folder, or is not there.
    """
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    first = b""
    if not path.is_dir():
        with open_regular(path) as file:
            first = file.read(FIRST)
    return next((format for format in FORMATS.values() if format.recognizes(path, first)), None)


SUFFIXES = (".h5", ".hdf5", ".keras")
"""Names of files that are models of Keras, or should be."""


def is_trained(path: Path) -> bool:
    """Whether a path is a model of a format in which people train, or has the name of one."""
    if path.suffix.lower() in SUFFIXES:
        return True
    return path.exists() and format_of(path) not in (None, FORMATS[ONNX])


def read_model(path: Path) -> Chain:
    """A model of a file or folder as a chain of layers; its arrays are read when they are asked for, one at a time.

    What no chain has is a `Refused` layer, so that everything else can be shown: `Chain.require_readable` raises for it. Raises
    FormatError for a file that is damaged or of another kind, and NotInstalledError where the package that reads it is missing.
    """
    format = format_of(path)
    if format is None:
        raise FormatError(f"{path}: {_other(path)}")
    return format.read(path)


def _other(path: Path) -> str:
    """What a path without a format is."""
    if path.is_dir():
        return "is a folder, must be a file or a SavedModel"
    with open_regular(path) as file:
        first = file.read(1)
    if first in (b"{", b"["):
        return 'is JSON: a topology without weights; the file that model.save("model.keras") writes would do'
    if first == b"\x80":
        return f"is a pickle, which is code and is not read; {SAVE_WHOLE.partition('; ')[2]}"
    return f"is no model that can be read: {', '.join(FORMATS)}"
