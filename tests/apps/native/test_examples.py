"""examples/: `make examples` makes examples/c and the other folders of examples/bundle.zip, which compute golden samples.

The sha256 of the files of those others are in examples.json, which `python -m tests.apps.native.test_examples` writes.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import tiedae as ta
from tiedae.cli import main
from tiedae.cli.app_folders import APPS

from ...export.c.compiled import built_check, tool
from ..web.node import call
from .libraries import Call, built

pytestmark = pytest.mark.ci

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
HASHES = Path(__file__).with_name("examples.json")
LINES = {
    Path(out).name: (shlex.split(line), out)
    for line, out in re.findall(
        r"^\t\$\(BIN\)/tiedae (package .* -o (\S+) --force)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
}
"""The commands of `make examples`, and the folder that each writes."""
MOST_BYTES = {"c": 150_000, "android": 210_000, "ios": 195_000, "web": 320_000}


def made(folder: str, work: Path) -> Path:
    """What the line of `make examples` makes, in a folder of `work`."""
    for name in ("clang", "wasm-ld") if folder == "web" else ():
        tool(name)
    zipfile.ZipFile(EXAMPLES / "bundle.zip").extractall(work / "bundle")
    words, out = LINES[folder]
    places = {"$(EXAMPLE)": str(work / "bundle"), out: str(work / folder)}
    assert main([places.get(word, word) for word in words]) == 0
    return work / folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def hashes(folder: Path) -> Mapping[str, str]:
    """The sha256 of each file but what depends on the compiler."""
    return {
        path: hashlib.sha256(data).hexdigest()
        for path, data in content(folder).items()
        if not path.endswith((".wasm", "build.json"))
    }


def test_make_makes_a_folder_of_each_kind() -> None:
    assert {folder: words[words.index("--for") + 1] for folder, (words, _) in LINES.items()} == {
        kind: kind for kind in APPS if kind != "npm"
    }
    assert [out for _, out in LINES.values() if (ROOT / out).parent == EXAMPLES] == ["examples/c"]
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == ["boards", "c"]


def test_the_c_example_is_what_the_command_makes(tmp_path: Path) -> None:
    found, kept = content(made("c", tmp_path)), content(EXAMPLES / "c")
    assert found.keys() == kept.keys() and [path for path in found if found[path] != kept[path]] == []


@pytest.mark.parametrize("folder", [folder for folder in LINES if folder != "c"])
def test_files_of_another_have_their_hashes(folder: str, tmp_path: Path) -> None:
    assert hashes(made(folder, tmp_path)) == json.loads(HASHES.read_bytes())[folder]


@pytest.mark.parametrize("folder", LINES)
def test_a_folder_is_small(folder: str, tmp_path: Path) -> None:
    assert sum(map(len, content(made(folder, tmp_path)).values())) < MOST_BYTES[folder]


def test_the_c_example_computes_golden_samples(tmp_path: Path) -> None:
    done = subprocess.run([built_check(EXAMPLES / "c", tmp_path / "check", "-O1")], capture_output=True, text=True, check=True)
    assert done.stdout == "heartbeat: 8 samples equal\n"


def test_the_android_example_computes_what_python_does(tmp_path: Path) -> None:
    tool("javac")
    library = built({}, made("android", tmp_path))
    codec = ta.load(tmp_path / "bundle", runtime="program")
    assert codec.bundle is not None
    x = codec.bundle.golden()["x"]
    file = codec.compress(x)
    right = [codec.encode(x), np.frombuffer(file, np.uint8), codec.reconstruct(x)]
    answers = library.run(Call("encode", x), Call("compress", x), Call("decompress", file))
    assert [answer[:2] for answer in answers] == [("ok", values.tobytes()) for values in right]


def test_the_page_runs_with_vectors_and_without(tmp_path: Path) -> None:
    """`load` checks the golden samples."""
    page = made("web", tmp_path)
    for simd in (True, False):
        assert call([(page, {"simd": simd}, "shape"), (page, {"simd": simd}, "simd")]) == [[64], simd]


def write_hashes() -> None:
    with TemporaryDirectory() as work:
        found = {folder: hashes(made(folder, Path(work))) for folder in LINES if folder != "c"}
    HASHES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_hashes()
