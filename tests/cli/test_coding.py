"""`tiedae encode`, `decode` and `score`: files in, files out, nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tiedae.cli import coding, main
from tiedae.codec.opening import load


@pytest.fixture(scope="module")
def samples(recipe_file: Path) -> Path:
    return recipe_file.parent / "samples.npy"


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_there_and_back(finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes, back = tmp_path / "codes.npy", tmp_path / "new" / "back.npy"
    assert call("encode", finished_run, samples, "-o", codes) == 0
    assert "400 samples, 24 bytes to 4 each, 6 x, by litert-xnnpack" in capsys.readouterr().out
    x, codec = np.load(samples), load(finished_run)
    np.testing.assert_array_equal(np.load(codes), codec.encode(x))
    assert call("decode", finished_run / "bundle", codes, "-o", back, "--json", "-") == 0
    written = json.loads(capsys.readouterr().out)
    assert written == {"samples": 400, "sample_bytes": 24, "code_bytes": 4, "runtime": "litert-xnnpack"}
    np.testing.assert_array_equal(np.load(back), codec.reconstruct(x))
    assert np.load(back).dtype == np.uint8


@pytest.mark.parametrize("runtime", ["ort-cpu", "program"])
def test_codes_do_not_depend_on_the_runtime(finished_run: Path, samples: Path, tmp_path: Path, runtime: str) -> None:
    assert call("encode", finished_run, samples, "-o", tmp_path / "a.npy") == 0
    assert call("encode", finished_run, samples, "-o", tmp_path / "b.npy", "--runtime", runtime) == 0
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_pieces_make_no_difference(finished_run: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("encode", finished_run, samples, "-o", tmp_path / "whole.npy") == 0
    monkeypatch.setattr(coding, "PIECE", 64)
    assert call("encode", finished_run, samples, "-o", tmp_path / "parts.npy") == 0
    assert call("decode", finished_run, tmp_path / "parts.npy", "-o", tmp_path / "y.npy") == 0
    assert (tmp_path / "whole.npy").read_bytes() == (tmp_path / "parts.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), load(finished_run).reconstruct(np.load(samples)))


def test_scores(finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("score", finished_run, samples, "--csv", tmp_path / "s.csv", "--json", tmp_path / "s.json") == 0
    expected = load(finished_run).score(np.load(samples))
    rows = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1, usecols=range(2))
    np.testing.assert_array_equal(rows[:, 0], np.arange(400))
    np.testing.assert_array_equal(rows[:, 1], expected)
    brief = json.loads((tmp_path / "s.json").read_text())
    assert brief["samples"] == 400 and brief["mean"] == pytest.approx(expected.mean())
    assert brief["largest_at"] == int(expected.argmax()) and f"at sample {expected.argmax()}" in capsys.readouterr().out


def test_a_single_sample_and_constant_samples_are_encoded(finished_run: Path, tmp_path: Path) -> None:
    """What no training could use is no wrong input here."""
    np.save(tmp_path / "one.npy", np.zeros((1, 24), np.uint8))
    assert call("encode", finished_run, tmp_path / "one.npy", "-o", tmp_path / "c.npy") == 0
    assert np.load(tmp_path / "c.npy").shape == (1, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((5, 23), np.uint8), "samples: got shape [5, 23], must be a sample [24] or a batch [n, 24]"),
        (np.zeros((5, 24), np.float32), "samples: got float32, must be uint8, in the unit of measure of the training data"),
        (np.zeros((0, 24), np.uint8), "holds no samples"),
    ],
)
def test_wrong_samples_are_one_line_and_leave_nothing(
    finished_run: Path, tmp_path: Path, data: np.ndarray, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", data)
    assert call("encode", finished_run, tmp_path / "x.npy", "-o", tmp_path / "c.npy") == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    assert f"{tmp_path / 'x.npy'}: {message}" in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((5, 3), np.uint8), "code must be uint8 [batch, 4], got uint8 [5, 3]"),
        (np.zeros((5, 4), np.int64), "code must be uint8 [batch, 4], got int64"),
        (np.zeros(4, np.uint8), "must be codes [n, 4]"),
    ],
)
def test_wrong_codes_are_one_line(
    finished_run: Path, tmp_path: Path, codes: np.ndarray, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "c.npy", codes)
    assert call("decode", finished_run, tmp_path / "c.npy", "-o", tmp_path / "y.npy") == 2
    assert message in capsys.readouterr().err and not (tmp_path / "y.npy").exists()


def test_other_wrong_calls(finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.npy").write_bytes(b"no array")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, message in (
        (("decode", finished_run, tmp_path / "c.npy", "-o", tmp_path / "y.npy"), "is not a .npy file"),
        (("encode", finished_run, samples, "-o", tmp_path / "c.npy"), "is there already, must be a new file"),
        (("encode", finished_run, samples, "-o", samples), "is the input"),
        (("encode", empty, samples, "-o", tmp_path / "n.npy"), "must hold manifest.json (a bundle)"),
        (("encode", finished_run, "fashon", "-o", tmp_path / "n.npy"), "did you mean fashion?"),
        (("encode", finished_run, samples, "-o", tmp_path / "n.npy", "--runtime", "tf"), "runtime: got 'tf'"),
        (("encode", finished_run, samples, "-o", tmp_path / "n.bin"), "n.bin: must end in .tae or .npy"),
        (("decode", finished_run, tmp_path / "c.npy", "-o", tmp_path / "n.txt"), "n.txt: must end in .npy"),
    ):
        assert call(*arguments) == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "c.npy").read_bytes() == b"no array"
    assert call("encode", finished_run, samples, "-o", tmp_path / "c.npy", "--force") == 0


def test_interrupted_work_leaves_nothing(
    finished_run: Path, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tiedae.report.console.Console.progress", interrupt)
    assert call("encode", finished_run, samples, "-o", tmp_path / "c.npy") == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [(), (2,)])
def test_a_new_record_is_cut_as_the_known_one_was(tmp_path: Path, channels: tuple[int, ...]) -> None:
    """A known record has a window of its own, which its recipe need not say."""
    from types import SimpleNamespace
    from typing import Any, cast

    from tiedae.config.config import DataConfig
    from tiedae.config.sample_spec import Signal
    from tiedae.pipeline.run_artifacts import load_source

    record = np.arange(1000, dtype=np.int16).reshape(-1, *channels)
    np.save(tmp_path / "record.npy", record)
    data = SimpleNamespace(kind="record", dtype="int16", shape=(128, *channels), columns=None, signal=Signal())
    manifest = SimpleNamespace(recipe=SimpleNamespace(data=DataConfig("ecg")), data=data)
    expected = np.arange(len(record) // 128 * 128 * len(record[:1].ravel())).reshape(-1, 128, *channels)
    np.testing.assert_array_equal(load_source(cast(Any, manifest), str(tmp_path / "record.npy")).values, expected)
    np.save(tmp_path / "windows.npy", expected)
    np.testing.assert_array_equal(load_source(cast(Any, manifest), str(tmp_path / "windows.npy")).values, expected)


def test_new_data_have_the_rate_of_the_bundle(tmp_path: Path) -> None:
    """A source that states none takes it, and one of another is refused."""
    import wave
    from types import SimpleNamespace
    from typing import Any, cast

    from tiedae.base.errors import DataError
    from tiedae.config.config import DataConfig, QuantizeConfig
    from tiedae.config.sample_spec import Signal
    from tiedae.pipeline.run_artifacts import load_scored, load_source

    data = SimpleNamespace(
        kind="record", dtype="int16", shape=(128,), columns=None, signal=Signal(rate=8000.0), label=None, sha256=""
    )
    data.train = data.inputs = 0
    manifest = cast(
        Any, SimpleNamespace(recipe=SimpleNamespace(data=DataConfig("x"), task=None, quantize=QuantizeConfig()), data=data)
    )
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(4096))
    with pytest.raises(DataError, match=r"x\.wav: has a rate of 16000 Hz, .* 8000; must be the same"):
        load_source(manifest, str(tmp_path / "x.wav"))
    np.save(tmp_path / "x.npy", np.arange(1280))
    (tmp_path / "f.csv").write_text("start,end\n0.016,0.017\n")
    found = load_scored(manifest, str(tmp_path / "x.npy"), intervals=str(tmp_path / "f.csv"))[0]
    assert found.labels is not None and found.labels.tolist() == ["normal", "anomaly", *["normal"] * 8]
