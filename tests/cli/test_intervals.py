"""Intervals of a record: the windows that overlap them, in training and test, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import tiedae as ta
from tiedae.base.errors import DataError, RecipeError
from tiedae.data.dataset import Dataset
from tiedae.data.intervals import Intervals
from tiedae.tasks.ranking import by_interval

WINDOW, RATE = 20, 10.0


def record(folder: Path, name: str = "r.npy", steps: int = 2000) -> str:
    """A record whose values are the numbers of its time steps."""
    (folder / name).parent.mkdir(exist_ok=True)
    np.save(folder / name, np.arange(steps, dtype=np.float32))
    return str(folder / name)


def faults(folder: Path, *rows: str, heading: str = "start,end,kind") -> str:
    (folder / "f.csv").write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")
    return str(folder / "f.csv")


def loaded(source: str, intervals: str, **options: object) -> Dataset:
    stated = {"window": WINDOW, "rate": RATE, "validation": 0.2, "test": 0.3, **options}
    return ta.load_data(source, intervals=intervals, kind="record", **stated)  # pyright: ignore[reportArgumentType]


def steps_of(values: np.ndarray) -> set[int]:
    return set(values.reshape(-1).astype(int).tolist())


@pytest.mark.parametrize("stride", [0, 4])
def test_no_window_that_is_trained_on_overlaps_an_interval_and_the_test_keeps_all(tmp_path: Path, stride: int) -> None:
    rows = ("3,4,bearing", "50.1,57.9,belt", "101.0,101.1,belt", "150,152,bearing", "153.99,160,belt")
    splits = loaded(record(tmp_path), faults(tmp_path, *rows), stride=stride)
    faulty = {step for row in rows for a, b, _ in [row.split(",")] for step in range(int(float(a) * 10), int(float(b) * 10))}
    assert not steps_of(splits.train.take(slice(None))) & faulty
    assert splits.validation is not None and not steps_of(splits.validation.take(slice(None))) & faulty
    assert len(splits.test) == 30 and splits.test.labels is not None and splits.test.intervals is not None
    for sample, label in zip(splits.test.take(slice(None)), splits.test.labels.tolist(), strict=True):
        assert (label != "normal") == bool(steps_of(sample) & faulty)
    assert splits.test.intervals.kinds[splits.test.intervals.present].tolist() == ["bearing", "belt"]
    assert splits.train.overlap == (WINDOW // stride if stride else 1)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(0, 30), st.integers(1, 9))
def test_windows_have_the_intervals_that_share_a_time_step_with_them(gaps: list[int], first: int, window: int) -> None:
    from tiedae.data.arrays import Arrays, Interval, Stretch
    from tiedae.data.interval_files import with_intervals

    bounds = first + np.cumsum(gaps)
    steps = int(bounds[-1]) + window
    marks = [Interval(a / RATE, b / RATE, f"k{i}") for i, (a, b) in enumerate(zip(bounds[:-1:2], bounds[1::2], strict=False))]
    count = steps // window
    windows = Arrays(np.zeros((count, window)), stretches=(Stretch("", count),))
    found = with_intervals(windows, Arrays(np.zeros(steps)), marks, RATE, "r").intervals
    assert found is not None
    for window_number, (low, high) in enumerate(found.ranges.tolist()):
        own = range(window_number * window, (window_number + 1) * window)
        truly = [
            i for i, each in enumerate(marks) if round(each.start * RATE) < own.stop and round(each.end * RATE) > own.start
        ]
        assert list(range(low, high)) == truly


def test_intervals_are_in_the_times_of_a_record_that_has_them(tmp_path: Path) -> None:
    source, steps = tmp_path / "r.csv", np.arange(400)
    np.savetxt(source, np.stack([1000 + steps / RATE, steps], 1), "%.1f", delimiter=",", header="t,x", comments="")
    splits = loaded(str(source), faults(tmp_path, "1003,1004,bearing", "1039,1040,belt"), time="t", rate=0.0)
    assert splits.validation is not None and splits.test.labels is not None
    kept = steps_of(splits.train.take(slice(None))) | steps_of(splits.validation.take(slice(None)))
    assert {0, 40} <= kept and not kept & set(range(20, 40))
    assert splits.test.labels.tolist()[-1] == "belt" and splits.test.labels.tolist().count("belt") == 1
    with pytest.raises(DataError, match=r"row 1: 3 to 4 s lies outside the record, must lie within 1000 to 1040 s"):
        loaded(str(source), faults(tmp_path, "3,4,bearing"), time="t", rate=0.0)


def test_an_interval_has_the_largest_value_of_its_windows() -> None:
    found = Intervals(np.array([[0, 0], [0, 2], [1, 2], [2, 2], [3, 4]]), np.array(["a", "b", "c", "d"]))
    assert found.labels.tolist() == ["normal", "a", "b", "normal", "d"]
    assert found.present.tolist() == [0, 1, 3] and found.pooled_labels.tolist() == ["a", "b", "d", "normal", "normal"]
    assert found.pooled(np.array([5.0, 1, 3, 7, 2])).tolist() == [1, 3, 2, 5, 7]
    assert np.isnan(found.largest(np.array([0, 1, np.nan, 0, 0]))).tolist() == [False, True, False]
    assert found[np.array([0, 2])].largest(np.array([9.0, 4])).tolist() == [4] and found[np.array([0])].present.size == 0


def test_figures_over_intervals_are_those_of_their_largest_scores() -> None:
    found = Intervals(np.array([[0, 0], [0, 1], [0, 1], [1, 2], [2, 2]]), np.array(["a", "b"]))
    scores = np.array([2.0, 1, 9, 1, 3])
    figures = by_interval({"int8": (scores, scores > 2.5)}, found, (), 0)
    assert figures is not None and (figures.count, figures.flagged) == (2, 1)
    assert figures.methods[0].roc_auc.value == 0.5 and figures.methods[0].f1.value == 0.5
    assert [(row.label, row.samples, row.flagged, row.roc_auc and row.roc_auc.value) for row in figures.labels] == [
        ("a", 1, 1, 1.0), ("b", 1, 0, 0.0), ("normal", 2, 1, None),
    ]  # fmt: skip
    assert by_interval({"int8": (scores[:1], scores[:1] > 0)}, found[np.array([0])], (), 0) is None


REFUSED = {
    "an end before its start": (("3,4,x", "9,8,x"), {}, r"f\.csv, row 2: ends at 8 s, must be after its start at 9 s"),
    "an interval behind the record": (("3,4,x", "199,201,x"), {}, r"row 2: 199 to 201 s lies outside the record.* 0 to 200 s"),
    "an interval before it": (("-1,4,x",), {}, r"row 1: -1 to 4 s lies outside the record"),
    "intervals that overlap": (("3,5,x", "1,3.5,y"), {}, r"row 1: 3 to 5 s overlaps .*row 2, 1 to 3\.5 s"),
    "an interval in the rest": (("199.5,200,x",), {"window": 30}, r"row 1: 199\.5 to 200 s overlaps no window.*ends at 198 s"),
    "no rate": (("3,4,x",), {"rate": 0.0}, r"r\.npy: the rate is not known, must be stated as `rate`"),
    "a kind that is normal": (("3,4,Normal", "5,6,normal"), {}, r"row 2: the kind is normal, must be another"),
    "no number": (("3,x,a",), {}, r"f\.csv: line 2, column 2 \(end\): 'x' is not a number"),
    "nothing left to train on": (("0,200,a",), {}, r"r\.npy: no training sample has the label 'normal'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_intervals_that_cannot_be_are_refused_in_one_line(case: str, tmp_path: Path) -> None:
    rows, options, message = REFUSED[case]
    with pytest.raises(DataError, match=message):
        loaded(record(tmp_path), faults(tmp_path, *rows), **options)


def test_a_missing_file_column_and_data_without_time_are_refused(tmp_path: Path) -> None:
    source = record(tmp_path)
    with pytest.raises(DataError, match=r"no\.csv: no such file, which `intervals` names; must be a \.csv file"):
        loaded(source, str(tmp_path / "no.csv"))
    with pytest.raises(DataError, match=r"f\.csv: has no column end; must have the columns start and end in seconds"):
        loaded(source, faults(tmp_path, "1,2", heading="start,stop"))
    np.save(tmp_path / "w.npy", np.zeros((40, WINDOW)))
    with pytest.raises(DataError, match=r"w\.npy: its windows are cut already, `intervals` in \[data\] must be left out"):
        loaded(str(tmp_path / "w.npy"), faults(tmp_path, "1,2,x"), window=0)
    with pytest.raises(RecipeError, match=r'intervals: got .*f\.csv\'?, must be left out, or kind "record"'):
        ta.load_data(source, kind="table", intervals=faults(tmp_path, "1,2,x"))


def test_a_folder_has_the_intervals_of_each_file(tmp_path: Path) -> None:
    for name in ("m/a.npy", "m/b.npy"):
        record(tmp_path, name, 490)
    config = {"window": WINDOW, "rate": RATE, "split": "tail", "test": 0.5, "kind": "record"}
    found = ta.load_data(tmp_path / "m", intervals=faults(tmp_path, "b.npy,1,2,x", heading="file,start,end,kind"), **config)
    assert found.test.labels is not None and found.test.labels.tolist() == ["x", *["normal"] * 23]
    for row, heading, message in (
        ("c.npy,1,2", "file,start,end", r"row 1: the file is 'c\.npy', must be one of .*m: a\.npy, b\.npy"),
        ("1,2", "start,end", r"row 1: has no column `file`, must be one of .*m: a\.npy, b\.npy"),
        ("a.npy,48.5,50", "file,start,end", r"row 1: 48\.5 to 50 s lies outside the record, must lie within 0 to 49 s"),
    ):
        with pytest.raises(DataError, match=message):
            ta.load_data(tmp_path / "m", intervals=faults(tmp_path, row, heading=heading), **config)


def test_a_test_record_has_its_own_rows(tmp_path: Path) -> None:
    source, test = record(tmp_path), record(tmp_path, "t.npy", 400)
    rows = faults(tmp_path, "t.npy,4,5", heading="file,start,end")
    found = loaded(source, rows, test=test)
    assert found.test.labels is not None and found.test.labels.tolist().count("anomaly") == 1 and len(found.train) == 80
    for row, heading, message in (("4,5", "start,end", "has no column `file`"), ("u.npy,4,5", "file,start,end", "is 'u.npy'")):
        with pytest.raises(DataError, match=message):
            loaded(source, faults(tmp_path, row, heading=heading), test=test)


def test_the_record_with_faults_that_ships_differs_from_the_ecg_in_them_alone() -> None:
    ecg, faulty = (ta.load_data(name, test=0.4, output_activation="linear") for name in ("ecg", "ecg-anomaly"))
    assert faulty.test.intervals is not None and len(faulty.test.intervals.present) == 30
    changed = (ecg.test.take(slice(None)) != faulty.test.take(slice(None))).any(axis=1)
    assert np.array_equal(changed, faulty.test.intervals.overlapped) and 0 < changed.sum() < 100
    assert np.array_equal(ecg.train.take(slice(None)), faulty.train.take(slice(None)))


def test_a_test_file_has_another_name_where_intervals_are_of_it(tmp_path: Path) -> None:
    source, test = record(tmp_path, "a/m.npy"), record(tmp_path, "b/m.npy")
    with pytest.raises(DataError, match=r"row 1: the file is 'm\.npy', of which .*a/m\.npy and .*b/m\.npy have one each"):
        loaded(source, faults(tmp_path, "m.npy,4,5", heading="file,start,end"), test=test)


def test_intervals_are_not_of_a_file_with_a_test_set_of_its_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", x_train=np.arange(2000.0), x_test=np.arange(400.0))
    with pytest.raises(DataError, match=r"r\.npz: has a test set of its own beside `intervals` in \[data\]; save it as a file"):
        loaded(str(tmp_path / "r.npz"), faults(tmp_path, "4,5,x"))


def test_intervals_beside_a_test_file_need_a_column_of_files(tmp_path: Path) -> None:
    source, test = record(tmp_path), record(tmp_path, "t.npy", 600)
    text = r"f\.csv, row 1: has no column `file`, must have one beside `test` in \[data\]: .* such as r\.npy or t\.npy"
    with pytest.raises(DataError, match=text):
        loaded(source, faults(tmp_path, "3,4,belt", "150,152,belt"), test=test)
