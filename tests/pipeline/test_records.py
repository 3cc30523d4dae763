"""Records: windows, channels, groups and their files, as `load_dataset` reads them, and what it refuses."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.base.errors import DataError, FormatError, RecipeError, TiedaeError
from tiedae.bundle.results import ColumnWarning, warning_lines
from tiedae.config.config import DataConfig
from tiedae.data.arrays import Arrays
from tiedae.data.dataset import Dataset, overlapping
from tiedae.data.readers import keys_of
from tiedae.data.recordings import cut
from tiedae.data.samples import Samples
from tiedae.data.scaling_fit import fit_scaling
from tiedae.data.splitting import split_groups
from tiedae.pipeline.sources import data_text, load_dataset, source_size, split_text
from tiedae.pipeline.suggesting.facts import looks_like_signal
from tiedae.pipeline.suggesting.suggestion import Wish, suggest

RECORD = {"kind": "record", "window": 10}


def loaded(folder: Path, source: str, *, normal=(), **keys) -> Dataset:
    return load_dataset(DataConfig(source, **keys), "linear", base=folder, normal=normal)


def write_wav(path: Path, values: np.ndarray, *, rate: int = 8000, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if values.ndim == 1 else values.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(values).tobytes())


def write_csv(path: Path, columns: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = zip(*columns.values(), strict=True)
    path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))


def steps(splits: Dataset) -> dict[str, set[float]]:
    """The values of each split; where a source holds each value once they tell which time steps it has."""
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: set(part.take(slice(None)).ravel().tolist()) for name, part in parts.items() if part is not None}


def require_disjoint(splits: Dataset) -> None:
    """Fail where two splits share a value or a group."""
    values = list(steps(splits).values())
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    groups = [set(np.asarray(part.groups).tolist()) for part in parts if part.groups is not None]
    for sets in (values, groups):
        assert sum(map(len, sets)) == len(set().union(*sets))


@pytest.mark.parametrize(
    ("shape", "window", "sample"),
    [
        ((205,), 10, (10,)),
        ((205, 1), 10, (10,)),
        ((205, 6), 10, (10, 6)),
        ((20, 10), 0, (10,)),
        ((20, 10, 6), 0, (10, 6)),
        ((20, 10), 10, (10,)),
        ((20, 10, 6), 10, (10, 6)),
        ((20, 10, 1), 0, (10,)),
    ],
)
def test_a_record_is_long_or_in_windows(tmp_path, shape, window, sample):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "x.npy", x)
    splits = loaded(tmp_path, "x.npy", kind="record", window=window, rate=360, unit_of_measure="mV")
    assert (splits.kind, splits.train.shape, splits.spec.channels) == ("record", sample, (*sample, 1)[1])
    assert (splits.signal.rate, splits.signal.unit_of_measure) == (360, "mV")
    whole = np.concatenate([splits.train.take(slice(None)), splits.test.take(slice(None))])
    assert np.array_equal(np.sort(whole.ravel()), x.reshape(-1)[: whole.size]) and len(whole) == 20
    assert np.array_equal(whole[0], x.reshape(-1)[: whole.shape[1]])


def test_a_window_may_be_one_time_step(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(120.0).reshape(20, 1, 6))
    splits = loaded(tmp_path, "x.npy", kind="record")
    assert splits.spec.text == "1 time step of 6 channels"


def test_each_channel_has_an_offset_and_a_scale(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 3)) * [1, 100, 1e4] + [0, 5, 1e5]
    np.save(tmp_path / "x.npy", x)
    splits = loaded(tmp_path, "x.npy", **RECORD)
    scaled = splits.scaling.apply(splits.train.take(slice(None))).reshape(-1, 3)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-3)
    scale = np.reshape(splits.scaling.scale, (10, 3))
    assert (scale == scale[0]).all() and "scaled per channel (standard)" in data_text(splits.config, splits)
    assert isinstance(loaded(tmp_path, "x.npy", **RECORD, per_feature=False).scaling.scale, float)


def test_a_channel_of_rare_values_does_not_widen_the_others():
    x = np.random.default_rng(0).standard_normal((50, 20))
    x[3, 5] = 1e3
    scaling = fit_scaling("auto", Samples(x), channels=2, output_activation="linear")
    assert scaling.rule == "capped" and np.abs(scaling.apply(x)).max() <= 12.001


@pytest.mark.parametrize("keys", [{}, {"groups": "file"}, {"groups": "machine"}], ids=["tail", "file", "column"])
@pytest.mark.parametrize("stride", [0, 5, 2])
def test_no_value_and_no_group_is_in_two_splits(tmp_path, keys, stride):
    """Each file has a rest, and changes its machine within; every value occurs once."""
    for i in range(6):
        n = 61 + i
        machine = [f"m{i}"] * 33 + [f"n{i}"] * (n - 33)
        values = 1e4 * i + np.arange(n)
        write_csv(tmp_path / "x" / f"{i}.csv", {"a": values, "b": -1 - values, "machine": machine})
    drop = () if keys.get("groups") == "machine" else ("machine",)
    splits = loaded(tmp_path, "x", **RECORD, **keys, drop=drop, stride=stride, validation=0.2, test=0.2)
    require_disjoint(splits)
    times = splits.train.take(slice(None)).reshape(len(splits.train), 10, 2)
    if keys.get("groups") == "machine":
        first, last = (times[:, at, 0] % 1e4 < 33 for at in (0, -1))
        assert (first == last).all()
    assert (np.diff(times[..., 0], axis=1) == 1).all() and (times[..., 1] == -1 - times[..., 0]).all()
    alone = loaded(tmp_path, "x", **RECORD, **keys, drop=drop, validation=0.2, test=0.2).train
    assert np.array_equal(splits.train.disjoint.take(slice(None)), alone.take(slice(None)))
    assert (len(splits.train) > len(alone)) == (stride > 0)
    assert np.asarray(alone.records).tolist() == np.asarray(splits.train.disjoint.records).tolist()
    text = split_text(DataConfig("x", **keys), splits)
    assert text.startswith(f"split by {keys['groups']}: training" if keys else "split: training")
    if keys:
        assert all(str(group) in text for group in np.unique(np.asarray(splits.test.groups)))


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5), st.sampled_from([1, 2, 5, 10]))
def test_overlapping_windows_hold_kept_values_of_one_record(records, stride):
    """Of each record some windows are of the split: a window begins every `stride` steps where all its values are."""
    kept = np.concatenate(records)
    if not kept.any():
        return
    numbers = np.repeat(np.arange(len(records)), [len(record) for record in records])
    whole = Samples(np.arange(10 * len(kept)).reshape(-1, 10), records=numbers)
    windows = overlapping(whole.select(np.flatnonzero(kept)), stride)
    inside, record = np.repeat(kept, 10), np.repeat(numbers, 10)
    starts = range(0, len(inside) - 9, stride)
    expected = [np.arange(i, i + 10) for i in starts if inside[i : i + 10].all() and record[i] == record[i + 9]]
    assert np.array_equal(windows.take(slice(None)), expected)


@given(
    st.lists(st.integers(1, 40), min_size=4, max_size=12), st.floats(0, 0.4), st.floats(0.05, 0.5), st.sampled_from([None, 1])
)
def test_groups_are_split_whole(sizes, validation, test, seed):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    parts = split_groups(groups, (validation, test), "x", seed=seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(groups)))
    sets = [set(groups[part].tolist()) for part in parts]
    assert sum(map(len, sets)) == len(sizes) and sets[0] and sets[2] and bool(sets[1]) == (validation > 0)
    assert all((np.diff(part) > 0).all() for part in parts)
    if seed is None:
        assert max(sets[0]) < min(sets[2])


def test_groups_of_a_table_and_of_an_npz_are_kept_apart(tmp_path):
    x, machine = np.arange(120.0).reshape(40, 3), np.repeat(["a", "b", "c", "d", "e"], 8)
    np.savez(tmp_path / "x.npz", x=x, machine=machine)
    write_csv(tmp_path / "x.csv", {"u": x[:, 0], "v": x[:, 1], "w": x[:, 2], "machine": machine})
    for source in ("x.npz", "x.csv"):
        splits = loaded(tmp_path, source, groups="machine", validation=0.2, test=0.2)
        require_disjoint(splits)
        assert (splits.kind, splits.inputs) == ("table", 3)
        assert len(splits.train) == 24 and len(set(np.asarray(splits.train.groups).tolist())) == 3
    own = {
        f"{key}_{part}": values[s]
        for part, s in (("train", slice(0, 32)), ("test", slice(32, 40)))
        for key, values in (("x", x), ("machine", machine))
    }
    np.savez(tmp_path / "own.npz", **own)
    assert set(np.asarray(loaded(tmp_path, "own.npz", groups="machine").test.groups).tolist()) == {"e"}


def test_three_groups_are_enough_where_none_is_split_off(tmp_path):
    parts = {"train": ["a", "b", "c"], "test": ["d"]}
    arrays = {f"x_{name}": np.random.default_rng(0).random((8 * len(own), 5)) for name, own in parts.items()}
    np.savez(tmp_path / "x.npz", **arrays, **{f"machine_{name}": np.repeat(own, 8) for name, own in parts.items()})
    assert len(loaded(tmp_path, "x.npz", groups="machine").train) == 24


def test_clean_samples_of_a_long_record_of_groups_are_refused(tmp_path):
    values, machine = np.arange(280.0), np.repeat(["a", "b", "c", "d"], 70)
    np.savez(tmp_path / "noisy.npz", x=values, machine=machine)
    np.savez(tmp_path / "clean.npz", x=values)
    with pytest.raises(DataError, match=r"^clean\.npz: `clean` in \[data\] must be left out beside `groups` of a long record"):
        loaded(tmp_path, "noisy.npz", kind="record", window=14, groups="machine", clean="clean.npz")


def test_rows_that_are_taken_for_windows_without_a_window_are_noted(tmp_path):
    for name, shape in {"rows": (50, 6), "windows": (50, 6, 2)}.items():
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).standard_normal(shape))
    rows, windows = (loaded(tmp_path, f"{name}.npy", kind="record") for name in ("rows", "windows"))
    note = "; rows are taken for windows of 6 time steps, `window` cuts a record"
    assert note in data_text(rows.config, rows) and note not in data_text(windows.config, windows)


def test_keys_of_a_record_are_refused_where_the_data_are_a_table(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((50, 6)))
    (tmp_path / "f.csv").write_text("start,end\n1,2\n")
    for key, value in {"rate": 5.0, "unit_of_measure": "g", "intervals": "f.csv"}.items():
        with pytest.raises(DataError, match=rf"^x\.npy: `{key}` in \[data\] is for records; got .*, must be left out"):
            loaded(tmp_path, "x.npy", **{key: value})


def test_a_suggested_window_fits_into_the_shortest_run_of_a_group(tmp_path):
    values = np.random.default_rng(0).standard_normal(20_000)
    machine = np.repeat(["a", "b", "c", "d", "e"], [7000, 40, 7000, 2600, 3360])
    write_csv(tmp_path / "x.csv", {"u": values, "v": -values, "machine": machine})
    config = DataConfig("x.csv", kind="record", groups="machine")
    assert source_size(config, base=tmp_path)[1] == 40


def test_groups_that_are_not_asked_for_are_left_out(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(60.0).reshape(20, 3), groups=np.arange(20) % 2)
    assert loaded(tmp_path, "x.npz").train.groups is None


@pytest.mark.parametrize(("width", "dtype"), [(1, "uint8"), (2, "int16"), (4, "float32")])
def test_a_wav_is_a_record_with_its_rate(tmp_path, width, dtype):
    x = np.random.default_rng(0).integers(0, 200, (300, 2)).astype({1: "u1", 2: "<i2", 4: "<i4"}[width])
    write_wav(tmp_path / "x.wav", x, width=width)
    splits = loaded(tmp_path, "x.wav", window=10)
    assert (splits.kind, splits.train.shape, splits.train.dtype.name) == ("record", (10, 2), dtype)
    assert splits.signal.rate == 8000 and np.array_equal(splits.train.take(slice(0, 1))[0], x[:10].ravel())


def test_24_bits_become_numbers_that_float32_holds(tmp_path):
    values = np.array([0, 1, -1, 8388607, -8388608, 65536] * 20, np.int32)
    write_wav(tmp_path / "x.wav", values.view(np.uint8).reshape(-1, 4)[:, :3].reshape(-1), width=3)
    assert loaded(tmp_path, "x.wav", window=6).train.take(slice(0, 1)).tolist() == [values[:6].tolist()]


def test_times_give_the_rate_though_they_are_rounded(tmp_path):
    times = [f"{i / 360:.3f}" for i in range(200)]
    write_csv(tmp_path / "x.csv", {"t": times, "a": range(200), "b": range(200, 400)})
    splits = loaded(tmp_path, "x.csv", **RECORD, time="t")
    assert splits.signal.channel_names == ("a", "b") and splits.signal.rate == pytest.approx(360, rel=1e-3)
    assert "10 time steps of 2 channels (a, b) at 359.855 Hz" in data_text(splits.config, splits)


def test_subfolders_are_labels(tmp_path):
    for label in ("normal", "worn"):
        for i in range(3):
            write_wav(tmp_path / "x" / label / f"{i}.wav", np.arange(105, dtype=np.int16) + 1000 * i)
    splits = loaded(tmp_path, "x", **RECORD, split="random", normal=("normal",), test=0.3)
    assert set(np.asarray(splits.train.labels).tolist()) == {"normal"}
    assert set(np.asarray(splits.test.labels).tolist()) == {"normal", "worn"}


def bad_folder(folder: Path, name: str) -> None:
    """Files that `test_what_cannot_be_used_is_one_line` reads."""
    x = np.arange(400.0).reshape(100, 4)
    t = np.arange(100) / 50
    if name == "channels":
        write_csv(folder / "x/a.csv", {"u": t, "v": t})
        write_csv(folder / "x/b.csv", {"u": t, "v": t, "w": t})
    elif name == "names":
        write_csv(folder / "x/a.csv", {"u": t, "v": t})
        write_csv(folder / "x/b.csv", {"u": t, "w": t})
    elif name == "one":
        write_csv(folder / "x/a.csv", {"u": t, "v": t})
        write_csv(folder / "x/b.csv", {"u": t})
    elif name == "windows":
        np.save((folder / "x").mkdir() or folder / "x/a.npy", x)
        np.save(folder / "x/b.npy", x[:, :1])
    elif name == "rates":
        write_wav(folder / "x/a.wav", np.arange(100, dtype=np.int16))
        write_wav(folder / "x/b.wav", np.arange(100, dtype=np.int16), rate=16000)
    elif name == "dtypes":
        np.save((folder / "x").mkdir() or folder / "x/a.npy", np.arange(100, dtype=np.int16))
        np.save(folder / "x/b.npy", np.arange(100.0))
    elif name == "nan":
        for i in range(4):
            part = x.copy()
            part[57, 2] = np.nan if i == 2 else 0
            write_csv(folder / f"x/{i}.csv", dict(zip("abcd", part.T, strict=True)))
    elif name == "short":
        for i, n in enumerate((100, 9, 50)):
            write_wav(folder / f"x/{i}.wav", np.arange(n, dtype=np.int16))
    elif name == "jumps":
        write_csv(folder / "x/a.csv", {"t": np.where(np.arange(100) < 40, t, t + 3) + (np.arange(100) >= 70), "a": t})
    elif name == "groups":
        for i in range(3):
            write_wav(folder / f"x/{i}.wav", np.arange(100, dtype=np.int16))
    elif name == "empty":
        (folder / "x").mkdir()


@pytest.mark.parametrize(
    ("name", "keys", "text"),
    [
        ("channels", {}, r"b\.csv: has 3 channels, but .*a\.csv has 2 channels; must be the same in all files"),
        ("names", {}, r"b\.csv: has the channels u, w, but .*a\.csv has u, v; must be the same"),
        ("rates", {}, r"b\.wav: has a rate of 16000 Hz, but .*a\.wav has 8000; must be the same in all files"),
        ("dtypes", {}, r"b\.npy: is float64, but .*a\.npy is int16; must be the same in all files"),
        ("nan", {}, r"^x: 2\.csv, time step 57, channel c is nan, must be finite; missing values: c \(1\)$"),
        ("short", {}, r"^x, 1\.wav: `window` in \[data\] is 10, longer than the record of 9 time steps; must be at most"),
        ("one", {}, r"b\.csv: has 1 channel, but .*a\.csv has 2 channels; must be the same in all files"),
        ("windows", {}, r"b\.npy: has rows of 1 value, but .*a\.npy has rows of 4 values; must be the same in all files"),
        ("jumps", {"time": "t"}, r"a\.csv: t jumps at 2 places, first behind row 40, from 0\.78 to 3\.8; must grow by about"),
        ("groups", {"groups": "file"}, r"^x: holds 3 groups \(0\.wav, 1\.wav, 2\.wav\), must be 4 or more, so that"),
        ("rates", {"rate": 5}, r"b\.wav: has a rate"),
        ("groups", {"rate": 5}, r"^x: has a rate of 8000 Hz, `rate` in \[data\] is 5; must be the same, or left out"),
        ("empty", {}, r"x: holds no file of a record \(\.npy, \.npz, \.csv, \.wav\)"),
        ("groups", {"window": 0}, r"^x: is a record of 300 time steps; `window` in \[data\] cuts it into samples"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path, name, keys, text):
    bad_folder(tmp_path, name)
    with pytest.raises(DataError, match=text) as caught:
        loaded(tmp_path, "x", **{**RECORD, **keys})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"kind": "table", "window": 5}, '^window: got 5, must be left out, or kind "record"'),
        ({"kind": "image", "rate": 5.0}, "rate: got 5"),
        ({"kind": "signal"}, "^kind: got 'signal', must be one of"),
        ({"columns": ("a",), "time": "a"}, "columns: got"),
    ],
)
def test_keys_that_contradict_each_other(keys, text):
    with pytest.raises(RecipeError, match=text):
        DataConfig("x.npy", **keys)


@pytest.mark.parametrize("stride", [20, 3])
def test_a_stride_divides_the_window(tmp_path, stride):
    np.save(tmp_path / "x.npy", np.arange(600.0).reshape(200, 3))
    with pytest.raises(RecipeError, match=f"data.stride: got {stride}, must be a divisor of the window of 10 time steps"):
        loaded(tmp_path, "x.npy", **RECORD, stride=stride)


def test_every_group_has_normal_samples(tmp_path):
    machine = np.repeat(["a", "b", "c", "d", "e"], 8)
    np.savez(tmp_path / "x.npz", x=np.arange(200.0).reshape(40, 5), y=(machine == "c").astype(int), machine=machine)
    keys = {"kind": "record", "groups": "machine", "validation": 0.2, "test": 0.2}
    with pytest.raises(DataError, match=r"^x\.npz: machine c has no normal samples, must have some of task\.normal: 0;"):
        loaded(tmp_path, "x.npz", normal=(0,), **keys)
    assert loaded(tmp_path, "x.npz", **keys).train.groups is not None


def test_a_test_set_shares_no_group_with_those_to_train_on(tmp_path):
    for name, machines in {"a": "abcd", "b": "de"}.items():
        machine = np.repeat([*machines], 8)
        np.savez(tmp_path / f"{name}.npz", x=np.random.default_rng(0).random((len(machine), 5)), machine=machine)
    with pytest.raises(DataError, match=r"^b\.npz: machine d is to train on too; no group may be in both"):
        loaded(tmp_path, "a.npz", test="b.npz", groups="machine")


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (
            b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\3\0\1\0@\x1f\0\0\0}\0\0\4\0 \0data\4\0\0\0\0\0\0\0",
            DataError,
            "must be PCM of 8, 16, 24",
        ),
        (
            b"RIFF\x40\0\0\0WAVEfmt \x28\0\0\0\xfe\xff\1\0@\x1f\0\0\0}\0\0\4\0 \0\x16\0 \0\4\0\0\0"
            b"\3\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71data\4\0\0\0\0\0\0\0",
            DataError,
            "is in the extensible format, must be plain PCM of 8, 16, 24 or 32 bits; convert it",
        ),
        (b"RIFF", FormatError, "is damaged or not a .wav file"),
        (b"not sound at all", FormatError, "is damaged or not a .wav file"),
    ],
)
def test_a_wav_of_another_kind(tmp_path, data, error, text):
    (tmp_path / "x.wav").write_bytes(data)
    with pytest.raises(error, match=text):
        loaded(tmp_path, "x.wav", window=10)


def test_a_wav_that_is_cut_off(tmp_path):
    write_wav(tmp_path / "x.wav", np.arange(100, dtype=np.int16))
    (tmp_path / "x.wav").write_bytes((tmp_path / "x.wav").read_bytes()[:-20])
    with pytest.raises(FormatError, match=r"x\.wav: holds 180 bytes of samples, must be 200; damaged"):
        loaded(tmp_path, "x.wav", window=10)


def test_groups_need_a_name_that_the_source_has(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.arange(60.0).reshape(20, 3), ids=np.arange(20))
    with pytest.raises(DataError, match=r"x\.npz: holds ids beside x; must be of x, labels, label, y, machine, or left out"):
        loaded(tmp_path, "x.npz", groups="machine")
    np.save(tmp_path / "x.npy", np.arange(60.0).reshape(20, 3))
    with pytest.raises(TiedaeError, match=r"x\.npy: `groups` in \[data\] is for a \.csv file, a \.npz file or a folder"):
        loaded(tmp_path, "x.npy", groups="machine")


def test_the_columns_of_a_signal_are_named_as_one(tmp_path):
    rng, t = np.random.default_rng(0), np.arange(32) / 16
    waves = np.sin(2 * np.pi * (t + rng.random((80, 1)))) + 0.05 * rng.standard_normal((80, 32))
    np.save(tmp_path / "waves.npy", waves)
    np.save(tmp_path / "noise.npy", rng.standard_normal((80, 32)))
    np.save(tmp_path / "units.npy", waves * np.geomspace(1, 100, 32))
    looks = {name: looks_like_signal(loaded(tmp_path, f"{name}.npy")) for name in ("waves", "noise", "units")}
    assert looks == {"waves": True, "noise": False, "units": False}
    for kind in ("record", "table"):
        assert not looks_like_signal(loaded(tmp_path, "waves.npy", kind=kind))


def test_a_window_suits_the_shortest_file(tmp_path):
    for i, n in enumerate((4000, 80)):
        write_wav(
            tmp_path / "x" / f"{i}.wav", np.cumsum(np.random.default_rng(i).integers(-9, 9, (n, 2)), axis=0).astype("<i2")
        )
    wish = Wish.of("x", settings=["data.kind=record"])
    text = suggest(wish, base=tmp_path).text
    assert "window = 32\n" in text and 'kind = "record"' in text
    alone = suggest(Wish.of("x/0.wav"), base=tmp_path)
    assert (alone.facts.kind, alone.facts.shape[1]) == ("record", 2)


def test_warnings_of_one_kind_are_one_line():
    worse = [ColumnWarning(f"value {i}", i - 200.0, "int8 tflite") for i in range(139)]
    constant = [ColumnWarning(name, None) for name in "ab"]
    negative, still = warning_lines((*worse, *constant))
    assert negative.startswith("139 columns have an R² below 0, the worst value 0 with -200 in int8 tflite: ")
    assert still.startswith("2 columns never change in the measured samples (a, b), so they have no R²")
    assert warning_lines(worse[:1]) == [f"column {worse[0].text}"] and warning_lines(()) == []


def test_three_groups_beside_a_test_set_are_not_split(tmp_path):
    x, machine = np.random.default_rng(0).random((24, 5)), np.repeat([*"abc"], 8)
    np.savez(tmp_path / "x.npz", x_train=x, x_test=x[:8], machine_train=machine, machine_test=np.repeat("d", 8))
    assert len(loaded(tmp_path, "x.npz", groups="machine").train) == 24


def test_groups_of_numbers_and_text_are_the_same_in_all_files(tmp_path):
    for i, machines in enumerate(["12", "23", "34", ["4", "pump"], ["pump", "5.0"], "56"]):
        machine = np.repeat([*machines], 30)
        write_csv(tmp_path / "x" / f"{i}.csv", {"a": 100 * i + np.arange(60), "machine": machine})
    for seed in range(4):
        splits = loaded(tmp_path, "x", **RECORD, groups="machine", test=0.3, seed=seed)
        require_disjoint(splits)
        groups = {*np.asarray(splits.train.groups).tolist(), *np.asarray(splits.test.groups).tolist()}
        assert groups == {*"123456", "pump"}


def test_groups_of_a_test_set_are_compared_as_labels_are(tmp_path):
    rng = np.random.default_rng(0)
    for name, machine in {"a": np.repeat([1, 2, 3, 4], 8), "b": np.repeat(["4", "x"], 8)}.items():
        np.savez(tmp_path / f"{name}.npz", x=rng.random((len(machine), 5)), machine=machine)
    with pytest.raises(DataError, match=r"^b\.npz: machine 4 is to train on too"):
        loaded(tmp_path, "a.npz", test="b.npz", groups="machine")
    np.savez(tmp_path / "c.npz", x=rng.random((8, 5)))
    with pytest.raises(DataError, match=r"^c\.npz: has no groups 'machine', must have them as a\.npz"):
        loaded(tmp_path, "a.npz", test="c.npz", groups="machine")


@pytest.mark.parametrize("name", ["x.csv", "x.npz"])
def test_a_group_is_not_nan(tmp_path, name):
    x, machine = np.arange(40.0).reshape(20, 2), np.repeat([1, 2, 3, 4, np.nan], 4)
    np.savez(tmp_path / "x.npz", x=x, machine=machine)
    write_csv(tmp_path / "x.csv", {"a": x[:, 0], "b": x[:, 1], "machine": machine})
    with pytest.raises(DataError, match=rf"{name}: row 17 of machine is nan, must be a group, a number or text"):
        loaded(tmp_path, name, groups="machine")


def folder_of_two_kinds(folder: Path) -> None:
    """Two .csv files with times and machines, and two .npz files with machines, in a.csv … d.npz."""
    for name in "ab":
        cells = {"t": np.arange(60) / 50, "u": np.arange(60.0), "machine": np.repeat(["x", "y"], 30)}
        write_csv(folder / f"{name}.csv", cells)
    for name in "cd":
        np.savez(folder / f"{name}.npz", x=np.arange(60.0).reshape(60, 1), machine=np.repeat(["v", "w"], 30))


@pytest.mark.parametrize(
    ("names", "keys", "text"),
    [
        (
            "ab",
            {"groups": "machin", "time": "t"},
            r"a\.csv: no column 'machin', which `groups` in \[data\] names; did you mean",
        ),
        (
            "ab",
            {"time": "tme", "groups": "machine"},
            r"a\.csv: no column 'tme', which `time` in \[data\] names",
        ),
        ("cd", {"groups": "machin"}, r"c\.npz: holds machine beside x"),
        ("ce", {"groups": "machine"}, r"e\.npz: has no array machine, which `groups` in \[data\] names"),
        ("cf", {"groups": "machine"}, r"f\.npy: `groups` in \[data\] is for a \.csv file, .*; got 'machine', must be left out"),
        ("f", {"columns": ("u",)}, r"x: `columns` in \[data\] is for a \.csv file; got \['u'\], must be left out"),
        ("cf", {"drop": ("u",)}, r"x: `drop` in \[data\] is for a \.csv file"),
        ("f", {"label": "state"}, r"x: `label` in \[data\] is for a \.csv file"),
        ("f", {"time": "t"}, r"x: `time` in \[data\] is for a \.csv file"),
    ],
)
def test_a_key_that_a_file_of_a_folder_lacks_is_named(tmp_path, names, keys, text):
    (tmp_path / "x").mkdir()
    folder_of_two_kinds(tmp_path / "x")
    np.savez(tmp_path / "x" / "e.npz", x=np.arange(60.0).reshape(60, 1))
    np.save(tmp_path / "x" / "f.npy", np.arange(60.0).reshape(60, 1))
    for path in (tmp_path / "x").iterdir():
        if path.stem not in names:
            path.unlink()
    with pytest.raises(DataError, match=text):
        loaded(tmp_path, "x", **RECORD, **keys)


def test_other_data_may_lack_groups_and_times_in_some_files(tmp_path):
    folder_of_two_kinds(tmp_path)
    keys = DataConfig(str(tmp_path), kind="record", groups="machine", time="t", drop=("u",))
    assert (keys_of(keys, tmp_path).groups, keys_of(keys, tmp_path).time, keys_of(keys, tmp_path).drop) == (
        "machine",
        "",
        ("u",),
    )
    for path in tmp_path.glob("*.npz"):
        path.unlink()
    assert keys_of(keys, tmp_path) == keys
    write_csv(tmp_path / "c.csv", {"u": np.arange(60.0)})
    assert (keys_of(keys, tmp_path).groups, keys_of(keys, tmp_path).time) == ("", "")
    np.save((tmp_path / "n").mkdir() or tmp_path / "n" / "f.npy", np.arange(60.0))
    assert keys_of(keys, tmp_path / "n").drop == ()
    assert keys_of(replace(keys, groups="file"), tmp_path).groups == "file"


def test_a_split_is_by_groups_that_there_are(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(200.0))
    assert split_text(DataConfig("x", groups="machine"), loaded(tmp_path, "x.npy", **RECORD)).startswith("split: training")


@pytest.mark.parametrize(("source", "test"), [("x", "x/test"), ("x", "x/test/1.npy"), ("x/test/1.npy", "x")])
def test_a_test_set_lies_outside_what_is_trained_on(tmp_path, source, test):
    (tmp_path / "x" / "test").mkdir(parents=True)
    for name in ("0.npy", "test/1.npy"):
        np.save(tmp_path / "x" / name, np.arange(100.0))
    with pytest.raises(DataError, match=rf"{test}: .* must be other samples than those to train on"):
        loaded(tmp_path, source, **RECORD, test=test)


def test_a_label_that_changes_within_a_record_is_refused_where_it_is_stated(tmp_path):
    state = np.repeat(["on", "off"], [55, 45])
    write_csv(tmp_path / "x.csv", {"a": np.arange(100.0), "state": state, "machine": state})
    with pytest.raises(DataError, match=r"^x\.csv: the label 'state' changes within a record, must be one per file or group"):
        loaded(tmp_path, "x.csv", **RECORD, label="state", drop=("machine",))
    write_csv(tmp_path / "y.csv", {"a": np.arange(100.0), "label": state, "machine": state})
    splits = loaded(tmp_path, "y.csv", **RECORD, drop=("machine",))
    assert (splits.train.labels, splits.label) == (None, "label")


def test_labels_of_one_file_and_of_groups_are_kept(tmp_path):
    machine = np.repeat([*"pqrst"], 25)
    write_csv(tmp_path / "x.csv", {"a": np.arange(125.0), "state": machine == "p", "machine": machine})
    splits = loaded(tmp_path, "x.csv", **RECORD, label="state", groups="machine")
    for part in (splits.train, splits.test):
        assert np.asarray(part.labels).tolist() == [str(group == "p") for group in np.asarray(part.groups).tolist()]
    write_csv(tmp_path / "y.csv", {"a": np.arange(125.0), "label": np.ones(125)})
    assert np.asarray(loaded(tmp_path, "y.csv", **RECORD).test.labels).tolist() == [1]


@pytest.mark.parametrize(
    ("groups", "left_out"), [(None, [*range(96, 100)]), (np.repeat(["a", "b"], 50), [*range(32, 50), *range(82, 100)])]
)
def test_time_steps_that_no_window_holds_are_kept_aside(groups, left_out):
    rests = cut(Arrays(np.arange(100), groups=groups), 32, "x")[0].rests
    assert np.concatenate([rest.steps for rest in rests]).tolist() == left_out
