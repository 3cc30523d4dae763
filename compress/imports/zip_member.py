"""Files of others, and members of their ZIP archives: read within bounds, or opened where they lie in the archive."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tiedae.base.errors import FormatError
from tiedae.base.files import open_regular
from tiedae.base.limits import FREE_BYTES, INFLATION, KERAS_CONFIG

from .file_window import FileWindow

DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    ValueError,
    OSError,
)


def open_whole(path: Path) -> FileWindow:
    """A regular file as a whole. h5py does not see that it is one, so that a model may be saved to it while it is read."""
    with open_regular(path) as file:
        return FileWindow(os.dup(file.fileno()), 0, os.fstat(file.fileno()).st_size)


def read_member(path: Path, name: str) -> bytes:
    """A member that is a text. Raises FormatError for a damaged archive, one without the member, and one too large."""
    with _archive(path) as (_, archive):
        info = _info(path, archive, name)
        if info.file_size > KERAS_CONFIG:
            raise FormatError(f"{path}: {name} has {info.file_size:,} bytes, must have {KERAS_CONFIG:,} at most")
        return archive.read(info)


def open_member(path: Path, name: str) -> FileWindow:
    """A member as a file: in its place in the archive, or unpacked into a temporary file where it is compressed."""
    with _archive(path) as (file, archive):
        info = _info(path, archive, name)
        with archive.open(info) as member:
            if info.compress_type == zipfile.ZIP_STORED:
                return FileWindow(os.dup(file.fileno()), _start(file.fileno(), info.header_offset), info.file_size)
            with tempfile.TemporaryFile() as unpacked:
                shutil.copyfileobj(member, unpacked)
                unpacked.flush()
                return FileWindow(os.dup(unpacked.fileno()), 0, info.file_size)


def _start(descriptor: int, header: int) -> int:
    """Where the bytes of a member begin: behind its local header, a name and an extra field."""
    name, extra = struct.unpack("<26xHH", os.pread(descriptor, 30, header))
    return header + 30 + name + extra


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[tuple[io.BufferedReader, zipfile.ZipFile]]:
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield file, archive
        except DAMAGE as error:
            raise FormatError(f"{path}: is damaged: {error}") from error


def _info(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A member, after the names of all of them."""
    names = archive.namelist()
    for other in names:
        if other.startswith(("/", "\\")) or ".." in PurePosixPath(other.replace("\\", "/")).parts:
            raise FormatError(f"{path}: its member {other[:60]} lies outside the archive")
    if names.count(name) != 1:
        if any(other.endswith(".pkl") for other in names):
            raise FormatError(f"{path}: holds a pickle, which is code; torch.onnx.export writes a file that can be read")
        raise FormatError(f"{path}: has {names.count(name)} members {name}, must have 1: a .keras file that model.save wrote")
    info = archive.getinfo(name)
    if info.file_size > FREE_BYTES + INFLATION * info.compress_size:
        sizes = f"{info.file_size:,} bytes, of which the archive has {info.compress_size:,}"
        raise FormatError(f"{path}: {name} would take {sizes}")
    return info
