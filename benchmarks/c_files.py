"""What c_target.py measures of C files: bytes of objects, the deepest stack, and libraries that this process calls."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tiedae.apps.c.core import STACKS, Stacks
from tiedae.compress import CheckError
from tiedae.export.c.source import CSource

BUFFERS = {"encode": ("x", "code"), "decode": ("code", "y"), "reconstruct": ("x", "code", "y")}


def tool(*command: str, folder: Path) -> str:
    """What a command prints; CheckError where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"{' '.join(command)}: {done.stderr.strip()[:400]}")
    return done.stdout


def written(source: CSource, folder: Path, more: str = "") -> str:
    """Write the files, `more` behind NAME.c; the name of NAME.c."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in source.files.items():
        (folder / name).write_text(text + (more if name.endswith(".c") else ""), encoding="utf-8")
    return f"{source.name}.c"


def flash(source: CSource, folder: Path, *flags: str) -> int:
    """Bytes of .text and .rodata of NAME.c, as `size` counts them: all of the object that is not written to."""
    options = (*(flags or ("-O2",)), "-fno-asynchronous-unwind-tables")
    tool("gcc", "-std=c99", *options, "-c", written(source, folder), "-o", "flash.o", folder=folder)
    return int(tool("size", "flash.o", folder=folder).splitlines()[1].split()[0])


def deepest_stack(source: CSource, folder: Path, functions: Sequence[str]) -> int:
    """Bytes of the deepest chain of calls from any of these functions, as gcc -O2 states them."""
    name = written(source, folder)
    tool("gcc", "-std=c99", "-O2", STACKS, "-c", name, "-o", "stack.o", folder=folder)
    stacks = Stacks.of([(folder / "stack.ci").read_text(encoding="utf-8")])
    missing = [each for each in functions if each not in stacks.own]
    if missing:
        raise CheckError(f"{name}: gcc lists no stack of {', '.join(missing)}")
    return max(map(stacks.depth, functions))


class Library:
    """A C file, compiled with some flags; `more` is C behind it."""

    def __init__(self, source: CSource, folder: Path, *flags: str, more: str = "") -> None:
        self.source, self._arena = source, (ctypes.c_int32 * (source.arena // 4))()
        name = written(source, folder, more)
        tool("gcc", "-std=c99", *flags, "-shared", "-fPIC", name, "-o", "library.so", folder=folder)
        self.functions = ctypes.CDLL(str(folder / "library.so"))

    def bound(self, signature: str, tensors: Mapping[str, np.ndarray]) -> tuple[ctypes._NamedFuncPointer, tuple[object, ...]]:
        """A function and its arguments, ready to be called; `tensors`: of one sample each, by name."""
        function = getattr(self.functions, f"{self.source.name}_{signature}")
        return function, (self._arena, *(address(tensors[name]) for name in BUFFERS[signature]))

    def reconstruct(self, x: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes and y of samples, uint8 [n, inputs]."""
        code, y = np.zeros((len(x), units), np.uint8), np.zeros_like(x)
        for i in range(len(x)):
            function, arguments = self.bound("reconstruct", {"x": x[i], "code": code[i], "y": y[i]})
            if function(*arguments):
                raise CheckError(f"{self.source.name}_reconstruct: failed for sample {i}")
        return code, y


def address(values: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)
