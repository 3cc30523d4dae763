"""Attributes of HDF5 files of others: the size of a text is checked before libhdf5 makes room for it.

Of texts of any length an attribute holds their lengths and places. libhdf5 makes room for what the lengths say, up to 4 GiB
each, before it looks there. So they are read here first: HDF5 File Format Specification 3.0, "Object Headers".
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tiedae.base.errors import FormatError
from tiedae.base.packages import missing

from .file_window import FileWindow

if TYPE_CHECKING:
    import h5py

_ATTRIBUTE, _CONTINUATION = 0x0C, 0x10
"""Kinds of messages in an object's header: an attribute, and where more messages are."""
_REFERENCE = 16
"""Bytes of a text of any length: its length, the address of a collection of texts, and its number there."""
_PARTS = 1000
"""Parts of a list of texts at most, of 64 kB each."""


def import_h5py() -> Any:
    """The package h5py; NotInstalledError, with the command that installs it, where it is missing."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise missing("h5py") from None
    return h5py


@contextlib.contextmanager
def damage(source: str) -> Iterator[None]:
    """FormatError, naming the file, for what h5py raises of a damaged one."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, zlib.error) as error:
        raise FormatError(f"{source}: is damaged: {error}") from error


@dataclass
class _Headers:
    """What was read of headers: by the address of an object, its attributes' stored bytes by name. `bytes`: of messages."""

    attributes: dict[int, Mapping[bytes, bytes]] = field(default_factory=dict)
    bytes: int = 0


@dataclass(frozen=True)
class Attributes:
    """The attributes of the groups and arrays of an open file. Reading one raises FormatError, naming the file, for damage."""

    source: str
    window: FileWindow
    _headers: _Headers = field(default_factory=_Headers, compare=False, repr=False)

    def text(self, group: h5py.Group | h5py.Dataset, name: str) -> str | None:
        """An attribute that is a text; None where it is missing."""
        with damage(self.source):
            value = self._value(group, name) if name in group.attrs else None
            value = value.decode() if isinstance(value, bytes) else value
        if not isinstance(value, str | None):
            raise FormatError(f"{self.source}: attribute {name} is {type(value).__name__}, must be a text")
        return value

    def texts(self, group: h5py.Group, name: str) -> list[str]:
        """An attribute that is a list of texts, or the parts name0, name1, … that Keras writes of a long one."""
        with damage(self.source):
            parts: list[Any] = [self._value(group, name)] if name in group.attrs else []
            while name not in group.attrs and f"{name}{len(parts)}" in group.attrs:
                if len(parts) == _PARTS:
                    raise OSError(f"attribute {name} of {group.name} has more than {_PARTS:,} parts")
                parts.append(self._value(group, f"{name}{len(parts)}"))
            return [str(item, "utf-8") if isinstance(item, bytes) else str(item) for part in parts for item in np.ravel(part)]

    def _value(self, group: h5py.Group | h5py.Dataset, name: str) -> Any:
        """The value; OSError where it says that it takes more bytes than the file."""
        h5py = import_h5py()
        attribute, whole = group.attrs.get_id(name), self.window.size
        count, dtype = math.prod(attribute.shape or ()), attribute.dtype
        needed = count * dtype.itemsize
        if dtype.hasobject:
            stored = self._stored(h5py.h5o.get_info(group.id).addr).get(name.encode(), b"")[: count * _REFERENCE]
            wide = group.file.id.get_create_plist().get_sizes()[0] == 8
            if h5py.check_string_dtype(dtype) is None or len(stored) < count * _REFERENCE or not wide:
                raise OSError(f"attribute {name} of {group.name} holds texts in a form that is not read")
            needed = int(np.frombuffer(stored, "<u4")[:: _REFERENCE // 4].astype(np.int64).sum())
        if needed > whole:
            raise OSError(f"attribute {name} of {group.name} would take {needed:,} bytes of {whole:,}")
        return group.attrs[name]

    def _stored(self, address: int) -> Mapping[bytes, bytes]:
        """The stored bytes of the attributes in the header of the object at an address, by name; the first of a name."""
        if address not in self._headers.attributes:
            found: dict[bytes, bytes] = {}
            for kind, body in self._messages(address):
                if kind == _ATTRIBUTE and len(body) > 9:
                    sizes = [int.from_bytes(body[i : i + 2], "little") for i in (2, 4, 6)]
                    at, padded = 9 if body[0] == 3 else 8, body[0] == 1
                    start = at + sum(-(-size // 8) * 8 if padded else size for size in sizes)
                    found.setdefault(body[at : at + sizes[0]].partition(b"\0")[0], body[start:])
            self._headers.attributes[address] = found
        return self._headers.attributes[address]

    def _messages(self, address: int) -> Iterator[tuple[int, bytes]]:
        """(kind, contents) of each message of an object's header."""
        head = self.window.at(address, 16)
        newer = head[:4] == b"OHDR"
        if newer:
            flags = self.window.at(address + 5, 1)[0]
            begin, width = address + 6 + 16 * (flags >> 5 & 1) + 4 * (flags >> 4 & 1), 1 << (flags & 3)
            blocks = [(begin + width, int.from_bytes(self.window.at(begin, width), "little"))]
            field, before = 1, 4 + 2 * (flags >> 2 & 1)
        else:
            blocks, field, before = [(address + 16, int.from_bytes(head[8:12], "little"))], 2, 8
        for start, size in blocks:
            block = self.window.at(start, size)
            self._headers.bytes += len(block)
            if self._headers.bytes > self.window.size:
                raise OSError("the headers of its objects take more bytes than the file")
            block = block[4:-4] if newer and block[:4] == b"OCHK" else block
            at = 0
            while at + before <= len(block):
                kind, length = (int.from_bytes(block[at + i : at + j], "little") for i, j in ((0, field), (field, field + 2)))
                body = block[at + before : at + before + length]
                if kind == _CONTINUATION:
                    blocks.append((int.from_bytes(body[:8], "little"), int.from_bytes(body[8:16], "little")))
                yield kind, body
                at += before + length
