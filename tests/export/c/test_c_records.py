"""Ends of records in C: their bytes are Python's, and so is what is read of them, damaged or not."""

from __future__ import annotations

import ctypes
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest

from tiedae.codec.container import pack_end, pack_frame, pack_index, read
from tiedae.codec.frames import FileModel, encode_frames
from tiedae.codec.header import Header
from tiedae.codec.reader import Reader
from tiedae.config.sample_spec import SampleSpec

from . import codec_library as library
from .codec_library import Library
from .codec_models import header_of, kind_of, model_of, walk

PADDING = (None, 4, 0, 1)
"""Of the record that ends behind each frame."""


@dataclass(frozen=True)
class Ended:
    """A file of four frames and three records: its parts without an index, and what the index lists of them."""

    model: FileModel
    library: Library
    header: Header
    x: np.ndarray
    parts: list[bytes]
    entries: list[tuple[int, int]]

    @cached_property
    def data(self) -> bytes:
        return b"".join([*self.parts, pack_index(self.header, self.entries)])

    @cached_property
    def appended(self) -> bytes:
        """With the first frame again behind it."""
        *before, (_, end) = self.entries
        index = len(self.data) - sum(map(len, self.parts))
        return b"".join([self.data, self.parts[1], pack_index(self.header, [*before, (0, end + index), before[0]])])


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    model = model_of(SampleSpec((5, 2), "int16", kind="record"))
    made = Library(model.program, model.coding, tmp_path_factory.mktemp("records") / "c")  # type: ignore[arg-type]
    header, x = header_of(model, 0, 3), walk(model.spec, 9, 3)
    parts, entries = [header.to_bytes()], []
    for frame, padding in zip(np.split(x, (3, 5, 8)), PADDING, strict=True):
        payload = encode_frames(model, header, [frame], [np.zeros((len(frame), 4), np.uint8)])[0]
        parts.append(pack_frame(header, payload.mode, len(frame), payload.data))
        entries.append((len(frame), len(parts[-1])))
        if padding is not None:
            parts.append(pack_end(header, padding))
            entries.append((0, len(parts[-1])))
    return Ended(model, made, header, x, parts, entries)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_ends_are_written_and_read(ended: Ended) -> None:
    made, header = ended.library, ended.library.header(*kind_of(0), 3)
    for padding in filter(None, PADDING):
        assert made.write_end(header, padding) == pack_end(ended.header, padding)
    assert [made.write_end(header, 5), made.write_end(header, 1, 10)] == [library.ARGUMENT, library.SPACE]
    end, found, used = pack_end(ended.header, 4), ctypes.c_uint32(), ctypes.c_size_t()
    out = ctypes.byref(found), ctypes.byref(used)
    assert made.call("end_read", header, end, len(end), *out) == library.OK and (found.value, used.value) == (4, len(end))
    assert {made.call("end_read", header, end, size, *out) for size in range(len(end))} == {library.DAMAGED}
    assert made.call("end_read", header, None, 9, *out) == library.ARGUMENT
    other = b"\xa7\xd0\4"
    other += zlib.crc32(other, ended.header.checksum).to_bytes(4, "little")
    assert made.call("end_read", header, other, len(other), *out) == library.DAMAGED, "the marker of a frame"


def test_frames_say_which_record_they_end(ended: Ended) -> None:
    found = ended.library.read(ended.data)
    assert found.statuses == (library.OK,) * 5 + (library.END,) and found.padding == (-1, 4, 0, 1)
    np.testing.assert_array_equal(found.samples, ended.x)
    assert ended.library.read(ended.data, 5).padding == (0, 1)
    assert ended.library.read(ended.appended).padding == (-1, 4, 0, 1, -1)


def test_damage_is_what_python_finds(ended: Ended) -> None:
    """Every bit of an end and of an earlier index, and the file cut off anywhere."""
    bad = [flipped(ended.data, bit) for end in read(ended.data, "").ends for bit in range(8 * end.offset, 8 * end.stop)]
    bad += [ended.data[:stop] for stop in range(ended.header.size, len(ended.data))]
    bad += [flipped(ended.appended, bit) for bit in range(8 * len(ended.data) - 40, 8 * len(ended.data))]
    for data in bad:
        contents, found = read(data, ""), ended.library.read(data)
        reader = Reader(ended.model, data, "f.tae") if contents.frames else contents
        padding = {end.offset: end.padding for end in contents.ends}
        assert found.problems == len(reader.problems), data.hex()
        assert found.padding == tuple(padding.get(frame.stop, -1) for frame in contents.frames), data.hex()


def test_an_end_elsewhere_or_of_a_whole_window_is_damage(ended: Ended) -> None:
    header, parts, entries, made = ended.header, ended.parts, ended.entries, ended.library
    long = b"".join([*parts[:-1], pack_end(header, 5), pack_index(header, entries)])
    assert made.read(long).padding == (-1, 4, 0, -1) and made.read(long).problems == 1
    assert made.read(long[:-1]).padding == (-1, 4, 0, -1)
    first = b"".join([parts[0], parts[3], *parts[1:], pack_index(header, [entries[2], *entries])])
    assert made.read(first).problems == len(read(first, "").problems) == 1
    for data in (b"".join([*parts[:4], *parts[3:]]), b"".join([parts[0], parts[3], *parts[1:]])):
        assert made.read(data).problems == len(read(data, "").problems) == 2
