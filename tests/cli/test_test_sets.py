"""Test sets: in a .npz beside the training samples, or in a source of their own; and samples left out by their label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from PIL import Image

from tiedae.base.errors import DataError, RecipeError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import FILE as METRICS
from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.config.config import DataConfig
from tiedae.data.readers import read
from tiedae.pipeline.sources import data_text, load_data, load_dataset, with_absolute_paths

from ..conftest import smallest_recipe
from ..pipeline.test_sources import LABELS, PIXELS, idx

TEST, TEST_LABELS = 255 - PIXELS[:6], LABELS[6:12]
HEADINGS = [f"p{i}" for i in range(12)]


def labels_of(array):
    return None if array is None else np.asarray(array).tolist()


@pytest.mark.parametrize(
    ("arrays", "train", "test"),
    [
        ({"y_train": LABELS, "y_test": TEST_LABELS}, LABELS, TEST_LABELS),
        ({"y_train": LABELS[:, None], "y_test": TEST_LABELS[:, None]}, LABELS, TEST_LABELS),  # as Keras stores CIFAR-10's
        ({"labels": LABELS}, LABELS, None),
        ({"labels": TEST_LABELS}, None, TEST_LABELS),
        ({"labels": np.concatenate([LABELS, TEST_LABELS])}, LABELS, TEST_LABELS),
        ({"labels_test": TEST_LABELS}, None, TEST_LABELS),
        ({}, None, None),
    ],
    ids=["Keras", "column", "train", "test", "both", "test by name", "none"],
)
@pytest.mark.parametrize("case", [str.lower, lambda name: name.replace("x_", "X_")], ids=["x", "X"])
def test_labels_of_a_npz_with_a_test_set(tmp_path, arrays, train, test, case):
    np.savez(
        tmp_path / "x.npz", **{case(name): values for name, values in {"x_train": PIXELS, "x_test": TEST, **arrays}.items()}
    )
    found = read(tmp_path / "x.npz")
    np.testing.assert_array_equal(found.values, PIXELS)
    np.testing.assert_array_equal(found.test_values, TEST)
    assert (labels_of(found.labels), labels_of(found.test_labels)) == (labels_of(train), labels_of(test))


def test_a_npz_of_test_samples_alone_is_a_source(tmp_path):
    np.savez(tmp_path / "x.npz", x_test=TEST, y_test=TEST_LABELS)
    found = read(tmp_path / "x.npz")
    assert found.values.tolist() == TEST.tolist() and found.labels.tolist() == TEST_LABELS.tolist()
    assert found.test_values is None


def npy(folder: Path, name: str, values: np.ndarray, labels: np.ndarray) -> str:
    np.save(folder / f"{name}.npy", values)
    return f"{name}.npy"


def npz(folder: Path, name: str, values: np.ndarray, labels: np.ndarray) -> str:
    np.savez(folder / f"{name}.npz", x=values, y=labels)
    return f"{name}.npz"


def csv(folder: Path, name: str, values: np.ndarray, labels: np.ndarray, headings=(*HEADINGS, "label")) -> str:
    table = np.column_stack([values.reshape(len(values), -1), labels])
    table = table[:, [[*HEADINGS, "label"].index(heading) for heading in headings]]
    np.savetxt(folder / f"{name}.csv", table, fmt="%d", delimiter=",", header=",".join(headings), comments="")
    return f"{name}.csv"


def plain_idx(folder: Path, name: str, values: np.ndarray, labels: np.ndarray) -> str:
    (folder / f"{name}-images-idx3-ubyte").write_bytes(idx(values))
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(idx(labels))
    return f"{name}-images-idx3-ubyte"


def images(folder: Path, name: str, values: np.ndarray, labels: np.ndarray) -> str:
    for i, (picture, label) in enumerate(zip(values, labels, strict=True)):
        (folder / name / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name / str(label) / f"{i:02}.png")
    return name


@pytest.mark.parametrize("write", [npy, npz, csv, plain_idx, images])
def test_the_test_samples_are_those_of_the_file(tmp_path, write):
    config = DataConfig(write(tmp_path, "a", PIXELS, LABELS), test=write(tmp_path, "b", TEST, TEST_LABELS), validation=0.1)
    splits = load_dataset(config, "sigmoid", base=tmp_path)
    assert splits.validation is not None and (len(splits.train), len(splits.validation)) == (18, 2)
    order = np.argsort(TEST_LABELS, kind="stable") if write is images else np.arange(6)
    np.testing.assert_array_equal(splits.test.take(slice(None)), TEST.reshape(6, 12)[order])
    if write is not npy:
        assert [int(label) for label in np.asarray(splits.test.labels)] == TEST_LABELS[order].tolist()
    assert str(config.test) in data_text(config, splits)


def test_columns_of_a_test_file_are_found_by_name_and_its_labels_too(tmp_path):
    csv(tmp_path, "a", PIXELS, LABELS, HEADINGS)
    csv(tmp_path, "b", TEST, TEST_LABELS, ("label", *reversed(HEADINGS)))
    splits = load_dataset(DataConfig("a.csv", test="b.csv"), "sigmoid", base=tmp_path)
    np.testing.assert_array_equal(splits.test.take(slice(None)), TEST.reshape(6, 12))
    assert splits.train.labels is None and labels_of(splits.test.labels) == TEST_LABELS.tolist()


def test_windows_of_two_records_are_not_mixed(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.int16))
    np.save(tmp_path / "b.npy", np.arange(500, 545, dtype=np.int16))
    config = DataConfig("a.npy", test="b.npy", window=10, stride=5, validation=0.2)
    splits = load_dataset(config, "linear", base=tmp_path)
    assert splits.validation is not None
    assert splits.train.take(slice(None))[:, 0].tolist() == list(range(0, 71, 5))
    assert splits.validation.take(slice(None)).ravel().tolist() == list(range(80, 100))
    assert splits.test.take(slice(None)).ravel().tolist() == list(range(500, 540))


def test_a_known_record_has_its_window_in_a_test_file_too(tmp_path):
    np.save(tmp_path / "b.npy", np.arange(600, dtype=np.int16))
    splits = load_data("ecg", test=tmp_path / "b.npy", output_activation="linear")
    assert splits.test.take(slice(None)).tolist() == np.arange(512).reshape(2, 256).tolist()


def test_clean_test_samples_pair_with_those_of_the_test_file(tmp_path):
    for name, values in {"a": PIXELS, "b": TEST}.items():
        np.save(tmp_path / f"{name}.npy", values)
    np.savez(tmp_path / "c.npz", x_train=255 - PIXELS, x_test=255 - TEST)
    splits = load_dataset(DataConfig("a.npy", test="b.npy", clean="c.npz"), "sigmoid", base=tmp_path)
    np.testing.assert_array_equal(splits.test.wanted.take(slice(None)), (255 - TEST).reshape(6, 12))
    with pytest.raises(DataError, match=r"a\.npy: has no test set, must have one: the clean samples of b\.npy"):
        load_dataset(DataConfig("a.npy", test="b.npy", clean="a.npy"), "sigmoid", base=tmp_path)


def _write(folder: Path) -> None:
    np.save(folder / "a.npy", PIXELS)
    np.save(folder / "floats.npy", TEST.astype(np.float32))
    np.save(folder / "wide.npy", TEST[:, :2])
    np.savez(folder / "both.npz", x_train=PIXELS, x_test=TEST)
    np.save(folder / "nan.npy", np.full((3, 4), np.nan))
    csv(folder, "table", PIXELS, LABELS)
    csv(folder, "less", PIXELS, LABELS, HEADINGS[2:])


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (DataConfig("a.npy", test="floats.npy"), r"floats\.npy: a test sample is float32 \[4, 3\], must be uint8 \[4, 3\] as"),
        (DataConfig("a.npy", test="wide.npy"), r"wide\.npy: a test sample is uint8 \[2, 3\], must be uint8 \[4, 3\] as those"),
        (DataConfig("a.npy", test="both.npz"), r"both\.npz: has training samples and a test set of its own; as `test` in"),
        (
            DataConfig("both.npz", test="a.npy"),
            r"both\.npz: has a test set of its own beside `test` = 'a\.npy' in \[data\]",
        ),
        (DataConfig("a.npy", test="./a.npy"), r"\./a\.npy: is `source` and `test` in \[data\], must be other samples than"),
        (DataConfig("a.npy", test="gone.npy"), r"gone\.npy: no such file or folder"),
        (DataConfig("a.npy", test="nan.npy"), r"nan\.npy: sample 0, value 0 is nan, must be finite"),
        (DataConfig("table.csv", test="less.csv"), r"less\.csv: has no column p0, p1; must have those of table\.csv: p0, "),
        (DataConfig("table.csv", test="a.npy"), r"a\.npy: a test sample is uint8 \[4, 3\], must be int16 \[12\] as those"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.source} {value.test}",
)
def test_a_test_file_that_does_not_fit_is_named(tmp_path, config, text):
    _write(tmp_path)
    with pytest.raises(DataError, match=text):
        load_dataset(config, "sigmoid", base=tmp_path)


def test_every_source_has_an_absolute_path(tmp_path):
    config = with_absolute_paths(DataConfig("a.npy", test="fashion", clean="deep/../c.npy"), tmp_path)
    assert config.sources == (str(tmp_path / "a.npy"), "fashion", str(tmp_path / "c.npy"))
    assert with_absolute_paths(DataConfig("ecg", test=0.2), tmp_path) == DataConfig("ecg", test=0.2)


@pytest.mark.parametrize("test", [0, 1.0, 2, True, "", "a\nb"])
def test_what_is_neither_fraction_nor_source_is_refused(test):
    with pytest.raises(RecipeError, match=r"^test: got .*, must be a (number in \(0, 1\) or a string|fraction, a known name)"):
        DataConfig("x.npy", test=test)


@pytest.mark.parametrize("dropped", [(2,), ("2",), (2.0,), (0, 1)])
@pytest.mark.parametrize("write", [npz, csv, plain_idx, images])
def test_samples_of_a_label_are_left_out_of_every_split(tmp_path, write, dropped):
    dropped = tuple(int(label) if label == 2.0 and not isinstance(label, str) else label for label in dropped)
    config = DataConfig(write(tmp_path, "a", PIXELS, LABELS), drop_labels=dropped, test=0.2, validation=0.2)
    splits = load_dataset(config, "sigmoid", base=tmp_path)
    assert splits.validation is not None
    parts = (splits.train, splits.validation, splits.test)
    kept = {0, 1, 2} - {int(label) for label in dropped}
    assert {int(label) for part in parts for label in np.asarray(part.labels).tolist()} == kept
    rows = np.concatenate([part.places(np.arange(len(part))) for part in parts])
    order = np.argsort(LABELS, kind="stable") if write is images else np.arange(20)
    assert sorted(rows.tolist()) == [i for i, label in enumerate(LABELS[order].tolist()) if label in kept]
    np.testing.assert_array_equal(splits.train.take(slice(None)), PIXELS.reshape(20, 12)[order][splits.train.rows])
    assert f"without labels {dropped[0]}" in data_text(config, splits)


def test_labels_are_left_out_of_a_test_file_too(tmp_path):
    config = DataConfig(npz(tmp_path, "a", PIXELS, LABELS), test=npz(tmp_path, "b", TEST, TEST_LABELS), drop_labels=(1,))
    splits = load_dataset(config, "sigmoid", base=tmp_path)
    assert sorted(set(labels_of(splits.test.labels))) == [0, 2] and len(splits.test) == 4
    only_in_test = structs.replace(config, test=npz(tmp_path, "b", TEST, TEST_LABELS + 7), drop_labels=(7,))
    assert len(load_dataset(only_in_test, "sigmoid", base=tmp_path).train) == 20


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ("a.npz", {"drop_labels": (3, 1)}, r"a\.npz: no sample has the label 3 of data\.drop_labels, must be among 0, 1, 2"),
        ("a.npz", {"drop_labels": ("cat",)}, r"a\.npz: no sample has the label 'cat' of data\.drop_labels, must be among 0"),
        ("a.npz", {"drop_labels": (0, 1, 2)}, r"a\.npz: data\.drop_labels leaves none of 20 samples, must leave some"),
        ("a.npy", {"drop_labels": (1,)}, r"a\.npy: has no labels, must have those of data\.drop_labels: 1"),
        ("a.npz", {"drop_labels": (0, 1), "test": "b.npz"}, r"b\.npz: data\.drop_labels leaves none of 4 samples"),
    ],
)
def test_labels_that_cannot_be_left_out_are_named(tmp_path, source, options, text):
    npz(tmp_path, "a", PIXELS, LABELS)
    npy(tmp_path, "a", PIXELS, LABELS)
    npz(tmp_path, "b", TEST[:4], np.array([0, 1, 1, 0]))
    with pytest.raises(DataError, match=text):
        load_dataset(DataConfig(source, **options), "sigmoid", base=tmp_path)


def test_a_label_is_left_out_once():
    with pytest.raises(RecipeError, match=r"drop_labels: got \[1, 1\], must be a list of different values"):
        DataConfig("x.npz", drop_labels=(1, 1))


STAGES = """
[train]
epochs = 1
[quantize]
method = "ptq"
[export]
stock = false
targets = ["tflite"]
"""


@pytest.mark.ci
def test_a_run_is_measured_on_its_test_file_which_the_bundle_knows(tmp_path, monkeypatch, capsys):
    folder, out = tmp_path / "data", tmp_path / "out"
    folder.mkdir()
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 256, (n, 4, 3), np.uint8) for n in (60, 40))
    csv(folder, "train", train, np.arange(60) % 3)
    csv(folder, "test", test, np.arange(40) % 3)
    (folder / "r.toml").write_text(smallest_recipe("train.csv", data="test = 'test.csv'", more=STAGES))
    assert main(["run", str(folder / "r.toml"), "--out", str(out)]) in (0, 1)
    assert "test samples: test.csv" in capsys.readouterr().err
    bundle = Bundle.open(out / "bundle")
    data, config = bundle.manifest.data, bundle.manifest.recipe.data
    assert (data.train, data.test, config.test) == (60, 40, "test.csv")
    np.testing.assert_array_equal(bundle.golden()["x"], test.reshape(40, 12))
    assert "test samples | `test.csv`" in (out / "bundle" / "MODEL_CARD.md").read_text()
    assert "test.csv" in (out / "bundle" / "report.html").read_text()
    before = read_metrics(out / "bundle" / METRICS).samples
    assert before is not None and before.source == "test.csv"

    moved = tmp_path / "moved"
    folder.rename(moved)
    monkeypatch.chdir(moved.parent)
    for given in ("moved/train.csv", "moved/test.csv", str(moved / "train.csv")):
        assert main(["verify", str(out), "--data", given, "--json", "v.json", "--force"]) == 0
        after = read_metrics(Path("v.json")).samples
        assert after is not None and (after.sha256, Path(after.source).name) == (before.sha256, "test.csv")
    assert main(["score", str(out), "moved/train.csv", "--json", "s.json"]) == 0
    assert json.loads(Path("s.json").read_text())["trained_on"] == 60
    assert main(["score", str(out), "moved/test.csv", "--json", "s.json", "--force"]) == 0
    assert json.loads(Path("s.json").read_text())["trained_on"] == 0

    assert main(["run", str(moved / "r.toml"), "--out", str(out), "--resume"]) in (0, 1)
    csv(moved, "test", 255 - test, np.arange(40) % 3)
    capsys.readouterr()
    assert main(["run", str(moved / "r.toml"), "--out", str(out), "--resume"]) == 2
    assert "holds a run on other data" in capsys.readouterr().err
    assert main(["run", str(moved / "r.toml"), "--json", str(moved / "test.csv"), "--force"]) == 2
    assert "is the input" in capsys.readouterr().err
