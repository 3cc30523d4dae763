"""A class has a name of its own: the product uses none twice, and a leading underscore does not tell two apart."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from .tree import ROOT, product_files


def duplicate_names(root: Path = ROOT) -> dict[str, list[str]]:
    """The FILE:LINE of each class of a name that several have, nested classes among them."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in product_files(root):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name.lstrip("_")].append(f"{path.relative_to(root).as_posix()}:{node.lineno}")
    return {name: places for name, places in found.items() if len(places) > 1}


def test_no_class_name_is_used_twice() -> None:
    assert duplicate_names() == {}


def test_a_duplicate_is_found_in_other_folders_and_inside_functions(tmp_path: Path) -> None:
    texts = {
        "compress/data.py": "class Samples: ...\nclass Own: ...\n",
        "tiedae/report/page.py": "def draw():\n    class _Samples: ...\n",
        "tests/data.py": "class Own: ...\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    assert duplicate_names(tmp_path) == {"Samples": ["tiedae/report/page.py:2", "compress/data.py:1"]}
