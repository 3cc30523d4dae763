"""Folders that a command works in: one process at a time, and a marker that says whose work they hold."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiedae.bundle.manifest import FILE as MANIFEST
from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.files import read_regular, require_alone, write_atomic
from tiedae.compress.records import decode, encode, load_json


def claim(
    marker: Path, mine: Mapping[str, Any], words: Mapping[str, str], ours: Sequence[Path], *, resume: bool, force: bool
) -> bool:
    """Write `mine` to the marker of a folder; True where it is there already, and this call continues it.

    Raises InputError where the folder holds another one's work, by `words` of what differs in its marker, or this one's and
    not `resume`; unless `force`, which replaces `ours`: its files and folders.
    """
    folder = marker.parent
    if marker.exists() and not force:
        theirs = decode(dict[str, Any], read_json(marker), marker)
        for key, what in words.items():
            if theirs.get(key) != mine[key]:
                raise InputError(f"{folder}: holds {what}; choose another --out, or --force to replace it")
        if not resume:
            raise InputError(f"{folder}: holds this {marker.stem} already; --resume continues or shows it, --force replaces it")
        return True
    there = [path for path in ours if path.exists()]
    if there and not force:
        raise InputError(f"{folder}: holds {', '.join(path.name for path in there)} of unknown origin; use --force")
    marker.unlink(missing_ok=True)
    for path in there:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_json(marker, mine)
    return False


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold OUT, which is made where it lacks, for this process; InputError for a file, or where another run works there."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, must be a folder")
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        require_alone(lock, f"{out}: another run is working here; wait for it or choose another --out")
        yield


def require_new(
    path: Path, *, replace: bool, option: str, marker: str = MANIFEST, what: str = "bundle", apart: Path | None = None
) -> None:
    """Raise InputError where the folder exists, unless it is a bundle to `replace`; `option` does that.

    `marker`: the file of another kind of folder, and `what` that is. `apart`: a bundle that it may not be, hold or lie in.
    """
    if path.exists() and not replace:
        raise InputError(f"{path}: exists; choose another folder, or {option}")
    if path.exists() and not (path / marker).is_file():
        raise InputError(f"{path}: is no {what}, so it is not overwritten; choose another folder")
    here, there = (apart or path).resolve(), path.resolve()
    if apart is not None and (here.is_relative_to(there) or there.is_relative_to(here)):
        raise InputError(f"{path}: is, holds or lies in the bundle {apart}, must be another folder")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        partial = Path(folder) / "new"
        yield partial
        if path.exists():
            path.rename(Path(folder) / "before")
        partial.rename(path)


def read_json(path: Path) -> Any:
    try:
        return load_json(read_regular(path), path)
    except (OSError, FormatError) as error:
        raise FormatError(f"{path}: missing or damaged ({error}); --force starts afresh") from None


def write_json(path: Path, value: object) -> None:
    write_atomic(path, encode(value))
