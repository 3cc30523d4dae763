"""What the site has beyond the pages: the public names of Python, and files of the repository that pages link to."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
NAMES = "<!-- public names -->"
"""Where the page of Python has the public names."""
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)\s]+)\)")


def public_names() -> dict[str, str]:
    """The module of each public name, from the imports of tiedae/__init__.py."""
    tree = ast.parse((ROOT / "tiedae" / "__init__.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tiedae.")]
    return {alias.name: str(node.module) for node in imports for alias in node.names if not alias.name.startswith("_")}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its public names; links to files outside of docs/ become text, which a site cannot show."""
    if NAMES in markdown:
        found = "\n\n".join(f"::: {module}.{name}" for name, module in sorted(public_names().items()))
        markdown = markdown.replace(NAMES, found)
    folder = Path(page.file.abs_src_path).parent

    def inside(match: re.Match[str]) -> str:
        target = (folder / match[2].partition("#")[0]).resolve()
        return match[0] if target.is_relative_to(ROOT / "docs") else match[1]

    return LINK.sub(inside, markdown)
