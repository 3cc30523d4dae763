"""What wheels are built from: a copy of the checkout, whose links are links."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ..tree import LINKED


def test_a_copy_keeps_the_links_of_the_package(tmp_path: Path) -> None:
    copy = import_module("install").source_copy(tmp_path / "source")
    assert {name: str((copy / "tiedae" / name).readlink()) for name in LINKED} == {name: f"../{name}" for name in LINKED}
    assert (copy / "tiedae" / "compress" / "version.py").is_file()
