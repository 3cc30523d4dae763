"""Sources that would take time or memory without end: each is one line, before it is read."""

import gzip
import os
import subprocess
import sys
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest

from tiedae.base import limits, records
from tiedae.base.errors import DataError, FormatError, RecipeError
from tiedae.bundle.results import read_metrics
from tiedae.calibration.calibration_file import read_calibration
from tiedae.data.readers import READERS, read
from tiedae.pipeline.recipe import load_recipe
from tiedae.pipeline.run_directory import read_json

from ..pipeline.test_sources import LABELS, PIXELS, idx

WIDE = """
import sys
from pathlib import Path
from tiedae.base.errors import DataError
from tiedae.data.readers import read
columns = 20_000
path, last = Path(sys.argv[1]), sys.argv[2]
path.write_text("\\n".join(",".join([*map(kind, range(columns - 1)), end]) for kind, end in
    ((lambda i: f"c{i}", "last"), *((str, "0") for _ in range(19)), (str, last))))
try:
    print(read(path).values.shape)
except DataError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("last", "text"), [("0", "(20, 20000)"), ("oops", "line 21, column 20000 (last): 'oops' is not a number")]
)
def test_a_wide_table_takes_time_in_proportion_to_its_cells(tmp_path: Path, last: str, text: str) -> None:
    """0.3 s each; where anything is built again for each column or cell it takes minutes to days."""
    command = [sys.executable, "-c", WIDE, tmp_path / "x.csv", last]
    assert text in subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout


@pytest.mark.parametrize("name", [*(f"x{suffix}" for suffix in READERS), "x.idx.gz", "x-images-idx3-ubyte", "pictures/a.png"])
@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_only_regular_files_are_read(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if kind == "a device":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(path)
    with pytest.raises(FormatError) as raised:
        read(path.parent if path.suffix == ".png" else path)
    assert str(raised.value) == f"{path}: is {kind}, must be a regular file"


def test_labels_beside_an_idx_file_must_be_a_regular_file(tmp_path: Path) -> None:
    (tmp_path / "t-images-idx3-ubyte").write_bytes(idx(PIXELS))
    os.mkfifo(tmp_path / "t-labels-idx1-ubyte")
    with pytest.raises(FormatError, match="t-labels-idx1-ubyte: is a named pipe"):
        read(tmp_path / "t-images-idx3-ubyte")


def test_a_packed_idx_file_is_unpacked_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "x.idx.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(idx(PIXELS))
        for _ in range(200):
            file.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"x\.idx\.gz: holds more than 240 bytes of data, must be 240"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def packed_idx(path: Path, values: np.ndarray) -> None:
    path.write_bytes(gzip.compress(idx(values)))


def packed_npz(path: Path, values: np.ndarray) -> None:
    np.savez_compressed(path, x=values, labels=LABELS)


@pytest.mark.parametrize(("name", "write"), [("x.idx.gz", packed_idx), ("x.npz", packed_npz)])
def test_a_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path, monkeypatch, name: str, write) -> None:
    path = tmp_path / name
    write(path, np.zeros((20, 500, 1000), np.uint8))
    assert read(path).values.shape == (20, 500, 1000)
    monkeypatch.setattr(limits, "UNPACKED", 1 << 20)
    with pytest.raises(DataError, match=rf"{name}: [\d,]+ bytes would unpack to 10,000,\d\d\d, must be at most 100 × its size"):
        read(path)
    write(path, np.random.default_rng(0).integers(0, 256, (20, 500, 1000), np.uint8))
    assert read(path).values.shape == (20, 500, 1000)


def test_a_wav_file_that_states_4_gib_is_one_line_and_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((2, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(64))
    path.write_bytes(path.read_bytes().replace(b"data" + (64).to_bytes(4, "little"), b"data" + b"\xfc\xff\xff\xff"))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"x\.wav: is of 108 bytes, must have 4,294,967,292 of samples; damaged"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("x = " + "[" * 5000, "it is nested too deep"),
        ("# " + "x" * limits.TOML, "has 1,048,578 bytes, must have 1,048,576 at most"),
    ],
)
def test_a_recipe_nested_too_deep_or_too_long_is_one_line(tmp_path: Path, text: str, right: str) -> None:
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(RecipeError, match=right):
        load_recipe(tmp_path / "x.toml")


@pytest.mark.parametrize("read_file", [read_metrics, read_calibration, read_json])
def test_json_of_more_bytes_than_any_is_not_parsed(tmp_path: Path, monkeypatch, read_file) -> None:
    monkeypatch.setattr(records, "JSON", 100)
    (tmp_path / "x.json").write_text(f'{{"schema": 1, "x": "{"y" * 100}"}}')
    with pytest.raises(FormatError, match=r"x\.json: .*has 1\d\d bytes, must have 100 at most"):
        read_file(tmp_path / "x.json")
