"""Files: reading of regular ones, atomic writing, and locks.

A file that is read may be a stranger's: a named pipe would be waited for and a device read without end, so that every file is
opened by `open_regular`, or its path checked by `require_regular` where a library opens it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from io import BufferedReader, FileIO
from pathlib import Path
from typing import IO

from .errors import FormatError, InputError

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def require_regular(path: Path, mode: int | None = None) -> None:
    """Raise FormatError unless the path, links followed, is a regular file; OSError where it is not there.

    `mode`: that of the opened file, where it is open already.
    """
    mode = path.stat().st_mode if mode is None else mode
    if not stat.S_ISREG(mode):
        raise FormatError(f"{path}: is {_kind(mode)}, must be a regular file")


def open_regular(path: Path) -> BufferedReader:
    """A file opened for reading, without waiting for a writer; raises as `require_regular` does."""
    with _naming(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        require_regular(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path) -> bytes:
    """The bytes of a file; raises as `require_regular` does."""
    with open_regular(path) as file:
        return file.read()


def write_atomic(path: Path, data: bytes, *, replace: bool = True, follow: bool = True) -> None:
    """Write bytes to a temporary file beside `path`, then rename it into place; on any failure `path` is as it was.

    A link stays and what it points to is replaced; a device or a pipe, such as /dev/stdout, is written to. Unless `follow`,
    the link itself is replaced and a device or a pipe is refused: for a folder that a stranger may have prepared.

    Raises InputError as `require_replaceable`, and OSError, which names `path`: FileExistsError where a file is there already
    and not to be replaced.
    """
    if follow and path.exists() and not path.is_file():
        with _naming(path):
            path.write_bytes(data)
        return
    with atomic(path, replace=replace, follow=follow) as temporary:
        temporary.write_bytes(data)


def require_replaceable(path: Path) -> None:
    """Raise InputError where something other than a regular file is there: only such a file is ever replaced."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is {_kind(path.stat().st_mode)}, must be a regular file or a new one")


@contextlib.contextmanager
def atomic(path: Path, *, replace: bool = True, follow: bool = True) -> Iterator[Path]:
    """An empty temporary file beside `path`, renamed into place if the block ends without an error; see `write_atomic`.

    A device or a pipe is refused: the block may write anywhere in the file.
    """
    with _naming(path):
        if follow or not path.is_symlink():
            require_replaceable(path)
        target = Path(os.path.realpath(path)) if follow else path
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        temporary = Path(name)
        try:
            yield temporary
            os.fsync(descriptor)
            temporary.chmod(0o644)
            if not replace:
                target.touch(exist_ok=False)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def require_alone(file: IO, busy: str) -> None:
    """Hold an open file for this process until it is closed; InputError with the text `busy` where another one holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(busy) from None


@contextlib.contextmanager
def held(path: Path, *, create: bool = False) -> Iterator[FileIO]:
    """A file open for reading and writing that no other process holds; `create`: empty where it was not there.

    Raises InputError where another process holds it, or has just put another file in its place; as `require_regular`.
    """
    busy = f"{path}: another process is writing to it; wait for it or choose another file"
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)
    with FileIO(descriptor, "r+b") as file:
        require_regular(path, os.fstat(descriptor).st_mode)
        require_alone(file, busy)
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))):
            raise InputError(busy)
        yield file


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
