"""`tiedae encode --append`: behind a whole file, interrupted, refused; and kill −9 of both kinds of encode."""

from __future__ import annotations

import importlib.util
import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import CheckError, FormatError
from tiedae.cli import coding, main
from tiedae.codec.container import FrameSpan, read
from tiedae.codec.opening import load

from ..variants import every

spec = importlib.util.spec_from_file_location("kills", Path(__file__).parents[2] / "benchmarks" / "kills.py")
assert spec is not None and spec.loader is not None
kills = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kills)

OLD, NEW = 90, 150
"""Samples of the file that is there, and of what is appended; frames have 16."""


@pytest.fixture(scope="module")
def samples(recipe_file: Path) -> np.ndarray:
    return np.load(recipe_file.parent / "samples.npy")


@pytest.fixture(scope="module")
def new(samples: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("new") / "new.npy"
    np.save(path, samples[OLD : OLD + NEW])
    return path


@pytest.fixture(params=every(2, ["lossy", "lossless"]))
def before(finished_run: Path, samples: np.ndarray, request: pytest.FixtureRequest) -> bytes:
    """A file of the first samples."""
    return load(finished_run).compress(samples[:OLD], samples_per_frame=16, lossless=request.param == "lossless")


@pytest.fixture
def appended(finished_run: Path, samples: np.ndarray, before: bytes) -> bytes:
    """That file with the others behind it, by the Python interface."""
    encoder = load(finished_run).appender(before)
    return b"".join([before, *encoder.push(samples[OLD : OLD + NEW]), *encoder.finish()])


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    return line


def test_samples_are_appended(
    finished_run: Path, samples: np.ndarray, new: Path, before: bytes, appended: bytes, tmp_path: Path, capsys
) -> None:
    file, codec = tmp_path / "x.tae", load(finished_run)
    file.write_bytes(before)
    append = ("encode", finished_run, new, "-o", file, "--append")
    assert call(*append, "--json", tmp_path / "e.json") == 0
    assert f"x.tae: {NEW} samples behind {OLD}, {len(appended) - len(before):,} bytes" in capsys.readouterr().out
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["samples"], written["appended_to"], written["bytes"]) == (NEW, OLD, len(appended) - len(before))
    assert file.read_bytes() == appended and [path.name for path in tmp_path.glob("x*")] == ["x.tae"]
    right = codec.decompress(codec.compress(samples[: OLD + NEW], lossless=read(before, "").header.kind == 2))
    np.testing.assert_array_equal(codec.decompress(appended), right)
    np.testing.assert_array_equal(codec.decompress(appended, start=OLD - 1, stop=OLD + 1), right[OLD - 1 : OLD + 1])
    assert call("info", file) == 0
    assert call(*append) == 0
    assert call("info", file, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))["samples"] == OLD + 2 * NEW
    np.testing.assert_array_equal(codec.decompress(file.read_bytes())[OLD + NEW :], right[OLD:])
    for size in (61, 400):
        decoder, data = codec.decoder(), file.read_bytes()
        parts = [decoder.push(data[start : start + size]) for start in range(0, len(data), size)]
        decoder.finish()
        np.testing.assert_array_equal(np.concatenate(parts)[:OLD], right[:OLD])


def test_a_file_that_is_not_there_is_begun(finished_run: Path, new: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.tae"
    assert call("encode", finished_run, new, "-o", file, "--append", "--frame", 16, "--lossless", "-q") == 0
    right = load(finished_run).compress(np.load(new), samples_per_frame=16, lossless=True)
    assert file.read_bytes() == right and [path.name for path in tmp_path.iterdir()] == ["x.tae"]


def test_cut_off_anywhere_the_old_samples_decode(finished_run: Path, before: bytes, appended: bytes) -> None:
    """Every length that an interruption can leave: the old frames are there, and each new one that is whole."""
    listed = read(appended, "").frames
    for stop in range(len(before), len(appended)):
        found = read(appended[:stop], "f.tae")
        assert found.frames == tuple(frame for frame in listed if frame.stop <= stop)
        assert found.placed and found.indexed == (stop == len(before))
    codec = load(finished_run)
    for stop in (len(before) + 1, len(before) + 40, len(appended) - 1):
        with pytest.raises(CheckError, match="it does not end in an index"):
            codec.decompress(appended[:stop])


def test_an_interrupted_append_goes_on_or_is_dropped(
    finished_run: Path, new: Path, before: bytes, appended: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, back = tmp_path / "x.tae", tmp_path / "back.npy"
    append = ("encode", finished_run, new, "-o", file, "--append", "-q")
    last = read(appended, "").frames[-1]
    assert isinstance(last, FrameSpan)
    for stop in (len(before) + 1, len(before) + 130, last.offset, last.stop, last.stop + 2, len(appended) - 1):
        file.write_bytes(appended[:stop])
        assert call("decode", finished_run, file, "-o", back, "--samples", f"0:{OLD}", "--force", "-q") == 1
        np.testing.assert_array_equal(np.load(back), load(finished_run).decompress(before))
        assert "it does not end in an index of its frames" in error_of(capsys)
        assert call(*append) == 2
        assert "an append that was interrupted; --resume continues it with the same data, --force drops" in error_of(capsys)
        assert file.read_bytes() == appended[:stop]
        assert call(*append, "--resume") == 0
        assert file.read_bytes() == appended
        file.write_bytes(appended[:stop])
        assert call(*append, "--force") == 0
        assert file.read_bytes() == appended
    assert call(*append, "--resume") == 2
    assert "ends in these samples already; leave --resume out to append them once more" in error_of(capsys)
    file.write_bytes(before)
    assert call(*append, "--resume") == 0
    assert file.read_bytes() == appended


def test_an_interrupt_says_how_to_go_on(
    finished_run: Path, new: Path, before: bytes, appended: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(coding, "PIECE", 40)
    file = tmp_path / "x.tae"
    file.write_bytes(before)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    append = ("encode", finished_run, new, "-o", file, "--append")
    with monkeypatch.context() as patch:
        patch.setattr("tiedae.report.console.Console.progress", interrupt)
        assert call(*append) == 130
    assert "interrupted; the same command with --resume continues" in error_of(capsys)
    left = file.read_bytes()
    assert before < left < appended and appended.startswith(left)
    assert call(*append, "--resume") == 0
    assert file.read_bytes() == appended


def test_an_error_leaves_the_file_as_it_was(
    finished_run: Path, new: Path, before: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "PIECE", 40)
    file, codec = tmp_path / "x.tae", load(finished_run)
    file.write_bytes(before)
    run, calls = type(codec.backend).encode, []

    def wrong_later(self, x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return run(self, x) ^ np.uint8(len(calls) > 2)

    monkeypatch.setattr(type(codec.backend), "encode", wrong_later)
    assert call("encode", finished_run, new, "-o", file, "--append", "-q") == 1
    assert len(calls) == 3 and file.read_bytes() == before


def test_what_cannot_be_appended_to_is_one_line(
    finished_run: Path, new: Path, before: bytes, appended: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, lossless = tmp_path / "x.tae", read(before, "").header.kind == 2
    other = bytearray(before)
    other[12] ^= 1
    identity = bytes(other[:20]) + zlib.crc32(other[:20]).to_bytes(4, "little") + bytes(other[24:])
    damaged = bytearray(before)
    damaged[40] ^= 1
    np.save(tmp_path / "other.npy", np.load(new)[::-1])
    kind = "lossless" if lossless else "lossy"
    for data, options, code, message in (
        (b"", (), 2, "not a .tae file"),
        (identity, (), 2, "was encoded with another model, tables, shape, dtype or scaling"),
        (before, ("--frame", 8), 2, f"is {kind}, in frames of 16 samples; --append cannot change that"),
        (before, ("--max-error", 2), 2, f"is {kind}, in frames of 16 samples; --append cannot change that"),
        (bytes(damaged), (), 1, "frame 0 (samples 0 to 15): damaged: the checksum is not that of its bytes"),
        (
            before[:-1],
            (),
            1,
            "it does not end in an index of its frames: it was cut off, is not finished",
        ),
        (before[:-1], ("--resume",), 1, "nothing is appended"),
        (before[:-1], ("--force",), 1, "nothing is appended"),
    ):
        file.write_bytes(data)
        assert call("encode", finished_run, new, "-o", file, "--append", *options) == code, message
        assert message in error_of(capsys)
        assert file.read_bytes() == data
    file.write_bytes(appended[:-5])
    assert call("encode", finished_run, tmp_path / "other.npy", "-o", file, "--append", "--resume") == 2
    assert "holds frames of other data; --force drops them" in error_of(capsys)
    assert file.read_bytes() == appended[:-5]
    assert call("encode", finished_run, new, "-o", tmp_path / "n.npy", "--append") == 2
    assert "must end in .tae for --append, --resume" in error_of(capsys)


def test_python_appends_only_to_whole_files(finished_run: Path, before: bytes) -> None:
    codec = load(finished_run)
    damaged = bytearray(before)
    damaged[40] ^= 1
    for data, error in ((before[:-1], CheckError), (bytes(damaged), CheckError), (b"x", FormatError)):
        with pytest.raises(error):
            codec.appender(data)


@pytest.mark.ci
@pytest.mark.parametrize("append", every(2, [False, True]))
def test_killed_encodes_leave_every_whole_frame(finished_run: Path, samples: np.ndarray, tmp_path: Path, append: bool) -> None:
    """kill −9 at three random points; benchmarks/kills.py does it at a hundred, see docs/explanation/trust.md."""
    data, folder = tmp_path / "many.npy", tmp_path / "files"
    np.save(data, np.tile(samples, (200, 1)))
    folder.mkdir()
    found = kills.kill_encodes(finished_run, data, folder, points=3, seed=1, append=append)
    assert found.points == 3 and found.lengths > 1
