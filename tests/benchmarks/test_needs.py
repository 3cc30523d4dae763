"""A benchmark that needs data, a program or a package says so in one line before any work."""

import importlib
import sys
from pathlib import Path

import pytest

from tiedae.base.errors import DataError, UnavailableError
from tiedae.base.packages import INSTALL
from tiedae.data.data_sets import VARIABLE


def test_each_kind_of_need_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, benchmarks_folder: Path) -> None:
    require = importlib.import_module("needs").require
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(DataError, match=f"fashion-mnist: not found .* holds .*; set {VARIABLE} to the folder that holds"):
        require(data=("ecg", "fashion-mnist"))
    with pytest.raises(UnavailableError, match="no_such_module is not installed: pip install no_such_module"):
        require(packages=("numpy", "no_such_module"))
    with pytest.raises(UnavailableError, match=r"onnxruntime_c_api\.h is not installed: apt-get install libonnxruntime-dev"):
        require(files=(benchmarks_folder / "needs.py", tmp_path / "onnxruntime_c_api.h"))
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("node", "chromium", "clang", "wasm-ld", "cc", "javac", "gcc", "size", "qemu-x86_64"):
        with pytest.raises(UnavailableError) as raised:
            require(programs=(program,))
        assert str(raised.value) == f"{program} is not installed: {INSTALL[program]}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("apps", "node is not installed"),
        ("c_target", "fashion-mnist: not found"),
        ("codec", "fashion-mnist: not found"),
        ("foundation", "fashion-mnist: not found"),
        ("proof", "fashion-mnist: not found"),
        ("reduction", "fashion-mnist: not found"),
        ("tasks", "fashion-mnist: not found"),
    ],
)
def test_a_benchmark_says_what_it_needs_before_its_work(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(name)
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert text in line
