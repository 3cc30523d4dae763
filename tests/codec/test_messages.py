"""What is said of damaged files: the header that ends too early, and problems beyond those that are listed."""

from __future__ import annotations

import re

import pytest

from tiedae.base.errors import CheckError, FormatError
from tiedae.codec.header import Header
from tiedae.codec.reader import require_whole

HEADER = Header(bytes(range(8)), 2).to_bytes()
FIELDS = 20
"""Bytes of the fields that every header has, before the checksum; flags are the sixth byte."""


@pytest.mark.parametrize(
    ("size", "text"), [(FIELDS - 1, "damaged: ends in the header"), (FIELDS, "flags 0xff, this tiedae reads")], ids=str
)
def test_fields_are_read_when_they_are_there(size: int, text: str) -> None:
    data = bytearray(HEADER)
    data[5] = 0xFF
    with pytest.raises(FormatError, match=f"^f.tae: {re.escape(text)}"):
        Header.from_bytes(bytes(data[:size]), "f.tae")


@pytest.mark.parametrize("size", range(5, FIELDS + 4))
def test_a_header_that_is_cut_off_is_damaged(size: int) -> None:
    assert len(HEADER) == FIELDS + 4
    with pytest.raises(FormatError, match=r"^f\.tae: damaged: ends in the header$"):
        Header.from_bytes(HEADER[:size], "f.tae")


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "f.tae: 0"), (5, "f.tae: 0; 1; 2; 3; 4"), (6, "f.tae: 0; 1; 2; 3; 4; 1 more"), (9, "f.tae: 0; 1; 2; 3; 4; 4 more")],
)
def test_five_problems_are_listed_and_the_others_counted(count: int, text: str) -> None:
    with pytest.raises(CheckError, match=f"^{re.escape(text)}$"):
        require_whole([str(number) for number in range(count)], "f.tae")
