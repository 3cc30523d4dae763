"""The bytes of a file: as docs/reference/format.md states them, and read without a crash or a hang whatever they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.codec.container import Gap, pack_frame, pack_index, read, read_frame, scan
from tiedae.codec.header import Header

from ..entropy.test_tables import FORMAT

IDENTITY = bytes(range(8))
HEADER = Header(IDENTITY, 2)
EXAMPLE = bytes.fromhex(
    "89544145 01 00 4000 02000000 0001020304050607 65ecef39a7e0 01 04 37a58c4e 04100200a7ef 01 0c 0c000000 02771063"
)
"""The example of docs/reference/format.md."""


def file_of(header: Header, *frames: tuple[int, int, bytes]) -> bytes:
    """A file of frames, (mode, samples, payload) each."""
    packed = [pack_frame(header, *frame) for frame in frames]
    index = pack_index(header, [(frame[1], len(each)) for frame, each in zip(frames, packed, strict=True)])
    return b"".join([header.to_bytes(), *packed, index])


def test_the_example_of_the_document_is_true() -> None:
    text = Path(FORMAT).read_text(encoding="utf-8").partition("### Samples")[2].partition("### Example")[2]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    assert bytes.fromhex("".join(cells).replace("`", "")) == EXAMPLE
    assert file_of(HEADER, (0, 1, bytes.fromhex("04100200"))) == EXAMPLE


def test_a_file_is_read() -> None:
    found = read(EXAMPLE, "f.tae")
    assert (found.header, found.samples, found.indexed, found.problems) == (HEADER, 1, True, ())
    assert read_frame(EXAMPLE, found.frames[0], found.header).data.hex() == "04100200"


FRAMES = st.lists(st.tuples(st.integers(0, 14), st.integers(1, 64), st.binary(max_size=300)), min_size=1, max_size=6)


@given(FRAMES)
def test_frames_are_found_with_and_without_the_index(frames: list[tuple[int, int, bytes]]) -> None:
    data = file_of(HEADER, *frames)
    listed = read(data, "f.tae")
    assert listed.indexed and listed.problems == ()
    found = read(data[: listed.frames[-1].stop], "f.tae")
    assert not found.indexed and found.placed and found.frames == listed.frames
    assert [problem.partition(":")[0] for problem in found.problems] == ["it does not end in an index of its frames"]
    for frame, (mode, samples, payload) in zip(listed.frames, frames, strict=True):
        assert (frame.samples, *read_frame(data, frame, HEADER)) == (samples, mode, payload)


@given(FRAMES, FRAMES)
def test_frames_are_appended_behind_an_index(frames: list[tuple[int, int, bytes]], more: list[tuple[int, int, bytes]]) -> None:
    before = file_of(HEADER, *frames)
    first = read(before, "f.tae").frames
    added = [pack_frame(HEADER, *frame) for frame in more]
    entries = [(frame.samples, frame.size) for frame in first] + [(0, len(before) - first[-1].stop)]
    entries += [(frame[1], len(each)) for frame, each in zip(more, added, strict=True)]
    data = before + b"".join(added)
    whole = read(data + pack_index(HEADER, entries), "f.tae")
    assert whole.indexed and whole.frames[: len(first)] == first and len(whole.frames) == len(frames) + len(more)
    cut = read(data, "f.tae")
    assert (cut.frames, cut.placed, len(cut.problems)) == (whole.frames, True, 1)


@given(FRAMES, st.data())
def test_frames_behind_damage_are_found(frames: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
    whole = file_of(HEADER, *frames)
    listed = read(whole, "f.tae").frames
    lost = data.draw(st.integers(0, len(frames) - 1))
    cut = data.draw(st.integers(1, listed[lost].size))
    damaged = whole[: listed[lost].offset] + whole[listed[lost].offset + cut :]
    found = read(damaged, "f.tae")
    right = [whole[frame.offset : frame.stop] for i, frame in enumerate(listed) if i != lost]
    assert [damaged[frame.offset : frame.stop] for frame in found.frames] == right
    assert not found.indexed and not found.placed and found.problems


@given(st.binary(max_size=200))
def test_any_bytes_are_read(data: bytes) -> None:
    for whole in (data, HEADER.to_bytes() + data, HEADER.to_bytes() + data + pack_index(HEADER, [(64, len(data))])):
        try:
            found = read(whole, "f.tae")
        except FormatError:
            continue
        for frame in found.frames:
            try:
                assert read_frame(whole, frame, HEADER).mode < 15
            except FormatError as error:
                assert str(error).startswith("damaged: ")


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), max_size=5))
def test_an_index_of_other_frames_is_not_used(entries: list[tuple[int, int]]) -> None:
    frame = pack_frame(HEADER, 0, 64, b"payload")
    found = read(HEADER.to_bytes() + frame + pack_index(HEADER, entries), "f.tae")
    if sum(size for _, size in entries) != len(frame):
        assert not found.indexed and [each.samples for each in found.frames] == [64]


def test_a_frame_of_another_place_is_damaged() -> None:
    data = file_of(HEADER, (0, 64, b"payload"))
    (frame,) = read(data, "f.tae").frames
    with pytest.raises(FormatError, match="damaged: 64 samples in 14 bytes, must be 63 in 14"):
        read_frame(data, frame._replace(samples=63), HEADER)
    with pytest.raises(FormatError, match="damaged: the checksum is not that of its bytes"):
        read_frame(data, frame, Header(IDENTITY[::-1], 2))


def test_a_stream_waits_for_what_is_missing() -> None:
    data = pack_frame(HEADER, 0, 64, b"payload") + pack_frame(HEADER, 0, 1, b"more")
    for stop in range(len(data)):
        found = list(scan(data[:stop], 0, HEADER, final=False))
        assert not [each for each in found if isinstance(each, Gap)] and len(found) == (stop >= 14)


def test_crafted_bytes_do_not_take_long_to_scan() -> None:
    """Each two bytes look like a frame up to the end, whose checksum takes a pass over the rest."""
    size = 400_000
    lengths = range(size, 20_000, -10)
    false = b"".join(b"\xa7\xe0\x01" + bytes((n & 127 | 128, n >> 7 & 127 | 128, n >> 14)) + bytes(4) for n in lengths) + bytes(
        20_010
    )
    begun = time.process_time()
    assert read(HEADER.to_bytes() + false, "f.tae").frames == ()
    assert time.process_time() - begun < 2
