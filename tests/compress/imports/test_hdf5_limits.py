"""HDF5 files that libhdf5 would not survive, or only with far more memory than they have bytes: each is one line, at once."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tiedae.base.errors import FormatError
from tiedae.compress.imports.hdf5 import arrays
from tiedae.compress.imports.hdf5_attributes import Attributes
from tiedae.compress.imports.zip_member import open_whole


def read(path: Path, attribute: str = "text") -> list[tuple[str, np.ndarray]]:
    """A text of the group g, and all arrays."""
    window = open_whole(path)
    attributes = Attributes(str(path), window)
    try:
        file = h5py.File(window, "r")
        group = file["g"]
    except (OSError, KeyError, RuntimeError) as error:
        raise FormatError(f"{path}: is damaged: {error}") from None
    attributes.text(group, attribute)
    return [(name, array.read()) for name, array in arrays(attributes, file)]


def written(path: Path, **options: object) -> Path:
    with h5py.File(path, "w", **options) as file:
        group = file.create_group("g")
        group.attrs["text"] = "a text of any length"
        group["x"] = np.arange(6.0)
    return path


def patched(path: Path, start: bytes, offset: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    at = data.index(start) + offset
    data[at : at + 8] = value.to_bytes(8, "little")
    path.write_bytes(data)


def long_text(path: Path) -> None:
    """The length, behind which is the address of the collection of texts."""
    data = bytearray(path.read_bytes())
    at = data.index((20).to_bytes(4, "little") + data.index(b"GCOL").to_bytes(8, "little"))
    data[at : at + 4] = b"\xff\xff\xff\xfd"
    path.write_bytes(data)


def large_chunk(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.require_group("g").create_dataset(
            "y", data=np.zeros(4, np.float32), maxshape=(None,), chunks=(1 << 25,), compression="gzip"
        )


def bomb(path: Path) -> None:
    """A chunk of 4 kB that states 1 kB and unpacks to 4 MB."""
    with h5py.File(path, "a") as file:
        y = file.require_group("g").create_dataset("y", (256,), np.float32, chunks=(256,), compression="gzip")
        y.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 22)))


def other_filter(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.require_group("g").create_dataset("y", data=np.zeros(4, np.float32), compression="lzf")


def many_names(path: Path) -> None:
    """One array under 200 names, of which the file has 100 times its size."""
    with h5py.File(path, "a") as file:
        y = file.create_dataset("y", data=np.zeros(1 << 16, np.float32))
        for i in range(200):
            file[f"y{i}"] = y


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a text of 4 GiB": (long_text, r"attribute text of /g would take 4,\d{3},\d{3},\d{3} bytes of"),
    "names of more bytes than the file": (lambda path: patched(path, b"HEAP", 8, 1 << 40), "the names of a group take"),
    "a circle of free names": (lambda path: patched(path, b"HEAP", 16, 0), "lead to byte 0 twice"),
    "a chunk of 128 MiB": (large_chunk, "would take 134,217,728 bytes, of which the file has"),
    "a chunk that unpacks to more": (bomb, "a part of /g/y unpacks to more than its 1,024 bytes"),
    "another filter": (other_filter, r"is packed by the filters \[32000\], must be by deflate alone"),
    "an array of many names": (many_names, "the arrays up to it would take"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_states_more_than_the_file_has_is_one_line(kind: str, tmp_path: Path) -> None:
    damage, text = DAMAGED[kind]
    damage(written(tmp_path / "x.h5"))
    with pytest.raises(FormatError, match=text):
        read(tmp_path / "x.h5")


@pytest.mark.parametrize("options", [{}, {"libver": "latest"}, {"track_order": True}], ids=str)
def test_texts_and_packed_arrays_are_read(options: dict[str, object], tmp_path: Path) -> None:
    with h5py.File(written(tmp_path / "x.h5", **options), "a") as file:
        file["g"].attrs["long"] = "z" * 5000
        file.require_group("g").create_dataset(
            "y", data=np.arange(500.0), chunks=(100,), compression="gzip", shuffle=True, fletcher32=True
        )
    found = dict(read(tmp_path / "x.h5", "long"))
    np.testing.assert_array_equal(found["g/y"], np.arange(500.0))
    np.testing.assert_array_equal(found["g/x"], np.arange(6.0))


def test_texts_of_many_attributes_are_refused_where_they_lie_elsewhere(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        group = file.create_group("g")
        for i in range(30):
            group.attrs[f"a{i}"] = "text"
    with pytest.raises(FormatError, match="attribute a29 of /g holds texts in a form that is not read"):
        read(tmp_path / "x.h5", "a29")
