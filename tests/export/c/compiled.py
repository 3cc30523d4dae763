"""C files compiled by the compilers that are here, and run in this process."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tiedae.export.c.source import CSource

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


def compiler(name: str = "cc") -> str:
    """The path of a C compiler; the test is skipped, with the name, where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def write(source: CSource, folder: Path) -> Path:
    """NAME.c and NAME.h in a folder; the path of NAME.c."""
    for name, text in source.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / f"{source.name}.c"


def shared(source: CSource, folder: Path, *options: str, cc: str = "cc") -> ctypes.CDLL:
    """The library of a C file, compiled without a warning."""
    library = folder / f"{source.name}.so"
    command = [
        compiler(cc),
        *STRICT,
        *(options or ("-O1",)),
        "-shared",
        "-fPIC",
        str(write(source, folder)),
        "-o",
        str(library),
    ]
    subprocess.run(command, check=True, timeout=300)
    return ctypes.CDLL(str(library))


def pointer(values: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


def run(
    library: ctypes.CDLL, source: CSource, function: str, x: np.ndarray, outputs: Mapping[str, tuple[int, str]]
) -> dict[str, np.ndarray]:
    """A function on each sample: outputs by name, (values per sample, dtype), in the order of its parameters."""
    arena = (ctypes.c_int32 * (source.arena // 4))()
    found = {name: np.zeros((len(x), size), dtype) for name, (size, dtype) in outputs.items()}
    call = getattr(library, f"{source.name}_{function}")
    for i in range(len(x)):
        status = call(arena, pointer(x[i]), *(pointer(each[i]) for each in found.values()))
        assert status == 0, (function, i, status)
    return found
