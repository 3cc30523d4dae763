"""How large C files are once they are compiled here: `object_size`."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from tiedae.base.errors import UnavailableError
from tiedae.base.records import Record
from tiedae.runtimes.c import find_compiler

OPTIONS = ("-std=c99", "-O2", "-fno-asynchronous-unwind-tables")


class ObjectSize(Record, frozen=True):
    """Bytes of code and constants, .text and .rodata, that a compiler makes of C files on this machine."""

    bytes: int
    compiler: str


def object_size(files: Mapping[str, str], names: Collection[str] | None = None) -> ObjectSize | None:
    """What the C compiler makes of the .c files among texts by file name, or of `names` alone.

    None where there is no compiler or no `size`, or one of them fails.
    """
    size = shutil.which("size")
    try:
        compiler = find_compiler()
    except UnavailableError:
        return None
    if size is None:
        return None
    sources = sorted(name for name in files if name.endswith(".c") and (names is None or name in names))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        command = [*compiler, *OPTIONS, "-c", *sources]
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            return None
        objects = [name.removesuffix(".c") + ".o" for name in sources]
        listed = subprocess.run([size, *objects], cwd=folder, capture_output=True, text=True, check=False).stdout.splitlines()
    used = " ".join((Path(compiler[0]).name, *compiler[1:], *OPTIONS))
    return ObjectSize(sum(int(line.split()[0]) for line in listed[1:]), used) if len(listed) > 1 else None
