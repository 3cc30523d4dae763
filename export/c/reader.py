"""Reads the C files that `export.c` writes, and no others: every constant array, kernels as int8 [inputs, units].

The text is parsed, not compiled. The files of `export/c/parts/` are ours whatever they hold, and are taken out first where the
text repeats them letter by letter. Arrays that a comment calls a kernel are decoded from the form that it is stored in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.base.files import read_regular

from ..model_file import Constant, Contents, Signature, TensorInfo
from .kernels import decoded
from .text import split_parts

FORMAT = "c"
INCLUDE = re.compile(r'#include "(?P<name>[a-z]\w*)\.h"\n')
KERNEL = re.compile(
    r"/\*\s+kernel\s+(?P<name>\S+)\s+\[(?P<inputs>\d+),\s+(?P<units>\d+)\],\s+(?P<bits>[2-8])\s+bits,\s+"
    r"(?P<layout>dense|packed|sparse)\s+\*/\n/\*\s+sha256 of its int8 values:\s+(?P<sha256>[0-9a-f]{64})\s+\*/\n"
)
INITIALIZER = re.compile(r"\b(?P<type>\w{1,99})\s{1,9}(?P<name>\w{1,99})(?:\[(?P<size>\w{0,99})\])?\s{0,9}=\s{0,9}\{")
"""With limits: a search through a long word would take time that grows as its square."""
BEFORE, BEHIND = "static const ", ";\n"
TYPE = re.compile(r"u?int(8|16|32|64)_t")
INTEGER = re.compile(r"(-?\b(?:0[xX][0-9a-fA-F]{1,16}|0|[1-9]\d{0,99}))[uU]?\b")
"""One among other words, such as that of INT64_C(5)."""
PLAIN = re.compile(r"\s*-?(?:0|[1-9]\d{0,99})(?:,\s*-?(?:0|[1-9]\d{0,99}))*\s*")
"""The numbers of a kernel; 010 is 8 in C."""
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FOREIGN = {
    "a string": re.compile(r'"'),
    "an initializer of another form": re.compile(r"=\{"),
    "a compound literal": re.compile(r"\w\[\d*\]\)\{"),
    "a backslash": re.compile(r"\\"),
    "a digraph or trigraph": re.compile(r"<%|<:|%:|\?\?"),
    "a list of numbers without a name": re.compile(r"(?:-?\d\w*,){9}"),
    "an include": re.compile(r"#include(?!<(?:stddef|stdint)\.h>)"),
}
"""What our text does not have beside its arrays and parts, without comments and blanks."""
IF, ENDIF = (re.compile(rf"^[ \t]*#[ \t]*{word}", re.MULTILINE) for word in ("if", "endif"))
TENSOR = re.compile(
    r"^ \*   (?P<name>x|code|y): 0 to \d+, scale (?P<scale>\S+), zero point (?P<zero_point>-?\d+)"
    r"(?:, \[(?P<shape>\d{1,9}(?:, \d{1,9})+)\])?$",
    re.MULTILINE,
)
SIGNATURES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "encode": ("x", ("code",)),
    "decode": ("code", ("y",)),
    "reconstruct": ("x", ("code", "y")),
}
"""Input and outputs of the functions."""
MOST_NUMBERS = 1 << 28
"""Of a kernel, at most; a larger one is damage."""


@dataclass(frozen=True, eq=False)
class InitializedArray:
    """An array in the text: `values` in its own integer type, int64 where it has none; where its text starts, with its type,
    and stops, behind the brace."""

    name: str
    values: np.ndarray
    start: int
    stop: int


def read_c(path: Path) -> Contents:
    """Parse NAME.c and the NAME.h beside it; the size is that of the arrays, which a device holds beside the code.

    Raises FormatError for a file that is missing, damaged or not our text.
    """
    name, text, header = _texts(path)
    source, parts = split_parts(text, name)
    arrays = tuple(arrays_in(source, path))
    places = [0, *(place for array in arrays for place in (array.start, array.stop)), len(source)]
    rest = "".join(source[start:stop] for start, stop in zip(places[::2], places[1::2], strict=True))
    _require_ours(rest.partition("\n")[2], path)
    _require_ours(split_parts(header, name)[0].replace('extern "C" {', ""), path.with_suffix(".h"))
    kernels = tuple(kernels_in(source, {array.start: array for array in arrays}, path))
    if not kernels:
        raise FormatError(f"{path}: holds no kernel, must be a C file of tiedae")
    used = {array.start for _, stored in kernels for array in stored}
    tables = [array for array in arrays if array.start not in used]
    for part in parts:  # what lies in a device's memory, not on its stack
        tables += [array for array in arrays_in(part, path) if part.endswith(BEFORE, 0, array.start)]
    return Contents(
        FORMAT,
        sum(kernel.nbytes for kernel, _ in kernels) + sum(table.values.nbytes for table in tables),
        (*(kernel for kernel, _ in kernels), *(Constant(each.name, each.values, each.name) for each in tables)),
        tuple(_signatures(name, rest, header, path)),
        {"arena": f"{_number(header, name, 'ARENA_BYTES', path)} bytes"},
    )


def read_interface(path: Path) -> tuple[str, tuple[Signature, ...], str, str]:
    """The name of the model, its functions, and the text of NAME.c and NAME.h, of which nothing else is checked.

    Raises FormatError as `read_c`.
    """
    name, source, header = _texts(path)
    signatures = tuple(_signatures(name, source, header, path))
    if not signatures:
        raise FormatError(f"{path}: defines none of {', '.join(f'{name}_{each}' for each in SIGNATURES)}")
    return name, signatures, source, header


def _texts(path: Path) -> tuple[str, str, str]:
    source = _text(path)
    include = INCLUDE.match(source)
    if include is None or include["name"] != path.stem:
        raise FormatError(f'{path}: must begin with #include "{path.stem}.h", as the C files of tiedae do')
    return include["name"], source, _text(path.with_suffix(".h"))


def _require_ours(text: str, path: Path) -> None:
    """Raise FormatError for text, beside its arrays, that may hold numbers in another form than arrays."""
    bare = re.sub(r"\s", "", COMMENT.sub(" ", text))
    for what, pattern in FOREIGN.items():
        if pattern.search(bare):
            raise FormatError(f"{path}: holds {what}, which the C files of tiedae do not")


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode("ascii")
    except OSError as error:
        raise FormatError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: must be ASCII, as the C files of tiedae are") from None


def arrays_in(source: str, path: Path) -> Iterator[InitializedArray]:
    """Every brace that initializes something, with the integers in it."""
    at = 0
    while found := INITIALIZER.search(source, at):
        at = _closing(source, found.end(), f"{path}: {found['name']}")
        yield InitializedArray(found["name"], _values(found, source[found.end() : at - 1], path), found.start(), at)


def _closing(source: str, at: int, where: str) -> int:
    """The place behind the brace that closes the one before `at`."""
    depth = 1
    while depth:
        close = source.find("}", at)
        if close < 0:
            raise FormatError(f"{where} has no end")
        depth += source.count("{", at, close) - 1
        at = close + 1
    return at


def _values(found: re.Match[str], body: str, path: Path) -> np.ndarray:
    where, known = f"{path}: {found['name']}", TYPE.fullmatch(found["type"]) is not None
    dtype = np.dtype(found["type"].removesuffix("_t") if known else np.int64)
    plain = known and PLAIN.fullmatch(body) is not None
    if re.search(r"\b\d|\\", INTEGER.sub("", body)):
        raise FormatError(f"{where}: holds numbers of another form than the C files of tiedae do")
    numbers = list(map(int, body.split(","))) if plain else [int(each, 0) for each in INTEGER.findall(body)]
    try:
        values = np.array(numbers, np.int64)
    except OverflowError:
        raise FormatError(f"{where}: holds a number of more than 64 bits") from None
    limits = np.iinfo(dtype)
    if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
        raise FormatError(f"{where}: values from {values.min()} to {values.max()}, {dtype} holds {limits.min} to {limits.max}")
    if plain and (found["size"] or "").isdecimal() and int(found["size"]) != values.size:
        raise FormatError(f"{where}: got {values.size:,} values, must be {int(found['size']):,} as its type says")
    return values.astype(dtype)


def kernels_in(
    source: str, arrays: Mapping[int, InitializedArray], path: Path
) -> Iterator[tuple[Constant, list[InitializedArray]]]:
    """Each kernel, and the arrays that it is stored in: those right behind its comment."""
    for found in KERNEL.finditer(source):
        where = f"{path}: kernel {found['name']}"
        parts, at = [], found.end()
        for _ in range(3 if found["layout"] == "sparse" else 1):
            at += len(BEFORE)
            part = arrays.get(at)
            if part is None or not (source.startswith(BEFORE, at - len(BEFORE)) and source.startswith(BEHIND, part.stop)):
                raise FormatError(f"{where}: its {found['layout']} values must follow its comment")
            conditional = len(IF.findall(source, 0, at)) != len(ENDIF.findall(source, 0, at))
            if conditional or not PLAIN.fullmatch(source, source.index("{", at) + 1, part.stop - 1):
                raise FormatError(f"{where}: its values must be decimal numbers, outside of #if")
            parts.append(part)
            at = part.stop + len(BEHIND)
        shape, bits = (int(found["inputs"]), int(found["units"])), int(found["bits"])
        if not 0 < shape[0] * shape[1] <= MOST_NUMBERS:
            raise FormatError(f"{where}: got [{shape[0]:,}, {shape[1]:,}], must be of up to {MOST_NUMBERS:,} values")
        try:
            values = decoded([part.values for part in parts], found["layout"], shape, bits)
        except ValueError:
            got = ", ".join(f"{part.values.size:,} {part.values.dtype}" for part in parts)
            of = f"[{shape[0]}, {shape[1]}] {found['layout']}"
            raise FormatError(f"{where}: got {got} for {of}, must be the arrays of such a kernel") from None
        stored = sum(part.values.nbytes for part in parts)
        yield Constant(found["name"], values, parts[0].name, stored=stored, sha256=found["sha256"]), parts


def _signatures(name: str, source: str, header: str, path: Path) -> Iterator[Signature]:
    """The functions that the text defines."""
    sizes = {"x": "INPUTS", "code": "UNITS", "y": "INPUTS"}
    stated = {found["name"]: found for found in TENSOR.finditer(header)}

    def info(tensor: str) -> TensorInfo:
        if tensor not in stated:
            raise FormatError(f"{path.with_suffix('.h')}: does not say what {tensor} means")
        size = _number(header, name, sizes[tensor], path)
        shape = tuple(map(int, (stated[tensor]["shape"] or str(size)).split(", ")))
        if math.prod(shape) != size:
            raise FormatError(f"{path.with_suffix('.h')}: {tensor}: got {list(shape)}, must have {size:,} values")
        try:
            scale, zero_point = float(stated[tensor]["scale"]), int(stated[tensor]["zero_point"])
        except ValueError:
            raise FormatError(f"{path.with_suffix('.h')}: {tensor}: got {stated[tensor][0].strip()!r}") from None
        return TensorInfo(tensor, "uint8", (None, *shape), scale, zero_point)

    steps = 0
    for signature, (given, outputs) in SIGNATURES.items():
        if found := re.search(rf"^int {name}_{signature}\(.*?^\}}$", source, re.MULTILINE | re.DOTALL):
            own = len(re.findall(rf"\b{name}_step_\d+\(", found[0]))
            steps += own
            yield Signature(signature, (info(given),), tuple(map(info, outputs)), {"function": own or steps})


def _number(header: str, name: str, constant: str, path: Path) -> int:
    found = re.search(rf"^#define {name.upper()}_{constant} (\d{{1,9}})$", header, re.MULTILINE)
    if found is None:
        raise FormatError(f"{path.with_suffix('.h')}: has no {name.upper()}_{constant}, must be the header of {path.name}")
    return int(found[1])
