"""Records through `tiedae encode` and `decode`: what is shorter than a window is stored too, in whatever pieces."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import coding, main
from tiedae.codec.container import pack_index, read
from tiedae.codec.opening import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "bundle.zip"
WINDOW = 64
LENGTHS = {"a": 3 * WINDOW + 5, "b": 2 * WINDOW, "sub/c": 5 * WINDOW + 63}
"""Time steps of the files of a folder."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example") / "bundle"
    zipfile.ZipFile(EXAMPLE).extractall(folder)
    return folder


@pytest.fixture(scope="module")
def record() -> np.ndarray:
    """Those of all files, one behind the other."""
    t = np.arange(sum(LENGTHS.values()))
    return (1000 + 200 * np.sin(t / 5) + np.random.default_rng(0).normal(0, 4, len(t))).astype(np.int16)


@pytest.fixture(scope="module")
def folder(record: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings")
    (path / "sub").mkdir()
    for name, part in zip(LENGTHS, np.split(record, np.cumsum([*LENGTHS.values()])[:-1]), strict=True):
        np.save(path / f"{name}.npy", part)
    return path


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("options", [(), ("--lossless",), ("--max-error", "3")], ids=str)
def test_decode_gives_the_records_back(
    bundle: Path, folder: Path, record: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    file, back, facts = tmp_path / "x.tae", tmp_path / "back.npy", tmp_path / "x.json"
    assert call("encode", bundle, folder, "-o", file, "--json", facts, "--frame", 4, *options) == 0
    assert f"{file}: 12 samples of {len(record)} time steps, " in capsys.readouterr().out
    written = json.loads(facts.read_text())
    assert (written["samples"], written["time_steps"]) == (12, len(record))
    assert written["ratio"] == pytest.approx(record.nbytes / file.stat().st_size)
    assert call("decode", bundle, file, "-o", back, "--json", facts, "--force") == 0
    assert f"{back}: {len(record)} time steps, by the program" in capsys.readouterr().out
    assert json.loads(facts.read_text()) == {
        "samples": 0,
        "time_steps": len(record),
        "sample_bytes": 2 * WINDOW,
        "problems": [],
        "pictures": 0,
    }
    found = np.load(back)
    assert (found.shape, found.dtype) == (record.shape, record.dtype)
    if options:
        assert np.abs(found.astype(int) - record).max() <= (3 if "3" in options else 0)
    else:
        reconstructed = load(bundle, runtime="program").reconstruct(record[: 3 * WINDOW].reshape(-1, WINDOW))
        np.testing.assert_array_equal(found[: 3 * WINDOW], reconstructed.ravel())
    assert call("decode", bundle, file, "-o", tmp_path / "some.npy", "--samples", "3:6") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "some.npy"), found[3 * WINDOW : 5 * WINDOW + 5])
    assert call("decode", bundle, file, "-o", tmp_path / "windows.npy", "--windows") == 0
    windows = np.load(tmp_path / "windows.npy")
    assert windows.shape == (12, WINDOW)
    np.testing.assert_array_equal(windows[:3].ravel(), found[: 3 * WINDOW])
    assert call("info", file) == 0
    assert "records" in (out := capsys.readouterr().out) and "12 of 128 bytes" in out


def test_a_record_is_one_of_a_column_too(bundle: Path, record: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("v\n" + "\n".join(map(str, record[:100])) + "\n")
    assert call("encode", bundle, tmp_path / "x.csv", "-o", tmp_path / "x.tae", "--lossless", "-q") == 0
    assert call("decode", bundle, tmp_path / "x.tae", "-o", tmp_path / "back.npy", "-q") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), record[:100])


def test_the_record_of_a_test_set_is_behind_the_others(bundle: Path, record: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x_train=record[:200], x_test=record[200:350])
    assert call("encode", bundle, tmp_path / "x.npz", "-o", tmp_path / "x.tae", "--lossless", "-q") == 0
    assert call("decode", bundle, tmp_path / "x.tae", "-o", tmp_path / "back.npy", "-q") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), record[:350])


def test_windows_stay_windows(bundle: Path, record: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    windows = record[: 6 * WINDOW].reshape(-1, WINDOW)
    np.save(tmp_path / "x.npy", windows)
    assert call("encode", bundle, tmp_path / "x.npy", "-o", tmp_path / "x.tae", "--lossless") == 0
    assert "6 samples, " in capsys.readouterr().out
    assert call("decode", bundle, tmp_path / "x.tae", "-o", tmp_path / "back.npy", "-q") == 0
    np.testing.assert_array_equal(np.load(tmp_path / "back.npy"), windows)


def test_codes_are_of_whole_windows(bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = tmp_path / "x.json"
    assert call("encode", bundle, folder, "-o", tmp_path / "codes.npy", "--json", facts) == 0
    wanted = f"{folder}: 68 time steps at the end of records are less than a window; a .tae file holds them"
    assert wanted in capsys.readouterr().out
    assert json.loads(facts.read_text())["left_out"] == 68 and len(np.load(tmp_path / "codes.npy")) == 10
    assert call("decode", bundle, tmp_path / "codes.npy", "-o", tmp_path / "y.npy", "--windows") == 2
    assert "--windows: is for .tae files" in capsys.readouterr().err


@pytest.mark.parametrize("append", [False, True])
def test_an_interrupted_encode_goes_on_anywhere(bundle: Path, folder: Path, tmp_path: Path, append: bool) -> None:
    file, part = tmp_path / "x.tae", tmp_path / "x.tae.part"
    encode = ("encode", bundle, folder, "-o", file, "--frame", 4, "-q")
    assert call(*encode) == 0
    before = file.read_bytes() if append else b""
    assert not append or call(*encode, "--append") == 0
    whole, target = file.read_bytes(), file if append else part
    found = read(whole, "")
    for stop in (*(end.stop - cut for end in found.ends[-3:] for cut in (1, 0)), found.frames[-1].stop):
        assert stop > len(before)
        file.unlink()
        target.write_bytes(whole[:stop])
        assert call(*encode, "--resume", *["--append"] * append) == 0
        assert file.read_bytes() == whole, stop
    if append:
        assert call(*encode, "--resume", "--append") == 2, "it ends in these records already"


def test_pieces_make_no_difference(bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "x.tae", tmp_path / "y.tae"]
    for file, piece in zip(files, (coding.PIECE, 2), strict=True):
        monkeypatch.setattr(coding, "PIECE", piece)
        assert call("encode", bundle, folder, "-o", file, "-q") == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_same_steps_in_other_records_are_other_data(bundle: Path, record: np.ndarray, tmp_path: Path) -> None:
    """One file of four windows, or two of two: their frames hold the same samples, and end elsewhere."""
    for name, parts in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        for i, part in enumerate(np.split(record[: 4 * WINDOW], parts)):
            np.save(tmp_path / name / f"{i}.npy", part)
    encode, file, two = ("encode", bundle, tmp_path / "two", "-q", "-o"), tmp_path / "x.tae", tmp_path / "two.tae"
    assert call(*encode, two) == 0
    assert call("encode", bundle, tmp_path / "one", "-q", "-o", file) == 0
    one = file.read_bytes()
    file.rename(tmp_path / "x.tae.part")
    assert call(*encode, file, "--resume") == 0
    assert file.read_bytes() == two.read_bytes()
    file.write_bytes(one)
    assert call(*encode, file, "--append", "--resume") == 0
    assert read(file.read_bytes(), "").samples == 8, "they are not what the file ends in"


def test_what_is_damaged_is_not_appended_to(
    bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.tae"
    encode = ("encode", bundle, folder, "-q", "-o", file)
    assert call(*encode) == 0
    damaged = bytearray(file.read_bytes())
    end = read(damaged, "").ends[0]
    damaged[end.offset + 2] ^= 1
    cut = damaged + load(bundle).encoder(frame_only=True).header.to_bytes()
    for data, options in ((damaged, ()), (damaged, ("--resume",)), (cut, ("--resume",)), (cut, ("--force",))):
        file.write_bytes(data)
        assert call(*encode, "--append", *options) == 1
        assert f"bytes {end.offset} to {end.stop - 1} hold no whole frame" in capsys.readouterr().err
        assert file.read_bytes() == data


def test_a_whole_file_without_samples_is_appended_to(bundle: Path, folder: Path, tmp_path: Path) -> None:
    file, header = tmp_path / "x.tae", load(bundle).file_model.header(64)
    for options in ((), ("--resume",)):
        file.write_bytes(header.to_bytes() + pack_index(header, []))
        assert call("encode", bundle, folder, "-q", "-o", file, "--append", *options) == 0
        assert read(file.read_bytes(), "").samples == 12


def test_without_an_end_of_a_record_windows_are_written_and_it_is_said(
    bundle: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, back = tmp_path / "x.tae", tmp_path / "back.npy"
    assert call("encode", bundle, folder / "sub" / "c.npy", "-q", "-o", file, "--frame", 4) == 0
    file.write_bytes(file.read_bytes()[: read(file.read_bytes(), "").frames[0].stop])
    assert call("decode", bundle, file, "-o", back, "-q") == 1
    assert "no end of a record was found, so windows are written" in capsys.readouterr().err
    assert np.load(back).shape == (4, WINDOW)


def test_pieces_shorter_than_a_window_are_taken(bundle: Path, record: np.ndarray, tmp_path: Path) -> None:
    file, back = tmp_path / "x.tae", tmp_path / "back.npy"
    pieces = [record[:5], record[5 : WINDOW + 40], record[WINDOW + 40 : 2 * WINDOW]]
    for number, piece in enumerate(pieces):
        np.save(tmp_path / f"{number}.npy", piece)
        assert call("encode", bundle, tmp_path / f"{number}.npy", "-o", file, "--append", "--lossless") == 0
    assert call("decode", bundle, file, "-o", back) == 0
    np.testing.assert_array_equal(np.load(back), record[: 2 * WINDOW])
    codec = load(bundle)
    np.testing.assert_array_equal(codec.decompress_record(codec.compress_record(record[:5], lossless=True)), record[:5])


def test_codes_of_a_piece_without_a_window_are_refused(
    bundle: Path, record: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", record[:5])
    assert call("encode", bundle, tmp_path / "x.npy", "-o", tmp_path / "codes.npy") == 2
    right = f"has 5 time steps, must have {WINDOW} or more for codes; a .tae file holds them"
    assert f"tiedae: {tmp_path / 'x.npy'}: {right}" in capsys.readouterr().err


def test_encode_writes_to_standard_output(bundle: Path, record: np.ndarray, tmp_path: Path, capfdbinary) -> None:
    np.save(tmp_path / "x.npy", record)
    assert call("encode", bundle, tmp_path / "x.npy", "-o", tmp_path / "x.tae") == 0
    capfdbinary.readouterr()
    assert call("encode", bundle, tmp_path / "x.npy", "-o", "-") == 0
    out, err = capfdbinary.readouterr()
    assert out == (tmp_path / "x.tae").read_bytes() and b"-: 12 samples of" not in out and b" x smaller, " in err
    assert call("encode", bundle, tmp_path / "x.npy", "-o", "-", "--append") == 2
    assert b"--out -: is standard output, must be a file for --append" in capfdbinary.readouterr().err
