"""Compiles .c files for this machine and runs them. Their code then runs in this process: only open text that is trusted.

The compiler is that of the environment variable CC, else the first of `COMPILERS`. Libraries are kept in a folder of this user,
by the text, the compiler, its options and the processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from tiedae.base.errors import DataError, FormatError, UnavailableError
from tiedae.base.files import read_regular
from tiedae.base.packages import missing
from tiedae.export.c.reader import read_interface
from tiedae.export.c.text import named
from tiedae.export.model_file import Signature

from .machine import describe_cpu
from .session import Session, first_line, in_batches, one_file, served

COMPILERS = ("cc", "gcc", "clang")
NATIVE = ("-O3", "-march=native")
OPTIONS = ((*NATIVE, "-mprefer-vector-width=512", "-funroll-loops"), NATIVE, ("-O2",))
"""Options of the compiler: the first that it takes."""
SHARED = ("-std=c99", "-shared", "-fPIC")
CHUNK = 1 << 20
"""Samples per call."""
CODE = 4
"""The status of a code of more bits than the model's."""
_LOOP = """
int tae_run_SIGNATURE(size_t count, void *arena, const uint8_t *x, uint8_t *code, uint8_t *y)
{
  int status = TAE_OK;
  size_t i;
  (void)x;
  (void)y;
  for (i = 0; i < count && status == TAE_OK; i++) status = tae_SIGNATURE(arena, ARGUMENTS);
  return status;
}
"""
_SCORE = re.compile(r"^(?:static inline )?int \w+?_(score|score_float)\(\w+ \*arena, const (\w+) \*data,", re.MULTILINE)
_SCORES = """
int tae_run_score(size_t count, void *arena, const VALUE *data, uint64_t *scores, uint8_t *anomalies)
{
  int status = TAE_OK;
  size_t i;
  for (i = 0; i < count && status == TAE_OK; i++, data += TAE_INPUTS) {
    status = tae_FUNCTION(arena, data, scores + i, anomalies + i);
  }
  return status;
}
"""
_ARGUMENTS = {"x": "x + i * TAE_INPUTS", "code": "code + i * TAE_UNITS", "y": "y + i * TAE_INPUTS"}
_ARENA = "size_t tae_run_arena(void) { return sizeof(tae_arena); }\n"


class CSession(Session):
    """NAME.c, compiled with the NAME.h beside it; see `Session`. Inner tensors are not accessible. Several threads may call it.

    Each call runs on one thread. Raises UnavailableError without a compiler, FormatError for a file that is not ours or that
    it refuses.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        self.runtime, path = runtime, one_file(runtime, files)
        name, signatures, source, header = read_interface(path)
        self._signatures = {signature.name: signature for signature in signatures}
        text = source + named("".join(map(_loop, signatures)) + _ARENA, name)
        more, texts, self._data = _scored(name, source, header, path)
        compiler = find_compiler()
        with compiled(compiler, {f"{name}.c": text + more, f"{name}.h": header, **texts}, path) as (library, options):
            try:
                self._library = ctypes.CDLL(str(library))
            except OSError as error:
                reason = f"it was compiled, but does not load: {first_line(error)}"
                raise UnavailableError(f"{path}: {reason}; XDG_CACHE_HOME names another folder for libraries") from error
        self.provider = f"{compiler_version(compiler)}, {' '.join(options)}"
        self._functions = {each: getattr(self._library, f"{name}_run_{each}") for each in self._signatures}
        if self._data is not None:
            self._functions["score"] = getattr(self._library, f"{name}_run_score")
        for function in self._functions.values():
            function.argtypes = (ctypes.c_size_t, *(ctypes.c_void_p,) * 4)
        arena = getattr(self._library, f"{name}_run_arena")
        arena.restype = ctypes.c_size_t
        self._arena: int = arena()

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        entry = served(self.runtime, signature, self._signatures)
        return in_batches(lambda chunk: self._run(entry, chunk), signature, x, entry.inputs[0].sample, CHUNK)

    def scores(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if self._data is None:
            return None
        if data.dtype != self._data:
            raise DataError(f"score: got {data.dtype}, the C file takes {self._data}")
        data = np.ascontiguousarray(data)
        scores, flags = (np.empty(len(data), dtype) for dtype in (np.uint64, np.uint8))
        arena = np.empty(self._arena // 4, np.int32)
        places = (each.ctypes.data for each in (arena, data, scores, flags))
        if status := self._functions["score"](len(data), *places):
            raise DataError(f"score: the C code returned status {status}")
        return scores, flags.astype(bool)

    def _run(self, entry: Signature, x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = {each.name: np.empty((len(x), *each.sample[1]), np.uint8) for each in entry.outputs}
        places = {name: each.ctypes.data for name, each in ({entry.inputs[0].name: x} | outputs).items()}
        arena = np.empty(self._arena // 4, np.int32)
        status = self._functions[entry.name](len(x), arena.ctypes.data, *(places.get(name) for name in _ARGUMENTS))
        if status:
            what = "a code has more bits than the model's" if status == CODE else f"the C code returned status {status}"
            raise DataError(f"{entry.name}: {what}")
        return outputs


def _loop(signature: Signature) -> str:
    """A function that runs a signature on many samples, one behind the other."""
    arguments = ", ".join(_ARGUMENTS[each.name] for each in (*signature.inputs, *signature.outputs))
    return _LOOP.replace("SIGNATURE", signature.name).replace("ARGUMENTS", arguments)


def _scored(name: str, source: str, header: str, path: Path) -> tuple[str, dict[str, str], np.dtype | None]:
    """A function that scores many samples, the other files that it takes, and the dtype of samples; None without a score."""
    floats = path.with_name(f"{name}_float.h")
    texts = {}
    if not _SCORE.search(source) and floats.is_file():
        texts[floats.name] = read_regular(floats).decode("ascii", "replace")
    found = _SCORE.search("".join((source, *texts.values())))
    value = re.search(rf"^typedef (\w+)_t {name}_value;$", header, re.MULTILINE)
    if found is None or value is None:
        return "", {}, None
    dtype = np.dtype({"float": "float32", "double": "float64"}.get(found[2], value[1]))
    text = "".join(f'#include "{each}"\n' for each in texts) + _SCORES.replace("FUNCTION", found[1]).replace("VALUE", found[2])
    return named(text, name), texts, dtype


def find_compiler() -> tuple[str, ...]:
    """The command of the C compiler. Raises UnavailableError where there is none."""
    stated = shlex.split(os.environ.get("CC", ""))
    for command, *options in [stated] if stated else [[name] for name in COMPILERS]:
        if found := shutil.which(command):
            return str(Path(found).absolute()), *options
    if stated:
        raise UnavailableError(f"CC: got {stated[0]!r}, must be the command of a C compiler; no such program is found")
    raise missing("a C compiler")


@lru_cache
def compiler_version(compiler: tuple[str, ...]) -> str:
    """The line that a compiler names itself by. Raises UnavailableError where it does not run."""
    try:
        done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(f"{shlex.join(compiler)} does not run: {first_line(error)}") from error
    return done.stdout.partition("\n")[0].strip()


@contextmanager
def compiled(compiler: tuple[str, ...], files: Mapping[str, str], path: Path) -> Iterator[tuple[Path, Sequence[str]]]:
    """The shared library of the first of these texts, and the options that it was compiled with.

    It is there until the block ends at least. Raises FormatError, which starts with `path`, for text that is refused.
    """
    with _folder() as folder:
        problem = ""
        for options in OPTIONS:
            key = "\0".join((*files.values(), *compiler, compiler_version(compiler), *options, *SHARED, describe_cpu()))
            library = folder / f"{hashlib.sha256(key.encode()).hexdigest()}.so"
            problem = "" if library.is_file() else _compile([*compiler, *options, *SHARED], files, library)
            if not problem:
                yield library, options
                return
        raise FormatError(f"{path}: {compiler[0]} refuses it: {problem}")


def _compile(command: Sequence[str], files: Mapping[str, str], library: Path) -> str:
    """Compile into a file beside `library`, which then takes its name: another process never sees a part of it.

    Returns what the compiler says against the text; empty if nothing.
    """
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        for name, text in files.items():
            (Path(work) / name).write_text(text, encoding="ascii")
        done = subprocess.run([*command, "-o", "library", next(iter(files))], cwd=work, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.splitlines()
            return next((line for line in said if re.search(r"\berror\b", line)), first_line(Exception(done.stderr)))
        (Path(work) / "library").replace(library)
    return ""


@contextmanager
def _folder() -> Iterator[Path]:
    """Where libraries are kept: in XDG_CACHE_HOME or ~/.cache; in a temporary folder where this user cannot write there, or
    others can."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = base
    try:
        folder = (base if base.is_absolute() else Path("~/.cache").expanduser()) / "tiedae" / "c"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        own = found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    except (OSError, RuntimeError):
        own = False
    if own and os.access(folder, os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory() as other:
        yield Path(other)
