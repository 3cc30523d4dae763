"""Folders that a command works in: one process at a time, and a marker that says whose work they hold."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiedae.base.errors import FormatError, InputError
from tiedae.base.files import UNFINISHED, beside, own, place, place_folder, read_regular, write_atomic
from tiedae.base.records import decode, encode, load_json
from tiedae.bundle.manifest import FILE as MANIFEST

NEXT = ".next"
"""In OUT: what --force works on, until it is whole."""
READY = ".ready"
"""In OUT: what is whole, and takes its place now."""
PLACES = ".places.json"
"""In OUT/.ready: the names that take a place, each with its inode."""


def claim(
    out: Path, name: str, mine: Mapping[str, Any], words: Mapping[str, str], ours: Sequence[str], *, resume: bool, force: bool
) -> tuple[Path, bool]:
    """The folder to work in, whose marker `name` is now `mine`, and whether this call continues the work there.

    It is OUT, or OUT/.next where `force` replaces what is in OUT: `ours`, patterns of its files and folders, which stay until
    `take_place`. OUT has to be held, see `alone_in`.

    Raises InputError where OUT holds another one's work, by `words` of what differs in its marker, or this one's
    and not `resume`; and where a name that is worked in is a link, which would lead out of OUT.
    """
    marker, later = out / name, out / NEXT
    there = [path for pattern in ours for path in sorted(out.glob(pattern))]
    for path in (out / READY, later, *there):
        if path.is_symlink():
            raise InputError(f"{path}: is a link, must be a file or folder of the run itself; remove it")
    if (out / READY).exists():
        _take_place(out, name, ours)
        there = [path for pattern in ours for path in sorted(out.glob(pattern))]
    for part in (part for pattern in (name, *ours) for part in out.glob(f".{pattern}{UNFINISHED}")):
        _remove(part)  # of a process that was killed: OUT is this one's alone
    if later.exists() and not (later / name).exists():
        shutil.rmtree(later)
    if resume and (later / name).exists() and not _differs(later / name, mine, words):
        return later, True
    if force and (there or marker.exists()):
        if later.exists():
            shutil.rmtree(later)
        later.mkdir()
        write_json(later / name, mine)
        return later, False
    if marker.exists():
        if what := _differs(marker, mine, words):
            raise InputError(f"{out}: holds {what}; choose another --out, or --force to replace it")
        if not resume:
            raise InputError(f"{out}: holds this {marker.stem} already; --resume continues or shows it, --force replaces it")
        return out, True
    if there:
        raise InputError(f"{out}: holds {', '.join(path.name for path in there)} of unknown origin; use --force")
    write_json(marker, mine)
    return out, False


def _differs(marker: Path, mine: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """What a folder holds whose marker is not `mine`; empty where it is."""
    theirs = decode(dict[str, Any], read_json(marker), marker)
    return next((what for key, what in words.items() if theirs.get(key) != mine[key]), "")


def take_place(out: Path, work: Path, name: str, ours: Sequence[str]) -> None:
    """Let the finished folder that `claim` gave take the place of what OUT holds.

    Each file and folder is replaced in one step, the marker last. A process that is killed meanwhile has left in OUT/.ready
    what is to do, and the next `claim` does it.
    """
    if work == out:
        return
    names = sorted((path.name for path in work.iterdir() if not path.name.startswith(".")), key=name.__eq__)
    write_json(work / PLACES, {each: (work / each).stat().st_ino for each in names})
    work.rename(out / READY)
    _take_place(out, name, ours)


def _take_place(out: Path, name: str, ours: Sequence[str]) -> None:
    ready = out / READY
    places = decode(dict[str, int], read_json(ready / PLACES), ready / PLACES)
    for each, inode in places.items():
        source, target = ready / each, out / each
        if not source.exists():
            continue
        if not (target.exists() and target.stat().st_ino == inode):  # else what is at `source` was here
            place_folder(source, target) if source.is_dir() else place(source, target)
        _remove(source)
    for path in (path for pattern in ours for path in out.glob(pattern) if path.name not in places):
        _remove(path)
    shutil.rmtree(ready.rename(out / NEXT))  # without a marker it is nobody's, if this is where a process is killed


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold OUT, which is made where it lacks, for this process; InputError for a file, or where another run works there."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, must be a folder")
    out.mkdir(parents=True, exist_ok=True)
    with own(out / ".lock", busy=f"{out}: another run is working here; wait for it or choose another --out"):
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
    """A folder to write into, which takes the place of `path` if the block ends without an error, in one step.

    Raises InputError where another process writes there.
    """
    with beside(path) as folder:
        partial = folder / "new"
        yield partial
        place_folder(partial, path)


def let_all_read(folder: Path) -> None:
    """Modes 0755 and 0644, whatever the umask: what is made here is copied to other machines and people."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def read_json(path: Path) -> Any:
    try:
        return load_json(read_regular(path), path)
    except (OSError, FormatError) as error:
        raise FormatError(f"{path}: missing or damaged ({error}); --force starts afresh") from None


def write_json(path: Path, value: object) -> None:
    """Write a file of a folder that a stranger may have prepared."""
    write_atomic(path, encode(value), follow=False)
