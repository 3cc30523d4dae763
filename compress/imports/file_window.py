"""A part of an open file, from which libhdf5 reads what it survives."""

from __future__ import annotations

import io
import os


class FileWindow(io.RawIOBase):
    """A part of an open file, from `start` on, of `size` bytes; owns the descriptor."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self._descriptor, self._start, self._size, self._at = descriptor, start, size, 0

    @property
    def size(self) -> int:
        return self._size

    def at(self, start: int, size: int) -> bytes:
        """The bytes of a place, as many as there are."""
        size = min(size, self._size - start)
        return os.pread(self._descriptor, size, self._start + start) if start >= 0 and size > 0 else b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        view = memoryview(buffer).cast("B")[: max(self._size - self._at, 0)]
        count = os.preadv(self._descriptor, [view], self._start + self._at) if len(view) else 0
        self._at += count
        require_heap(view[:count], self)
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def require_heap(data: memoryview, window: FileWindow) -> None:
    """Raise OSError where bytes begin with a heap that libhdf5 would not survive (HDF5 File Format Specification 3.0).

    "Local Heap": names of more bytes than the file, for which it would make room, or whose list of free places is a circle.
    "Global Heap": a collection of texts whose objects do not fill it, of which it would search one of 0 bytes for ever (object
    0 is free space).
    """
    if data[:4] == b"HEAP":
        size, free, address = (int.from_bytes(data[i : i + 8], "little") for i in (8, 16, 24))
        _require_names(size, free, address, window)
    elif data[:4] == b"GCOL":
        _require_texts(data, int.from_bytes(data[8:16], "little"))


_NONE = 1
"""The place behind the last free one."""


def _require_names(size: int, free: int, address: int, window: FileWindow) -> None:
    if size > window.size:
        raise OSError(f"the names of a group take {size:,} bytes of {window.size:,}")
    names, seen = window.at(address, size), set()
    while free != _NONE and free + 16 <= len(names):
        if free in seen:
            raise OSError(f"the free places between the names of a group lead to byte {free:,} twice")
        seen.add(free)
        free = int.from_bytes(names[free : free + 8], "little")


def _require_texts(data: memoryview, size: int) -> None:
    at = 16
    while at + 16 <= size <= len(data):
        index, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 8 : at + 16], "little")
        step = 16 + (length + 7) // 8 * 8 if index else length
        if not 16 <= step <= size - at:
            raise OSError(f"a collection of texts of {size:,} bytes has {length:,} for one of them at byte {at:,}")
        at += step
