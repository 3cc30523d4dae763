"""Records in .tae files: what is shorter than a window is stored too, and decodes to the record that was there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import CheckError, DataError, FormatError, InputError
from tiedae.codec.codec import Codec
from tiedae.codec.container import end_at, pack_end, pack_index, read
from tiedae.codec.header import Header
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder, StreamEncoder
from tiedae.config.sample_spec import INTEGERS
from tiedae.data.windows import Rest, Windows

from ..data.test_windows import MadeCodec, codec_of, steps_of
from ..entropy.test_tables import FORMAT
from ..export.c.stream_library import RECORDS
from ..variants import every

NAMES = [case.name for case in RECORDS]
LENGTHS = (17, 5, 9, 40, 8)
"""Time steps of the records of a file."""


@pytest.fixture(scope="module")
def codecs() -> dict[str, MadeCodec]:
    return {case.name: codec_of(case.made()) for case in RECORDS}


def pushed(encoder: StreamEncoder, records: list[np.ndarray], codec: Codec) -> list[bytes]:
    """The bytes of whole records, each with its end."""
    chunks: list[bytes] = []
    for record in records:
        windows = Windows.of(record, codec.spec)
        chunks += [*encoder.push(windows[:]), *encoder.end_record(windows.ends[0][1])]
    return chunks


def records_of(codec: Codec) -> list[np.ndarray]:
    """Records of more than a window, some without a rest."""
    window = codec.spec.shape[0]
    lengths = [window + length % (3 * window) for length in LENGTHS] + [2 * window]
    return np.split(steps_of(codec.spec, sum(lengths)), np.cumsum(lengths)[:-1])


def file_of(codec: Codec, **options: Any) -> tuple[bytes, list[np.ndarray]]:
    encoder, records = codec.encoder(samples_per_frame=3, **options), records_of(codec)
    return b"".join([*pushed(encoder, records, codec), *encoder.finish()]), records


@settings(max_examples=200)
@given(st.lists(st.integers(4, 20), min_size=1, max_size=6), st.integers(0, 3), st.data())
def test_any_range_of_samples_is_that_of_all(lengths: list[int], more: int, data: st.DataObject) -> None:
    """Records in windows of 4 steps, then samples that are of none."""
    records = np.split(np.arange(2 * sum(lengths)).reshape(-1, 2), np.cumsum(lengths)[:-1])
    own = [np.concatenate([record, *[record[-1:]] * (-len(record) % 4)]).reshape(-1, 4, 2) for record in records]
    loose = -np.ones((more, 4, 2), np.int64)
    counts = [len(record) // 4 for record in records]
    whole = [record[: count * 4].reshape(-1, 4, 2) for record, count in zip(records, counts, strict=True)]
    rests = [
        Rest(end, record[count * 4 :]) for end, record, count in zip(np.cumsum(counts).tolist(), records, counts, strict=True)
    ]
    windows, wanted = Windows(np.concatenate([*whole, loose]), rests), np.concatenate([*own, loose])
    assert len(windows) == len(wanted) and windows.values == 2 * sum(lengths) + loose.size
    start, stop = (data.draw(st.integers(0, len(wanted) + 2)) for _ in range(2))
    np.testing.assert_array_equal(windows[start:stop], wanted[start:stop])
    parts = list(windows.parts())
    assert [stop - start for start, stop, _ in parts] == [*map(len, own), *[more] * (more > 0)]
    assert [padding for *_, padding in parts] == [-length % 4 for length in lengths] + [None] * (more > 0)


@pytest.mark.parametrize("name", every(2, NAMES))
@pytest.mark.parametrize("options", [{}, {"max_error": 4}, {"lossless": True}], ids=str)
def test_records_come_back(codecs: dict[str, MadeCodec], name: str, options: dict[str, Any]) -> None:
    codec = codecs[name]
    if options and codec.spec.dtype not in INTEGERS:
        pytest.skip("the model of floats has no tables of residuals")
    data, records = file_of(codec, **options)
    right = np.concatenate(records)
    back = codec.decompress_record(data)
    assert (back.shape, back.dtype) == (right.shape, right.dtype)
    if options:
        assert np.abs(back.astype(np.float64) - right).max() <= options.get("max_error", 0)
    else:
        parts = [codec.reconstruct(Windows.of(record, codec.spec)[:]).reshape(-1, *right.shape[1:]) for record in records]
        np.testing.assert_array_equal(back, np.concatenate([p[: len(r)] for p, r in zip(parts, records, strict=True)]))
    windows = codec.decompress(data)
    assert len(windows) == sum(-(-len(record) // codec.spec.shape[0]) for record in records)
    reader = Reader(codec.file_model, data, "f.tae")
    assert reader.is_of_records and len(reader.contents.ends) == len(records)
    window, stops = codec.spec.shape[0], np.cumsum([0, *map(len, records)])
    steps = [min(window, stop - at) for start, stop in itertools.pairwise(stops) for at in range(start, stop, window)]
    for stop in range(1, len(windows) + 1):
        np.testing.assert_array_equal(np.concatenate(list(reader.time_steps(0, stop))), back[: sum(steps[:stop])])
    last = np.concatenate(list(reader.time_steps(len(windows) - 3, len(windows))))
    np.testing.assert_array_equal(last, back[-sum(steps[-3:]) :])


def test_one_record_is_one_call(codecs: dict[str, MadeCodec]) -> None:
    codec = codecs[NAMES[0]]
    record = steps_of(codec.spec, 50)
    data = codec.compress_record(record, lossless=True)
    np.testing.assert_array_equal(codec.decompress_record(data), record)
    assert not Reader(codec.file_model, codec.compress(steps_of(codec.spec, codec.spec.shape[0])[None]), "f").is_of_records


def test_an_append_keeps_the_ends_before_it(codecs: dict[str, MadeCodec]) -> None:
    codec = codecs[NAMES[0]]
    before, records = file_of(codec, lossless=True)
    encoder = codec.appender(before)
    data = b"".join([before, *pushed(encoder, records[:2], codec), *encoder.finish()])
    right = np.concatenate([*records, *records[:2]])
    np.testing.assert_array_equal(codec.decompress_record(data), right)
    for size in (1, 7, len(data)):
        decoder = StreamDecoder(codec.file_model)
        parts = [decoder.push(data[at : at + size]) for at in range(0, len(data), size)]
        decoder.finish()
        np.testing.assert_array_equal(np.concatenate(parts), codec.decompress(data))


def test_a_file_cut_off_anywhere_gives_the_records_so_far(codecs: dict[str, MadeCodec]) -> None:
    codec = codecs[NAMES[0]]
    data, records = file_of(codec)
    whole, right = read(data, ""), codec.decompress_record(data)
    for stop in range(whole.frames[0].stop, len(data)):
        found = Reader(codec.file_model, data[:stop], "f.tae")
        back = np.concatenate(list(found.time_steps()))
        ended = sum(end.stop <= stop for end in whole.ends)
        counted = sum(map(len, records[:ended]))
        np.testing.assert_array_equal(back[:counted], right[:counted])
        assert found.problems
        assert len(back) <= len(right) + codec.spec.shape[0]


@pytest.mark.parametrize("indexed", [True, False])
def test_every_flipped_bit_of_an_end_is_noticed(codecs: dict[str, MadeCodec], indexed: bool) -> None:
    codec = codecs[NAMES[0]]
    data, _ = file_of(codec)
    end = read(data, "").ends[1]
    for bit in range(8 * end.offset, 8 * end.stop):
        flipped = bytearray(data if indexed else data[:-3])
        flipped[bit // 8] ^= 1 << bit % 8
        reader = Reader(codec.file_model, bytes(flipped), "f.tae")
        list(reader.time_steps())
        assert f"bytes {end.offset} to {end.stop - 1} hold no whole frame" in reader.problems
        decoder = StreamDecoder(codec.file_model)
        decoder.push(bytes(flipped))
        with pytest.raises(CheckError, match="hold no whole frame"):
            decoder.finish()


@settings(max_examples=30)
@given(st.data())
def test_records_together_are_the_bytes_of_one_after_the_other(codecs: dict[str, MadeCodec], data: st.DataObject) -> None:
    codec = codecs[NAMES[0]]
    counts = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=8))
    padding = [data.draw(st.integers(0, codec.spec.shape[0] - 1)) for _ in counts]
    x, stops = (
        steps_of(codec.spec, codec.spec.shape[0] * sum(counts)).reshape(-1, *codec.spec.shape),
        np.cumsum(counts).tolist(),
    )
    right, found = codec.encoder(samples_per_frame=3), codec.encoder(samples_per_frame=3)
    parts = [[*right.push(x[a:b]), *right.end_record(p)] for a, b, p in zip([0, *stops], stops, padding, strict=False)]
    pieces, at = [], 0
    for cut in sorted({*data.draw(st.lists(st.integers(0, len(x)), max_size=4)), len(x)}):
        ends = [(stop - at, p) for stop, p in zip(stops, padding, strict=True) if at < stop <= cut]
        pieces += found.push(x[at:cut], ends)
        at = cut
    assert b"".join([*pieces, *found.finish()]) == b"".join([*(each for part in parts for each in part), *right.finish()])


def test_an_index_may_list_each_part_that_it_skips(codecs: dict[str, MadeCodec]) -> None:
    """An end and the index behind it as two entries, as another writer would."""
    codec = codecs[NAMES[0]]
    before = codec.compress_record(steps_of(codec.spec, codec.spec.shape[0] + 3))
    header, whole = codec.file_model.header(64), read(before, "")
    (frame,), (end,) = whole.frames, whole.ends
    again = before[frame.offset : frame.stop]
    sizes = [(frame.samples, frame.size), (0, end.stop - end.offset), (0, len(before) - end.stop), (frame.samples, len(again))]
    data = before + again + pack_index(header, sizes)
    decoder = StreamDecoder(codec.file_model)
    assert len(decoder.push(data)) == 2 * frame.samples
    decoder.finish()
    assert read(data, "").problems == ()


def test_an_end_is_right_behind_a_frame(codecs: dict[str, MadeCodec]) -> None:
    codec = codecs[NAMES[0]]
    data = codec.compress_record(steps_of(codec.spec, codec.spec.shape[0] + 3))
    whole = read(data, "")
    (frame,), (end,) = whole.frames, whole.ends
    second, size = data[end.offset : end.stop], end.stop - end.offset
    listed = pack_index(codec.file_model.header(64), [(0, size), (frame.samples, frame.size), (0, size)])
    found = read(data[: frame.offset] + second + data[frame.offset : end.stop] + listed, "")
    assert found.indexed and len(found.ends) == 1 and len(found.problems) == 1
    for crafted in (data[: end.stop] + second + data[end.stop : -1], data[: frame.offset] + second + data[frame.offset : -1]):
        found = read(crafted, "")
        assert len(found.ends) == 1 and any("hold no whole frame" in text for text in found.problems)


def test_padding_of_a_window_is_refused(codecs: dict[str, MadeCodec]) -> None:
    """A crafted file: every checksum is right."""
    codec = codecs[NAMES[0]]
    window, header = codec.spec.shape[0], codec.file_model.header(64)
    data = codec.compress(steps_of(codec.spec, window)[None])
    (frame,) = read(data, "").frames
    for padding in (window, 2**32 - 1):
        end = pack_end(header, padding)
        crafted = data[: frame.stop] + end + pack_index(header, [(1, frame.size), (0, len(end))])
        with pytest.raises(CheckError, match=f"a record ends with padding of a window or more, {window} time steps"):
            codec.decompress_record(crafted)
        decoder = StreamDecoder(codec.file_model)
        decoder.push(crafted)
        with pytest.raises(CheckError, match="a record ends with padding of a window or more"):
            decoder.finish()


def test_the_example_of_the_document_is_true() -> None:
    line = next(line for line in Path(FORMAT).read_text("utf-8").splitlines() if line.startswith("| `a7 df`"))
    cells = line.split("|")[1].replace("`", "")
    end = pack_end(Header(bytes(range(8)), 2), 1)
    assert bytes.fromhex(cells) == end and end_at(end, 0, Header(bytes(range(8)), 2)) == (0, len(end), 1)
    assert end_at(end, 0, Header(bytes(8), 2)) is None, "the end of another file"


def test_what_is_no_record_is_refused(codecs: dict[str, MadeCodec]) -> None:
    codec = codecs[NAMES[0]]
    window, x = codec.spec.shape[0], steps_of(codec.spec, 50)
    encoder = codec.encoder()
    for wrong, error, text in (
        (lambda: encoder.end_record(), InputError, "record: ends behind 0 of 0 samples, must have one or more"),
        (lambda: codec.compress_record(x[:0]), DataError, "got 0 time steps, must be 1 or more"),
        (lambda: codec.compress_record(x + 0.5), DataError, "got 0.5|must be"),
        (lambda: codec.compress_record(x[None]), DataError, r"record: got .* \[1, 50.*a record"),
        (
            lambda: (encoder.push(x[:window]), encoder.end_record(window)),
            InputError,
            f"padding: got {window} time steps",
        ),
        (lambda: [encoder.end_record(), encoder.end_record()], InputError, "ends behind 0 of 0 samples"),
    ):
        with pytest.raises(error, match=text):
            wrong()


def test_only_records_have_time_steps(coded_runs: Path) -> None:
    import tiedae as ta

    codec = ta.load(coded_runs / "bytes" / "bundle", runtime="program")
    samples = np.load(coded_runs / "bytes" / "bytes.npy")[:3]
    with pytest.raises(InputError, match="data: holds samples of kind image, must be windows of a record to have time steps"):
        codec.decompress_record(codec.compress(samples))
    encoder = codec.encoder()
    encoder.push(samples)
    with pytest.raises(InputError, match=r"padding: got 0 time steps, must be .* of windows of a record"):
        encoder.end_record()
    with pytest.raises(FormatError):
        codec.decompress_record(b"")
