"""Pictures in .tae files: patches between ends that state the pictures' sizes, and pictures again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import CheckError, DataError, InputError
from tiedae.codec.container import pack_end, pack_index, read
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamDecoder
from tiedae.data.patches import LONGEST, PictureSize, cut, join
from tiedae.data.windows import PicturePatches

from ..data.test_windows import MadeCodec, codec_of
from ..export.c.models import CASES

PATCH = 5
SIZES = (PictureSize(17, 23), PictureSize(5, 5), PictureSize(3, 11))


@pytest.fixture(scope="module")
def codec() -> MadeCodec:
    return codec_of(next(case for case in CASES if case.name == "image").made())


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in SIZES]


def file_of(codec: MadeCodec, pictures: list[np.ndarray], **options: Any) -> bytes:
    encoder = codec.encoder(samples_per_frame=4, **options)
    chunks: list[bytes] = []
    for picture in pictures:
        patches = PicturePatches.of(picture, codec.spec)
        chunks += encoder.push(patches[:], patches.ends)
    return b"".join([*chunks, *encoder.finish()])


@pytest.mark.parametrize("options", [{}, {"max_error": 4}, {"lossless": True}], ids=str)
def test_pictures_come_back(codec: MadeCodec, pictures: list[np.ndarray], options: dict[str, Any]) -> None:
    data = file_of(codec, pictures, **options)
    back = codec.decompress_pictures(data)
    assert [picture.shape for picture in back] == [*SIZES] and {picture.dtype for picture in back} == {np.dtype(np.uint8)}
    for made, right in zip(back, pictures, strict=True):
        wanted = right if options else join(codec.reconstruct(cut(right, PATCH)), PictureSize(*right.shape))
        assert np.abs(made.astype(int) - wanted).max() <= options.get("max_error", 0)
    patches = np.concatenate([cut(picture, PATCH) for picture in pictures])
    assert codec.decompress(data).shape == patches.shape
    decoder = StreamDecoder(codec.file_model)
    streamed = [decoder.push(data[at : at + 50]) for at in range(0, len(data), 50)]
    decoder.finish()
    assert len(np.concatenate(streamed)) == len(patches)


def test_one_picture_is_one_call(codec: MadeCodec, pictures: list[np.ndarray]) -> None:
    data = codec.compress_picture(pictures[0], lossless=True)
    (back,) = codec.decompress_pictures(data)
    np.testing.assert_array_equal(back, pictures[0])
    assert codec.decompress_pictures(codec.compress(cut(pictures[0], PATCH))) == []


def test_what_is_no_picture_is_named(codec: MadeCodec) -> None:
    for shape in ((4,), (4, 4, 3), (0, 9)):
        with pytest.raises(DataError, match=r"^picture: "):
            codec.compress_picture(np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match=rf"has {LONGEST + 1}×1 pixels, must have 1 to 65,535 rows and columns"):
        codec.compress_picture(np.zeros((1, LONGEST + 1), np.uint8))
    record = codec_of(next(case for case in CASES if case.name == "record").made())
    with pytest.raises(DataError, match=r"picture: got int16 \[9, 9\], must be .* of a model of square patches"):
        record.compress_picture(np.zeros((9, 9), np.int16))
    with pytest.raises(InputError, match="the end of a picture states no size: 9"):
        codec.encoder().push(np.zeros((1, 5, 5), np.uint8), [(1, 9)])


def test_a_damaged_frame_is_black_and_named(codec: MadeCodec, pictures: list[np.ndarray]) -> None:
    whole = file_of(codec, pictures, lossless=True)
    frame = read(whole, "").frames[1]
    damaged = bytearray(whole)
    damaged[frame.stop - 1] ^= 1
    reader = Reader(codec.file_model, bytes(damaged), "f.tae")
    first, *others = reader.pictures()
    black = cut(pictures[0], PATCH).copy()
    black[frame.first : frame.first + frame.samples] = 0
    np.testing.assert_array_equal(cut(first, PATCH)[:20], black[:20])
    assert all(np.array_equal(made, right) for made, right in zip(others, pictures[1:], strict=True))
    with pytest.raises(CheckError, match=r"f\.tae: frame 1 \(samples 4 to 7\)"):
        reader.require_whole()


def test_a_size_that_its_patches_do_not_have_is_damage(codec: MadeCodec, pictures: list[np.ndarray]) -> None:
    whole = codec.compress_picture(pictures[1])
    contents = read(whole, "")
    (frame,), header = contents.frames, contents.header
    for size, text in (
        (PictureSize(6, 5), "a picture of 5×6 has 1 patches, must have 2"),
        (PictureSize(0, 5), "states no size: 5"),
    ):
        end = pack_end(header, size.number)
        entries = [(1, frame.size), (0, len(end))]
        data = whole[: frame.stop] + end + pack_index(header, entries)
        reader = Reader(codec.file_model, data, "f.tae")
        assert list(reader.pictures()) == [] and any(text in problem for problem in reader.problems)
    loose = whole[: frame.stop] + pack_index(header, [(1, frame.size)])
    reader = Reader(codec.file_model, loose, "f.tae")
    assert reader.sizes == [] and list(reader.pictures()) == []
