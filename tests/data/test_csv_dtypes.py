"""Text is read in the narrowest dtype that holds the samples to train on; later files in the same, or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import DataError
from tiedae.cli import main
from tiedae.config.config import DataConfig
from tiedae.pipeline.sources import load_dataset
from tiedae.pipeline.suggesting import Wish, suggest

EXAMPLE = Path(__file__).parents[2] / "examples" / "bundle.zip"


def write(path: Path, *columns: list[object], names: tuple[str, ...] = ("a", "b")) -> None:
    rows = zip(*columns, strict=True)
    path.write_text("\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([-32768, 32767], "int16"),
        ([0, 255], "int16"),
        ([0, 65535], "uint16"),
        ([-1, 65535], "float32"),
        ([0.1, 123456], "float32"),
        ([1e9 + 3, 0], "float64"),
        ([0.123456789, 1], "float64"),
        ([float(np.float32(0.1)), 1e38], "float32"),
        ([1e39, 1], "float64"),
        ([np.nan, 1], "float32"),
    ],
)
def test_the_narrowest_dtype_holds_every_value(values: list[float], dtype: str) -> None:
    from tiedae.data.csv_dtypes import narrowest

    assert narrowest(np.array([values])) == dtype


def test_a_recipe_states_the_dtype(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write(tmp_path / "x.csv", list(rng.integers(-900, 900, 300)), list(rng.integers(0, 9, 300)))
    suggestion = suggest(Wish.of("x.csv"), base=tmp_path)
    assert suggestion.facts.dtype == "int16"
    reason = "# the narrowest that holds every value; later files are read in it"
    assert f'{reason}\ndtype = "int16"' in suggestion.text


def test_test_samples_are_read_in_the_dtype_of_those_to_train_on(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", list(range(40)), list(range(40, 80)))
    write(tmp_path / "test.csv", [1, 2, 3], [4, 5, 60000])
    with pytest.raises(
        DataError, match=r"test\.csv: row 3, column b is 60000, must be a whole number in -32768…32767, of int16"
    ):
        load_dataset(DataConfig("x.csv", test="test.csv"), "linear", base=tmp_path)
    splits = load_dataset(DataConfig("x.csv", test="test.csv", dtype="float32"), "linear", base=tmp_path)
    assert (splits.train.dtype, splits.test.dtype) == (np.float32, np.float32)
    write(tmp_path / "test.csv", [1, 2, 3], [4, 5, 6])
    assert load_dataset(DataConfig("x.csv", test="test.csv"), "linear", base=tmp_path).test.dtype == np.int16


def test_a_stated_dtype_that_does_not_hold_a_value_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "x.csv", list(range(40)), [*range(39), 0.5])
    with pytest.raises(DataError, match=r"x\.csv: row 40, column b is 0\.5, must be a whole number in 0…255, of uint8"):
        load_dataset(DataConfig("x.csv", dtype="uint8"), "linear", base=tmp_path)
    with pytest.raises(DataError, match=r"x\.npy: `dtype` in \[data\] is for a \.csv file; got 'int16'"):
        np.save(tmp_path / "x.npy", np.arange(40.0).reshape(20, 2))
        load_dataset(DataConfig("x.npy", dtype="int16"), "linear", base=tmp_path)


def test_files_of_a_folder_have_one_dtype(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write(tmp_path / "x" / "0.csv", list(range(40)), list(range(40)))
    write(tmp_path / "x" / "1.csv", list(range(40)), [*range(39), 0.5])
    config = DataConfig("x", kind="record", window=10)
    assert load_dataset(config, "linear", base=tmp_path).train.dtype == np.float32
    with pytest.raises(DataError, match=r"x/1\.csv: row 40, column b is 0\.5, must be a whole number"):
        load_dataset(DataConfig("x", kind="record", window=10, dtype="int16"), "linear", base=tmp_path)


def test_a_later_file_is_read_in_the_dtype_of_the_bundle(tmp_path: Path, capsys) -> None:
    zipfile.ZipFile(EXAMPLE).extractall(tmp_path / "bundle")
    write(tmp_path / "x.csv", [1000 + i % 7 for i in range(130)], names=("a",))
    assert main(["encode", str(tmp_path / "bundle"), str(tmp_path / "x.csv"), "-o", str(tmp_path / "x.tae")]) == 0
    write(tmp_path / "x.csv", [*range(129), 1000.5], names=("a",))
    call = ["encode", str(tmp_path / "bundle"), str(tmp_path / "x.csv"), "-o", str(tmp_path / "y.tae")]
    capsys.readouterr()
    assert main(call) == 2
    error = capsys.readouterr().err
    assert "x.csv: row 130, column a is 1000.5, must be a whole number in -32768…32767, of int16" in error
    assert len(error.strip().splitlines()) == 1
