"""The account of a file: every byte in one row, whatever the file holds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.export.c.source import to_c
from tiedae.export.extents import LEFT_OVER, PADDING, Account, AccountRow, Extent, FileBytes, Part, account
from tiedae.export.onnx.writer import to_onnx
from tiedae.export.targets import read_extents
from tiedae.export.tflite.extents import tflite_extents
from tiedae.export.tflite.writer import to_tflite

from ..conftest import build_program

EXTENTS = st.builds(
    lambda start, size, part: Extent(start, min(200, start + size), part, part),
    st.integers(0, 199),
    st.integers(1, 80),
    st.sampled_from(Part),
)


@given(st.binary(min_size=200, max_size=200), st.lists(EXTENTS, max_size=12))
def test_rows_add_to_the_size_of_the_file(data: bytes, extents: list[Extent]):
    """Also where extents overlap; a byte that has one is in its part's row or that of another extent over it."""
    found = account(FileBytes({"": memoryview(data)}, tuple(extents)), lambda extent, _: extent.part)
    claimed = np.zeros(200, bool)
    for each in extents:
        claimed[each.start : each.stop] = True
    assert found.size == 200
    assert found.of(PADDING) + found.left_over == np.count_nonzero(~claimed)
    assert found.left_over >= np.count_nonzero(np.frombuffer(data, np.uint8)[~claimed])


@pytest.mark.parametrize(
    ("data", "padding", "runs"),
    [
        (bytes(9), 9, ()),
        (b"\0\0ab\0c\0", 3, ((4, "bytes 2 to 6"),)),
        (b"abc", 0, ((3, "bytes 0 to 3"),)),
        (b"", 0, ()),
    ],
)
def test_zeros_around_what_is_left_over_are_padding(data: bytes, padding: int, runs: tuple[tuple[int, str], ...]):
    found = account(FileBytes({"": memoryview(data)}, ()), lambda extent, _: extent.part)
    assert (found.of(PADDING), found.runs) == (padding, runs)


def test_runs_are_what_is_left_over():
    with pytest.raises(ValueError, match="left over: got 5 bytes, must be 4 as in its runs"):
        Account((AccountRow(LEFT_OVER, 5),), ((4, "bytes 0 to 4"),))


PROGRAM = build_program((48, 24, 6))
FILES = {
    "a.tflite": lambda: to_tflite(build_program((48, 24, 6), form="split")),
    "a.onnx": lambda: to_onnx(PROGRAM),
    "toy.c": lambda: to_c(PROGRAM).source.encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_nearly_every_byte_of_our_files_has_a_meaning(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(FILES[name]())
    (tmp_path / "toy.h").write_text(to_c(PROGRAM).header)
    parsed = read_extents(path)
    found = account(parsed, lambda extent, _: extent.part)
    assert found.size == sum(map(len, parsed.data.values())) and found.left_over <= 8
    assert found.of(Part.VALUES) > 48 * 24


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx"])
def test_a_truncated_file_is_an_error_of_one_line(tmp_path: Path, name: str):
    path = tmp_path / name
    path.write_bytes(FILES[name]()[:-700])
    with pytest.raises(FormatError, match=r"^[^\n]*$"):
        read_extents(path)


@given(st.integers(0, 600), st.integers(0, 255))
def test_a_changed_byte_of_the_tables_is_an_error_or_extents_in_the_file(place: int, value: int):
    data = bytearray(FILES["a.tflite"]())
    data[8 + place] = value
    try:
        extents = tflite_extents(bytes(data))
    except FormatError:
        return
    assert all(0 <= each.start < each.stop <= len(data) for each in extents)
