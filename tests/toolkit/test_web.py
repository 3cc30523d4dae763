"""`tiedae package --for npm` and `--for web`: what they write and say, and what they refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiedae.app_folders import MARKER
from tiedae.cli import main
from tiedae.codec.opening import load

from ..apps.web.node import call as node
from ..codec.conftest import NAMES, extract_runs
from ..export.c.compiled import tool
from ..variants import every
from .test_packaging import WITHOUT, call, content

PACKAGE = {"README.md", "build.json", "index.d.ts", "index.mjs", "model.mjs", "package.json"}
PAGE = {"index.html", *(f"page/{name}" for name in ("app.mjs", "draw.mjs", "files.mjs", "pad.mjs", "samples.mjs", "style.css"))}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("clang", "wasm-ld", "node"):
        tool(name)
    return extract_runs(tmp_path_factory.mktemp("runs"))


def paths(name: str) -> set[str]:
    modules = {f"{name}.wasm", f"{name}.scalar.wasm"}
    return PACKAGE | modules | {f"src/{file}" for file in (f"{name}.c", f"{name}.h", f"{name}_float.h", f"{name}_web.c")}


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
