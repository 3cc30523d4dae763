"""compress/files.py writes every file, and follows no link that a stranger put there; others lie in new temporary folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .pages import ROOT

FILES = "compress/files.py"
FOLDERS = (
    *("apps", "bundle", "calibration", "codec", "compress", "dedupe", "entropy", "export", "program", "report"),
    *("runtimes", "tasks", "toolkit", "verify"),
)
WRITERS = ("NamedTemporaryFile", "hardlink_to", "mkstemp", "symlink_to", "touch", "write_bytes", "write_text")
ARRAYS = ("save", "savez", "savez_compressed")
TEMPORARY = {
    "apps/c/core.py",
    "apps/web/wasm.py",
    "runtimes/c.py",
    "runtimes/node.py",
    "runtimes/openvino_runtime.py",
    "runtimes/sandbox.py",
    "toolkit/object_size.py",
    "toolkit/searching/trial.py",
    "verify/bench/benchmark.py",
    "verify/bench/subjects.py",
    "verify/original.py",
    "verify/original_process.py",
    "verify/stock/converters.py",
}
"""Modules whose files lie in a `TemporaryDirectory`, or one of a child that they are told."""
NO_FILE = {
    "bundle/bundle.py",
    "compress/archive.py",
    "export/tflite/schema.py",
    "runtimes/child_process.py",
    "runtimes/native_output.py",
}
"""Modules that write arrays into a buffer, or open a descriptor that is there."""


def writes(call: ast.Call) -> bool:
    """Whether a call may open a file for writing."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    texts = [each.value for each in (*call.args, *(key.value for key in call.keywords)) if isinstance(each, ast.Constant)]
    if name in ("open", "fdopen", "ZipFile"):
        flags = {node.attr for node in ast.walk(call) if isinstance(node, ast.Attribute)}
        return bool(flags & {"O_WRONLY", "O_RDWR"}) or any(
            isinstance(text, str) and len(text) <= 3 and set(text) & set("wax+") for text in texts
        )
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return name in WRITERS or (name in ARRAYS and isinstance(owner, ast.Name) and owner.id == "np")


def found(text: str) -> Iterator[int]:
    """The lines of calls that may write a file."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and writes(node):
            yield node.lineno


def modules() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_other_module_writes_files() -> None:
    writing = {path.relative_to(ROOT).as_posix() for path in modules() if any(found(path.read_text(encoding="utf-8")))}
    assert writing == TEMPORARY | NO_FILE | {FILES}


@pytest.mark.parametrize("name", sorted(TEMPORARY - {"verify/bench/subjects.py", "verify/original_process.py"}))
def test_its_folder_is_temporary(name: str) -> None:
    assert "TemporaryDirectory(" in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "text",
    ["path.open('w')", "open(path, mode='r+b')", "path.write_text('')", "np.save(path, x)", "os.open(path, os.O_WRONLY)"],
)
def test_a_call_that_writes_is_found(text: str) -> None:
    assert [*found(text)] == [1]


@pytest.mark.parametrize("text", ["path.open('rb')", "open(path)", "model.save(path)", "os.open(path, os.O_RDONLY)"])
def test_one_that_reads_is_not(text: str) -> None:
    assert not [*found(text)]
