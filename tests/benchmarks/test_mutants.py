"""The runner of mutation tests on a module of four lines: what is killed, survives or takes too long, and what is counted."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

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
    outcomes.append([outcome.name, outcome.test, Path("count").stat().st_size if outcome.name == "survived" else 0])
print(json.dumps(outcomes))
"""
RESUMED = """
import sys
from pathlib import Path
from mutant_changes import Change
from mutants import Suite, run_suite
root = Path.cwd()
sys.path.insert(0, str(root))
change = Change(Path("tiny.py"), "change", Path("tiny.py").read_text().replace("x >= 0", "x < 0"))
suite, state = Suite("tiny", root, (Path(sys.argv[1]),), ("test_tiny.py",), 9), root / "build" / "tiny.jsonl"
print(run_suite(suite, [change], state, resume=False)["change"].name)
state.write_text(state.read_text().replace("killed", "planted"))
print(run_suite(suite, [change], state, resume=True)["change"].name)
Path("test_tiny.py").write_text(Path("test_tiny.py").read_text() + "#")
print(run_suite(suite, [change], state, resume=True)["change"].name)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(SOURCE)
    (tmp_path / "test_tiny.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return tmp_path


def run(program: str, argument: str, folder: Path, benchmarks: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(benchmarks), "PATH": ""}
    command = [sys.executable, "-c", program, argument]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.ci
def test_a_change_is_killed_survives_or_runs_out_of_time(tiny: Path, benchmarks_folder: Path) -> None:
    """Each in a process of its own, in this order; the file is the same before and after."""
    small = "test_tiny.py::test_small[-3-0]"
    changes = {
        ("", ""): ["survived", "", 7],  # of the 50 examples
        ("x >= 0", "x > 0"): ["survived", "", 7],
        ("x >= 0", "x >= -9"): ["killed", small, 0],
        ("x -= 1", "x -= 0"): ["time", "", 0],
        ("def clip", "def clap"): ["killed", "", 0],
        ("x > 5", "x > 6.5"): ["killed", "test_tiny.py::test_large", 0],
        ("else 0", "else 0 "): ["survived", "", 7],
    }
    done = run(PROGRAM, json.dumps(list(changes)), tiny, benchmarks_folder)
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


@pytest.mark.ci
def test_an_interrupted_run_goes_on_and_other_tests_start_again(tiny: Path, benchmarks_folder: Path) -> None:
    done = run(RESUMED, "tiny.py", tiny, benchmarks_folder)
    assert done.stdout.split() == ["killed", "planted", "killed"], done.stderr


def test_tests_that_do_not_import_the_module_are_refused(tiny: Path, benchmarks_folder: Path) -> None:
    (tiny / "other.py").write_text("")
    assert "CheckError: tiny: its tests do not import other.py" in run(RESUMED, "other.py", tiny, benchmarks_folder).stderr


@pytest.mark.parametrize(
    ("outcomes", "reasons", "whole", "value", "detail"),
    [
        ({"a.py f: x": "killed", "a.py f: y": "time"}, (), True, 0, "of 2 changes: none"),
        ({"a.py f: x": "survived", "a.py f: y": "killed"}, (), True, 1, "of 2 changes: a.py f: x"),
        ({"a.py f: x": "survived"}, ("a.py f: x", "b.py f: x"), True, 0, "of 1 changes: none"),
        ({"a.py f: x": "killed"}, ("a.py f: x",), True, 0, "of 1 changes: none; stale: a.py f: x"),
        ({"a.py f: y": "killed"}, ("a.py f: x",), False, 0, "of 1 changes: none"),
    ],
)
def test_survivors_without_a_reason_and_reasons_without_a_survivor_are_named(
    outcomes: dict[str, str], reasons: tuple[str, ...], whole: bool, value: int, detail: str, benchmarks_folder: Path
) -> None:
    mutants, process = importlib.import_module("mutants"), importlib.import_module("mutant_process")
    suite = mutants.Suite("a", Path(), (Path("a.py"),), (), 1)
    result = mutants.Result(suite, {what: process.Outcome(name) for what, name in outcomes.items()}, whole)
    row, _ = mutants.rows_of([result], dict.fromkeys(reasons, "a reason"))
    assert (row.name, row.value, row.ok, row.detail) == ("mutants_revived", value, value == 0, detail)


def test_an_expression_explains_every_survivor_that_it_matches(tmp_path: Path, benchmarks_folder: Path) -> None:
    mutants = importlib.import_module("mutants")
    file = tmp_path / "survivors.toml"
    file.write_text(
        """
[[survivors]]
reason = "one"
changes = ["a.py f: x"]
matching = ['a\\.py .*⟦-1 → (~1|- 2)⟧.*', 'b\\.py .*']

[[survivors]]
reason = "two"
matching = ['a\\.py g: .*']
"""
    )
    survivors = {"a.py f: y(⟦-1 → ~1⟧, 3)", "a.py f: y(⟦-1 → - 2⟧)", "a.py f: y(⟦-1 → 1⟧)", "a.py g: z"}
    reasons = dict.fromkeys(["a.py f: x", *(survivors - {"a.py f: y(⟦-1 → 1⟧)", "a.py g: z"}), "b\\.py .*"], "one")
    assert mutants.explained(file, survivors) == {**reasons, "a.py g: z": "two"}
