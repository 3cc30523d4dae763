"""What is installed is what is here: wheel, sdist, the tree, and the files that pyright checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from .tree import LINKED, PRODUCT, ROOT, module_name, product_files

BUILD = """
import sys
from setuptools import build_meta

sys.meta_path = [each for each in sys.meta_path if "editable" not in str(each)]  # not that of the tests
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""
FILES = ("pyproject.toml", "README.md", "LICENSE")
CHECKED = (*PRODUCT, "tests", "benchmarks")


def copied(target: Path) -> Path:
    """What a build reads of the tree, links as links."""
    target.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, target)
    for folder in PRODUCT:
        shutil.copytree(ROOT / folder, target / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def built(hook: str, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """A hook of the build backend, run in `source`; it prints the name of the file in `target`."""
    return subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(target)], cwd=source, capture_output=True, text=True, check=False
    )


def wheel_of(source: Path, target: Path) -> set[str]:
    done = built("build_wheel", source, target)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(target / done.stdout.split()[-1]) as wheel:
        return {name for name in wheel.namelist() if ".dist-info/" not in name}


def in_tree() -> set[str]:
    """The files of the package, as they are installed."""
    paths = [path for path in product_files(pattern="*") if "__pycache__" not in path.parts]
    names = [path.relative_to(ROOT).as_posix() for path in paths]
    return {f"tiedae/{name}" if name.partition("/")[0] in LINKED else name for name in names}


def test_wheel_sdist_and_tree_have_the_same_files(tmp_path: Path) -> None:
    source = copied(tmp_path / "source")
    assert wheel_of(source, tmp_path) == in_tree()
    done = built("build_sdist", source, tmp_path)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert wheel_of(unpacked, tmp_path / "unpacked") == in_tree()


def test_a_copy_without_links_is_not_built(tmp_path: Path) -> None:
    """GitHub's .zip has files with the names of their targets there."""
    source = copied(tmp_path / "source")
    for name in LINKED:
        (source / "tiedae" / name).unlink()
        (source / "tiedae" / name).write_text(f"../{name}", encoding="utf-8")
    done = built("build_wheel", source, tmp_path)
    assert done.returncode != 0 and "tiedae.compress" in done.stderr and not list(tmp_path.glob("*.whl"))


@pytest.mark.ci
def test_pyright_checks_every_file() -> None:
    """Each once: some versions of it follow links, so the real folders are named to it and the links left out."""
    files = [path for folder in CHECKED for path in (ROOT / folder).rglob("*.py*") if path.suffix in (".py", ".pyi")]
    with subprocess.Popen(
        [sys.executable, "-m", "pyright", "--verbose"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        found = next((line for line in process.stdout if line.startswith("Found ")), "")
        process.kill()
    assert found == f"Found {len(files)} source files\n"


def test_a_file_has_the_name_that_it_is_imported_by() -> None:
    assert module_name(ROOT / "compress" / "kernel.py") == "tiedae.compress.kernel"
    assert module_name(ROOT / "tiedae" / "codec" / "__init__.py") == "tiedae.codec"
    assert all(not path.is_symlink() for path in product_files())
