"""What a C file takes of a core's memory, as a compiler and its linker make it: `core_bytes`.

Each public function of the signatures and .tae files that a C file holds is linked into one image, without the others, and the
bytes of the image are counted by part. docs/guides/c.md says what is in each.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tiedae.base.errors import CheckError, InputError, UnavailableError
from tiedae.base.records import Record
from tiedae.export.c.source import CSource
from tiedae.export.c.text import named, symbol
from tiedae.program.program import Program

OPTIONS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections", "-fno-asynchronous-unwind-tables")
LINK = ("-nostdlib", "-static", "-Wl,--gc-sections", "-Wl,--build-id=none")
STACKS = "-fcallgraph-info=su"
"""gcc's option that writes the calls and the stack of each function."""
PARTS = ("kernels", "biases", "tables", "code", "library")
SIGNATURE_OF = {
    **{"encode": "encode", "encode_data": "encode", "quantize": "encode"},
    **{"decode": "decode", "decode_data": "decode", "dequantize": "decode"},
    "score_float": "score",
}
"""The signature that a function serves: where it was not asked for, others call the function, or nothing does."""
INLINE = re.compile(r"^static inline (\w+) tae_(quantize|dequantize|score_float|stream_\w+)\(([^)]*)\)", re.MULTILINE)
"""The functions of NAME_float.h that are for callers."""
MEMORY = """#include <stddef.h>
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
  volatile unsigned char *t = to;
  const unsigned char *f = from;
  for (; size > 0; size--) *t++ = *f++;
  return to;
}

void *memmove(void *to, const void *from, size_t size)
{
  volatile unsigned char *t = to;
  const unsigned char *f = from;
  size_t i;
  for (i = 0; i < size && t < f; i++) t[i] = f[i];
  for (i = size; i > 0 && t > f; i--) t[i - 1] = f[i - 1];
  return to;
}

void *memset(void *to, int value, size_t size)
{
  volatile unsigned char *t = to;
  for (; size > 0; size--) *t++ = (unsigned char)value;
  return to;
}
"""
"""What compilers call of a C library; volatile, so that none makes a loop a call of the function that it is in."""


@dataclass(frozen=True)
class Core:
    """What firmware is built for: the command of its C compiler; bytes of flash and of RAM, None where they are not stated."""

    compiler: tuple[str, ...]
    flash: int | None = None
    ram: int | None = None

    @classmethod
    def of(cls, command: str, flash: int | None = None, ram: int | None = None) -> Core:
        """Raises InputError for a compiler that is not found or does not compile, with the first line that it says."""
        try:
            program, *options = shlex.split(command) or [""]
        except ValueError as error:
            raise InputError(f"--cc {command!r}: must be a command, {error}") from None
        found = shutil.which(program)
        if found is None:
            raise InputError(f"--cc {command!r}: must be the command of a C compiler, no program {program!r} is found")
        if Path(program).name != program:
            program = str(Path(found).absolute())
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "empty.c").write_text("typedef int empty;\n", encoding="ascii")
            try:
                _run([program, *OPTIONS, *options, "-c", "empty.c"], folder)
            except UnavailableError as error:
                raise InputError(f"--cc {command!r}: must compile C99: {error}") from error
        return cls((program, *options), flash, ram)


class CoreBytes(Record, frozen=True):
    """Bytes of a C file in a core's memory, as `compiler` makes them.

    In flash: its `kernels`, `biases`, other `tables`, `code`, and the `library`: what they call of libgcc and of a C library,
    and padding. In RAM: the `arena` and the stack, of each public function with all that it calls; None where the compiler does
    not state it. `uncounted`: functions among these whose stack is unknown.
    """

    compiler: str
    kernels: int
    biases: int
    tables: int
    code: int
    library: int
    arena: int
    stacks: dict[str, int] | None
    uncounted: tuple[str, ...] = ()

    @property
    def flash(self) -> int:
        return sum(getattr(self, part) for part in PARTS)

    @property
    def stack(self) -> int | None:
        """The deepest one."""
        return None if self.stacks is None else max(self.stacks.values())

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What takes memory, and how much, for people."""
        rows = [(f"flash {part}", f"{getattr(self, part):,} bytes") for part in PARTS]
        rows += [("flash", f"{self.flash:,} bytes"), ("RAM arena", f"{self.arena:,} bytes")]
        if self.stacks is None or self.stack is None:
            unknown = ("RAM stack", f"unknown: the compiler does not take {STACKS}, gcc 10 and newer do")
            return [*rows, unknown, ("compiled by", self.compiler)]
        deepest = max(self.stacks, key=self.stacks.__getitem__)
        without = f", without that of {len(self.uncounted)} functions of libgcc" if self.uncounted else ""
        rows.append(("RAM stack", f"{self.stack:,} bytes, of {deepest}{without}"))
        return [*rows, ("RAM", f"{self.arena + self.stack:,} bytes"), ("compiled by", self.compiler)]

    def require_fits(self, core: Core) -> None:
        """Raise CheckError where a core has less memory, InputError where its RAM is stated and the stack is unknown."""
        if core.ram is not None and self.stack is None:
            raise InputError(f"--ram {core.ram:,}: the stack is unknown, must be with a compiler that takes {STACKS}")
        needed = {"flash": (self.flash, core.flash), "RAM": (self.arena + (self.stack or 0), core.ram)}
        texts = [
            f"{name} of {size:,} bytes, the core has {most:,}: {size - most:,} too many"
            for name, (size, most) in needed.items()
            if most is not None and size > most
        ]
        if texts:
            raise CheckError(f"does not fit: {'; '.join(texts)}")


def core_bytes(source: CSource, program: Program, compiler: Sequence[str], *, floats: bool) -> CoreBytes:
    """That of a C file and, where data are `floats`, of NAME_float.h.

    Raises UnavailableError, with the first line that is said, where a tool is missing or fails.
    """
    texts = {**source.files, "memory.c": MEMORY, "probe.c": _probe(source, floats)}
    with tempfile.TemporaryDirectory() as folder:
        for name, text in texts.items():
            (Path(folder) / name).write_text(text, encoding="ascii")
        command = [compiler[0], *OPTIONS, *compiler[1:]]
        stacks = _compile(command, folder, [name for name in texts if name.endswith(".c")])
        roots = _roots(source, _run([_tool(compiler[0], "nm"), "-g", f"{source.name}.o", "probe.o"], folder))
        if not roots:
            raise UnavailableError(f"nm lists no function {source.name}_… of {source.name}.o")
        objects = [f"{name}.o" for name in (source.name, "probe", "memory")]
        kept = [f"-Wl,-u,{each}" for each in roots]
        _run([*command, *LINK, *kept, f"-Wl,-e,{roots[0]}", *objects, "-lgcc", "-o", "image"], folder)
        text, data = _run([_tool(compiler[0], "size"), "image"], folder).splitlines()[1].split()[:2]
        parts = _parts(source.name, program, _run([_tool(compiler[0], "nm"), "-S", "image"], folder))
    parts["library"] = int(text) + int(data) - sum(parts.values())
    if stacks is not None and not stacks.own.keys() >= {*roots}:  # with -flto the files of gcc have no functions
        stacks = None
    deepest = {} if stacks is None else {_shown(source.name, each): stacks.depth(each) for each in roots}
    used = " ".join((Path(compiler[0]).name, *OPTIONS, *compiler[1:]))
    uncounted = () if stacks is None else stacks.uncounted(roots)
    return CoreBytes(used, **parts, arena=source.arena, stacks=deepest or None, uncounted=uncounted)


def _probe(source: CSource, floats: bool) -> str:
    """A function around each one of NAME_float.h that serves a signature of the file."""
    text = f'#include "{source.name}{"_float" if floats else ""}.h"\n'
    prefix = named("tae_", source.name)
    for result, name, parameters in INLINE.findall(source.floats.replace(prefix, "tae_")) if floats else ():
        if SIGNATURE_OF.get(name) in (None, *source.signatures):
            names = ", ".join(re.findall(r"(\w+)(?:, |$)", parameters))
            call = f"{'' if result == 'void' else 'return '}tae_{name}({names});"
            text += f"{result} tae_probe_{name}({parameters});\n{result} tae_probe_{name}({parameters}) {{ {call} }}\n"
    return named(text, source.name)


def _roots(source: CSource, listed: str) -> list[str]:
    """The public functions of the signatures, of those that `nm` lists."""
    found = re.findall(rf"^\w+ T ({source.name}_\w+)$", listed, re.MULTILINE)
    serves = {each: SIGNATURE_OF.get(each.removeprefix(f"{source.name}_")) for each in found}
    return [each for each, signature in serves.items() if signature in (None, *source.signatures)]


def _shown(name: str, root: str) -> str:
    return root.replace(f"{name}_probe_", f"{name}_", 1)


def _parts(name: str, program: Program, listed: str) -> dict[str, int]:
    """Bytes of the symbols that `nm -S` lists, by part."""
    kernels = tuple(named(symbol(each), name) for each in program.kernels)
    biases = tuple(f"{named(symbol(each), name)}_bias" for each in program.tensors)
    biases += tuple(named(symbol(each), name) for each in program.constants if each not in program.kernels)
    parts: dict[str, int] = dict.fromkeys(PARTS, 0)
    symbols = re.findall(r"^([0-9a-f]+ [0-9a-f]+) (\w) (\S+)$", listed, re.MULTILINE)
    for place, kind, found in {
        place: (place, kind, found) for place, kind, found in symbols
    }.values():  # equal functions are one
        if kind in "tT":
            part = "code" if found.startswith(f"{name}_") else ""
        elif kind in "rRdD" and not found.startswith("__"):
            part = "kernels" if found.startswith(kernels) else "biases" if found.startswith(biases) else "tables"
        else:
            part = ""
        if part:
            parts[part] += int(place.split()[1], 16)
    return parts


@dataclass(frozen=True)
class Stacks:
    """Bytes of stack of each function, and the functions that it calls, as gcc states them."""

    own: Mapping[str, int]
    calls: Mapping[str, Collection[str]]

    @classmethod
    def of(cls, texts: Iterable[str]) -> Stacks:
        """From the text of .ci files."""
        own, calls = {}, {}
        for text in texts:
            sizes = re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \((?:static|dynamic,bounded)\)', text)
            own |= {title: int(size) for title, size in sizes}
            for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
                calls.setdefault(caller, set()).add(callee)
        return cls(own, calls)

    def depth(self, function: str) -> int:
        """Bytes of a function's deepest chain of calls; there is no recursion.

        A function of a file without a stack of its own is another name of one that has, as the largest.
        """
        largest = max(self.own.values(), default=0)

        @cache
        def deepest(each: str) -> int:
            return self.own.get(each, largest if _is_of_a_file(each) else 0) + max(
                map(deepest, self.calls.get(each, ())), default=0
            )

        return deepest(function)

    def uncounted(self, functions: Sequence[str]) -> tuple[str, ...]:
        """What these functions call whose stack is unknown."""
        seen, queue = set(functions), [*functions]
        for each in queue:
            queue += (new := set(self.calls.get(each, ())) - seen)
            seen |= new
        return tuple(sorted(each for each in seen - self.own.keys() if not _is_of_a_file(each)))


def _is_of_a_file(title: str) -> bool:
    """Whether a title of a .ci file is that of a static function: FILE:NAME."""
    return ":" in title


def _compile(command: Sequence[str], folder: str, names: Sequence[str]) -> Stacks | None:
    """Compile files to objects beside them; None where the compiler does not state stacks."""
    for more in ((STACKS,), ()):
        try:
            for name in names:
                _run([*command, *more, "-c", name], folder)
        except UnavailableError:
            if not more:
                raise
        else:
            return Stacks.of(path.read_text(encoding="utf-8") for path in Path(folder).glob("*.ci")) if more else None
    return None


def _tool(compiler: str, name: str) -> str:
    """A tool of a compiler's: of arm-none-eabi-gcc it is arm-none-eabi-NAME. Raises UnavailableError where it is missing."""
    path = Path(compiler)
    prefix = re.sub(r"(g?cc|clang)(-[\d.]+)?$", "", path.name)
    found = shutil.which(str(path.with_name(prefix + name))) or shutil.which(prefix + name) or shutil.which(name)
    if found is None:
        raise UnavailableError(f"{prefix}{name}: no such program is found")
    return found


def _run(command: Sequence[str], folder: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
        raise UnavailableError(next((line for line in said if re.search(r"\berror\b|undefined", line)), said[0]).strip())
    return done.stdout
