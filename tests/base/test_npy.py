""".npy files: what a damaged header states is checked against the file before anything is allocated."""

from __future__ import annotations

import io
import math
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import DataError, FormatError
from tiedae.base.npy import read_npy, read_npz

VALUES = np.arange(12, dtype=np.int16).reshape(3, 4)


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i2", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("mapped_from", [0, math.inf])
def test_arrays_come_back(tmp_path: Path, mapped_from: float) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    values = read_npy(tmp_path / "x.npy", mapped_from=mapped_from)
    np.testing.assert_array_equal(values, VALUES, strict=True)
    assert isinstance(values, np.memmap) == (mapped_from == 0)


def archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, VALUES)
    return buffer.getvalue()


def objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([1, "a"], object), allow_pickle=True)
    return buffer.getvalue()


WRONG = {
    "an archive": (archive(), FormatError, "is not a .npy file"),
    "a huge shape": (header((1 << 40, 1 << 20)) + b"data", FormatError, "is truncated: 132 bytes, must be 2305843009213694"),
    "a negative size": (header((-1, 4)) + b"data", FormatError, "its header is damaged"),
    "cut off": (header((3, 4)), FormatError, "is truncated"),
    "no header": (b"\x93NUMPY\x01\x00", FormatError, "its header is damaged"),
    "objects": (objects(), DataError, "holds Python objects"),
}


@pytest.mark.parametrize(("data", "kind", "text"), WRONG.values(), ids=WRONG)
def test_another_file_is_one_line_and_takes_no_memory(tmp_path: Path, data: bytes, kind: type, text: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=text) as caught:
            read_npy(tmp_path / "x.npy")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{tmp_path / 'x.npy'}: ") and "\n" not in str(caught.value)


def test_every_flipped_byte_is_an_array_or_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    whole = (tmp_path / "x.npy").read_bytes()
    for i in range(len(whole)):
        for bit in (1, 0x80):
            (tmp_path / "x.npy").write_bytes(whole[:i] + bytes([whole[i] ^ bit]) + whole[i + 1 :])
            try:
                read_npy(tmp_path / "x.npy")
            except (FormatError, DataError) as error:
                assert "\n" not in str(error)


def member(path: Path, data: bytes, compression: int) -> Path:
    with zipfile.ZipFile(path, "w", compression) as members:
        members.writestr("x.npy", data)
    return path


WRONG_MEMBERS = {
    "a huge shape": (header((1 << 40, 1 << 20)) + b"data", "x: is truncated: 132 bytes"),
    "wide items": (header((6,)).replace(b"<i2'", b"|V2147483647'")[:128], "x: its header is damaged|x: is truncated"),
    "an open header": (header((3, 4)).replace(b")", b" "), "x: its header is damaged"),
    "brackets": (header((3, 4)).replace(b" " * 20, b"(" * 20), "x: its header is damaged"),
    "text": (b"text", "x is not an array; a .npz holds .npy files only"),
}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("data", "text"), WRONG_MEMBERS.values(), ids=WRONG_MEMBERS)
def test_a_member_of_another_kind_is_one_line_and_takes_no_memory(
    tmp_path: Path, data: bytes, text: str, compression: int
) -> None:
    path = member(tmp_path / "x.npz", data, compression)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=text):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_members_come_back(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=VALUES, b=np.asfortranarray(VALUES), c=np.array(["é", "b"]))
    found = read_npz(tmp_path / "x.npz")
    assert list(found) == ["a", "b", "c"] and found["c"].tolist() == ["é", "b"]
    for name in "ab":
        np.testing.assert_array_equal(found[name], VALUES, strict=True)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_texts_come_back_unless_a_number_is_no_character(tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
    texts = np.full(shape, "a\U0010ffff", f"{order}U3")
    np.save(tmp_path / "x.npy", texts)
    assert read_npy(tmp_path / "x.npy").tolist() == texts.tolist()
    data = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(
        data.replace(b"\x00\x10\xff\xff", b"\x00\x11\x00\x00").replace(b"\xff\xff\x10\x00", b"\x00\x00\x11\x00")
    )
    if texts.size:
        with pytest.raises(FormatError, match=r"x\.npy: is damaged \(text with a value that is no Unicode character\)$"):
            read_npy(tmp_path / "x.npy")
