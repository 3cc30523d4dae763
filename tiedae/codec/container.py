"""The bytes of a .tae file: a header, frames that each decode alone, an index. docs/reference/format.md specifies them.

No model is needed here. Any bytes are read without a crash: lengths are compared with the bytes that are there before use, and
what a frame may decode to is limited before a model sees it.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tiedae.base.errors import FormatError

from .header import Data, Header

MODE_COUNT = 15

_NUMBER = struct.Struct("<I")
_MARKER = 0xA7
_FULL, _OTHER = 0xD0, 0xE0
"""Mode 0 of a frame with the header's number of samples, and of one that states its number."""
_INDEX = bytes((_MARKER, 0xEF))
_END = bytes((_MARKER, 0xDF))
_FRAME_START = re.compile(rb"\xa7[\xd0-\xde\xe0-\xee]")
_SHORTEST = 2 + 1 + _NUMBER.size
"""Bytes of the shortest frame."""
_SCAN_WORK = 64
"""Bytes of false frames that a scan reads, per byte of the file. Only crafted files reach it; the rest of them is damaged."""
_WALK = 32
"""What a byte of an index that is read forward counts for in that."""

NO_INDEX = "it does not end in an index of its frames: it was cut off, is not finished, or lost some"


class FrameSpan(NamedTuple):
    """Where a frame is: the number of its first sample in the file, its samples, its first byte, its bytes."""

    first: int
    samples: int
    offset: int
    size: int

    @property
    def stop(self) -> int:
        return self.offset + self.size

    def text(self, number: int) -> str:
        return f"frame {number} (samples {self.first} to {self.first + self.samples - 1})"


class Gap(NamedTuple):
    """Bytes between frames, or behind the last one, that are no frame: an index, or damaged."""

    offset: int
    stop: int

    @property
    def text(self) -> str:
        return f"bytes {self.offset} to {self.stop - 1} hold no whole frame"


class End(NamedTuple):
    """The end of a record, right behind the frame that holds its last sample. `padding`: time steps at the end of that sample
    that are no part of the record; of a picture in patches its size, see `PictureSize.number`."""

    offset: int
    stop: int
    padding: int


class Payload(NamedTuple):
    """What a frame holds: its mode and the mode's bytes."""

    mode: int
    data: bytes


def pack_frame(header: Header, mode: int, samples: int, payload: bytes) -> bytes:
    """A frame: marker and mode, number of samples unless it is the header's, bytes of the payload, CRC-32, payload."""
    full = samples == header.samples_per_frame
    head = bytes((_MARKER, mode + (_FULL if full else _OTHER))) + (b"" if full else _varint(samples)) + _varint(len(payload))
    return head + _NUMBER.pack(zlib.crc32(payload, zlib.crc32(head, header.checksum))) + payload


def pack_end(header: Header, padding: int) -> bytes:
    """The end of a record, behind its last frame; see `End`."""
    body = _END + _varint(padding)
    return body + _NUMBER.pack(zlib.crc32(body, header.checksum))


def pack_index(header: Header, entries: Iterable[tuple[int, int]]) -> bytes:
    """The index, by which a file ends: (samples, bytes) of each frame. No samples: bytes to skip, see `End` and `Gap`."""
    body = _INDEX + b"".join(_varint(samples) + _varint(size) for samples, size in entries)
    body += _NUMBER.pack(len(body) + 2 * _NUMBER.size)
    return body + _NUMBER.pack(zlib.crc32(body, header.checksum))


def read_frame(data: Data, frame: FrameSpan, header: Header) -> Payload:
    """What a frame holds; FormatError where its bytes are damaged or not those of this place."""
    try:
        found, payload = _frame_at(data, frame.offset, header, frame.first)
    except (IndexError, ValueError):
        raise FormatError("damaged: the checksum is not that of its bytes") from None
    if found != frame:
        raise FormatError(f"damaged: {found.samples} samples in {found.size} bytes, must be {frame.samples} in {frame.size}")
    return payload


def scan(
    data: Data,
    offset: int,
    header: Header,
    *,
    first: int = 0,
    final: bool = True,
    longest: int = 1 << 32,
    behind: bool = False,
) -> Iterator[FrameSpan | End | Gap]:
    """The frames and ends of records from an offset on, and the gaps between, without the index; `first`: the number of the
    first sample; `behind`: whether a frame is right before the offset.

    Unless `final`, more bytes will follow: the scan ends before what they may complete, frames of payloads of `longest` bytes.
    """
    work = _SCAN_WORK * (len(data) - offset) + (1 << 20)
    while offset < len(data):
        try:
            frame, _ = _frame_at(data, offset, header, first)
        except (IndexError, ValueError) as error:
            end = end_at(data, offset, header) if behind else None
            behind = False
            if end is not None:
                yield end
                offset = end.stop
                continue
            if isinstance(error, IndexError) and not final and not _exceeds(data, offset, header, longest):
                return
            stop, walked = _index_stop(data, offset, min(len(data), offset + work // _WALK), header)
            work -= _WALK * walked
            if stop is None:
                stop, work = _next_frame(data, offset + 1, header, work)
                if stop == len(data) and not final:
                    return
            yield Gap(offset, stop)
            offset = stop
        else:
            yield frame
            offset, first, behind = frame.stop, first + frame.samples, True


def _exceeds(data: Data, offset: int, header: Header, longest: int) -> bool:
    """Whether a frame that has begun states a payload of more than `longest` bytes."""
    try:
        _, _, start, stop = _head_at(data, offset, header)
    except IndexError:
        return False
    return stop - start > longest


def _next_frame(data: Data, offset: int, header: Header, work: int) -> tuple[int, int]:
    """Where the next whole frame begins, or the data end, and the work that is left."""
    while work > 0 and (match := _FRAME_START.search(data, offset)):
        offset = match.start()
        try:
            *_, stop = _head_at(data, offset, header)
            work -= stop - offset if stop <= len(data) else 0
            _frame_at(data, offset, header, 0)
            return offset, work
        except (IndexError, ValueError):
            offset += 1
    return len(data), work


@dataclass(frozen=True)
class FileContents:
    """A file's header, frames and ends of records, and what is wrong with the file as a whole.

    `indexed`: whether the index is whole; then the frames are those it lists, and may be damaged. Without it they were found
    by a scan, and are whole. `placed`: whether the numbers of their samples are known: no damaged part before a frame.
    """

    header: Header
    frames: tuple[FrameSpan, ...]
    ends: tuple[End, ...]
    indexed: bool
    placed: bool
    problems: tuple[str, ...]

    @property
    def samples(self) -> int:
        """All samples of the frames."""
        return sum(frame.samples for frame in self.frames)


def read(data: Data, source: object) -> FileContents:
    """Header and frames of a file; FormatError, which starts with `source`, for an unusable header."""
    header = Header.from_bytes(data, source)
    start = _index_start(data, len(data), header)
    listed = None if start is None else listed_frames(data, start, len(data), header)
    if start is None or listed is None:
        indexed, found = False, list(scan(data, header.size, header))
    else:
        indexed, found = True, [*listed, *_between(data, listed, header, start)]
    frames = tuple(part for part in found if isinstance(part, FrameSpan))
    ends = tuple(part for part in found if isinstance(part, End))
    damaged = [gap for gap in found if isinstance(gap, Gap) and not is_index(data, gap, header)]
    problems = (*(gap.text for gap in damaged), *(() if indexed else (NO_INDEX,)))
    placed = indexed or (start is None and all(gap.stop == len(data) for gap in damaged))
    return FileContents(header, frames, ends, indexed, placed, problems)


def _between(data: Data, frames: Iterable[FrameSpan], header: Header, stop: int) -> Iterator[End | Gap]:
    """What lies between the frames that an index lists, and behind the last one up to `stop`."""
    at = header.size
    for start, behind in (*((frame.offset, frame.stop) for frame in frames), (stop, stop)):
        end = end_at(data, at, header) if header.size < at < start else None
        if end is not None and end.stop <= start:
            yield end
            at = end.stop
        if at < start:
            yield Gap(at, start)
        at = behind


def end_at(data: Data, offset: int, header: Header) -> End | None:
    """The end of a record at an offset, or None."""
    if data[offset : offset + len(_END)] != _END:
        return None
    try:
        padding, at = _read_varint(data, offset + len(_END))
    except (IndexError, ValueError):
        return None
    whole = data[at : at + _NUMBER.size] == _NUMBER.pack(zlib.crc32(data[offset:at], header.checksum))
    return End(offset, at + _NUMBER.size, padding) if whole else None


def is_index(data: Data, gap: Gap, header: Header) -> bool:
    """Whether a gap is an index, such as that of before more frames were appended."""
    return _index_start(data, gap.stop, header, gap.offset) is not None


def _index_stop(data: Data, start: int, limit: int, header: Header) -> tuple[int | None, int]:
    """Where an index that starts there ends, at most at the limit, or None; and the bytes that were read to find it."""
    at = start + len(_INDEX)
    if data[start:at] != _INDEX:
        return None, 0
    try:
        while (stop := at + 2 * _NUMBER.size) <= limit:
            if _NUMBER.unpack_from(data, at)[0] == stop - start and _index_start(data, stop, header, start) is not None:
                return stop, stop - start
            _, at = _read_varint(data, at)
            _, at = _read_varint(data, at)
    except (IndexError, ValueError):
        pass
    return None, at - start


def _index_start(data: Data, stop: int, header: Header, begin: int | None = None) -> int | None:
    """Where an index that ends at `stop` begins; None where there is none, or not at `begin`."""
    least = len(_INDEX) + 2 * _NUMBER.size
    if stop < least:
        return None
    size, checksum = struct.unpack_from("<2I", data, stop - 2 * _NUMBER.size)
    start = stop - size
    if not least <= size <= stop or data[start : start + len(_INDEX)] != _INDEX or begin not in (None, start):
        return None
    return start if zlib.crc32(data[start : stop - _NUMBER.size], header.checksum) == checksum else None


def listed_frames(data: Data, start: int, stop: int, header: Header) -> tuple[FrameSpan, ...] | None:
    """The frames that an index from `start` to `stop` lists; None where they are not those between header and index.

    No frame is shorter than `_SHORTEST`, so that an index cannot list more than the bytes before it hold.
    """
    frames, first, offset = [], 0, header.size
    try:
        for samples, size in index_entries(data, start, stop):
            if samples > header.samples_per_frame or not _SHORTEST <= size <= start - offset:
                return None
            if samples:
                frames.append(FrameSpan(first, samples, offset, size))
            first, offset = first + samples, offset + size
    except (IndexError, ValueError):
        return None
    return tuple(frames) if offset == start else None


def index_entries(data: Data, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """What the bytes of an index list, (samples, bytes); IndexError or ValueError where they are no numbers."""
    at, entries_stop = start + len(_INDEX), stop - 2 * _NUMBER.size
    while at < entries_stop:
        samples, at = _read_varint(data, at)
        size, at = _read_varint(data, at)
        yield samples, size
    if at != entries_stop:
        raise ValueError("entries")


def _frame_at(data: Data, offset: int, header: Header, first: int) -> tuple[FrameSpan, Payload]:
    """The frame at an offset; ValueError where there is none, IndexError where the data end before it does."""
    mode, samples, start, stop = _head_at(data, offset, header)
    if stop > len(data):
        raise IndexError("payload")
    payload = data[start:stop]
    head, (checksum,) = data[offset : start - _NUMBER.size], _NUMBER.unpack_from(data, start - _NUMBER.size)
    if zlib.crc32(payload, zlib.crc32(head, header.checksum)) != checksum:
        raise ValueError("checksum")
    return FrameSpan(first, samples, offset, stop - offset), Payload(mode, bytes(payload))


def _head_at(data: Data, offset: int, header: Header) -> tuple[int, int, int, int]:
    """Mode, number of samples, and the payload's start and stop, as a frame's first bytes state them."""
    marker, second = data[offset], data[offset + 1]
    full = second < _OTHER
    mode = second - (_FULL if full else _OTHER)
    if marker != _MARKER or not 0 <= mode < MODE_COUNT:
        raise ValueError("marker")
    samples, at = (header.samples_per_frame, offset + 2) if full else _read_varint(data, offset + 2)
    if not (full or 0 < samples < header.samples_per_frame):
        raise ValueError("samples")
    size, at = _read_varint(data, at)
    return mode, samples, at + _NUMBER.size, at + _NUMBER.size + size


def _varint(number: int) -> bytes:
    """A number below 2³² in 1 to 5 bytes: 7 bits each, low ones first, 128 added to all but the last."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))


def _read_varint(data: Data, at: int) -> tuple[int, int]:
    """A number and where the next byte is; ValueError for more than 32 bits or a needless byte."""
    number = shift = 0
    while (part := data[at]) > 127:
        number |= (part & 127) << shift
        at, shift = at + 1, shift + 7
        if shift > 28:
            raise ValueError("number")
    number |= part << shift
    if number >> 32 or (shift and not part):
        raise ValueError("number")
    return number, at + 1
