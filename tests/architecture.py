"""The worked examples of docs/explanation/architecture.md, by the title of their section."""

from __future__ import annotations

import re
from typing import Any

from .pages import ROOT, blocks_of

TEXT = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
SECTIONS = {title: text for title, text in re.findall(r"^### ([^\n]+)\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL)}


def run_example(title: str) -> dict[str, Any]:
    """Run the Python of a section as one program, which writes its files into the current folder; the names that it defines."""
    names: dict[str, Any] = {"__name__": "example"}
    for block in blocks_of(SECTIONS[title], "python"):
        exec(compile(block.text, f"docs/explanation/architecture.md, {title}", "exec", dont_inherit=True), names)
    return names
