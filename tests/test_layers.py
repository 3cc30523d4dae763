"""Imports go one way: each folder of `LAYERS` imports itself and those to its left, types included; no modules form a circle.

Inside a folder the order is found, not stated: its modules and sub-folders, each taken as a whole, form no circle.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from .tree import LINKED, ROOT, module_name, product_files

LAYERS = (
    "base",
    "config",
    "data",
    "compress",
    "calibration",
    "program",
    "entropy",
    "export",
    "runtimes",
    "bundle",
    "codec",
    "tasks",
    "verify",
    "report",
    "apps",
    "dedupe",
    "pipeline",
    "cli",
)
"""Folders of the package, lowest first. What lies in none of them, `tiedae/__init__.py` and `__main__.py`, may import all."""


OWN = ("tiedae", "tiedae.__main__")
MODULES = {module_name(path): path for path in product_files()}


def layer(name: str) -> str:
    """The folder in `tiedae/` that a module is in; empty for the package's own."""
    return name.partition(".")[2].partition(".")[0] if name not in OWN else ""


def imported(name: str, path: Path) -> Iterator[str]:
    """The product's modules that a module imports: anywhere in it, under TYPE_CHECKING too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = (
                ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            yield from (known(f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (known(alias.name) for alias in node.names)


def known(name: str) -> str:
    """The module of the product that holds an imported name; empty for a foreign one."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


IMPORTS = {name: sorted({other for other in imported(name, path) if other not in ("", name)}) for name, path in MODULES.items()}


def upward_imports() -> list[str]:
    """Each import of a module in a folder that is not below."""
    place = {folder: i for i, folder in enumerate((*LAYERS, ""))}
    top = {name: place[layer(name)] for name in MODULES}
    return [f"{name} imports {other}" for name, others in IMPORTS.items() for other in others if top[other] > top[name]]


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """A circle of a graph; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def inside(folder: str) -> dict[str, set[str]]:
    """What the modules and sub-folders of a folder import of each other. Its namespace, `__init__.py`, is none of them."""

    def part(name: str) -> str:
        return name.removeprefix(f"{folder}.").partition(".")[0]

    graph: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        if name.startswith(f"{folder}."):
            near = {part(other) for other in others if other.startswith(f"{folder}.")}
            graph.setdefault(part(name), set()).update(near - {part(name)})
    return graph


FOLDERS = sorted({name.rpartition(".")[0] for name in MODULES if "." in name})


def test_every_folder_imports_those_to_its_left() -> None:
    assert not upward_imports()


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not circle(IMPORTS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_parts_of_a_folder_have_an_order(folder: str) -> None:
    assert not circle(inside(folder))


def test_every_folder_has_a_place() -> None:
    assert {layer(name) for name in MODULES} - {""} == {*LAYERS}


def test_the_page_on_architecture_has_this_order() -> None:
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/` \|", page.partition("\n## Folders\n")[2], re.MULTILINE) == [*LAYERS]


OUTSIDE = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(LINKED)})\b", re.MULTILINE)
"""An import of a linked folder by its name in a checkout: other modules of the same files, whose classes are other classes."""


def test_nothing_imports_a_linked_folder_without_the_package() -> None:
    files = [*product_files(), *(path for folder in ("tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py")))]
    assert [path.relative_to(ROOT).as_posix() for path in files if OUTSIDE.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "line", ["import compress", "    from export.targets import TARGETS", "from calibration import observers"]
)
def test_such_an_import_is_found(line: str) -> None:
    assert OUTSIDE.search(f"import os\n{line}\n")
