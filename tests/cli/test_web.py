"""`tiedae package --for npm` and `--for web`: what they write and say, and what they refuse."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tiedae.apps.web.page import DATA, INDEX, SCRIPTS
from tiedae.base.errors import DataError
from tiedae.bundle.manifest import Manifest
from tiedae.cli import main
from tiedae.cli.app_folders import MARKER
from tiedae.cli.web import SHOWN_SAMPLES, shown_samples
from tiedae.codec.opening import bundle_of, load
from tiedae.config.tasks import Denoising, NoiseConfig

from ..apps.web.node import call as node
from ..codec.conftest import NAMES, extract_runs
from ..export.c.compiled import tool
from ..variants import every
from .test_packaging import WITHOUT, call, content

PACKAGE = {"README.md", "build.json", "index.d.ts", "index.mjs", "streams.mjs", "model.mjs", "package.json"}
PAGE = {INDEX, *(f"page/{name}" for name in (DATA, *SCRIPTS))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("clang", "wasm-ld", "node"):
        tool(name)
    return extract_runs(tmp_path_factory.mktemp("runs"))


def paths(name: str) -> set[str]:
    modules = {f"{name}.wasm", f"{name}.scalar.wasm"}
    sources = (".c", ".h", "_float.h", "_app.c", "_app.h", "_web.c")
    return PACKAGE | modules | {f"src/{name}{end}" for end in sources}


@pytest.mark.parametrize("name", every(2, NAMES))
def test_the_package_computes_what_the_bundle_does(runs: Path, name: str, tmp_path: Path) -> None:
    out, report = tmp_path / "web", tmp_path / "made.json"
    arguments = ["package", runs / name, "--for", "npm", "-o", out, "--json", report]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made, files = json.loads(report.read_text()), content(out)
    assert set(files) == paths(name) | {MARKER} and json.loads(files[MARKER]) == {"kind": "npm", "name": name}
    assert made["files"] == {path: len(data) for path, data in files.items() if path != MARKER}
    size = made["modules"]["simd"]
    assert size["kernels"] + size["other"] == size["total"] == len(files[f"{name}.wasm"]) and made["tae_files"] == ["lossy"]
    shown = " ".join(done.stdout.split())
    assert (
        f"{size['kernels']:,} kernels + {size['other']:,} code and tables" in shown
        and f"{made['browser']:,} after gzip" in shown
    )
    codec = load(runs / name)
    x = np.load(codec_golden(runs / name))
    codes, written = node([(out, {}, "encode", x.ravel()), (out, {}, "compress", x.ravel())])
    assert np.array_equal(codes, codec.encode(x).ravel()) and written.tobytes() == codec.compress(x)


def codec_golden(run: Path) -> Path:
    return next(iter(run.rglob("golden/x.npy")))


@pytest.mark.ci
def test_the_page_has_the_package_and_every_kind_of_file(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    assert (
        call(
            "package",
            runs / "bytes",
            "--for",
            "web",
            "-o",
            out,
            "--files",
            "lossy,lossless,bounded",
            "--json",
            tmp_path / "made.json",
        )
        == 0
    )
    assert set(content(out)) == paths("bytes") | PAGE | {MARKER}
    assert json.loads((tmp_path / "made.json").read_text())["tae_files"] == ["lossy", "bounded", "lossless"]
    x = np.load(codec_golden(runs / "bytes"))
    (written,) = node([(out, {}, "compress", x.ravel(), {"lossless": True})])
    assert np.array_equal(load(runs / "bytes").decompress(written.tobytes()), x)


@pytest.mark.ci
def test_the_page_has_the_first_samples_of_a_source(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(5).normal(size=(70, 10))
    np.savetxt("mine.csv", x, delimiter=",", fmt="%.17g")
    assert call("package", runs / "table", "--for", "web", "-o", "page", "--samples", "mine.csv", "--json", "made.json") == 0
    assert "the first 64 of 70" in capsys.readouterr().out and json.loads(Path("made.json").read_text())["samples"] == [64, 70]
    shown = json.loads(Path("page/page", DATA).read_text().removeprefix("export default ").rstrip(";\n"))["shown"]
    assert (shown["name"], shown["total"], shown["clean"], shown["note"]) == ("mine.csv", 70, None, "")
    assert base64.b64decode(shown["data"]) == x[:64].tobytes()
    assert call("package", runs / "table", "--for", "web", "-o", "page", "--force", "--samples", "mine.csv", "-q") == 0
    np.savetxt("mine.csv", x[:5], delimiter=",")
    assert call("package", runs / "table", "--for", "web", "-o", "page", "--force", "--samples", "mine.csv") == 0
    assert "all 5" in capsys.readouterr().out


def denoiser(runs: Path, noise: NoiseConfig | None, **data: object) -> Manifest:
    """The manifest of the bundle of bytes with the task of denoising."""
    manifest = bundle_of(runs / "bytes").manifest
    recipe = manifest.recipe
    train = structs.replace(recipe.train, noise=noise)
    recipe = structs.replace(recipe, task=Denoising(), train=train, data=structs.replace(recipe.data, **data))
    return structs.replace(manifest, recipe=recipe)


def test_samples_of_a_denoising_page_get_the_noise_of_training(runs: Path, tmp_path: Path) -> None:
    x = np.full((100, 24), 128, np.uint8)
    np.save(tmp_path / "x.npy", x)
    noise = NoiseConfig("gaussian", 0.1)
    manifest = denoiser(runs, noise)
    shown = shown_samples(manifest, str(tmp_path / "x.npy"))
    assert shown.clean is not None and np.array_equal(shown.clean, x[:SHOWN_SAMPLES]) and shown.total == 100
    assert shown.data.dtype == np.uint8 and shown.note == ", with gaussian noise of level 0.1"
    assert np.std(shown.data.astype(float) - 128) == pytest.approx(25.5, rel=0.1)
    again = shown_samples(manifest, str(tmp_path / "x.npy"))
    other = shown_samples(denoiser(runs, noise, seed=1), str(tmp_path / "x.npy"))
    assert np.array_equal(again.data, shown.data) and not np.array_equal(other.data, shown.data)
    masked = shown_samples(denoiser(runs, NoiseConfig("masking", 0.25)), str(tmp_path / "x.npy"))
    assert set(np.unique(masked.data)) == {0, 128} and np.mean(masked.data == 0) == pytest.approx(0.25, abs=0.05)


def test_samples_of_pairs_have_their_clean_ones(runs: Path, tmp_path: Path) -> None:
    noisy, clean = np.random.default_rng(6).integers(0, 256, (2, 70, 24), np.uint8)
    np.save(tmp_path / "noisy.npy", noisy)
    np.save(tmp_path / "clean.npy", clean)
    manifest = denoiser(runs, None, source="noisy.npy", clean="clean.npy")
    shown = shown_samples(manifest, str(tmp_path / "noisy.npy"))
    assert shown.clean is not None and shown.note == ""
    assert np.array_equal(shown.data, noisy[:64]) and np.array_equal(shown.clean, clean[:64])
    np.save(tmp_path / "other.npy", noisy)
    assert shown_samples(manifest, str(tmp_path / "other.npy")).clean is None
    np.save(tmp_path / "clean.npy", clean[:60])
    with pytest.raises(DataError, match=r"^noisy.npy: got 60 clean samples, must be 64, one for each$"):
        shown_samples(manifest, str(tmp_path / "noisy.npy"))


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("bytes", np.zeros((3, 5), np.uint8), "x.npy: samples: got shape [3, 5], must be a sample [24] or a batch [n, 24]"),
        ("bytes", np.zeros((3, 24)), "x.npy: samples: got float64, must be uint8, in the unit of measure of the training data"),
        ("bytes", np.zeros((0, 24), np.uint8), "x.npy: holds no samples"),
        ("table", np.full((3, 10), np.nan), "x.npy: samples: value 0 of sample 0 is nan, must be finite in float32"),
        ("table", None, "x.npy: no such file or folder"),
    ],
)
def test_samples_that_do_not_fit_are_one_line(
    runs: Path,
    name: str,
    values: np.ndarray | None,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if values is not None:
        np.save("x.npy", values)
    assert call("package", runs / name, "--for", "web", "-o", "new", "--samples", "x.npy") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tiedae: {text}"), line
    assert not Path("new").exists()


@pytest.mark.ci
def test_the_module_can_be_built_again(runs: Path, tmp_path: Path) -> None:
    """The commands that build.json states give the bytes that are there."""
    out = tmp_path / "web"
    assert call("package", runs / "table", "--for", "npm", "-o", out) == 0
    before = content(out)
    for command in json.loads(before["build.json"])["commands"]:
        subprocess.run(command.split(), cwd=out, check=True, timeout=120)
    assert {path: data for path, data in content(out).items() if not path.endswith(".o")} == before


def test_a_bundle_without_tables_has_no_files(small_runs: Path, runs: Path, tmp_path: Path) -> None:
    assert call("package", small_runs / "bytes", "--for", "npm", "-o", tmp_path / "web") == 0
    (error,) = node([(tmp_path / "web", {}, "compress", np.load(codec_golden(small_runs / "bytes")).ravel())])
    assert error.endswith("it has none: the bundle has no tables for .tae files")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["package", "--for", "npm", "--signatures", "encode"],
            "--signatures encode: must be left out, a web package has all of them",
        ),
        (
            ["package", "--for", "web", "--files", "lossy,better"],
            "--files lossy,better: must be some of lossy, bounded, lossless",
        ),
        (
            ["package", "--for", "npm", "--samples", "x.npy"],
            "--samples x.npy: must be left out for --for npm, only the page of web shows samples",
        ),
        (["package", "--for", "web", "--files", ""], "--files : must be some of lossy, bounded, lossless"),
        (["package", "--for", "web", "-o", "there"], "there: exists; choose another folder, or --force"),
        (
            ["package", "--for", "web", "-o", "there", "--force"],
            "there: is no folder of `tiedae package`, so it is not overwritten",
        ),
    ],
)
def test_what_cannot_be_is_one_line(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    command, *rest = options
    assert call(command, runs / "bytes", *rest, *([] if "-o" in rest else ["-o", "new"])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tiedae: {text}"), line
    assert not list((tmp_path / "there").iterdir()) and not (tmp_path / "new").exists()


@pytest.mark.parametrize(("there", "lacks"), [([], "clang"), (["clang"], "wasm-ld")])
def test_a_missing_tool_is_named_with_its_package(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    there: list[str],
    lacks: str,
) -> None:
    for name in there:
        (tmp_path / name).symlink_to(tool(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    for target in ("web", "npm"):
        assert main(["package", str(runs / "bytes"), "--for", target, "-o", str(tmp_path / "new")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"tiedae: {lacks} is not installed: apt-get install ") and "lld" in line
    assert not (tmp_path / "new").exists()
