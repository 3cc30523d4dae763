"""What the README shows works as it is written, and documents point to files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tiedae.codec.opening import load
from tiedae.config.tasks import Reduction
from tiedae.pipeline.recipe import parse_recipe

from .pages import program_of
from .tree import PRODUCT, ROOT, product_files

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = (*PRODUCT, "tests", "benchmarks", "docs", "examples")
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)[^)]*\)")
MENTION = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`")
"""A path of the repository in code style, such as `tiedae/program/program.py`."""


def names(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_the_short_recipe_is_one() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    recipe = parse_recipe(tomllib.loads(program_of(page, "toml")), "recipe")
    assert recipe.model.widths == (0, 256, 16) and recipe.prune is not None


@pytest.mark.ci
def test_the_example_runs_and_its_comments_are_true(tmp_path: Path) -> None:
    program = (
        program_of(README) + "\nimport numpy as np\nnp.savez('made.npz', x=data.test.take(slice(10)), codes=codes, y=samples)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = np.load(tmp_path / "made.npz")
    assert made["codes"].dtype == made["y"].dtype == np.uint8 and made["y"].shape == (10, 28, 28)
    for runtime in ("ort-cpu", "litert-reference", "program"):
        np.testing.assert_array_equal(load(tmp_path / "clothes", runtime=runtime).encode(made["x"]), made["codes"])


def run(program: str) -> None:
    """In this process, which has imported TensorFlow."""
    exec(compile(program, "page", "exec"), {"__name__": "page"})


@pytest.mark.night
def test_the_page_on_python_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = program_of(ROOT / "docs" / "guides" / "python.md")
    program += "\nassert (codes_again == codes).all() and codes.shape == (100, 16) and codes.dtype == 'uint8'"
    program += "\nassert y.shape == x.shape and y.dtype == 'uint8' and errors.shape == (100,) and errors.max() < 0.2"
    run(program)


@pytest.mark.night
def test_the_page_on_dimensionality_reduction_runs_as_it_is_written(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'tiedae[tasks]'")
    page = ROOT / "docs" / "guides" / "dimensionality-reduction.md"
    program = program_of(page)
    program += "\nassert codes.shape == (1000, 8) and codes.dtype == 'float32' and y.shape == X.shape and y.dtype == 'uint8'"
    program += "\nassert explained > 0.3 and classifier.score(X, labels) > 0.5 and search.best_params_ == {'n_components': 8}"
    monkeypatch.chdir(tmp_path)
    run(program)
    recipe = parse_recipe(tomllib.loads((ROOT / "tiedae" / "assets" / "reduction.toml").read_text("utf-8")), "recipe")
    assert recipe.task == Reduction()
    assert (
        parse_recipe(tomllib.loads(program_of(page, "toml")) | {"data": {"source": "x"}, "model": {"layers": [2]}}, "x").task
        == Reduction()
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_relative_links_point_to_files(document: Path) -> None:
    missing = [link for link in LINK.findall(document.read_text(encoding="utf-8")) if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_paths_in_code_style_exist(document: Path) -> None:
    missing = [path for path in MENTION.findall(document.read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert not missing


PACKAGES = sorted(path.name for path in (ROOT / "tiedae").iterdir() if path.is_dir() and (path / "__init__.py").exists())
BARE = "|".join(name for name in PACKAGES if name not in ("base", "config", "data"))
"""Folders that are named without the package too; those three are names of other things as well."""
MODULE = re.compile(rf"`((?:tiedae\.(?:{'|'.join(PACKAGES)})|{BARE})(?:\.\w+)+)`|-m (tests(?:\.\w+)+)")
"""A module, or a name in it, in code style or in a command."""


def is_there(name: str) -> bool:
    """Whether a dotted name is that of a module of the repository, or of something in one."""
    place, parts = ROOT if name.startswith("tests.") else ROOT / "tiedae", name.removeprefix("tiedae.").split(".")
    while parts and ((place / parts[0]).is_dir() or (place / f"{parts[0]}.py").is_file()):
        place /= parts.pop(0)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return not parts or (
        len(parts) == 1 and file.is_file() and re.search(rf"\b{parts[0]}\b", file.read_text("utf-8")) is not None
    )


def test_modules_in_code_style_exist() -> None:
    files = [*DOCUMENTS, *product_files(), *sorted((ROOT / "tests").rglob("*.py"))]
    found = {(names(path), a or b) for path in files for a, b in MODULE.findall(path.read_text(encoding="utf-8"))}
    values = {
        "codec.encode",
        "calibration.json",
        "export.c_signatures",
        "export.int4",
        "export.kernels",
    }  # of a variable, a file, and a key of recipes
    assert len(found) > 20 and not {each for each in found if each[1] not in values and not is_there(each[1])}


def test_links_and_paths_are_found() -> None:
    text = "[a](b.md), [c](d/e.png#f 'g'), [h](https://i.org/j), [k](#l), `export/m.py`, `runs/n`, `docs/`"
    assert LINK.findall(text) == ["b.md", "d/e.png"] and MENTION.findall(text) == ["export/m.py", "docs/"]
    assert all(any(find(each.read_text(encoding="utf-8")) for each in DOCUMENTS) for find in (LINK.findall, MENTION.findall))
