"""C files as WebAssembly, by clang and wasm-ld: a module with vectors, and one without for engines that have none."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiedae.base.errors import ExportError
from tiedae.base.packages import missing

COMPILER, LINKER = "clang", "wasm-ld"
COMPILE = ("--target=wasm32", "-mcpu=mvp", "-std=c99", "-ffp-contract=off", "-nostdlib", "-fno-builtin")
LINK = ("--no-entry", "--strip-all", "--stack-first", "--export=__heap_base")
FEATURES: Mapping[str, tuple[str, ...]] = {"simd": ("-Oz", "-msimd128", "-mbulk-memory"), "scalar": ("-O2",)}
"""Options of each module, by its name. Vectors are written out in parts/wasm.c, so -Oz is as fast as -O3 there."""
STACK = 1 << 14
"""Bytes of the stack beside what layers take."""


@dataclass(frozen=True)
class Build:
    """What modules are made of: C texts by file name, macros, and the most values of a layer, on which the stack depends."""

    files: Mapping[str, str]
    defines: Sequence[str]
    widest: int

    def commands(self, features: str, module: str, compiler: str = COMPILER, linker: str = LINKER) -> list[list[str]]:
        """What makes a module with the `features` of `FEATURES`, in a folder whose `src` holds the texts.

        A layer takes 6 bytes of the stack per value; its size must be a multiple of 16.
        """
        sources = sorted(name for name in self.files if name.endswith(".c"))
        options = [*COMPILE, *FEATURES[features], *(f"-D{each}" for each in self.defines)]
        compiling = [[compiler, *options, "-c", f"src/{name}", "-o", f"{name}.o"] for name in sources]
        stack = f"stack-size={STACK + 16 * self.widest}"
        return [*compiling, [linker, *LINK, "-z", stack, *(f"{name}.o" for name in sources), "-o", module]]


@dataclass(frozen=True)
class Toolchain:
    """The paths of clang and wasm-ld, and the line that clang names itself by."""

    compiler: str
    linker: str
    version: str


def find_toolchain() -> Toolchain:
    """The tools on the PATH. Raises NotInstalledError, with the package, where one is missing."""
    compiler, linker = (shutil.which(name) for name in (COMPILER, LINKER))
    if compiler is None:
        raise missing(COMPILER)
    if linker is None:
        raise missing(LINKER)
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return Toolchain(compiler, linker, said.partition("\n")[0].strip())


def compile_wasm(tools: Toolchain, build: Build, features: str) -> bytes:
    """The module with the `features` of `FEATURES`. Raises ExportError for text that clang refuses."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "src").mkdir()
        for name, text in build.files.items():
            (Path(folder) / "src" / name).write_text(text, encoding="utf-8")
        for command in build.commands(features, "module.wasm", tools.compiler, tools.linker):
            _run(command, folder)
        return (Path(folder) / "module.wasm").read_bytes()


def _run(command: Sequence[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(f"{Path(command[0]).name} fails: {next(iter(done.stderr.splitlines()), 'no message')}")
