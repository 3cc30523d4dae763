"""The account of a file that a program was written to: beside its kernels it holds what the program needs, and nothing else.

Kernels, and constants whose values follow from the program, are claimed by what they are. All the rest counts as structure:
each name, shape, small constant and field. What exceeds the structure of the file that this version writes of the program, and
every text or vector too long for a name or a shape, is left over: the sum is bounded, so a second copy is found in any form.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tiedae.compress.affine import signed
from tiedae.program.operations import Dense
from tiedae.program.program import Program

from .extents import LEFT_OVER, STRUCTURE, Account, AccountRow, Extent, FileBytes, Part, account
from .model_file import Constant, Contents, oriented
from .storage_check import StorageFinding, is_kernel

KERNEL, CONSTANTS = "kernel", "constants"
"""Rows of kernels, followed by the name, and of the constants that the program needs."""
SMALL = 64
"""Most bytes of a name, a shape or a constant that counts as structure."""
MOST_LEFT = 0.02
"""The share of a file that may be left over, of which a run may be as long as a quarter of the smallest kernel."""
LEAST = 16
"""Bytes that any file may have left over."""
MORE, FEW = 1.25, 512
"""Structure that another version may need: a factor, and bytes on top."""


@dataclass(frozen=True)
class Needed:
    """What this version writes for a program: bytes of structure, and of each array or other constant, by storage."""

    structure: int
    arrays: Mapping[str, int]

    @classmethod
    def of(cls, written: FileBytes) -> Needed:
        """What a file that was just written has."""
        arrays: Counter[str] = Counter()
        for extent in written.extents:
            arrays[extent.name] += extent.size if extent.part is Part.VALUES else 0
        rows = account(written, lambda extent, _: STRUCTURE if _is_small(extent) else extent.part)
        return cls(rows.of(STRUCTURE), arrays)


def _is_small(extent: Extent) -> bool:
    return extent.part is Part.STRUCTURE or (extent.part is not Part.CODE and extent.size <= SMALL)


@dataclass(frozen=True)
class Claims:
    """What a file may hold.

    `storages`: row and most bytes of constants, by storage; `values`: bytes of constants that may be there in any storage;
    `structure`: most bytes of all else; `smallest`: bytes of the smallest kernel.
    """

    storages: Mapping[str, tuple[str, int]]
    values: frozenset[bytes]
    structure: int
    smallest: int


def integer_claims(
    contents: Contents, programs: Iterable[Program], needed: Needed, constants: Iterable[np.ndarray] = (), *, times: int = 1
) -> Claims:
    """What an int8 file of a program, in either layout, may hold, each kernel so many times.

    `constants`: of its scaling and its score.
    """
    first, *others = programs
    kernels = _kernels(contents, first, lambda name, each: is_kernel(each, first.constants[name]), times)
    known = {data for program in (first, *others) for data in _values(program)}
    return _claims(kernels, known | set(map(_bytes, constants)), needed, first)


def float_claims(
    contents: Contents,
    programs: Iterable[Program],
    sha256: Mapping[str, str],
    needed: Needed,
    constants: Iterable[np.ndarray] = (),
    *,
    times: int = 1,
) -> Claims:
    """What a float file of the layers of integer programs may hold. `sha256`: that of each kernel's float32 values.

    Its biases and gains are claimed by their names, as many values as the program's have, each once.
    """
    program, *others = programs
    shapes = {name: (kernel.inputs, kernel.units) for name, kernel in program.kernels.items()}

    def same(name: str, constant: Constant) -> bool:
        return any(_sha256(view) == sha256.get(name) for view in oriented(constant.values, shapes[name]))

    kernels = _kernels(contents, program, same, times)
    sizes = {name: v.size for each in (program, *others) for name, v in each.constants.items() if name not in program.kernels}
    vectors = {
        each.name: (each.storage, (CONSTANTS, each.nbytes))
        for each in contents.constants
        if each.values.dtype == np.float32 and sizes.get(each.name) == each.values.size
    }
    return _claims(kernels | dict(vectors.values()), set(map(_bytes, constants)), needed, program)


def source_claims(contents: Contents, program: Program, needed: Needed) -> Claims:
    """What source text of a program may hold: its kernels, and the other arrays that are needed."""
    names = {each.storage: f"{KERNEL} {each.name}" for each in contents.constants if each.sha256}
    storages = {name: (names.get(name, CONSTANTS), int(MORE * size)) for name, size in needed.arrays.items()}
    claims = _claims(storages, set(), needed, program)
    smallest = min((each.nbytes for each in contents.constants if each.sha256), default=claims.smallest)
    return dataclasses.replace(claims, smallest=smallest)  # its bytes on a device, not its letters


def _claims(storages: Mapping[str, tuple[str, int]], values: set[bytes], needed: Needed, program: Program) -> Claims:
    sizes = [size for row, size in storages.values() if row != CONSTANTS]
    smallest = min(sizes, default=min(kernel.inputs * kernel.units for kernel in program.kernels.values()))
    return Claims(storages, frozenset(values), int(MORE * needed.structure) + FEW, smallest)


def _kernels(
    contents: Contents, program: Program, same: Callable[[str, Constant], bool], times: int
) -> dict[str, tuple[str, int]]:
    """Row and bytes of the storages that hold a kernel, so many of each."""
    found: dict[str, tuple[str, int]] = {}
    stored: dict[str, set[str]] = {name: set() for name in program.kernels}
    for constant in contents.constants:
        for name, storages in stored.items():
            if (constant.storage in storages or len(storages) < times) and same(name, constant):
                storages.add(constant.storage)
                _, before = found.get(constant.storage, ("", 0))
                found[constant.storage] = f"{KERNEL} {name}", max(before, constant.nbytes)
                break
    return found


def _values(program: Program) -> Iterator[bytes]:
    """The bytes of a program's constants, in the integers of each format, and of the scales that follow from them."""
    for name, values in program.constants.items():
        if name not in program.kernels:
            yield _bytes(values)
            if values.dtype == np.uint8:
                yield _bytes(signed(values))
    for operation in program.operations:
        if isinstance(operation, Dense):
            yield _bytes(operation.scales(program))
            yield _bytes(operation.bias_scales(program))


def _bytes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).tobytes()


def _sha256(values: np.ndarray) -> str:
    return hashlib.sha256(_bytes(values)).hexdigest()


def shared(name: str, parsed: Mapping[str, FileBytes], claims: Mapping[str, Claims]) -> tuple[FileBytes, Claims]:
    """A file of several, with what the others claim in external data that it reads too."""
    mine, own = parsed[name], claims[name]
    outside = {file for file in mine.data if file}
    extents = {each for other in claims for each in parsed[other].extents if each.file in outside}
    names = {each.name for each in extents}
    storages = {key: row for other in claims.values() for key, row in other.storages.items() if key in names}
    inside = (each for each in mine.extents if not each.file)
    return FileBytes(mine.data, (*inside, *extents)), dataclasses.replace(own, storages={**storages, **own.storages})


def account_of_program(parsed: FileBytes, claims: Claims) -> Account:
    """The account of a file: kernels, constants that the program needs, structure, padding, and what is left over."""
    left = {storage: size for storage, (_, size) in claims.storages.items()}

    def row_of(extent: Extent, data: memoryview) -> str:
        if extent.part is Part.CODE:
            return Part.CODE
        if extent.part is Part.VALUES and extent.size <= left.get(extent.name, 0):
            left[extent.name] -= extent.size
            return claims.storages[extent.name][0]
        if (
            extent.part in (Part.VALUES, Part.NUMBERS)
            and extent.size > SMALL
            and (_is_constant(data) or bytes(data) in claims.values)
        ):
            return CONSTANTS
        return STRUCTURE if _is_small(extent) else LEFT_OVER

    found = account(parsed, row_of)
    excess = found.of(STRUCTURE) - claims.structure
    if excess <= 0:
        return found
    rows = {row.kind: row.bytes for row in found.rows} | {STRUCTURE: claims.structure}
    rows[LEFT_OVER] = found.left_over + excess
    where = f"names, shapes and small constants beyond {claims.structure:,} bytes"
    return Account(tuple(AccountRow(*row) for row in rows.items()), (*found.runs, (excess, where)))


def _is_constant(data: memoryview) -> bool:
    """Whether one value of up to 8 bytes fills these bytes, as zeros do and zero points."""
    values = np.frombuffer(data, np.uint8)
    return bool(np.array_equal(values[8:], values[:-8]))


def prove_account(parsed: FileBytes, claims: Claims) -> StorageFinding:
    """Check that of a file's bytes less than `MOST_LEFT` are left over, and no more than a quarter of the smallest kernel."""
    found = account_of_program(parsed, claims)
    most = max(LEAST, min(MOST_LEFT * found.size, claims.smallest / 4))
    rows = {row.kind: row.bytes for row in found.rows}
    kernels = sum(size for what, size in rows.items() if what.startswith(KERNEL))
    text = f"account: {found.left_over:,} of {found.size:,} bytes are left over beside {kernels:,} of kernels"
    if found.left_over <= most:
        return StorageFinding("", "account", True, text)
    size, where = max(found.runs)
    return StorageFinding("", "account", False, f"{text}, expected at most {int(most):,}; the most are {size:,}: {where}")
