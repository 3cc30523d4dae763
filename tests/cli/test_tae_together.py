"""Several processes that write to one .tae file: no sample of a command that exits with 0 is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.files import held, own
from tiedae.cli import main
from tiedae.codec.opening import load

COUNT = 20_000
TRIALS = 2


@pytest.fixture(scope="module")
def many(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of as many samples that differ: enough work for two processes to meet."""
    samples, folder = np.load(recipe_file.parent / "samples.npy"), tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for name in ("a.npy", "b.npy"):
        np.save(folder / name, samples[rng.integers(0, len(samples), COUNT)])
    return [folder / "a.npy", folder / "b.npy"]


def together(*calls: list[str]) -> list[tuple[int, str]]:
    """Exit code and standard error of commands that start at once."""
    begin = [sys.executable, "-m", "tiedae"]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    running = [subprocess.Popen([*begin, *call], **pipes) for call in calls]
    return [(process.returncode, text) for process in running for _, text in [process.communicate()]]


def samples_of(bundle: Path, file: Path) -> np.ndarray:
    assert main(["info", str(file), "-q"]) == 0
    return load(bundle).decompress(file.read_bytes())


@pytest.mark.ci
@pytest.mark.parametrize("option", ["--append", "--force"])
def test_no_sample_of_a_command_that_succeeds_is_lost(
    finished_run: Path, many: list[Path], option: str, tmp_path: Path
) -> None:
    codec, file = load(finished_run), tmp_path / "x.tae"
    wanted = [codec.decompress(codec.compress(np.load(source))) for source in many]
    for _ in range(TRIALS):
        file.unlink(missing_ok=True)
        if option == "--append":
            file.write_bytes(codec.compress(np.load(many[0])[:100]))
        calls = [["encode", str(finished_run), str(source), "-o", str(file), option, "-q"] for source in many]
        codes = together(*calls)
        assert {code for code, _ in codes} <= {0, 2} and 0 in {code for code, _ in codes}
        for code, text in codes:
            assert text == "" if code == 0 else text.startswith("tiedae: ") and text.count("\n") == 1
        right = [values for (code, _), values in zip(codes, wanted, strict=True) if code == 0]
        got = samples_of(finished_run, file)
        if option == "--force":
            assert any(np.array_equal(got, values) for values in right)
            continue
        orders = [right, right[::-1]]
        assert any(np.array_equal(got[100:], np.concatenate(order)) for order in orders)
        assert [path.name for path in tmp_path.iterdir()] == ["x.tae"]


@pytest.mark.parametrize("option", ["--append", "--force"])
def test_a_file_that_another_process_writes_to_is_left_as_it_is(
    finished_run: Path, many: list[Path], option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.tae"
    before = load(finished_run).compress(np.load(many[0])[:100])
    file.write_bytes(before)
    call = ["encode", str(finished_run), str(many[1]), "-o", str(file), option, "-q"]
    with held(file):
        assert main(call) == 2
    assert capsys.readouterr().err == (
        f"tiedae: {file}: another process is writing to it; wait for it or choose another file\n"
    )
    assert file.read_bytes() == before
    with own(tmp_path / "x.tae.part") as part:
        part.write(b"theirs")
        if option == "--force":
            assert main(call) == 2
            assert "x.tae.part: another process is writing to it" in capsys.readouterr().err
    assert (tmp_path / "x.tae.part").read_bytes() == b"theirs" and file.read_bytes() == before


def test_a_file_that_grows_without_the_lock_is_not_cut(
    finished_run: Path, many: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network folder may have no locks: the size is looked at again before anything is cut off."""
    file, codec = tmp_path / "x.tae", load(finished_run)
    file.write_bytes(codec.compress(np.load(many[0])[:100]))
    import tiedae.cli.tae_files as module

    whole = module.last_whole

    def meanwhile(*arguments: Any) -> object:
        with file.open("ab") as other:
            other.write(b"samples of another process")
        return whole(*arguments)

    monkeypatch.setattr(module, "last_whole", meanwhile)
    assert main(["encode", str(finished_run), str(many[1]), "-o", str(file), "--append", "-q"]) == 2
    assert "has changed meanwhile; nothing is appended" in capsys.readouterr().err
    assert file.read_bytes().endswith(b"samples of another process")
