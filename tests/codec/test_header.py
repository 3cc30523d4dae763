"""The header of a file: what its bytes state, and what is refused in one line."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import FormatError, InputError
from tiedae.codec.container import read
from tiedae.codec.header import FileKind, Header

from .test_container import EXAMPLE, IDENTITY

HEADERS = st.builds(
    lambda identity, sample_bytes, samples, kind, bound: Header(
        identity, sample_bytes, min(samples, max(1, 2**26 // sample_bytes)), kind, bound if kind is FileKind.BOUNDED else 0.0
    ),
    st.binary(min_size=8, max_size=8),
    st.integers(1, 2**32 - 1),
    st.integers(1, 2**16 - 1),
    st.sampled_from(FileKind),
    st.floats(min_value=0, exclude_min=True, allow_infinity=False),
)


@given(HEADERS)
def test_bytes_hold_the_header(header: Header) -> None:
    assert Header.from_bytes(header.to_bytes(), "f.tae") == header
    assert len(header.to_bytes()) == header.size == (32 if header.kind is FileKind.BOUNDED else 24)


def signed(body: str) -> bytes:
    data = bytes.fromhex(body)
    return data + zlib.crc32(data).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not a .tae file"),
        (b"\x93NUMPY" + bytes(100), "not a .tae file"),
        (EXAMPLE[:4], "damaged: ends in the header"),
        (EXAMPLE[:4] + b"\2", "a .tae file of version 2, this tiedae reads version 1"),
        (EXAMPLE[:23], "damaged: ends in the header"),
        (EXAMPLE[:5] + b"\3" + EXAMPLE[6:], "flags 0x03, this tiedae reads 0x00, 0x01, 0x02, 0x04, 0x05, 0x06"),
        (EXAMPLE[:5] + b"\1" + EXAMPLE[6:30], "damaged: ends in the header"),
        (EXAMPLE[:6] + b"\1" + EXAMPLE[7:], "damaged: the header's checksum is not that of its bytes"),
        (signed("89544145 01 00 0000 02000000 0001020304050607"), "damaged: samples per frame: got 0, must lie in 1…65,535"),
        (signed("89544145 01 00 4000 00000000 0001020304050607"), "damaged: header: got 8 bytes of identity, 0 of a sample"),
        (
            signed("89544145 01 01 4000 02000000 0001020304050607 000000000000f87f"),
            "damaged: bound of a bounded file: got nan, must be finite and above 0",
        ),
    ],
)
def test_an_unusable_header_is_said_in_one_line(data: bytes, problem: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(data, "f.tae")
    assert str(caught.value) == f"f.tae: {problem}"


def test_headers_are_checked() -> None:
    with pytest.raises(InputError, match=r"samples per frame: got 70000, must lie in 1…65,535"):
        Header(IDENTITY, 2, 70_000)
    with pytest.raises(InputError, match=r"bound of a lossless file: got 2\.0, must be 0"):
        Header(IDENTITY, 2, 64, FileKind.LOSSLESS, 2.0)
