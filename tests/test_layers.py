"""Imports go one way: each folder of `LAYERS` imports itself and those to its left, types included; no modules form a circle.

Inside a folder the order is found, not stated: its modules and sub-folders, each taken as a whole, form no circle.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = (
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
    "toolkit",
)
"""Top-level folders of the product, lowest first. `toolkit` is installed as `tiedae`, the others inside it."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for folder in LAYERS for path in sorted((ROOT / folder).rglob("*.py"))}


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
    if name.partition(".")[0] == "tiedae":
        own = name.partition(".")[2]
        name = own if own.partition(".")[0] in LAYERS else f"toolkit.{own}"
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


IMPORTS = {name: sorted({other for other in imported(name, path) if other not in ("", name)}) for name, path in MODULES.items()}


def upward_imports() -> list[str]:
    """Each import of a module in a folder that is not below."""
    place = {folder: i for i, folder in enumerate(LAYERS)}
    top = {name: place[name.partition(".")[0]] for name in MODULES}
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


def test_every_top_folder_has_a_place() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert sorted(options["package-dir"].values()) == sorted(LAYERS)
    included = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pyright"]["include"]
    assert included == [*LAYERS, "tests", "benchmarks"]
    linked = re.search(r"ln -s (.*) \.$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert linked and sorted(linked[1].split()) == sorted(
        f"../../../{'toolkit/*' if each == 'toolkit' else each}" for each in LAYERS
    )


def test_the_page_on_architecture_has_this_order() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/` \|", page.partition("\n## Folders\n")[2], re.MULTILINE) == [*LAYERS]


def test_every_package_is_installed() -> None:
    """A folder that the list lacks is in a checkout and not in the wheel."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    installed = {name.removeprefix("tiedae").removeprefix(".") for name in options["packages"]}
    folders = {path.parent.relative_to(ROOT) for folder in LAYERS for path in (ROOT / folder).rglob("__init__.py")}
    names = {".".join(path.parts).removeprefix("toolkit").removeprefix(".") for path in folders}
    assert installed == names
