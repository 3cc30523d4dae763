"""The guides run as they are written: whole jobs at real size, each step on what the step before made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..pages import ROOT, run_page

FOLDER = ROOT / "docs" / "guides"
INDEX = (FOLDER / "README.md").read_text(encoding="utf-8")
GUIDES = [FOLDER / name for name in re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", INDEX.partition("\n## ")[0], re.MULTILINE)]
"""Those of the index's first table; the other pages of the folder explain, and `tests/test_pages.py` checks their blocks."""


@pytest.mark.night
@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_runs_as_it_is_written(guide: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "TIEDAE_DATA" in guide.read_text(encoding="utf-8"):
        request.getfixturevalue("real_data")
    if "pip install" in guide.read_text(encoding="utf-8"):
        request.getfixturevalue("installing")
    run_page(guide, tmp_path)


def test_the_index_names_every_page() -> None:
    linked = {FOLDER / name for name in re.findall(r"\]\(([^)]+)\)", INDEX)}
    assert len(GUIDES) == 8 and {path for path in FOLDER.glob("*.md") if path.name != "README.md"} <= linked
