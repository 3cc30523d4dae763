"""Imports go one way: each entry of `LAYERS` may import itself and those above it in the table."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = (
    "toolkit.pages",
    "compress",
    "calibration",
    "export.runtimes.native_output",
    "export.runtimes.child_process",
    "export.runtimes.machine",
    "export.differences",
    "export.drift",
    "export.codec.damage",
    "export.codec.rans",
    "export.codec.tables",
    "export.codec.classes",
    "export.codec.lanes",
    "export.codec.tokens",
    "export.codec.contexts",
    "export.codec.predictors",
    "export.codec.residuals",
    "export.codec.grid",
    "export.codec.residual_tables",
    "export.verify.kinds",
    "export.bench.results",
    "export.tasks.results",
    "export.tasks.verdict",
    "export.verify.results",
    "export.scoring",
    "export.file_io",
    "export.arithmetic",
    "export.tensors",
    "export.operations",
    "export.program",
    "export.score_graph",
    "export.interpreter",
    "export.integer_maps",
    "export.operation_table",
    "export.c",
    "export.lowering",
    "export.formats",
    "export.runtimes",
    "export.file_info",
    "export.targets",
    "export.manifest",
    "export.parity.reference_outputs",
    "export.golden",
    "export.code_scale",
    "export.bundle",
    "export.codec",
    "export.c.golden",
    "export.c.layout",
    "export.native",
    "export.web",
    "export.detector",
    "export.parity",
    "export.baselines",
    "export.verify",
    "export.deduplicate",
    "export.inspection",
    "export.report.images",
    "export.tasks",
    "export.report",
    "export.bench",
    "export.assemble",
    "export.trained",
    "export.derive",
    "export",
    "toolkit",
    "toolkit.commands",
    "toolkit.cli",
    "toolkit.__main__",
)
"""Folders and modules of the product, lowest first; `export` is its public namespace."""
FOLDERS = ("compress", "calibration", "export", "toolkit")


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))}


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
        name = own if own.partition(".")[0] in FOLDERS else f"toolkit.{own}"
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def layer(name: str) -> int:
    """The place in `LAYERS` of the longest entry that holds a module; `export` alone holds only itself."""
    while name not in LAYERS:
        name = name.rpartition(".")[0]
    return LAYERS.index(name)


IMPORTS = {name: {each for each in imported(name, path) if each} for name, path in MODULES.items()}


def test_every_module_has_a_place() -> None:
    outside = [name for name in MODULES if name.startswith("export.") and LAYERS[layer(name)] == "export"]
    assert not outside, f"give them a place in LAYERS: {outside}"


def test_imports_go_one_way() -> None:
    wrong = [f"{name} imports {each}" for name, found in IMPORTS.items() for each in found if layer(each) > layer(name)]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_modules_import_each_other() -> None:
    TopologicalSorter({name: found - {name} for name, found in IMPORTS.items()}).prepare()


def test_imports_are_found_wherever_they_are(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "import tiedae.compress.kernel\n"
        "if TYPE_CHECKING:\n    from ..compress.data import Dataset\n"
        "def late():\n    from . import golden\n"
        "    from .verify.measurement import measure_int8\n    from tiedae import recipe\n"
    )
    found = {each for each in imported("export.module", path) if each}
    assert found == {"compress.kernel", "compress.data", "export.golden", "export.verify.measurement", "toolkit.recipe"}


def test_every_package_is_installed():
    """A folder that the list lacks is in a checkout and not in the wheel."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT).as_posix() for top in FOLDERS for path in (ROOT / top).rglob("__init__.py")}
    places = {name: folder for name, folder in options["package-dir"].items()}

    def folder_of(package: str) -> str:
        parent = max((name for name in places if f"{package}.".startswith(f"{name}.")), key=len)
        return places[parent] + package.removeprefix(parent).replace(".", "/")

    assert sorted(map(folder_of, options["packages"])) == sorted(folders)
