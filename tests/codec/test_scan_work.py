"""What a scan reads of false frames and of a false index before it gives up, to the byte: a crafted file takes no longer."""

from __future__ import annotations

import pytest

from tiedae.codec.container import FrameSpan, Gap, pack_frame, scan
from tiedae.codec.header import Header

HEADER = Header(bytes(range(8)), 2)
SIZE, HEAD, FALSE = 40_000, 9, 200
PAIRS = 500
FRAME = pack_frame(HEADER, 0, 64, b"payload")


def false_frame(size: int) -> bytes:
    """The first bytes of a frame of `size` bytes whose checksum is wrong."""
    payload = size - HEAD
    return bytes((0xA7, 0xD0, payload & 127 | 128, payload >> 7 & 127 | 128, payload >> 14)) + bytes(4)


def crafted(begin: bytes, read: int) -> bytes:
    """Bytes that are no frame, false frames whose sizes sum to `read`, zeros, and a frame."""
    sizes = [read // FALSE] * (FALSE - 1)
    sizes.append(read - sum(sizes))
    data = HEADER.to_bytes() + begin + b"".join(map(false_frame, sizes))
    assert min(sizes) > 16_500 and max(sizes) + len(data) < SIZE
    return data + bytes(SIZE - len(data) - len(FRAME)) + FRAME


@pytest.mark.parametrize(
    ("begin", "walked"),
    [(b"\0", 0), (false_frame(20_000), 0), (b"\xa7\xef" + bytes(2 * PAIRS) + b"\x80\0", 2 + 2 * PAIRS)],
    ids=["byte", "frame", "index"],
)
@pytest.mark.parametrize("left", [1, 0, -1])
def test_a_scan_reads_64_bytes_per_byte_and_a_mebibyte(begin: bytes, walked: int, left: int) -> None:
    offset = HEADER.size
    data = crafted(begin, 64 * (SIZE - offset) + (1 << 20) - 32 * walked - left)
    found = list(scan(data, offset, HEADER))
    if left > 0:
        assert found == [Gap(offset, SIZE - len(FRAME)), FrameSpan(0, 64, SIZE - len(FRAME), len(FRAME))]
    else:
        assert found == [Gap(offset, SIZE)]


@pytest.mark.parametrize(("longest", "waits"), [(1001, True), (1000, True), (999, False), (10, False)])
def test_a_scan_waits_for_a_payload_of_the_longest_and_no_longer(longest: int, waits: bool) -> None:
    begun = pack_frame(HEADER, 0, 64, bytes(1000))[:500]
    data = HEADER.to_bytes() + begun + FRAME
    found = list(scan(data, HEADER.size, HEADER, final=False, longest=longest))
    start = HEADER.size + len(begun)
    assert found == ([] if waits else [Gap(HEADER.size, start), FrameSpan(0, 64, start, len(FRAME))])
