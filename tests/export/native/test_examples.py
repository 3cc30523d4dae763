"""examples/: its folders are what `make examples` makes of the bundle in examples/web, and compute golden samples."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiedae as ta
from tiedae.cli import main

from ..c.compiled import built_check, tool
from .libraries import Call, built

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
LINES = {
    folder: shlex.split(line)
    for line, folder in re.findall(
        r"^\t\$\(BIN\)/tiedae (package .* -o examples/(\w+) --force)$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
}
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("example")
    zipfile.ZipFile(EXAMPLES / "web" / "bundle.zip").extractall(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_make_makes_each_folder() -> None:
    assert set(LINES) == {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"web"}


@pytest.mark.parametrize("folder", LINES)
def test_a_folder_is_what_the_command_makes(folder: str, bundle: Path, tmp_path: Path) -> None:
    places = {"$(EXAMPLE)": str(bundle), f"examples/{folder}": str(tmp_path / folder)}
    assert main([places.get(word, word) for word in LINES[folder]]) == 0
    made, kept = content(tmp_path / folder), content(EXAMPLES / folder)
    assert made.keys() == kept.keys() and [path for path in made if made[path] != kept[path]] == []
    assert sum(map(len, kept.values())) < MOST_BYTES


def test_the_c_example_computes_golden_samples(tmp_path: Path) -> None:
    done = subprocess.run([built_check(EXAMPLES / "c", tmp_path / "check", "-O1")], capture_output=True, text=True, check=True)
    assert done.stdout == "heartbeat: 8 samples equal\n"


def test_the_android_example_computes_what_python_does(bundle: Path, tmp_path: Path) -> None:
    tool("javac")
    library = built({}, Path(shutil.copytree(EXAMPLES / "android", tmp_path / "android")))
    codec = ta.load(bundle, runtime="program")
    assert codec.bundle is not None
    x = codec.bundle.golden()["x"]
    file = codec.compress(x)
    right = [codec.encode(x), np.frombuffer(file, np.uint8), codec.reconstruct(x)]
    answers = library.run(Call("encode", x), Call("compress", x), Call("decompress", file))
    assert [answer[:2] for answer in answers] == [("ok", values.tobytes()) for values in right]
