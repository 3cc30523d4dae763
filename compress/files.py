"""Atomic writing of files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_atomic(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write bytes to a temporary file beside `path`, then rename it into place; on any failure `path` is as it was.

    A link stays and what it points to is replaced; a device or a pipe, such as /dev/stdout, is written to. Raises OSError,
    which names `path`: FileExistsError where a file is there already and not to be replaced.
    """
    if path.exists() and not path.is_file():
        with _naming(path):
            path.write_bytes(data)
        return
    with atomic(path, replace=replace) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def atomic(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """An empty temporary file beside `path`, renamed into place if the block ends without an error; see `write_atomic`."""
    with _naming(path):
        target = Path(os.path.realpath(path))
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


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
