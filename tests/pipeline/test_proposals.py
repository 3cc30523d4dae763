"""What `tiedae recipe` takes a source for: a record by neighbouring rows, its clock, its groups, its label."""

from __future__ import annotations

import tomllib
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tiedae.base.errors import DataError
from tiedae.config.config import DataConfig
from tiedae.pipeline.recipe import parse_recipe
from tiedae.pipeline.sources import load_dataset
from tiedae.pipeline.suggesting import Wish, suggest
from tiedae.pipeline.suggesting.proposals import proposed

from ..samples import shared_data


def motion() -> np.ndarray:
    """float32 [n, 6]: a wrist in exercises, real."""
    files = sorted(shared_data("sensors/imu/s01").glob("*.npy"))
    return np.concatenate([np.load(file) for file in files])[:12_800]


def data_of(folder: Path, name: str, task: str = "compression") -> tuple[DataConfig, str]:
    """`[data]` of the recipe for a source, and its text without the breaks of comments."""
    suggestion = suggest(Wish.of(name, task), base=folder, to=folder)
    text = suggestion.text.replace("\n# ", " ")
    return parse_recipe(tomllib.loads(suggestion.text), "x").data, text


def write_table(path: Path, columns: dict[str, np.ndarray | list[str]]) -> None:
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]), encoding="utf-8")


def test_rows_in_time_are_a_record_and_shuffled_ones_are_not(tmp_path: Path) -> None:
    x = np.rint(1000 * motion()[:, :3]).astype(np.int16)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "shuffled.npy", np.random.default_rng(0).permutation(x))
    data, text = data_of(tmp_path, "x.npy")
    assert (data.kind, data.window) == ("record", 64)
    assert "rows are time steps: neighbouring rows differ by 0.0" in text
    assert 'the other choice: kind = "table" takes each row for a sample of its own kind = "record"' not in text
    assert '# the other choice: kind = "table" takes' in suggest(Wish.of("x.npy"), base=tmp_path).text
    data, text = data_of(tmp_path, "shuffled.npy")
    assert data.kind == "table" and 'the other choice: kind = "record" takes rows for time steps' in text


def test_windows_of_channels_are_a_record_whole_and_flattened(tmp_path: Path) -> None:
    windows = motion()[:, :3].reshape(-1, 64, 3)
    np.save(tmp_path / "whole.npy", windows)
    np.save(tmp_path / "flat.npy", windows.reshape(-1, 192))
    for name, channels in (("whole.npy", 0), ("flat.npy", 3)):
        data, _ = data_of(tmp_path, name)
        splits = load_dataset(data, "linear", base=tmp_path)
        assert (data.kind, data.channels) == ("record", channels)
        assert (splits.spec.shape, splits.spec.channels) == ((64, 3), 3)


@pytest.mark.parametrize(
    ("name", "time", "rate"),
    [
        ("time_s", [f"{i / 50:.2f}" for i in range(6400)], 50),
        ("Time (ms)", [str(20 * i) for i in range(6400)], 50),
        ("timestamp", [str(1_790_000_000_000_000_000 + 20_000_000 * i) for i in range(6400)], 50),
        ("Date Time", [f"2026-11-02T{8 + i // 3600:02}:{i // 60 % 60:02}:{i % 60:02}" for i in range(6400)], 1),
    ],
)
def test_a_clock_is_time_and_no_channel(tmp_path: Path, name: str, time: list[str], rate: float) -> None:
    write_table(tmp_path / "x.csv", {name: time, **dict(zip(("ax", "ay", "az"), motion()[:6400, :3].T, strict=True))})
    data, _ = data_of(tmp_path, "x.csv")
    splits = load_dataset(data, "linear", base=tmp_path)
    assert (data.time, data.kind) == (name, "record")
    assert splits.signal.channel_names == ("ax", "ay", "az") and splits.signal.rate == pytest.approx(rate, rel=1e-3)


def test_a_clock_is_no_channel_where_nothing_is_stated(tmp_path: Path) -> None:
    write_table(tmp_path / "x.csv", {"time": np.arange(40) ** 2, "a": np.arange(40) % 7, "b": np.arange(40) % 5})
    assert load_dataset(DataConfig("x.csv"), "linear", base=tmp_path).columns == ("a", "b")
    stated = DataConfig("x.csv", columns=("time", "a"))
    assert load_dataset(stated, "linear", base=tmp_path).columns == ("time", "a")
    write_table(tmp_path / "y.csv", {"time": np.arange(40) % 9, "a": np.arange(40) % 7})
    assert load_dataset(DataConfig("y.csv"), "linear", base=tmp_path).columns == ("time", "a")  # it falls: no clock


def test_a_clock_that_jumps_is_dropped(tmp_path: Path) -> None:
    time = np.arange(6400) + 1000 * (np.arange(6400) > 3000)
    write_table(tmp_path / "x.csv", {"time": time, "a": motion()[:6400, 0]})
    data, _ = data_of(tmp_path, "x.csv")
    assert (data.kind, data.time, data.drop) == ("record", "", ("time",))


def write_wav(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 360, 0, "NONE", ""))
        file.writeframes(values.astype("<i2").tobytes())


def test_a_folder_of_recordings_is_a_record_by_file(tmp_path: Path) -> None:
    x = np.load(shared_data("ecg/mitbih208.npy"))
    for i in range(5):
        write_wav(tmp_path / "x" / f"{i}.wav", x[8000 * i : 8000 * (i + 1)])
    data, _ = data_of(tmp_path, "x")
    assert (data.kind, data.groups) == ("record", "file")
    assert load_dataset(DataConfig("x", window=64), "linear", base=tmp_path).kind == "record"  # in a run, too
    for i in range(2):
        (tmp_path / "x" / f"{i}.wav").unlink()
    assert data_of(tmp_path, "x")[0].groups == ""  # three are too few to split


def test_marks_of_anomalies_are_a_label(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.standard_normal(300).round(3) for name in "abc"}
    write_table(tmp_path / "x.csv", values | {"is_fault": rng.integers(0, 2, 300)})
    data, _ = data_of(tmp_path, "x.csv")
    assert data.label == "is_fault" and load_dataset(data, "linear", base=tmp_path).columns == ("a", "b", "c")
    write_table(tmp_path / "y.csv", values | {"fault": rng.integers(0, 3, 300)})
    assert data_of(tmp_path, "y.csv")[0].label == "auto"  # not 0 and 1
    write_table(tmp_path / "z.csv", values | {"fault": rng.integers(0, 2, 300), "class": rng.integers(0, 2, 300)})
    assert data_of(tmp_path, "z.csv")[0].label == "auto"  # class is the label


def test_a_window_of_a_record_has_the_mark_of_its_steps(tmp_path: Path) -> None:
    marks = (np.arange(640) // 10 == 31).astype(int)
    write_table(tmp_path / "x.csv", {"a": motion()[:640, 0], "fault": marks})
    config = DataConfig("x.csv", kind="record", window=32, label="fault", split="tail")
    splits = load_dataset(config, "linear", base=tmp_path)
    labels = np.concatenate([np.asarray(part.labels) for part in (splits.train, splits.test)])
    assert np.flatnonzero(labels).tolist() == [9]


def test_channels_that_do_not_divide_a_window_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", motion()[:1280, 0].reshape(-1, 64))
    with pytest.raises(DataError, match=r"x\.npy: has shape \[20, 64\], must be windows \[n, k\] with a k that 3 divides"):
        load_dataset(DataConfig("x.npy", channels=3), "linear", base=tmp_path)


def test_photographs_are_proposed_as_patches_of_one_mode(tmp_path: Path) -> None:
    """Larger than small images, of two modes: a line for each key says so; small ones of one size stay as they are."""
    rng = np.random.default_rng(0)
    for i, (width, height) in enumerate([(96, 80), (80, 70), (96, 96), (70, 90), (100, 64)]):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))
        (coarse.convert("L") if i == 3 else coarse).save(tmp_path / f"{i}.png")
    found = suggest(Wish(str(tmp_path), "compression", None, {}))
    table = tomllib.loads(found.text)["data"]
    assert (table["patch"], table["convert"]) == (16, "rgb") and found.facts.shape == (16, 16, 3)
    reasons = {choice.key: choice.reason for choice in found.choices}
    assert reasons["data.convert"] == "images of several modes: 4 RGB (0.png), 1 L (3.png)"
    assert reasons["data.patch"].startswith("5 pictures of 100×64 pixels or more: each is cut into patches")
    assert found.facts.kind == "image" and "kind" not in table
    stated = suggest(Wish(str(tmp_path), "compression", None, {"data.patch": 8, "data.convert": "gray"}))
    assert tomllib.loads(stated.text)["data"]["patch"] == 8 and stated.facts.shape == (8, 8)
    small = proposed({}, str(small_images(tmp_path / "small")), "compression", tmp_path)
    assert not {"data.patch", "data.convert"} & {*small}


def small_images(folder: Path) -> Path:
    folder.mkdir()
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder
