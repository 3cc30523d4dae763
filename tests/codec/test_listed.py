"""What an index lists, to the byte, and what follows from what a file holds already."""

from __future__ import annotations

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.codec.container import End, FrameSpan, Gap, _index_start, _index_stop, index_entries, is_index, pack_end, read
from tiedae.codec.streams import StreamEncoder, _are_listed

from ..data.test_windows import codec_of
from ..export.c.stream_library import RECORDS
from .test_container import HEADER, file_of


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("behind", [b"", bytes(40)], ids=["at the end", "in the middle"])
def test_an_index_ends_where_it_says(count: int, behind: bytes) -> None:
    whole = file_of(HEADER, *[(0, 1 + i, bytes(300 * i)) for i in range(count)])
    start = read(whole, "f.tae").frames[-1].stop
    assert is_index(whole, Gap(start, len(whole)), HEADER)
    assert _index_stop(whole + behind, start, len(whole), HEADER) == (len(whole), len(whole) - start)
    assert _index_stop(whole, start, len(whole) - 1, HEADER)[0] is None


@pytest.mark.parametrize(
    ("entries", "index", "right"),
    [
        ([(3, 20), (0, 9)], [(3, 20), (0, 9)], True),
        ([(3, 20), (0, 9)], [(3, 20), (0, 4), (0, 5)], True),
        ([(3, 20), (0, 9)], [(3, 20), (0, 4), (0, 6)], False),
        ([(3, 20), (0, 1)], [(3, 20)], False),
        ([(3, 20)], [(3, 20), (0, 1)], False),
        ([(3, 20)], [(3, 21)], False),
        ([(3, 20)], [(2, 20)], False),
        ([(3, 20)], [(3, 20), (0, 0)], False),
        ([(0, 1)], [], False),
        ([], [], True),
    ],
)
def test_bytes_to_skip_are_one_entry_or_several(
    entries: list[tuple[int, int]], index: list[tuple[int, int]], right: bool
) -> None:
    assert _are_listed(entries, index) is right


@pytest.mark.parametrize(
    "numbers", [b"\x03\xff\xff\xff\xff\xff\x01", b"\x03\x80\x00", b"\x03\x14\x05"], ids=["long", "needless", "odd"]
)
def test_an_index_of_no_numbers_lists_nothing(numbers: bytes) -> None:
    index = b"\xa7\xef" + numbers + bytes(8)
    assert not _are_listed([(3, 20), (5, 1)], index_entries(index, 0, len(index)))


FRAME, END = FrameSpan(0, 2, 20, 30), End(50, 58, 0)


@pytest.mark.parametrize(
    ("written", "is_in_record"),
    [((), False), ((FRAME,), True), ((FRAME, END), False), ((FRAME, END, FRAME), True), ((END, FRAME, END), False)],
    ids=str,
)
def test_a_record_ends_that_has_begun(written: tuple[FrameSpan | End, ...], is_in_record: bool) -> None:
    codec = codec_of(RECORDS[0].made())
    encoder = StreamEncoder(codec.file_model, codec.backend, written=written)
    if is_in_record:
        assert encoder.end_record() == [pack_end(encoder.header, 0)]
    else:
        with pytest.raises(InputError, match=r"^record: ends behind 0 of 0 samples, must have one or more, and end in them$"):
            encoder.end_record()


@pytest.mark.parametrize(
    ("samples", "ends", "is_in_record"),
    [(3, [], True), (3, [(3, 0)], False), (3, [(1, 5)], True), (3, [(2, 9), (3, 5)], False), (1, [(1, 7)], False)],
    ids=str,
)
def test_a_record_goes_on_behind_the_last_end(samples: int, ends: list[tuple[int, int]], is_in_record: bool) -> None:
    codec = codec_of(RECORDS[0].made())
    encoder = codec.encoder()
    encoder.push(np.zeros((samples, *codec.spec.shape), codec.spec.dtype), ends)
    if is_in_record:
        encoder.end_record()
    with pytest.raises(InputError, match=r"^record: ends behind 0 of 0 samples"):
        encoder.end_record()


@pytest.mark.parametrize("size", range(10))
def test_bytes_that_are_too_few_are_no_index(size: int) -> None:
    assert _index_start(b"\xa7\xef" + bytes(8), size, HEADER) is None
    assert _index_start(bytes(size), size, HEADER) is None
