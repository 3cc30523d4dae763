"""Atomic writing of files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomic(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write bytes to a temporary file beside `path`, then rename it into place; on any failure `path` is as it was.

    A link stays and what it points to is replaced; a device or a pipe, such as /dev/stdout, is written to. Raises OSError,
    which names `path`: FileExistsError where a file is there already and not to be replaced.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _write(Path(os.path.realpath(path)), data, replace=replace)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        if not replace:
            path.touch(exist_ok=False)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
