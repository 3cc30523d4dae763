"""`tiedae encode`, `decode` and `info` of .tae files: resumed, killed, cut off, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.bundle.bundle import Bundle, write_files
from tiedae.bundle.manifest import FILE, with_files
from tiedae.cli import coding, main
from tiedae.codec.container import read
from tiedae.codec.opening import load
from tiedae.entropy.residual_tables import fit_tables
from tiedae.entropy.tables import fit, made_for, without_program
from tiedae.export.file_info import FileInfo
from tiedae.pipeline.sources import load_dataset


@pytest.fixture(scope="module")
def samples(recipe_file: Path) -> Path:
    return recipe_file.parent / "samples.npy"


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def whole(finished_run: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of all 400 samples, in 25 frames of 16."""
    path = tmp_path_factory.mktemp("whole") / "x.tae"
    assert call("encode", finished_run, samples, "-o", path, "--frame", 16, "-q") == 0
    return path.read_bytes()


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("tiedae:")]
    return line


def test_there_and_back(finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, back, x = tmp_path / "new" / "x.tae", tmp_path / "back.npy", np.load(samples)
    assert call("encode", finished_run, samples, "-o", file, "--json", tmp_path / "e.json") == 0
    out, size = capsys.readouterr().out, file.stat().st_size
    assert f"x.tae: 400 samples, {size:,} bytes, {9600 / size:.3g} x smaller" in out and "quality: PSNR " in out
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["bytes"], written["samples"], written["runtime"]) == (size, 400, "litert-xnnpack")
    assert written["bits_per_value"] == pytest.approx(8 * size / x.size) and written["ratio"] == pytest.approx(x.nbytes / size)
    y, program = load(finished_run).decompress(file.read_bytes()), load(finished_run, runtime="program")
    error = np.square(x.astype(float) - y).mean()
    assert written["quality"]["mse"] == pytest.approx(error) and written["measured"] == 400
    assert [path.name for path in file.parent.iterdir()] == ["x.tae"]
    assert call("decode", finished_run / "bundle", file, "-o", back) == 0
    np.testing.assert_array_equal(np.load(back), program.reconstruct(x))
    assert np.load(back).dtype == np.uint8
    assert call("decode", finished_run, file, "-o", back, "--samples", "100:200", "--force") == 0
    np.testing.assert_array_equal(np.load(back), program.reconstruct(x[100:200]))
    assert call("decode", finished_run, file, "-o", back, "--samples", "399:", "--force") == 0
    assert np.load(back).shape == (1, 24)


@pytest.mark.parametrize(("bound", "options"), [(0, ["--lossless"]), (3, ["--max-error", 3])])
def test_integers_come_back_within_the_bound(
    finished_run: Path, samples: Path, tmp_path: Path, bound: int, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file, back, x = tmp_path / "x.tae", tmp_path / "back.npy", np.load(samples)
    encode = ("encode", finished_run, samples, "-o", file, "--frame", 16, *options)
    assert call(*encode, "--json", tmp_path / "e.json") == 0
    out, kind = capsys.readouterr().out, "bounded" if bound else "lossless"
    assert f"every value is {'within 3' if bound else 'exact'}\n" in out and "quality" not in out
    written = json.loads((tmp_path / "e.json").read_text())
    assert (written["kind"], written["bound"], written["quality"], written["bytes"]) == (kind, bound, None, file.stat().st_size)
    assert call("decode", finished_run, file, "-o", back) == 0
    found = np.load(back)
    assert (found.dtype, found.shape) == (np.uint8, x.shape) and np.abs(found.astype(int) - x).max() <= bound
    assert call("info", file) == 0
    out = capsys.readouterr().out
    assert f"kind      {kind}{' by 3' if bound else ''}\n" in out and " of prediction" in out
    right = file.read_bytes()
    file.unlink()
    (tmp_path / "x.tae.part").write_bytes(right[:1000])
    assert call("encode", finished_run, samples, "-o", file, "--frame", 16, "--resume") == 2
    assert "was begun with another model, bound, or other frames" in error_of(capsys)
    assert call(*encode, "--resume") == 0
    assert file.read_bytes() == right


def test_tables_of_residuals_are_those_of_training_samples(finished_run: Path, samples: Path) -> None:
    bundle = Bundle.open(finished_run / "bundle")
    train = load_dataset(replace(bundle.manifest.recipe.data, source=str(samples)), "sigmoid").train
    assert bundle.manifest.data.train == len(train)
    whole = len(train) // 64 * 64
    x, codec = train.take(slice(0, whole)), load(bundle.path, runtime="program")
    tables = bundle.residuals()
    assert tables is not None
    assert tables.to_bytes() == fit_tables(codec.spec, x, codec.reconstruct(x), 64).to_bytes()
    assert without_program((bundle.path / "mini.residuals").read_bytes()) == (tables.to_bytes(), bundle.program_sha256)


def test_tables_are_those_of_the_programs_training_codes(finished_run: Path, samples: Path) -> None:
    bundle = Bundle.open(finished_run / "bundle")
    train = load_dataset(replace(bundle.manifest.recipe.data, source=str(samples)), "sigmoid").train
    codes = load(bundle.path, runtime="program").encode(train.take(slice(None)))
    assert len(codes) == bundle.manifest.data.train
    tables = fit(codes).to_bytes()
    assert bundle.tables().to_bytes() == tables
    assert without_program((bundle.path / "mini.codec").read_bytes()) == (tables, bundle.program_sha256)


def test_info_needs_no_bundle(whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.tae"
    file.write_bytes(whole)
    assert call("info", file) == 0
    assert "frames    25 of codes, at most 16 samples each" in capsys.readouterr().out
    assert call("info", file, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["sample_bytes"], found["bytes"], found["problems"]) == (400, 24, len(whole), [])
    damaged = bytearray(whole)
    damaged[read(whole, "").frames[3].offset + 9] ^= 1
    file.write_bytes(damaged)
    assert call("info", file) == 1
    assert "frame 3 (samples 48 to 63): damaged" in error_of(capsys)
    file.write_bytes(b"")
    assert call("info", file) == 2
    assert "not a .tae file" in error_of(capsys)


@pytest.mark.parametrize("frame", [0, 7, 24])
def test_frames_beside_a_damaged_one_are_written(
    finished_run: Path, samples: Path, whole: bytes, tmp_path: Path, frame: int, capsys: pytest.CaptureFixture[str]
) -> None:
    file, back = tmp_path / "x.tae", tmp_path / "back.npy"
    damaged = bytearray(whole)
    damaged[read(whole, "").frames[frame].offset + 9] ^= 1
    file.write_bytes(damaged)
    assert call("decode", finished_run, file, "-o", back) == 1
    assert f"frame {frame} (samples {16 * frame} to {16 * frame + 15}): damaged" in error_of(capsys)
    right = load(finished_run).decompress(whole)
    np.testing.assert_array_equal(np.load(back), np.delete(right, np.s_[16 * frame : 16 * frame + 16], axis=0))


def test_a_file_cut_off_gives_its_whole_frames(
    finished_run: Path, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, back, right = tmp_path / "x.tae", tmp_path / "back.npy", load(finished_run).decompress(whole)
    frames = read(whole, "").frames
    for stop in (frames[0].stop, frames[9].stop + 1, frames[-1].stop, len(whole) - 1):
        file.write_bytes(whole[:stop])
        assert call("decode", finished_run, file, "-o", back, "--force") == 1
        assert "it was cut off, is not finished" in error_of(capsys)
        count = sum(frame.samples for frame in frames if frame.stop <= stop)
        np.testing.assert_array_equal(np.load(back), right[:count])
    back.unlink()
    file.write_bytes(whole[: frames[0].stop - 1])
    assert call("decode", finished_run, file, "-o", back) == 1
    assert not back.exists()


def test_unfinished_work_goes_on_to_the_same_bytes(
    finished_run: Path, samples: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coding, "PIECE", 40)
    file, part = tmp_path / "x.tae", tmp_path / "x.tae.part"
    for stop in (0, 10, 24, 30, 200, 777, len(whole) - 20, len(whole)):
        part.write_bytes(whole[:stop])
        assert call("encode", finished_run, samples, "-o", file, "--frame", 16, "--resume", "-q") == 0
        assert file.read_bytes() == whole and not part.exists()
        file.unlink()
    assert call("encode", finished_run, samples, "-o", file, "--frame", 16, "--resume", "-q") == 0
    assert file.read_bytes() == whole


def test_only_full_frames_up_to_the_first_damaged_one_are_kept(
    finished_run: Path, samples: Path, whole: bytes, tmp_path: Path
) -> None:
    file, part, x = tmp_path / "x.tae", tmp_path / "x.tae.part", np.load(samples)
    short = load(finished_run).compress(x[:100], samples_per_frame=16)
    damaged = bytearray(whole)
    damaged[read(whole, "").frames[3].offset + 9] ^= 1
    for left in (short, damaged):
        part.write_bytes(left)
        assert call("encode", finished_run, samples, "-o", file, "--frame", 16, "--resume", "--force", "-q") == 0
        assert file.read_bytes() == whole


@pytest.mark.parametrize("options", [(), ("--resume",), ("--force",)])
def test_unfinished_work_is_no_link(
    finished_run: Path, samples: Path, tmp_path: Path, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "victim").write_text("somebody's")
    (tmp_path / "x.tae.part").symlink_to(tmp_path / "victim")
    assert call("encode", finished_run, samples, "-o", tmp_path / "x.tae", *options) == 2
    assert "x.tae.part: is a link, must be a regular file or a new one; remove it" in error_of(capsys)
    assert (tmp_path / "victim").read_text() == "somebody's" and not (tmp_path / "x.tae").exists()


def test_unfinished_work_of_others_is_refused(
    finished_run: Path, samples: Path, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, part = tmp_path / "x.tae", tmp_path / "x.tae.part"
    part.write_bytes(whole[:300])
    encode = ("encode", finished_run, samples, "-o", file)
    np.save(tmp_path / "other.npy", np.load(samples)[::-1])
    for arguments, message in (
        ((*encode, "--frame", 16), "is there, from interrupted work; --resume continues it, --force starts again"),
        ((*encode, "--resume"), "was begun with another model, bound, or other frames"),
        (("encode", finished_run, tmp_path / "other.npy", "-o", file, "--frame", 16, "--resume"), "holds frames of other data"),
    ):
        assert call(*arguments) == 2
        assert message in error_of(capsys)
    assert part.read_bytes() == whole[:300] and not file.exists()
    assert call(*encode, "--frame", 16, "--force") == 0
    assert file.read_bytes() == whole and not part.exists()


def test_an_interrupt_leaves_what_decodes_and_says_how_to_go_on(
    finished_run: Path,
    samples: Path,
    whole: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(coding, "PIECE", 100)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    file, back = tmp_path / "x.tae", tmp_path / "back.npy"
    with monkeypatch.context() as patch:
        patch.setattr("tiedae.report.console.Console.progress", interrupt)
        assert call("encode", finished_run, samples, "-o", file, "--frame", 16) == 130
    assert "interrupted; the same command with --resume continues" in error_of(capsys)
    cut = shutil.copy(tmp_path / "x.tae.part", tmp_path / "cut.tae")
    assert call("decode", finished_run, cut, "-o", back) == 1
    np.testing.assert_array_equal(np.load(back), load(finished_run).decompress(whole)[:96])
    assert call("encode", finished_run, samples, "-o", file, "--frame", 16, "--resume") == 0
    assert file.read_bytes() == whole


def test_wrong_calls_are_one_line(
    finished_run: Path, samples: Path, whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.tae"
    file.write_bytes(whole)
    for name, x in {"none": np.zeros((0, 24), np.uint8), "short": np.zeros((5, 23), np.uint8)}.items():
        np.save(tmp_path / f"{name}.npy", x)
    np.save(tmp_path / "floats.npy", np.zeros((5, 24), np.float32))
    out, back = ("-o", tmp_path / "n.tae"), ("-o", tmp_path / "y.npy")
    other = bytearray(whole)
    other[4] = 2
    (tmp_path / "later.tae").write_bytes(other)
    (tmp_path / "no.tae").write_bytes(b"no such file")
    for arguments, message in (
        (("encode", finished_run, tmp_path / "none.npy", *out), "holds no samples"),
        (("encode", finished_run, tmp_path / "short.npy", *out), "short.npy: samples: got shape [5, 23], must be"),
        (("encode", finished_run, tmp_path / "floats.npy", *out), "samples: got float32, must be uint8"),
        (("encode", finished_run, samples, *out, "--frame", 0), "samples per frame: got 0, must lie in 1…65,535"),
        (("encode", finished_run, samples, "-o", file), "is there already, must be a new file"),
        (
            ("encode", finished_run, samples, "-o", tmp_path / "n.npy", "--resume"),
            "must end in .tae for --append, --resume, --frame, --loss",
        ),
        (("encode", finished_run, samples, "-o", tmp_path / "n.npy", "--lossless"), "must end in .tae for --append"),
        (("encode", finished_run, samples, "-o", tmp_path / "n.npy", "--max-error", 3), "must end in .tae for --append"),
        (("encode", finished_run, samples, *out, "--max-error", 0), "max error: got 0, must be an integer in 1…65,535 for"),
        (("encode", finished_run, samples, *out, "--max-error", 1.5), "max error: got 1.5, must be an integer in 1…65,535"),
        (("encode", finished_run, samples, *out, "--max-error", "few"), "argument --max-error: invalid float value: 'few'"),
        (("encode", finished_run, samples, *out, "--max-error", 1, "--lossless"), "not allowed with argument --max-error"),
        (("decode", finished_run, file, *back, "--samples", "300:401"), "samples 300:401: must be a range in 0:400"),
        (("decode", finished_run, file, *back, "--samples", "20"), "--samples 20: must be START:STOP, such as 100:200"),
        (("decode", finished_run, file, *back, "--runtime", "ort-cpu"), "the samples of a .tae file are the program's"),
        (("decode", finished_run, file, "-o", tmp_path / "y.tae"), "must end in .npy"),
        (("decode", finished_run, tmp_path / "later.tae", *back), "a .tae file of version 2, this tiedae reads version 1"),
        (("decode", finished_run, tmp_path / "no.tae", *back), "not a .tae file"),
        (("decode", finished_run, tmp_path / "gone.tae", *back), "No such file"),
        (("info", tmp_path / "no.tae"), "not a .tae file"),
    ):
        assert call(*arguments) == 2, message
        assert message in error_of(capsys)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"x.tae", "none.npy", "short.npy", "floats.npy", "later.tae", "no.tae"}


def test_tables_of_another_model_are_refused(finished_run: Path, whole: bytes, tmp_path: Path, capsys) -> None:
    """Other tables, as of the same program: the identity differs."""
    bundle = shutil.copytree(finished_run / "bundle", tmp_path / "bundle")
    own = Bundle.open(bundle).program_sha256
    tables = made_for(fit(np.arange(400, dtype=np.uint8).reshape(100, 4)).to_bytes(), own)
    write_files(bundle, {"mini.codec": tables})
    (tmp_path / "x.tae").write_bytes(whole)
    assert call("decode", bundle, tmp_path / "x.tae", "-o", tmp_path / "y.npy") == 2
    assert "mini.codec: missing or changed, its sha256 is not the manifest's" in error_of(capsys)
    write_files(bundle, {FILE: with_files(bundle, {"mini.codec": FileInfo.of(tables)})})
    assert call("decode", bundle, tmp_path / "x.tae", "-o", tmp_path / "y.npy") == 2
    assert "was encoded with another model, tables, shape, dtype or scaling" in error_of(capsys)
    assert call("verify", bundle, "-q") == 0
    write_files(bundle, {"mini.codec": fit(np.zeros((9, 5), np.uint8)).to_bytes()})
    write_files(bundle, {FILE: with_files(bundle, {"mini.codec": FileInfo.of((bundle / "mini.codec").read_bytes())})})
    assert call("verify", bundle, "-v") == 1
    assert "got tables of 5 units of 8 bits, must be 4 of 8, as in manifest.json" in capsys.readouterr().err


def test_damaged_tables_of_residuals_are_named(
    finished_run: Path, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = shutil.copytree(finished_run / "bundle", tmp_path / "bundle")
    encode = ("encode", bundle, samples, "-o", tmp_path / "x.tae", "--lossless")
    tables = bytearray((bundle / "mini.residuals").read_bytes())
    tables[100] ^= 1
    write_files(bundle, {"mini.residuals": bytes(tables)})
    assert call(*encode) == 2
    assert "mini.residuals: missing or changed, its sha256 is not the manifest's" in error_of(capsys)
    write_files(bundle, {FILE: with_files(bundle, {"mini.residuals": FileInfo.of(bytes(tables))})})
    assert call(*encode) == 2
    assert "mini.residuals: damaged: the checksum is not that of its bytes" in error_of(capsys)
    assert call("verify", bundle, "-v") == 1
    assert "mini.residuals: damaged: the checksum is not that of its bytes" in capsys.readouterr().err


def test_the_test_set_of_a_run_is_a_file(
    finished_run: Path, tmp_path: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from tiedae.cli.tae_files import encode_test

    monkeypatch.chdir(recipe_file.parent)
    out = shutil.copytree(finished_run, tmp_path / "run")
    done, path = encode_test(out)
    data = path.read_bytes()
    assert path == out / "test.tae" and (done.samples, done.bytes, done.quality is not None) == (40, len(data), True)
    assert done.ratio == pytest.approx(40 * 24 / len(data)) and load(out).decompress(data).shape == (40, 24)
