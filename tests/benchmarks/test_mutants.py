"""The runner of mutation tests on a module of four lines: what is killed, survives and takes too long, and what the row counts."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SOURCE = """from __future__ import annotations
def clip(x: float = 1) -> float:
    while x > 5:
        x -= 1
    return x if x >= 0 else 0
"""
TESTS = """
import pytest
from hypothesis import given, settings, strategies as st
from tiny import clip
@settings(max_examples=50)
@given(st.floats(6, 7))
def test_large(x):
    with open("count", "a") as file:
        file.write(".")
    assert clip(x) <= 5
@pytest.mark.parametrize(("x", "wanted"), [(-3, 0), (2, 2)])
def test_small(x, wanted):
    assert clip(x) == wanted
"""
PROGRAM = """
import json, sys
from pathlib import Path
from mutant_changes import Change
from mutant_process import Tests
root, source, changes = Path.cwd(), Path("tiny.py").read_text(), json.loads(sys.argv[1])
sys.path.insert(0, str(root))
tests, outcomes = Tests(root, ("test_tiny.py",), 3, root / "tmp"), []
for old, new in changes:
    Path("count").unlink(missing_ok=True)
    change = Change(Path("tiny.py"), "", source.replace(old, new))
    outcome = tests.run(change, 7)
    outcomes.append([outcome.name, outcome.test, Path("count").exists() and Path("count").stat().st_size])
print(json.dumps(outcomes))
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(SOURCE)
    (tmp_path / "test_tiny.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return tmp_path


def test_a_change_is_killed_survives_or_runs_out_of_time(tiny: Path, benchmarks_folder: Path) -> None:
    """Each in a process of its own, in this order; the file is the same before and after."""
    small = "test_tiny.py::test_small[-3-0]"
    changes = {
        ("", ""): ["survived", "", 7],  # of the 50 examples
        ("x >= 0", "x > 0"): ["survived", "", 7],
        ("x >= 0", "x < 0"): ["killed", small, False],
        ("x -= 1", "x -= 0"): ["time", "", 1],
        ("def clip", "def clap"): ["killed", "", False],
        ("x > 5", "x > 6.5"): ["killed", "test_tiny.py::test_large", 2],
        ("else 0", "else 0 "): ["survived", "", 7],
    }
    program, given = [sys.executable, "-c", PROGRAM], json.dumps(list(changes))
    environment = {"PYTHONPATH": str(benchmarks_folder), "PATH": ""}
    done = subprocess.run([*program, given], cwd=tiny, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert dict(zip(changes, json.loads(done.stdout), strict=True)) == changes
    assert (tiny / "tiny.py").read_text() == SOURCE


def test_changes_are_named_by_their_line_wherever_it_is(tmp_path: Path, benchmarks_folder: Path) -> None:
    pytest.importorskip("cosmic_ray")
    changes_of = importlib.import_module("mutant_changes").changes_of
    names, keys = [], []
    for text in (SOURCE, SOURCE.replace("annotations\n", "annotations\nimport os\n\n")):
        (tmp_path / "tiny.py").write_text(text)
        found = changes_of(
            tmp_path, [Path("tiny.py")], ["core/NumberReplacer", "core/ReplaceBinary", "core/ReplaceComparison.*_(?!Gt)"]
        )
        names.append([change.what for change in found])
        keys.append([change.key for change in found])
    assert names[0] == names[1] and not set(keys[0]) & set(keys[1])
    assert "tiny.py clip: while x ⟦> → >=⟧ 5:" in names[0]
    assert not [name for name in names[0] if "def clip" in name]  # a number of the default would be there, an annotation is not
