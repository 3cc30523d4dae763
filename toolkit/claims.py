"""Folders that a command works in: one process at a time, and a marker that says whose work they hold."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiedae.compress.errors import FormatError, InputError
from tiedae.compress.files import write_atomic


@dataclass(frozen=True)
class Marker:
    """What a folder is for: `mine` is written to `path`, `words` say what it is where a value of it differs.

    `ours` are the files and folders that go when another one's work is replaced.
    """

    path: Path
    mine: Mapping[str, Any]
    words: Mapping[str, str]
    ours: Sequence[Path]

    def claim(self, also: Mapping[str, Any], *, force: bool) -> bool:
        """Make the folder ours, with `also` beside the marker's values; True where it was already.

        Raises InputError where it holds another one's work, unless `force`, which replaces that.
        """
        folder = self.path.parent
        if self.path.exists() and not force:
            theirs = read_json(self.path)
            for key, what in self.words.items():
                if theirs.get(key) != self.mine[key]:
                    raise InputError(f"{folder}: holds {what}; choose another --out, or --force to replace it")
            return True
        there = [path for path in self.ours if path.exists()]
        if there and not force:
            raise InputError(f"{folder}: holds {', '.join(path.name for path in there)} of unknown origin; use --force")
        self.path.unlink(missing_ok=True)
        for path in there:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_json(self.path, dict(self.mine) | dict(also))
        return False


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold OUT for this process; InputError where another run works there."""
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{out}: another run is working here; wait for it or choose another --out") from None
        yield


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: missing or damaged ({error}); --force starts afresh") from None


def write_json(path: Path, value: object) -> None:
    write_atomic(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())
