"""How long a scan of a file that still grows waits for a frame that has begun."""

from __future__ import annotations

import pytest

from tiedae.codec.container import pack_frame, scan
from tiedae.codec.header import Header

HEADER = Header(bytes(range(8)), 2)


@pytest.mark.parametrize("size", [100, 70_000])
def test_a_scan_waits_for_a_payload_of_any_size(size: int) -> None:
    """The bytes of a whole frame that are behind may be the payload's own."""
    begun = pack_frame(HEADER, 0, 64, bytes(size + 1_000))[:-size]
    data = HEADER.to_bytes() + begun + pack_frame(HEADER, 0, 64, b"payload")[:size]
    assert list(scan(data, HEADER.size, HEADER, final=False)) == []
