"""The benchmark of strangers' data: its sets are files that `tiedae` reads, and none of its rows hides a bad run."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiedae.compress.errors import DataError
from tiedae.readers import read
from tiedae.sources import VARIABLE


@pytest.fixture
def sets() -> Any:
    return importlib.import_module("carry_sets")


PICTURE = np.arange(2 * 17 * 35, dtype=np.uint8).reshape(17, 35, 2)
IMAGES = np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4)


def test_both_halves_have_ten_sets_together_of_each_kind(sets: Any) -> None:
    assert len(sets.SETS) >= 10 and len({row.name for row in sets.SETS}) == len(sets.SETS)
    for half in sets.HALVES:
        assert {".csv", ".npz", ".npy"} <= {row.suffix for row in sets.SETS if row.half == half}
        assert {"compression", "anomaly", "denoising", "reduction"} == {
            task for row in sets.SETS if row.half == half for task in row.tasks
        }
    assert all(row.normal for row in sets.SETS if "anomaly" in row.tasks)


@pytest.mark.parametrize(
    ("suffix", "content", "values", "labels"),
    [
        (".npy", np.arange(6, dtype=np.int16), np.arange(6, dtype=np.int16), None),
        (".npz", {"x": IMAGES, "labels": np.array([1, 2, 1])}, IMAGES, ["1", "2", "1"]),
        (".csv", (["a", "b", "label"], [["1", "2.5", "good"], ["3", "4", "bad"]]), [[1, 2.5], [3, 4]], ["good", "bad"]),
        ("", {"left": IMAGES[:1], "right": IMAGES[1:]}, IMAGES, ["left", "right", "right"]),
    ],
)
def test_a_written_set_is_read_as_it_was(
    sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, content: Any, values: Any, labels: list[str] | None
) -> None:
    made = sets.Table(*content) if suffix == ".csv" else content
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    row = sets.StrangersSet("some", suffix, "", "", "choice", (), lambda _member: made)
    arrays = read(sets.write(row, tmp_path / "sets", tmp_path))
    assert np.array_equal(np.squeeze(arrays.values), values)
    assert (arrays.labels is None) == (labels is None)
    assert labels is None or [str(label) for label in arrays.labels] == labels


def test_what_is_written_stays(sets: Any, tmp_path: Path) -> None:
    (tmp_path / "some.npy").write_bytes(b"mine")
    row = sets.StrangersSet("some", ".npy", "a==1", "", "choice", (), lambda _member: pytest.fail("made again"))
    assert sets.write(row, tmp_path, tmp_path).read_bytes() == b"mine"


def test_squares_of_a_picture_lie_side_by_side(sets: Any) -> None:
    squares = sets.patches(PICTURE, 8)
    assert squares.shape == (8, 8, 8, 2)
    assert np.array_equal(squares[5], PICTURE[8:16, 8:16])
    rows = [np.concatenate(squares[4 * row : 4 * row + 4], axis=1) for row in range(2)]
    assert np.array_equal(np.concatenate(rows), PICTURE[:16, :32])


def test_a_problem_has_the_channels_and_labels_of_training_and_test(sets: Any) -> None:
    texts: Mapping[str, bytes] = {
        "aeon/datasets/data/P/P_TRAIN.ts": b"# data of\n@classLabel true a b\n@data\n1,2:3,4:a\n",
        "aeon/datasets/data/P/P_TEST.ts": b"@data\n5,6:7,-8.5e-1:b\n",
    }
    series, labels = sets.problem(texts.__getitem__, "P")
    assert series.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, -0.85]]]
    assert labels.tolist() == ["a", "b"]


def test_a_package_is_read_without_a_second_download(sets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some==1").mkdir()
    with zipfile.ZipFile(tmp_path / "some==1" / "some-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("some/data.csv", "1,2\n")
    assert sets.member_of("some==1", tmp_path)("some/data.csv") == b"1,2\n"
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(DataError, match=f"{VARIABLE} is not set"):
        sets.member_of("", tmp_path)
