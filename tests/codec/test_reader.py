"""Damage: whole frames are read, what is wrong is named, whatever the bytes and in time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import CheckError, FormatError
from tiedae.codec.container import pack_frame, pack_index, read
from tiedae.codec.frames import FileModel
from tiedae.codec.header import FileKind
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder

from ..variants import every
from .conftest import GOLDEN, INTEGER_FILES, NAMES, golden


def whole_samples(name: str) -> list[bytes]:
    """The samples of each frame of a golden file."""
    x = np.load(GOLDEN / f"{name}.npy")
    return [x[:8].tobytes(), x[8:16].tobytes(), x[16:].tobytes()]


def pieces(model: FileModel, data: bytes, problems: list[str]) -> Iterator[list[bytes]]:
    """The bytes of samples that a reader, and a decoder fed in pieces, give; FormatError where the header is unusable."""
    reader = Reader(model, data, "f.tae")
    yield [part.tobytes() for part in reader.samples()]
    problems += reader.problems
    decoder = StreamDecoder(model)
    yield [decoder.push(data[start : start + 50]).tobytes() for start in range(0, len(data), 50)]
    try:
        decoder.finish()
    except CheckError as error:
        problems.append(str(error))


def require_noticed(model: FileModel, data: bytes, name: str) -> None:
    """A damaged file is refused, or gives whole frames in order, and says what is wrong."""
    orders = {
        b"".join(part for part, kept in zip(whole_samples(name), bits, strict=True) if kept) for bits in np.ndindex(2, 2, 2)
    }
    problems: list[str] = []
    try:
        for found in pieces(model, data, problems):
            assert b"".join(found) in orders
    except FormatError as error:
        assert "\n" not in str(error)
        return
    except CheckError:
        return
    assert len(problems) >= 2 and not any("\n" in problem for problem in problems)


@pytest.mark.parametrize("file", every(4, [*NAMES, *INTEGER_FILES]))
def test_a_file_cut_off_anywhere_gives_its_whole_frames(models: dict[str, FileModel], file: str) -> None:
    data, parts, name = golden(file), whole_samples(file), file
    step = 1 if name in NAMES else 11
    stops = [frame.stop for frame in read(data, "").frames]
    for stop in range(0, len(data), step):
        cut = data[:stop]
        require_noticed(models[name], cut, name)
        if stop < stops[0]:
            with pytest.raises((FormatError, CheckError)):
                Reader(models[name], cut, "f.tae")
            continue
        whole = sum(each <= stop for each in stops)
        reader = Reader(models[name], cut, "f.tae")
        assert b"".join(part.tobytes() for part in reader.samples()) == b"".join(parts[:whole])
        with pytest.raises(CheckError, match=r"f\.tae: .*it does not end in an index of its frames"):
            reader.require_whole()


@pytest.mark.ci
def test_every_flipped_bit_is_noticed(models: dict[str, FileModel]) -> None:
    data = golden("bytes")
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        require_noticed(models["bytes"], bytes(flipped), "bytes")


@pytest.mark.ci
@settings(max_examples=300)
@given(st.data())
def test_damage_is_noticed(models: dict[str, FileModel], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*NAMES, *INTEGER_FILES]))
    damaged = bytearray(golden(name))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        change = data.draw(st.sampled_from(("flip", "drop", "insert", "move")))
        if change == "flip":
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        elif change == "drop":
            del damaged[at : at + data.draw(st.integers(1, 40))]
        elif change == "insert":
            damaged[at:at] = data.draw(st.binary(min_size=1, max_size=20))
        else:
            part = damaged[at : at + 30]
            del damaged[at : at + 30]
            damaged += part
        if not damaged:
            break
    if bytes(damaged) != golden(name):
        require_noticed(models[name], bytes(damaged), name)


@settings(max_examples=200)
@given(st.data())
def test_frames_with_the_right_checksum_decode_or_are_named(models: dict[str, FileModel], data: st.DataObject) -> None:
    """Crafted files: valid to every CRC, any mode, count and payload."""
    model, kind = models[data.draw(st.sampled_from(NAMES))], FileKind.LOSSY
    if model.residuals is not None:
        kind = data.draw(st.sampled_from(FileKind))
    bound = float(data.draw(st.integers(1, 65_535))) if kind is FileKind.BOUNDED else 0.0
    header = model.header(data.draw(st.integers(1, 65_535)), kind, bound)
    made = st.tuples(st.integers(0, 14), st.integers(1, header.samples_per_frame), st.binary(max_size=60))
    packed = [(each[1], pack_frame(header, *each)) for each in data.draw(st.lists(made, min_size=1, max_size=4))]
    index = pack_index(header, [(samples, len(each)) for samples, each in packed])
    whole = b"".join([header.to_bytes(), *(each for _, each in packed), index])
    reader = Reader(model, whole, "f.tae")
    count = sum(len(part) for part in reader.samples())
    frames = reader.contents.frames
    named = [i for i in range(len(frames)) if any(text.startswith(f"frame {i} (") for text in reader.problems)]
    assert len(named) == len(reader.problems)
    assert count == sum(frame.samples for i, frame in enumerate(frames) if i not in named)
    decoder = StreamDecoder(model)
    assert len(decoder.push(whole)) == count


@pytest.mark.parametrize(
    ("kind", "mode", "payload"),
    [
        (FileKind.LOSSY, 0, "00000100"),
        (FileKind.LOSSLESS, 1, "00000100"),
        (FileKind.LOSSLESS, 2, "04000000 00000100 00000100"),
    ],
)
def test_a_sample_count_beyond_the_payload_is_refused_before_any_work(
    models: dict[str, FileModel], kind: FileKind, mode: int, payload: str
) -> None:
    model = models["bytes"]
    header = model.header(65_535, kind)
    frame = pack_frame(header, mode, 65_535, bytes.fromhex(payload))
    reader = Reader(model, header.to_bytes() + frame + pack_index(header, [(65_535, len(frame))]), "f.tae")
    assert sum(map(len, reader.samples())) == 0
    with pytest.raises(CheckError, match="4 bytes cannot hold 65535 samples"):
        reader.require_whole()


@pytest.mark.parametrize(("kind", "mode"), [(FileKind.LOSSY, 0), (FileKind.LOSSLESS, 1), (FileKind.LOSSLESS, 2)])
@pytest.mark.parametrize("payload", ["00000000", "04000000 00000100 00000100", "05000000 ffffffff ffffffff 0000"])
def test_many_damaged_frames_do_not_take_long(models: dict[str, FileModel], kind: FileKind, mode: int, payload: str) -> None:
    """Valid to every checksum. That all are damaged takes no longer than to decode as many."""
    model = models["bytes"]
    header = model.header(64, kind)
    frame = pack_frame(header, mode, 1, bytes.fromhex(payload))
    reader = Reader(model, header.to_bytes() + frame * 4000 + pack_index(header, [(1, len(frame))] * 4000), "f.tae")
    begun = time.process_time()
    assert sum(map(len, reader.samples())) == 0 and len(reader.problems) == 4000
    assert time.process_time() - begun < 5
