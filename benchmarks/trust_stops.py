"""Stops a command of tiedae at a change of the file system: killed, interrupted, on a full disk, in a read-only folder.

The command runs in a process of its own, forked from one that has imported TensorFlow. Its audit hook counts the changes:
files opened for writing, renamed and removed, folders made and removed. At the chosen one it does what stops the command, which
is real: a signal, a file system without space, folders without permission to write.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import tiedae
from tiedae.cli import main

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod"}
"""Audit events of changes; of `open` those that may write."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
TRAINING = ("optuna", "tensorflow", "tensorflow_model_optimization", "tf_keras")
OF_FILES = tuple(
    f"tiedae.{name}" for name in ("cli.tae_files", "cli.coding", "cli.app_folders", "report.rendering", "dedupe.share")
)
"""What commands without training import first."""
SECONDS = 200
"""A process that takes longer hangs."""
CRASHED = 70


class Way(StrEnum):
    """How a command is stopped. `TORN`: the kernel ends it amid a write. `LATER`: Ctrl-C a moment after the change.

    `LIMIT`: files may not grow; it replaces a full disk where none can be mounted. `BESIDE`: it is not stopped; another
    process runs the same command meanwhile.
    """

    KILL = "kill -9"
    TORN = "killed in a write"
    INTERRUPT = "Ctrl-C"
    LATER = "Ctrl-C later"
    FULL = "full disk"
    LIMIT = "file limit"
    READ_ONLY = "read-only folder"
    BESIDE = "two processes"


@dataclass(frozen=True)
class Place:
    """Where commands run: in `root`, which holds `in`, `out` and `tmp` and may be a file system of its own (`mounted`)."""

    root: Path
    mounted: bool

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def filler(self) -> Path:
        return self.root / "filler"

    def writable(self) -> None:
        """Undo a full disk and read-only folders."""
        self.filler.unlink(missing_ok=True)
        for folder, _, _ in os.walk(self.root):
            Path(folder).chmod(0o755)


@dataclass(frozen=True)
class Stop:
    """At which change, from 1; `bytes`: that a file may still grow to, or that the disk has left."""

    point: int
    way: Way
    bytes: int = 0


class Ended(NamedTuple):
    """Exit code or −signal, lines on standard error, whether the point was reached.

    `sites`: the place in our code of each change, of a command without a stop."""

    code: int
    lines: list[str]
    reached: bool
    sites: list[str]


@contextlib.contextmanager
def place(megabytes: int = 128) -> Iterator[Place]:
    """A new place, on a file system of its own where this process may mount one."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mounted = (
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", root], stderr=-3).returncode
            == 0
        )
        try:
            for name in ("in", "out", "tmp"):
                (root / name).mkdir()
            yield Place(root, mounted)
        finally:
            if mounted:
                subprocess.run(["umount", "-l", root], check=True)


def warm(*, trains: bool) -> None:
    """Import what commands need, so that each process forked from this one starts at once. Optional runtimes stay out."""
    sys.modules |= dict.fromkeys(("openvino", "tflite_micro"))
    for name in ("onnxruntime", "ai_edge_litert.interpreter", *TRAINING * trains):
        importlib.import_module(name)
    modules = [module.name for module in pkgutil.walk_packages(tiedae.__path__, "tiedae.")] if trains else OF_FILES
    for name in modules:
        if name.rpartition(".")[2] != "__main__":
            importlib.import_module(name)


def run(call: Sequence[str], where: Place, stop: Stop | None = None, at_point: Callable[[], None] = lambda: None) -> Ended:
    """Run a command to its end, or to where it is stopped; `at_point` is called meanwhile for `Way.BESIDE`."""
    with tempfile.TemporaryDirectory() as folder:
        err, found = Path(folder) / "err", Path(folder) / "sites"
        (reached, say), (wait, go_on) = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            _child(call, where, err, found, None if stop is None else _Stopper(where, stop, say, wait))
        os.close(say)
        os.close(wait)
        try:
            came = bool(os.read(reached, 1))
            if came and stop is not None and stop.way is Way.LATER:
                os.killpg(child, signal.SIGINT)
            if came and stop is not None and stop.way is Way.BESIDE:
                at_point()
                os.write(go_on, b"x")
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        finally:
            os.close(reached)
            os.close(go_on)
        sites = json.loads(found.read_text()) if found.exists() else []
        return Ended(code, err.read_text(errors="replace").splitlines(), came, sites)


def _child(call: Sequence[str], where: Place, err: Path, found: Path, stopper: _Stopper | None) -> NoReturn:
    code = CRASHED
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for descriptor, path, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, os.devnull, os.O_WRONLY),
            (2, err, os.O_CREAT | os.O_RDWR),
        ):
            os.dup2(os.open(path, flags, 0o644), descriptor)
        os.chdir(where.root)
        os.environ |= {"TMPDIR": str(where.root / "tmp"), "XDG_CACHE_HOME": str(where.root / "tmp"), "OMP_NUM_THREADS": "1"}
        tempfile.tempdir = None
        if os.geteuid() == 0:
            _drop_capabilities()
        hook = stopper or _Counter(where)
        sys.addaudithook(hook)
        code = main(list(call))
        sys.stdout.flush()
        sys.stderr.flush()
        if stopper is None:
            found.write_text(json.dumps(hook.sites))
    except BaseException:  # noqa: BLE001 a traceback is one of the errors that are looked for
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _drop_capabilities() -> None:
    """Let permissions of folders count for root too: capset(2) with none."""
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


class _Counter:
    """An audit hook that lists the changes below a place, each as the lines of our code that lead to it."""

    def __init__(self, where: Place) -> None:
        self.root, self.sites, self.main = str(where.root), list[str](), threading.get_ident()

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or threading.get_ident() != self.main:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        path = os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else ""
        if Path(path).is_absolute() and not path.startswith(self.root):
            return
        self.sites.append(f"{event} {_callers()}")
        self.counted()

    def counted(self) -> None:
        """Called after each change that was listed, before it is made."""


class _Stopper(_Counter):
    def __init__(self, where: Place, stop: Stop, say: int, wait: int) -> None:
        super().__init__(where)
        self.place, self.stop, self.say, self.wait = where, stop, say, wait

    def counted(self) -> None:
        if len(self.sites) != self.stop.point:
            return
        os.write(self.say, b"x")
        match self.stop.way:
            case Way.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Way.TORN | Way.LIMIT:
                if self.stop.way is Way.TORN:
                    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.stop.bytes, self.stop.bytes))
            case Way.INTERRUPT:
                os.killpg(0, signal.SIGINT)
            case Way.FULL:
                free = os.statvfs(self.place.root)
                descriptor = os.open(self.place.filler, os.O_CREAT | os.O_WRONLY)
                os.posix_fallocate(descriptor, 0, max(1, free.f_bavail * free.f_frsize - self.stop.bytes))
                os.close(descriptor)
            case Way.READ_ONLY:
                for folder, _, _ in os.walk(self.place.out):
                    Path(folder).chmod(0o555)
            case Way.BESIDE:
                os.read(self.wait, 1)


def _callers() -> str:
    """The lines of our code on the stack, innermost first."""
    frame, lines = sys._getframe(2), list[str]()
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("tiedae."):
            lines.append(f"{name.removeprefix('tiedae.')}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(lines)
