"""Archives: arrays come back in their shapes, types and order in memory, equal content is equal bytes."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from tiedae.base.archive import FORMAT, VERSION, pack, pack_npz, unpack, unpack_npz
from tiedae.base.errors import FormatError

HEADER = {"format": FORMAT, "version": VERSION, "more": [1, "é"]}
ARRAYS = {
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "every_other": np.arange(12, dtype=np.int8)[::-2],
    "big_endian": np.arange(3, dtype=">i4"),
    "scalar": np.int64(7),
    "empty": np.zeros((0, 3)),
    "bool": np.eye(2, dtype=bool),
}


@pytest.mark.parametrize(("write", "read"), [(pack, unpack), (pack_npz, unpack_npz)])
def test_arrays_come_back_as_they_were(tmp_path: Path, write: Callable[..., bytes], read: Callable[..., tuple]) -> None:
    path = tmp_path / "any"
    path.write_bytes(write(HEADER, ARRAYS))
    header, arrays = read(path, FORMAT)
    assert header == HEADER
    assert list(arrays) == sorted(ARRAYS) or set(arrays) == set(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], values, err_msg=name, strict=name != "big_endian")


@pytest.mark.parametrize("write", [pack, pack_npz])
def test_equal_content_is_equal_bytes(write: Callable[..., bytes]) -> None:
    assert write(HEADER, ARRAYS) == write(HEADER, dict(reversed(ARRAYS.items())))


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS)
def test_a_changed_bit_is_seen(tmp_path: Path, values: np.ndarray) -> None:
    whole = bytearray(pack(HEADER, {"a": np.ones(5, np.float32), "z": values}))
    whole[-1] ^= 1
    (tmp_path / "any").write_bytes(whole)
    with pytest.raises(FormatError, match="any: damaged: its header or arrays are not those that were written"):
        unpack(tmp_path / "any", FORMAT)


@pytest.mark.parametrize(("write", "read"), [(pack_npz, unpack), (pack, unpack_npz)])
def test_each_reader_takes_its_own_format_alone(
    tmp_path: Path, write: Callable[..., bytes], read: Callable[..., tuple]
) -> None:
    (tmp_path / "any").write_bytes(write(HEADER, ARRAYS))
    with pytest.raises(FormatError, match="any: not a tiedae-model file, or damaged"):
        read(tmp_path / "any", FORMAT)


def test_an_archive_without_its_digest_is_damaged(tmp_path: Path) -> None:
    text = json.dumps(HEADER)
    (tmp_path / "any").write_bytes(safetensors.numpy.save({"a": np.ones(3)}, {"tiedae": text}))
    with pytest.raises(FormatError, match="any: damaged: its header or arrays are not those that were written"):
        unpack(tmp_path / "any", FORMAT)


def test_another_kind_or_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(pack(HEADER | {"version": 9}, {}))
    with pytest.raises(FormatError, match="tiedae-model version 9, this tiedae reads version 1"):
        unpack(path, FORMAT)
    with pytest.raises(FormatError, match="not a tiedae-checkpoint file"):
        unpack(path, "tiedae-checkpoint")


def test_a_changed_header_is_seen(tmp_path: Path) -> None:
    whole = pack({**HEADER, "units": 128}, ARRAYS)
    (tmp_path / "any").write_bytes(whole.replace(b"128", b"129"))
    with pytest.raises(FormatError, match="any: damaged: its header or arrays are not those that were written"):
        unpack(tmp_path / "any", HEADER["format"])


def test_an_archive_takes_no_more_memory_than_its_file(tmp_path: Path) -> None:
    text = np.frombuffer(json.dumps(HEADER).encode(), np.uint8)
    np.savez_compressed(tmp_path / "bomb.npz", **{"header.json": text, "zeros": np.zeros(1 << 28, np.uint8)})
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"bomb\.npz: not a tiedae-model file, or damaged"):
            unpack_npz(tmp_path / "bomb.npz", FORMAT)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
