"""tiedae/base/files.py writes every file, and follows no link of a stranger; others lie in new temporary folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from .tree import ROOT, product_files

FILES = "tiedae/base/files.py"
WRITERS = ("NamedTemporaryFile", "hardlink_to", "mkstemp", "symlink_to", "touch", "write_bytes", "write_text")
ARRAYS = ("save", "savez", "savez_compressed")
TEMPORARY = {
    "tiedae/apps/c/core.py",
    "tiedae/apps/web/wasm.py",
    "tiedae/runtimes/c.py",
    "tiedae/runtimes/node.py",
    "tiedae/runtimes/openvino_runtime.py",
    "tiedae/runtimes/sandbox.py",
    "tiedae/cli/object_size.py",
    "tiedae/pipeline/searching/trial.py",
    "tiedae/verify/bench/benchmark.py",
    "tiedae/verify/bench/subjects.py",
    "tiedae/verify/original.py",
    "tiedae/verify/original_process.py",
    "tiedae/verify/stock/converters.py",
}
"""Modules whose files lie in a `TemporaryDirectory`, or one of a child that they are told."""
NO_FILE = {
    "tiedae/bundle/bundle.py",
    "tiedae/base/archive.py",
    "export/tflite/schema.py",
    "tiedae/runtimes/child_process.py",
    "tiedae/runtimes/native_output.py",
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


def test_no_other_module_writes_files() -> None:
    writing = {path.relative_to(ROOT).as_posix() for path in product_files() if any(found(path.read_text(encoding="utf-8")))}
    assert writing == TEMPORARY | NO_FILE | {FILES}


@pytest.mark.parametrize("name", sorted(TEMPORARY - {"tiedae/verify/bench/subjects.py", "tiedae/verify/original_process.py"}))
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
