"""A verifying flatbuffer reader: every offset and length is checked first, unlike in the `flatbuffers` package.

Layout ("FlatBuffer Internals"): a table starts with the signed distance to its vtable; the vtable holds the table's size and
the offset of each field; vectors and strings start with a 32-bit length; everything is little-endian.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError

MAX_TABLES = 250_000
"""Maximum number of visited tables: shared tables let a small file expand without limit."""
NUMBERS_OF_A_TABLE = 16
"""Vector elements that count as one table, since vectors can be shared too."""

VALUES_OF_A_TABLE = 1024
"""Values of sparse tensors that count as one table: a small file can have large tensors that are zero nearly everywhere."""


@dataclass
class Flatbuffer:
    """The bytes of a file and the number of tables visited. `kind` names the format in errors."""

    data: bytes | mmap.mmap
    kind: str
    visited: int = field(default=0, repr=False)

    def root(self, identifier: bytes) -> Table:
        """The root table. Raises FormatError if the file is empty or has another four-byte identifier."""
        if len(self.data) < 8 or self.data[4:8] != identifier:
            got = repr(self.data[4:8]) if self.data else "an empty file"
            raise FormatError(f"not a {self.kind} file: bytes 4…7 must be {identifier!r}, got {got}")
        return Table(self, self.follow(0))

    def read(self, code: str, position: int) -> int | float:
        """Read a little-endian scalar of a `struct` format character."""
        self.check(position, struct.calcsize(code))
        return struct.unpack_from("<" + code, self.data, position)[0]

    def follow(self, position: int) -> int:
        """Target of the offset stored at `position`."""
        return position + int(self.read("I", position))

    def visit(self, tables: int = 1) -> None:
        self.visited += tables
        if self.visited > MAX_TABLES:
            raise FormatError(f"damaged {self.kind} file: it leads through more than {MAX_TABLES:,} tables")

    def check(self, position: int, size: int) -> None:
        if position < 0 or position + size > len(self.data):
            raise FormatError(
                f"damaged or truncated {self.kind} file: bytes {position}…{position + size} of {len(self.data)} are referred to"
            )


class Table:
    """A table. Fields are read by their slot in the schema; absent fields have their default."""

    def __init__(self, file: Flatbuffer, position: int) -> None:
        file.visit()
        self._file, self._position = file, position
        self._vtable = position - int(file.read("i", position))
        self._slots = (int(file.read("H", self._vtable)) - 4) // 2
        file.check(self._vtable, 4 + 2 * max(self._slots, 0))
        self._size = int(file.read("H", self._vtable + 2))
        file.check(position, self._size)

    @property
    def head(self) -> tuple[int, int, int, int]:
        """(position, size) of the table, (position, number of slots) of its vtable."""
        return self._position, self._size, self._vtable, max(self._slots, 0)

    def place(self, slot: int) -> int | None:
        """Position of a field; None if absent."""
        offset = int(self._file.read("H", self._vtable + 4 + 2 * slot)) if slot < self._slots else 0
        return self._position + offset if offset else None

    def integer(self, slot: int, code: str = "i", default: int = 0) -> int:
        place = self.place(slot)
        return default if place is None else int(self._file.read(code, place))

    def vector(self, slot: int, dtype: str = "<i4") -> np.ndarray:
        """A vector of scalars as a read-only view; empty if absent."""
        start, length = self.extent(slot, np.dtype(dtype).itemsize)
        values = np.frombuffer(self._file.data, dtype, length, start) if length else np.empty(0, dtype)
        values.flags.writeable = False
        return values

    def numbers(self, slot: int, dtype: str = "<i4") -> tuple[Any, ...]:
        """A vector of scalars as Python numbers, counted against `MAX_TABLES`; empty if absent."""
        values = self.vector(slot, dtype)
        self._file.visit(values.size // NUMBERS_OF_A_TABLE)
        return tuple(values.tolist())

    def expand(self, values: int) -> None:
        """Count the values of a sparse tensor, as a table each `VALUES_OF_A_TABLE`."""
        self._file.visit(values // VALUES_OF_A_TABLE)

    def text(self, slot: int) -> str:
        values = self.vector(slot, "u1")
        self._file.visit(values.size // (8 * NUMBERS_OF_A_TABLE))
        return values.tobytes().decode(errors="replace")

    def table(self, slot: int) -> Table | None:
        place = self.place(slot)
        return None if place is None else Table(self._file, self._file.follow(place))

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty if absent."""
        start, length = self.extent(slot, 4)
        if length > MAX_TABLES:
            self._file.visit(length)
        return [Table(self._file, self._file.follow(start + 4 * index)) for index in range(length)]

    def extent(self, slot: int, item_size: int) -> tuple[int, int]:
        """(position of the first item, number of items) of a vector; (0, 0) if absent."""
        place = self.place(slot)
        if place is None:
            return 0, 0
        start = self._file.follow(place) + 4
        length = int(self._file.read("I", start - 4))
        self._file.check(start, length * item_size)
        return start, length
