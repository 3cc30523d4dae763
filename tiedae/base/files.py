"""Files: reading of regular ones, atomic writing, and locks.

A file that is read may be a stranger's: a named pipe would be waited for and a device read without end, so that every file is
opened by `open_regular`, or its path checked by `require_regular` where a library opens it. A file that is written is made
beside its place and renamed. Nothing else opens a file for writing, and no last part of a path that we chose is followed where
it is a link: the folder may be a stranger's.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from io import BufferedReader, BufferedWriter, FileIO
from pathlib import Path
from typing import IO

from .errors import FormatError, InputError

UNFINISHED = ".tiedae-part"
"""End of the hidden name of what is being written."""
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def _kind(mode: int) -> str:
    return _KINDS.get(stat.S_IFMT(mode), "a device")


def expanded(path: str | Path) -> Path:
    """A path whose first part may be `~` or `~name`, the home of a user; InputError where that is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise InputError(f"{path}: no home folder is known for {user}; write the path in full") from None


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

    A link stays and what it points to is replaced; a device or a pipe, such as /dev/stdout, is written to. A file that is
    replaced keeps its mode, and its other names (hard links) have the new bytes too. Unless `follow`, the link or the name
    itself is replaced and a device or a pipe is refused: for a folder that a stranger may have prepared.

    Raises InputError as `require_replaceable`, and OSError, which names `path`: FileExistsError where a file is there already
    and not to be replaced.
    """
    if follow and path.exists() and not path.is_file():
        with _naming(path):
            path.write_bytes(data)
        return
    with atomic(path, replace=replace, follow=follow) as file:
        file.write(data)


def require_replaceable(path: Path) -> None:
    """Raise InputError where something other than a regular file is there: only such a file is ever replaced."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is {_kind(path.stat().st_mode)}, must be a regular file or a new one")


@contextlib.contextmanager
def atomic(path: Path, *, replace: bool = True, follow: bool = True) -> Iterator[BufferedWriter]:
    """An empty temporary file beside `path`, renamed into place if the block ends without an error; see `write_atomic`.

    A device or a pipe is refused: the block may write anywhere in the file. InputError where another process writes `path`.
    """
    with _naming(path):
        if follow or not path.is_symlink():
            require_replaceable(path)
        target = Path(os.path.realpath(path)) if follow else path
        target.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(target, path, folder=False) as temporary:
            before = target.stat() if follow and replace and target.exists() else None
            with _open_for_writing(temporary) as file:
                if before is not None:
                    os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                yield file
                file.flush()
                os.fsync(file.fileno())
            if before is not None and before.st_nlink > 1:
                _write_over(temporary, target)
            else:
                place(temporary, target, replace=replace)


def new_file(path: Path) -> BufferedWriter:
    """A file that was not there, open for writing, in a folder of this process's own."""
    return _open_for_writing(path, os.O_CREAT | os.O_EXCL)


def _open_for_writing(path: Path, flags: int = 0) -> BufferedWriter:
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o644)
    file = os.fdopen(descriptor, "wb")
    try:
        require_regular(path, os.fstat(descriptor).st_mode)
    except FormatError:
        file.close()
        raise
    return file


def _write_over(source: Path, target: Path) -> None:
    """Copy a whole file into one that has several names, all of which have the new bytes then."""
    with source.open("rb") as whole, _open_for_writing(target) as file:
        shutil.copyfileobj(whole, file)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to work in, removed at the end; InputError where another process works there."""
    with contextlib.ExitStack() as stack:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = stack.enter_context(_unfinished(path, path, folder=True))
        yield folder


@contextlib.contextmanager
def _unfinished(target: Path, path: Path, *, folder: bool) -> Iterator[Path]:
    """A new hidden file or folder beside `target`, which no other process holds, and which is removed where it stays.

    It has one name for a target. So a process that was killed leaves one, without its lock, and the next takes its place.
    """
    temporary = target.with_name(f".{target.name}{UNFINISHED}")
    busy = f"{path}: another process is writing to it; wait for it or choose another {'folder' if folder else 'file'}"
    if temporary.is_symlink():
        temporary.unlink()
    elif temporary.exists():
        with _locked(temporary, busy):
            shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink()
    try:
        try:
            temporary.mkdir() if folder else temporary.touch(0o644, exist_ok=False)
        except FileExistsError:
            raise InputError(busy) from None
        with _locked(temporary, busy) as descriptor:
            try:
                yield temporary
            finally:
                if _is_open_at(descriptor, temporary):
                    shutil.rmtree(temporary, ignore_errors=True) if folder else temporary.unlink()
    except KeyboardInterrupt:  # it may come before the lock, or amid the removal
        with contextlib.suppress(InputError), _locked(temporary, busy):
            shutil.rmtree(temporary, ignore_errors=True) if folder else temporary.unlink()
        raise


@contextlib.contextmanager
def _locked(path: Path, busy: str) -> Iterator[int]:
    """Hold a file or folder for this process; InputError with the text `busy` where another one does, or has removed it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError(busy) from None
    try:
        require_alone(descriptor, busy)
        if not _is_open_at(descriptor, path):
            raise InputError(busy)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    """Whether an open file or folder is still the one at `path`."""
    return os.path.lexists(path) and os.path.samestat(path.lstat(), os.fstat(descriptor))


def place(source: Path, target: Path, *, replace: bool = True) -> None:
    """Rename a file; FileExistsError where `target` is there and not to be replaced, also by another process meanwhile."""
    if replace:
        source.replace(target)
    elif not _renamed(source, target, exchange=False):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)


def place_folder(source: Path, target: Path) -> None:
    """Rename a folder; what is at `target` is then at `source`, in one step where the file system can exchange two names.

    Elsewhere `target` is missing for a moment: what was there then has the name of `source` and `.earlier` behind it.
    """
    if not target.exists():
        source.rename(target)
    elif not _renamed(source, target, exchange=True):
        earlier = source.with_name(f"{source.name}.earlier")
        target.rename(earlier)
        source.rename(target)
        earlier.rename(source)


_CURRENT_FOLDER = {"linux": -100, "darwin": -2}
_RENAME = {"linux": ("renameat2", 1, 2), "darwin": ("renameatx_np", 4, 2)}
"""The function of the C library that never replaces, or exchanges; renameat2(2), renamex_np(2): its flags for each."""
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def _renamed(source: Path, target: Path, *, exchange: bool) -> bool:
    """Whether the system could rename without replacing, or exchange two names; False where it cannot. Raises OSError."""
    name, keep, swap = _RENAME.get(sys.platform, ("", 0, 0))
    rename = getattr(ctypes.CDLL(None, use_errno=True), name, None) if name else None
    if rename is None:
        return False
    here = _CURRENT_FOLDER[sys.platform]
    sys.audit("os.rename", str(source), str(target), -1, -1)
    if not rename(here, os.fsencode(source), here, os.fsencode(target), swap if exchange else keep):
        return True
    if (code := ctypes.get_errno()) in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))


def require_alone(file: IO | int, busy: str) -> None:
    """Hold an open file or folder for this process until it is closed; InputError with the text `busy` if another one does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(busy) from None


@contextlib.contextmanager
def held(path: Path, *, busy: str = "") -> Iterator[FileIO]:
    """A file that is there, open for reading and writing, which no other process holds.

    Raises InputError, with the text `busy`, where another process holds it, or has just put another file in its place; as
    `require_regular`.
    """
    with _held(path, 0, busy) as file:
        yield file


@contextlib.contextmanager
def own(path: Path, *, busy: str = "") -> Iterator[FileIO]:
    """A file whose name we chose, made where it was not there; as `held`. InputError too for a link, and another's name."""
    if path.is_symlink():
        raise InputError(f"{path}: is a link, must be a regular file or a new one; remove it")
    with _held(path, os.O_CREAT | os.O_NOFOLLOW, busy) as file:
        if os.fstat(file.fileno()).st_nlink > 1:
            raise InputError(f"{path}: has another name (a hard link), must be a file of its own; remove it")
        yield file


@contextlib.contextmanager
def _held(path: Path, flags: int, busy: str) -> Iterator[FileIO]:
    busy = busy or f"{path}: another process is writing to it; wait for it or choose another file"
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o644)
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
