"""Whole pictures through `tiedae encode` and `decode`, with a bundle of a recipe with `patch`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tiedae as ta
from tiedae.cli import main
from tiedae.codec.container import read
from tiedae.data.patches import PictureSize, cut, join

from ..conftest import smallest_recipe

SIZES = ((40, 33), (29, 40), (24, 24), (33, 50), (16, 45), (50, 21))
MORE = '[train]\nepochs = 1\n[quantize]\nmethod = "ptq"\nsamples = 32\n[export]\nstock = false\ntargets = ["tflite"]\n'
MORE += "[verify]\nmax_quality_loss = 100.0\n"


@pytest.fixture(scope="module")
def run(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder of `photos`, and `out`, the run of a recipe that cuts them into patches of 8."""

    def fill(folder: Path) -> None:
        (folder / "photos").mkdir()
        rng = np.random.default_rng(0)
        for i, (height, width) in enumerate(SIZES):
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
            coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / "photos" / f"{i}.png")
        recipe = smallest_recipe("photos", data="patch = 8\ntest = 0.3\n", more=MORE)
        (folder / "photos.toml").write_text(recipe, encoding="utf-8")
        assert main(["run", str(folder / "photos.toml"), "--out", str(folder / "out"), "-q"]) == 0

    return make_once("photos", fill)


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_picture_comes_back_as_a_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, file, back, facts = run / "photos" / "0.png", tmp_path / "x.tae", tmp_path / "x.png", tmp_path / "x.json"
    assert call("encode", run / "out", source, "-o", file, "--json", facts) == 0
    out, size = capsys.readouterr().out, file.stat().st_size
    assert f"{file}: 25 samples of 1 picture, {size} bytes" in out and f"{8 * size / (40 * 33):.3g} bits per pixel" in out
    assert call("decode", run / "out", file, "-o", back) == 0
    assert f"{back}: 1 picture, by the program" in capsys.readouterr().out
    made, right = (np.asarray(Image.open(path)) for path in (back, source))
    assert made.shape == right.shape == (40, 33) and made.dtype == np.uint8
    codec = ta.load(run / "out", runtime="program")
    np.testing.assert_array_equal(made, join(codec.reconstruct(cut(right, 8)), PictureSize(40, 33)))
    written = json.loads(facts.read_text())
    assert (written["pictures"], written["samples"], written["bits_per_pixel"]) == (1, 25, 8 * size / (40 * 33))
    assert written["ratio"] == pytest.approx(40 * 33 / size)
    psnr = 10 * np.log10(255**2 / np.square(made - right.astype(float)).mean())
    assert written["quality"]["value"] == pytest.approx(psnr, abs=0.05), "of the pixels of the picture alone"
    assert file.read_bytes() == codec.compress_picture(right)


def test_pictures_of_a_folder_are_one_file_and_numbered(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.tae"
    assert call("encode", run / "out", run / "photos", "-o", file, "--lossless", "-q") == 0
    assert call("decode", run / "out", file, "-o", tmp_path / "x.png") == 0
    assert f"{tmp_path / 'x-1.png'} to x-6.png: 6 pictures" in capsys.readouterr().out
    for i in range(len(SIZES)):
        made, right = (np.asarray(Image.open(p)) for p in (tmp_path / f"x-{i + 1}.png", run / "photos" / f"{i}.png"))
        np.testing.assert_array_equal(made, right)
    assert call("decode", run / "out", file, "-o", tmp_path / "x.png") == 2
    assert "x-1.png: is there already" in capsys.readouterr().err
    assert call("decode", run / "out", file, "-o", tmp_path / "x.npy", "-q") == 0
    assert np.load(tmp_path / "x.npy").shape == (sum(PictureSize(*size).patches(8) for size in SIZES), 8, 8)
    assert call("info", file) == 0 and "6, or pictures" in capsys.readouterr().out


def test_damage_is_black_and_exit_code_1(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.tae"
    assert call("encode", run / "out", run / "photos" / "0.png", "-o", file, "--lossless", "--frame", 10, "-q") == 0
    damaged = bytearray(file.read_bytes())
    damaged[read(bytes(damaged), "").frames[0].stop - 1] ^= 1
    file.write_bytes(damaged)
    assert call("decode", run / "out", file, "-o", tmp_path / "x.png", "-q") == 1
    assert "frame 0 (samples 0 to 9)" in capsys.readouterr().err
    made, right = (np.asarray(Image.open(path)) for path in (tmp_path / "x.png", run / "photos" / "0.png"))
    assert not made[:16].any() and np.array_equal(made[16:], right[16:])


def test_what_is_no_picture_is_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "patches.npy", np.zeros((3, 8, 8), np.uint8))
    file = tmp_path / "x.tae"
    assert call("encode", run / "out", tmp_path / "patches.npy", "-o", file, "-q") == 0
    for arguments, text in (
        (("decode", run / "out", file, "-o", tmp_path / "x.png"), "holds samples, not pictures in patches"),
        (("decode", run / "out", file, "-o", tmp_path / "x.png", "--samples", "0:1"), "--samples: is for .npy"),
        (("decode", run / "out", tmp_path / "patches.npy", "-o", tmp_path / "x.png"), "is of .tae files of pictures"),
        (("encode", run / "out", tmp_path / "no.png", "-o", file, "--force"), "no.png: no such file or folder"),
    ):
        assert call(*arguments, "-q") == 2
        assert text in capsys.readouterr().err and not (tmp_path / "x.png").exists()
