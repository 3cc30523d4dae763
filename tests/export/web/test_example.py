"""examples/web: its page is what `tiedae package --for web` makes of its bundle, and runs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tiedae.cli import main
from tiedae.export.web.wasm import find_toolchain

from ..c.compiled import tool
from .node import call

EXAMPLE = Path(__file__).parents[3] / "examples" / "web"
MOST_BYTES = 300_000


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_page_is_what_the_command_makes(tmp_path: Path) -> None:
    for name in ("clang", "wasm-ld"):
        tool(name)
    zipfile.ZipFile(EXAMPLE / "bundle.zip").extractall(tmp_path)
    assert main(["package", str(tmp_path), "--for", "web", "-o", str(tmp_path / "page"), "-q"]) == 0
    made, kept = content(tmp_path / "page"), content(EXAMPLE / "page")
    if json.loads(kept["build.json"])["compiler"] != find_toolchain().version:
        made, kept = (
            {path: path.endswith((".wasm", "build.json")) or data for path, data in each.items()} for each in (made, kept)
        )
    assert made.keys() == kept.keys() and [path for path in made if made[path] != kept[path]] == []
    assert sum(map(len, content(EXAMPLE).values())) < MOST_BYTES


@pytest.mark.parametrize("simd", [True, False])
def test_the_kept_page_runs(simd: bool) -> None:
    """`load` checks the golden samples."""
    assert call([(EXAMPLE / "page", {"simd": simd}, "shape"), (EXAMPLE / "page", {"simd": simd}, "simd")]) == [[64], simd]
