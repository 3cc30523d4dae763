"""Changes of whole folders: the code that a forked process gets, the tests that run a function, and what is counted."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = """from __future__ import annotations
from functools import cache
LIMIT = 5
class Clipped:
    top = 9
    @property
    def low(self) -> int:
        return min(3, 4)
def clip(x: float = 1) -> float:
    return x if x >= 0 else 0
@cache
def twice(x: int) -> int:
    def again(y):
        return y + x
    return again(x)
"""
LATE = """NAME = "late"
def five():
    return 4 + 1
"""
TESTS = """
import pytest
from tiny import Clipped, clip, twice
@pytest.fixture(scope="module")
def four():
    return twice(2)
def test_clip():
    assert clip(-1) == 0
def test_four(four):
    assert four == 4
def test_low():
    assert Clipped().low == 3
def test_late():
    import late
    assert late.five() == 5
"""
RECORD = """
import json
from pathlib import Path
from mutant_changes import Change
from mutant_reach import reach_of
from mutant_process import Tests
from mutant_session import PatchError, run_session
import sys
root = Path.cwd()
sys.path.insert(0, str(root))
(root / "tests").mkdir()
(root / "tests" / "conftest.py").write_text("")
sources = {file: file.read_text() for file in (Path("tiny.py"), Path("late.py"))}
reach = reach_of(root, list(sources), [Path("test_tiny.py")], root / "reach.json", root / "tmp")
tests = Tests(root, ("test_tiny.py",), 9, root / "tmp")
found = []
def try_changes(session):
    for old, new in json.loads(sys.argv[1]):
        (file,) = [file for file, source in sources.items() if old in source]
        change = Change(file, "", sources[file].replace(old, new))
        names = reach.of(root, change)
        try:
            outcome = session.run(change, None, only=names, seconds=9).name
        except PatchError:
            outcome = "must be imported"
        found.append([[name.partition("::")[2] for name in names], outcome, reach.on_import(root, change)])
run_session(tests, try_changes)
print(json.dumps(found))
"""


@pytest.mark.ci
def test_a_change_is_tried_on_the_tests_that_run_it(tmp_path: Path, benchmarks_folder: Path) -> None:
    everything = ["test_clip", "test_four", "test_low"]
    changes = {
        ("x >= 0", "x >= -9"): (["test_clip"], "killed", False),
        ("x >= 0", "x > 0"): (["test_clip"], "survived", False),
        ("y + x", "y - x"): (["test_four"], "killed", False),  # a fixture that is shared runs it
        ("min(3, 4)", "max(3, 4)"): (["test_low"], "killed", False),
        ("LIMIT = 5", "LIMIT = 6"): (everything, "must be imported", True),
        ("top = 9", "top = 8"): (everything, "must be imported", True),
        ("@cache\n", "\n"): (["test_four"], "must be imported", False),
        ("float = 1", "float = 2"): (["test_clip"], "must be imported", False),
        ("4 + 1", "4 - 1"): (["test_late"], "must be imported", False),  # its module is imported by the test itself
    }
    (tmp_path / "tiny.py").write_text(SOURCE)
    (tmp_path / "late.py").write_text(LATE)
    (tmp_path / "test_tiny.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    environment = {"PYTHONPATH": str(benchmarks_folder), "PATH": ""}
    command = [sys.executable, "-c", RECORD, json.dumps(list(changes))]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]
    assert dict(zip(changes, found, strict=True)) == changes


@pytest.mark.parametrize(
    ("old", "new", "functions"),
    [
        ("x >= 0", "x > 0", {"clip"}),
        ("y + x", "y - x", {"twice", "twice.<locals>.again"}),
        ("min(3, 4)", "min(3, 5)", {"Clipped.low"}),
        ("# none", "", set()),
    ],
)
def test_the_code_of_functions_that_differ(old: str, new: str, functions: set[str], benchmarks_folder: Path) -> None:
    patched = importlib.import_module("mutant_session").patched
    codes = patched(Path("tiny.py"), SOURCE, SOURCE.replace(old, new))
    assert {name for _, name, _ in codes} == functions


@pytest.mark.parametrize(("old", "new"), [("LIMIT = 5", "LIMIT = 6"), ("top = 9", "top = 8"), ("float = 1", "float = 2")])
def test_what_is_computed_on_import_is_not_patched(old: str, new: str, benchmarks_folder: Path) -> None:
    session = importlib.import_module("mutant_session")
    with pytest.raises(session.PatchError, match="when it is imported"):
        session.patched(Path("tiny.py"), SOURCE, SOURCE.replace(old, new))


def test_changes_that_were_not_run_are_not_explained(benchmarks_folder: Path) -> None:
    folders, process = importlib.import_module("mutant_folders"), importlib.import_module("mutant_process")
    one = folders.Folder("one", Path(), (), (), 37, 4, 0.25)
    other = folders.Folder("other", Path(), (), (), 37, 2, 0.25)
    outcomes = {name: process.Outcome(outcome) for name, outcome in {"a": "killed", "b": "survived", "c": "survived"}.items()}
    sampled = [folders.Sampled(one, ("a", "b", "c", "d"), outcomes), folders.Sampled(other, ("e", "f"), {})]
    total, first, second = folders.rows_of(sampled, {"b": "a reason"})
    assert (total.name, total.value, total.ok) == ("mutants_unexplained", 1 + 1 + 2, False)
    assert total.detail == "of 6 changes: c; one: 1 not run; other: 2 not run"
    assert (first.value, first.ok) == (25.0, True) and (second.value, second.ok) == (0.0, True)
    (first,) = folders.rows_of([folders.Sampled(one, ("a", "b", "c", "d"), outcomes)], {"b": "", "c": ""})[1:]
    assert first.value == 50.0 and not first.ok
    (whole,) = folders.rows_of([folders.Sampled(one, ("a", "b", "c"), outcomes)], {"b": "", "c": ""})[:1]
    assert whole.value == 0 and whole.ok
    (never,) = folders.rows_of([folders.Sampled(one, (), {})], {})[:1]
    assert never.value == 4 and never.detail == "of 4 changes: none; one: 4 not run"


@pytest.mark.parametrize("without", ["", "slow or large_file"])
def test_tests_that_a_process_cannot_run_are_left_out(without: str, tmp_path: Path, benchmarks_folder: Path) -> None:
    folder = importlib.import_module("mutant_folders").Folder("one", Path(), (), (), 37, 4, 0.25, without=without)
    names = ("test_slow", "test_a_large_file", "test_fast")
    (tmp_path / "test_three.py").write_text("".join(f"def {name}(): pass\n" for name in names))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = os.environ | {"PYTEST_ADDOPTS": folder.options}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
    assert found == (["test_fast"] if without else list(names)), done.stderr
