"""Pieces of C text: arrays of constants, the names of a model, and the parts that no model changes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

PREFIX = re.compile(r"\b(tae|TAE)_")
"""What begins each public name in our C text, see `named`."""
PARTS = Path(__file__).parent / "parts"
"""Text that is the same for every model, apart from the prefix of its names."""
WIDTH = 120
KEYWORDS = frozenset(
    [
        *("auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern", "float"),
        *("for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed", "sizeof"),
        *("static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while"),
    ]
)
HEADERS = frozenset(
    [
        *("assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "iso646", "limits", "locale", "math", "setjmp"),
        *("signal", "stdarg", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string", "tgmath", "time", "wchar", "wctype"),
        *("alloca", "arm_acle", "endian", "features", "immintrin", "strings"),
    ]
)
"""Headers of C99, and those that they and our parts include: a NAME.h of such a name would be included in their place."""

TABLE_TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.int64)
"""Of tables, the smallest first; int8 is a kernel's alone, see `export.storage_check`."""
LONGEST_NAME = 48
"""C99 promises 63 significant characters of a name inside a file."""


def identifier(name: str) -> str:
    """A C identifier for the name of a model: lower case, at most `LONGEST_NAME` characters, without our prefix `tae_`."""
    found = re.sub(r"[^a-z0-9]+", "_", name.lower())[:LONGEST_NAME].strip("_")
    free = found and not found[0].isdigit() and found not in KEYWORDS | HEADERS and not PREFIX.match(found)
    return found if free else f"m_{found}".rstrip("_")


def named(text: str, prefix: str) -> str:
    """C text with the names of a model: `tae_` and `TAE_` become its prefix, except in `quoted` text."""
    return PREFIX.sub(lambda found: f"{prefix if found[1] == 'tae' else prefix.upper()}_", text).replace("\0", "")


def part(name: str) -> str:
    """The text of a file of `parts/`."""
    return (PARTS / name).read_text(encoding="ascii")


def split_parts(text: str, prefix: str) -> tuple[str, Sequence[str]]:
    """C text of the model `prefix` with an empty comment in place of each part, and the parts that it holds.

    A part counts where it begins a line. It ends a comment that was open before it, and so does the empty comment.
    """
    held = [known for known in named_parts(prefix) if f"\n{known}" in text]
    for known in held:
        text = text.replace(f"\n{known}", "\n/* */\n")
    return text, held


@lru_cache(maxsize=1)
def named_parts(prefix: str) -> Sequence[str]:
    """Those of a model, long ones first."""
    return sorted((named(part(path.name), prefix) for path in PARTS.iterdir()), key=len, reverse=True)


def symbol(name: str) -> str:
    """The C name of a kernel, tensor or constant of a program."""
    return "tae_" + re.sub(r"\W", "_", name, flags=re.ASCII)


def quoted(text: str) -> str:
    """Text of others, such as a model's name, in a comment: ASCII that neither ends the comment nor begins another.

    NUL parts what `named` would take for a prefix.
    """
    plain = " ".join(text.encode("ascii", "replace").decode().replace("\0", "?").split())
    return PREFIX.sub("\\1\0_", plain.replace("*/", "* /").replace("/*", "/ *"))


def array(name: str, values: np.ndarray) -> str:
    """The definition of a constant array, of integers in C order."""
    return f"static const {values.dtype.name}_t {name}[{values.size}] = {{\n{_numbers(values)}\n}};\n"


@dataclass(frozen=True, eq=False)
class ConstantTable:
    """A constant array of integers [n] as C text, in the smallest type of the values, or of their distances from the least.

    Values that are all equal take no array.
    """

    name: str
    values: np.ndarray

    @property
    def definition(self) -> str:
        base, dtype = self._type
        return array(self.name, (self.values - base).astype(dtype)) if dtype else ""

    def at(self, index: str, bits: int = 32) -> str:
        """The C expression of a value, a signed integer of 32 or 64 bits."""
        base, dtype = self._type
        value = f"{self.name}[{index}]"
        return literal(base, bits) if dtype is None else f"({value} + {literal(base, bits)})" if base else value

    @property
    def _type(self) -> tuple[int, type | None]:
        """What is subtracted, and the type of the rest."""
        least, most = int(self.values.min()), int(self.values.max())
        if least == most:
            return least, None
        limits = ((dtype, np.iinfo(dtype)) for dtype in TABLE_TYPES)
        return next(
            (base, dtype)
            for dtype, each in limits
            for base in (0, least)
            if each.min <= least - base and most - base <= each.max
        )


def literal(value: int, bits: int) -> str:
    """A signed integer of 32 or 64 bits."""
    if bits == 32 and value == -(1 << 31):
        return "(-2147483647 - 1)"
    return str(value) if bits == 32 else f"INT64_C({value})"


def comment(text: str) -> str:
    """A comment of as many lines as it takes."""
    lines = textwrap.wrap(quoted(text), WIDTH - 6)
    return "/* " + "\n   ".join(lines) + " */\n"


def indented(lines: Iterable[str], by: int = 2) -> str:
    """Lines, or blocks of lines, each moved to the right."""
    return textwrap.indent("\n".join(lines), " " * by)


def _numbers(values: np.ndarray) -> str:
    """Numbers with commas, as many on a line as fit."""
    wide = values.dtype == np.int64
    texts = [f"INT64_C({value})" if wide else str(value) for value in values.ravel().tolist()]
    size = max((len(text) for text in texts), default=1) + 1
    step = max(1, WIDTH // size)
    return ",\n".join(",".join(texts[start : start + step]) for start in range(0, len(texts), step))
