"""C files compiled by the compilers that are here, and run in this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tiedae.export.c.source import CSource
from tiedae.program.program import Program

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")


EXPECTED = [name for name in os.environ.get("TIEDAE_EXPECT_TOOLS", "").split(",") if name]
"""Tools that CI installed: where one is missing, its tests fail."""


def tool(name: str) -> str:
    """The path of a tool; the test is skipped, with the name, where it is missing, and fails where it is expected."""
    found = shutil.which(name)
    if found is None and name in EXPECTED:
        pytest.fail(f"{name} was to be installed here")
    if found is None:
        pytest.skip(f"no {name} here")
    return found


def compiler(name: str = "cc") -> str:
    """The path of a C compiler, see `tool`."""
    return tool(name)


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


def write_project(files: Mapping[str, bytes], folder: Path) -> Path:
    """The files of `c_project` in a folder, which it returns."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def built_check(project: Path, program: Path, *options: str, cc: str = "cc") -> Path:
    """The check of a project, compiled without a warning and without CMake."""
    sources = [project / "main.c", *project.glob("examples/check/*.c"), *project.glob("src/*.c")]
    command = [tool(cc), *STRICT, *options, "-I", project / "src", *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert not done.returncode, done.stderr[:3000]
    return program


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


def sanitized(source: CSource, x: np.ndarray, program: Program, folder: Path) -> bytes:
    """Code and y of each sample, from a program under AddressSanitizer and UBSan whose blocks have their exact sizes."""
    sizes = ", ".join(str(program.tensors[name].size) for name in ("x", "code", "y"))
    (folder / "main.c").write_text(MAIN.replace("NAME", source.name).replace("SIZES", sizes), encoding="utf-8")
    (folder / "x.bin").write_bytes(x.tobytes())
    options = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    files = [str(write(source, folder)), str(folder / "main.c"), "-o", str(folder / "main")]
    subprocess.run([compiler(), "-std=c99", *options, *files], check=True, timeout=300)
    return subprocess.run([folder / "main", folder / "x.bin"], capture_output=True, check=True, timeout=60).stdout


MAIN = """#include <stdio.h>
#include <stdlib.h>
#include "NAME.h"
int main(int count, char **arguments)
{
  const size_t sizes[] = {SIZES};
  uint8_t *x = malloc(sizes[0]), *code = malloc(sizes[1]), *y = malloc(sizes[2]);
  NAME_arena *arena = malloc(sizeof(NAME_arena));
  FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
  if (file == NULL) return 2;
  while (fread(x, 1, sizes[0], file) == sizes[0]) {
    if (NAME_reconstruct(arena, x, code, y) != 0) return 1;
    fwrite(code, 1, sizes[1], stdout);
    fwrite(y, 1, sizes[2], stdout);
  }
  free(x); free(code); free(y); free(arena);
  return fclose(file);
}
"""
