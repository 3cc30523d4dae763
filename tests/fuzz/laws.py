"""The laws of every reader, and the process in which one input at a time is held to them.

An input gives a value or a `TiedaeError` of one line, in `SECONDS` of processor time and with `MEMORY` bytes beyond `TIMES` the
file, or the decoded size that it declares. Nothing is written outside the folder that the file is in, nothing outside it is
read, and no code runs. An allocation beyond the limit fails, also where a reader makes an error of its own of that: the
size was not checked first.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any

from tiedae.base.errors import TiedaeError

SECONDS = 5.0
TIMES = 10
MEMORY = 200 << 20
RESERVED = 16 << 30
"""Bytes of address space of a library that reserves what a damaged file states, and reads it then, which fails."""
WALL_SECONDS = 120.0
"""After this a process is taken to wait for something."""
_PAGE = resource.getpagesize()
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.remove": 1, "os.rename": 2, "os.mkdir": 1, "os.rmdir": 1, "os.link": 2, "os.symlink": 2, "os.truncate": 1}
_CHANGES |= {"os.chmod": 1, "os.chown": 1, "os.utime": 1, "os.mkfifo": 1, "os.mknod": 1}
_RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "pickle.find_class"}
_RUNS |= {"ctypes.dlopen", "socket.connect", "socket.bind", "socket.getaddrinfo", "code.__new__"}


class Broken(BaseException):
    """A law does not hold. No reader catches it."""


def require(holds: bool, law: str) -> None:
    if not holds:
        raise Broken(law)


@dataclass
class Guard:
    """What a process may touch while it reads a file in `folder`: nothing else is written or read, but for Python's own
    modules, and no code runs, but theirs. `broken`: laws that were, also where a reader swallowed the exception."""

    folder: str
    anywhere: bool = False
    on: bool = False
    broken: list[str] = field(default_factory=list)
    modules: tuple[str, ...] = field(default_factory=lambda: _modules())
    known: frozenset[str] = field(default_factory=lambda: _known())

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            self._open(*arguments)
        elif event in _CHANGES:
            for path in arguments[: _CHANGES[event]]:
                self._require(self._inside(path), f"{event} of {path!r}")
        elif event in _RUNS:
            self._require(False, f"{event} {arguments[0]!r:.80}")
        elif event == "exec":
            code = arguments[0]
            file = code.co_filename if isinstance(code, CodeType) else ""
            annotation = file == "<string>" and sys._getframe(1).f_code.co_filename == typing.__file__
            self._require(annotation or file.startswith((*self.modules, "<frozen")), f"runs the code {file!r:.80}")
        elif event == "import":
            name = str(arguments[0]).partition(".")[0]
            self._require(name in self.known, f"imports {arguments[0]!r:.80}")

    def _open(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or path == "<string>" or self._inside(path):  # Python looks there for a line that is no syntax
            return
        writes = bool(flags & _WRITES) if mode is None else bool(set("wax+") & set(mode))
        own = os.fsdecode(path).startswith((*self.modules, "/proc/self/", "/dev/urandom"))
        self._require((own or self.anywhere) and not writes, f"{'writes' if writes else 'opens'} {path!r:.80}")

    def _inside(self, path: Any) -> bool:
        return isinstance(path, int) or f"{os.path.realpath(os.fsdecode(path))}/".startswith(f"{self.folder}/")

    def _require(self, holds: bool, law: str) -> None:
        if not holds:
            self.broken.append(law)
            raise Broken(law)


def _modules() -> tuple[str, ...]:
    """The folders of modules that are imported, ours included."""
    return tuple({os.path.realpath(path) for path in (*sys.path, sys.prefix, sys.base_prefix) if path and Path(path).is_dir()})


def _known() -> frozenset[str]:
    return frozenset({name.partition(".")[0] for name in sys.modules} | sys.stdlib_module_names)


@dataclass(frozen=True)
class Verdict:
    """How an input ended: a value, or refused at a place, or with a `law` that it broke there."""

    place: str = ""
    law: str = ""

    @property
    def value(self) -> bool:
        return not (self.law or self.place)

    @property
    def refused(self) -> bool:
        return bool(self.place) and not self.law


@dataclass
class Court:
    """Holds inputs to the laws, in a process of its own that ends with it. `folder` is the one that files may be written in,
    and read from, unless `anywhere`."""

    folder: Path
    anywhere: bool = False
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(os.path.realpath(self.folder), anywhere=self.anywhere)
        tempfile.tempdir = self.guard.folder
        faulthandler.disable()
        for name in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(name, signal.SIG_DFL)
        sys.addaudithook(self.guard)

    def judge(self, read: Callable[[Path], object], path: Path, data: bytes, declared: int, *, resident: bool) -> Verdict:
        """Write `data` to `path` and read it. `resident`: what is reserved and never touched counts as no memory."""
        path.write_bytes(data)
        self.guard.broken.clear()
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
        try:
            with (_resident if resident else _mapped)(TIMES * max(len(data), declared) + MEMORY):
                self.guard.on = True
                try:
                    read(path)
                finally:
                    self.guard.on = False
        except TiedaeError as error:
            causes = list(_causes(error))
            return Verdict(place_of(causes[-1]), self._law(str(error), [] if resident else causes))
        except BaseException as error:  # noqa: BLE001 (what this looks for)
            return Verdict(place_of(error), f"{type(error).__name__}: {error!s:.200}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return Verdict(law=next(iter(self.guard.broken), ""))

    def _law(self, text: str, causes: Sequence[BaseException]) -> str:
        """The law that an input broke which is refused; empty for none."""
        if self.guard.broken:
            return self.guard.broken[0]
        if "\n" in text:
            return f"an error of several lines: {text!r:.100}"
        unchecked = [each for each in causes if _is_allocation(each)]
        return f"allocates before it checks: {unchecked[0]!s:.100}" if unchecked else ""


def _is_allocation(error: BaseException) -> bool:
    """Whether an error says that there is no memory; Python's parser says so of too many brackets too."""
    parser = any(frame.f_code.co_filename.endswith("/ast.py") for frame, _ in traceback.walk_tb(error.__traceback__))
    named = re.search(r"unable to allocate|memory allocation failed|cannot allocate|out of memory", str(error), re.IGNORECASE)
    return (isinstance(error, MemoryError) and not parser) or named is not None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def place_of(error: BaseException) -> str:
    """File and line of the innermost frame, and of the innermost of ours."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [frame for frame in frames if not re.search("/site-packages/|/lib/|/fuzz/|<", frame[0])]
    named = dict.fromkeys((*frames[-1:], *ours[-1:]))
    return " < ".join(f"{'/'.join(file.split('/')[-2:])}:{line}" for file, line in named)


@contextlib.contextmanager
def _resident(limit: int) -> Iterator[None]:
    """Broken where the process then had more than `limit` bytes in memory beside what it had; it may map `RESERVED`."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak()
    try:
        with _mapped(RESERVED):
            yield
    finally:
        peak = _peak()
        require(peak - before <= limit, f"takes {peak - before:,} bytes of memory, must be {limit:,} at most")


def _peak() -> int:
    """Bytes that were in memory at most since the count was cleared."""
    found = re.search(rb"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_bytes())
    assert found
    return int(found[1]) << 10


@contextlib.contextmanager
def _mapped(limit: int) -> Iterator[None]:
    """Let the process map `limit` bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * _PAGE + limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
