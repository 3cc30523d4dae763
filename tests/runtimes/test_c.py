"""The runtime of C files: the compiler, the cache of libraries, and what it computes."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import DataError, FormatError, NotInstalledError, UnavailableError
from tiedae.codec.backends import written_anew
from tiedae.export.c.source import to_c
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES

from ..conftest import build_program
from ..export.c.compiled import compiler, write
from ..export.c.programs import random_program
from ..variants import every

SIGNATURES = ("encode", "decode", "reconstruct")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the folder of libraries in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tiedae" / "c"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets a line from each call of the compiler that makes a library."""
    made, script = tmp_path / "calls", tmp_path / "cc"
    script.write_text(f'#!/bin/sh\ncase "$*" in *-shared*) echo "$*" >> {made};; esac\nexec {compiler()} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", f"{script} -DOF_CC=1")
    made.touch()
    return made


@pytest.mark.parametrize(
    ("seed", "widest"), every(5, [*((seed, 40) for seed in range(12)), *((seed, 200) for seed in (2, 4, 12, 22))])
)
def test_codes_and_y_of_random_programs_are_the_programs(seed: int, widest: int) -> None:
    compiler()
    program = random_program(seed, widest)
    session, rng = written_anew(program, "c"), np.random.default_rng(seed)
    for signature in SIGNATURES:
        _, source, outputs = program.part(signature)
        tensor = program.tensors[source]
        assert tensor.quantization is not None
        x = rng.integers(0, tensor.quantization.top + 1, (37, *tensor.shape)).astype(np.uint8)
        expected, got = execute(program, signature, x), session.run(signature, x)
        assert set(got) == set(outputs)
        for name in outputs:
            np.testing.assert_array_equal(got[name], expected[name])


@pytest.mark.parametrize("program", [build_program(code_bits=5), random_program(22, 200)], ids=["narrow", "wide"])
def test_a_code_of_more_bits_is_refused(program: Program) -> None:
    compiler()
    session, (units,) = written_anew(program, "c"), program.tensors["code"].shape
    codes = np.full((9, units), 31, np.uint8)
    session.run("decode", codes)
    codes[7, -1] = 32
    with pytest.raises(DataError, match=r"^decode: a code has more bits than the model's$"):
        session.run("decode", codes)


def test_a_second_load_compiles_nothing(cache: Path, log: Path) -> None:
    program = build_program()
    first = written_anew(program, "c")
    (line,) = log.read_text().splitlines()
    assert "-DOF_CC=1" in line and stat.S_IMODE(cache.stat().st_mode) == 0o700
    again = written_anew(program, "c")
    assert log.read_text().count("\n") == 1 and again.provider == first.provider
    written_anew(build_program(seed=1), "c")
    assert log.read_text().count("\n") == 2, "of another text there is none yet"
    assert sorted(path.suffix for path in cache.iterdir()) == [".so", ".so"], "nothing else is left"


def test_options_that_a_compiler_does_not_take_are_left_out(cache: Path, tmp_path: Path, monkeypatch) -> None:
    script = tmp_path / "old"
    script.write_text(f'#!/bin/sh\ncase "$*" in *-march=native*) exit 1;; esac\nexec {compiler()} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    assert written_anew(build_program(), "c").provider.endswith(", -O2")


@pytest.mark.ci
def test_processes_that_compile_at_once_all_run(cache: Path) -> None:
    compiler()
    script = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1])\n"
        "from tests.conftest import build_program; from tiedae.codec.backends import written_anew\n"
        "sys.stdin.read(1)\n"
        "print(written_anew(build_program(), 'c').run('encode', np.full((9, 20), 99, np.uint8))['code'].tobytes().hex())"
    )
    root, pipe = str(Path(__file__).parents[2]), subprocess.PIPE
    command = [sys.executable, "-c", script, root]
    children = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) for _ in range(4)]
    answers = {child.communicate("x", timeout=120)[0] for child in children}
    expected = execute(build_program(), "encode", np.full((9, 20), 99, np.uint8))["code"]
    assert answers == {expected.tobytes().hex() + "\n"} and [child.returncode for child in children] == [0] * 4
    assert [path.suffix for path in cache.iterdir()] == [".so"]


@pytest.mark.parametrize("kind", ["a file", "of others too", "read only"])
def test_a_cache_that_is_not_ours_alone_is_not_used(kind: str, cache: Path, log: Path) -> None:
    cache.parent.mkdir(parents=True)
    if kind == "a file":
        cache.write_text("")
    else:
        cache.mkdir()
        cache.chmod(0o777 if kind == "of others too" else 0o500)
    if kind == "read only" and os.access(cache, os.W_OK):
        pytest.skip("this user may write everywhere")
    for _ in range(2):
        assert written_anew(build_program(), "c").run("encode", np.zeros((1, 20), np.uint8))["code"].shape == (1, 5)
    assert log.read_text().count("\n") == 2
    assert kind == "a file" or not any(cache.iterdir())


def test_without_a_compiler_the_reason_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(to_c(build_program()), tmp_path)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match=r"^a C compiler is not installed: apt-get install gcc \(macOS: xcode-select"):
        RUNTIMES["c"].open({"encode": path})
    monkeypatch.setenv("CC", "icc -O3")
    with pytest.raises(UnavailableError, match=r"^CC: got 'icc', must be the command of a C compiler"):
        RUNTIMES["c"].open({"encode": path})


def test_text_that_the_compiler_refuses_is_named(tmp_path: Path) -> None:
    path = write(to_c(build_program()), tmp_path)
    path.write_text(path.read_text() + "int toy_more(void) { return undeclared; }\n")
    with pytest.raises(FormatError, match=rf"^{path}: {shlex.quote(compiler())} refuses it: toy\.c:\d+:.*undeclared") as caught:
        RUNTIMES["c"].open({"encode": path})
    assert "\n" not in str(caught.value)
