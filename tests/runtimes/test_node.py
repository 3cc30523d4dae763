"""onnxruntime-node: found or not, started or not, and its process gone with the session."""

import gc
import shutil
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.program.interpreter import execute
from tiedae.runtimes import node
from tiedae.runtimes.node import PACKAGE, VARIABLE, NodeSession, find_package

from .test_table import opened, samples, toy, write

NEEDS_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.fixture
def files(tmp_path):
    return write(tmp_path, "onnx", toy("onnx"))


def install(folder: Path, source: str) -> Path:
    """A package of that name, and its folder node_modules."""
    package = folder / "node_modules" / PACKAGE
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "onnxruntime-node", "main": "index.js"}')
    (package / "index.js").write_text(source)
    return package.parent


def test_the_package_is_that_of_the_variable(tmp_path, monkeypatch):
    modules = install(tmp_path, "")
    monkeypatch.setenv(VARIABLE, str(modules))
    assert find_package() == (modules / PACKAGE).resolve()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", f"{VARIABLE} is not set, must be the folder node_modules"),
        ("node_modules", f"{VARIABLE} names a relative path, must be an absolute one"),
        ("/nowhere", rf"is not in the folder that {VARIABLE} names: npm install .* {PACKAGE}"),
    ],
)
def test_a_package_in_the_working_folder_is_never_taken(tmp_path, monkeypatch, value, reason):
    """The reason goes into metrics.json, which names no path of the machine."""
    install(tmp_path, "")
    monkeypatch.setenv(VARIABLE, value)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnavailableError, match=reason) as caught:
        find_package()
    assert str(tmp_path) not in str(caught.value)


def test_without_node_it_says_so(files, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError, match=r"Node\.js is not installed: no program `node` on the PATH"):
        NodeSession("ort-node", files)


@NEEDS_NODE
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("throw new Error('libonnxruntime.so.1: cannot open shared object file');", r"libonnxruntime\.so\.1: cannot open"),
        ("require('./bin/napi-v6/none.node');", "Cannot find module './bin/napi-v6/none.node'"),
        ("this is not JavaScript", "SyntaxError"),
        ("process.exit(7);", r"Node\.js ended with code 7"),
    ],
)
def test_a_broken_package_is_a_reason(source, reason, files, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(install(tmp_path, source)))
    with pytest.raises(UnavailableError, match=f"{PACKAGE} does not run: .*{reason}") as caught:
        NodeSession("ort-node", files)
    assert "\n" not in str(caught.value)


@NEEDS_NODE
def test_a_package_that_hangs_is_ended(files, tmp_path, monkeypatch):
    monkeypatch.setattr(node, "PATIENCE", 0.3)
    monkeypatch.setenv(VARIABLE, str(install(tmp_path, "while (true) {}")))
    with pytest.raises(UnavailableError, match=rf"{PACKAGE} does not run: no answer in 0\.3 s"):
        NodeSession("ort-node", files)


def test_the_process_ends_with_the_session(files):
    session = opened("ort-node", files)
    assert isinstance(session, NodeSession)
    child = session._process._child
    assert child.poll() is None
    del session
    gc.collect()
    assert child.poll() is not None


def test_a_process_that_died_is_a_reason(files):
    session = opened("ort-node", files)
    assert isinstance(session, NodeSession)
    session._process._child.kill()
    session._process._child.wait()
    with pytest.raises(UnavailableError, match=rf"{PACKAGE} does not run: Node\.js ended with code -9"):
        session.run("encode", np.zeros((1, 20), np.uint8))


def test_large_batches_cross_the_pipes_whole(tmp_path):
    program = toy("onnx", widths=(2000, 8, 4))
    session = opened("ort-node", write(tmp_path, "onnx", program))
    assert session.provider.startswith(f"CPU, {PACKAGE} ")
    x = samples(program, "reconstruct", 3000)
    expected, got = execute(program, "reconstruct", x), session.run("reconstruct", x)
    for name, values in got.items():
        np.testing.assert_array_equal(values, expected[name])


def test_what_is_traced_is_the_file_that_was_opened(files, tmp_path):
    program = toy("onnx")
    session = opened("ort-node", files)
    (tmp_path / "new").write_bytes(files["decode"].read_bytes())
    (tmp_path / "new").rename(files["encode"])
    x = samples(program, "encode")
    np.testing.assert_array_equal(session.trace("encode", x)["code"], execute(program, "encode", x)["code"])


def test_a_refused_file_does_not_end_the_process(files, tmp_path):
    opened("ort-node", files)
    path = tmp_path / "broken.onnx"
    path.write_bytes(files["reconstruct"].read_bytes().replace(b"Gemm", b"Gemx"))
    with pytest.raises(FormatError, match=rf"broken\.onnx: {PACKAGE} refuses it: .*Gemx"):
        NodeSession("ort-node", {"encode": files["encode"], "reconstruct": path})
