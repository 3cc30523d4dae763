"""The generated C on cores without a system, from flash to the exit code: golden samples and golden .tae files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tiedae.apps.c.layout import c_project

from .boards import BOARDS, COUNTING, FOLDER, Board, run
from .compiled import tool, write_project
from .models import CASES, GOLDEN

pytestmark = pytest.mark.ci

README = (FOLDER / "README.md").read_text(encoding="utf-8")
LOOPS = 100_000
PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "board.h"

#ifdef __arm__
#define LOOP "1: subs %0, %0, #1\\n bne 1b"
#else
#define LOOP "1: addi %0, %0, -1\\n bnez %0, 1b"
#endif

const int constant = 5;
static volatile int initial[] = {3, 4}, zero[2];

static char __attribute__((noinline)) deep(void)
{
  volatile char bytes[5000];
  return bytes[0] = 1;
}

int main(void)
{
  uint32_t n = LOOPS, before = board_instructions();
  __asm__ volatile(LOOP : "+r"(n) : : "memory");
  before = board_instructions() - before;
  n = board_stack_used();
  (void)deep();
  printf("%lu %lu %lu %s\\n", (unsigned long)before, (unsigned long)n, (unsigned long)board_stack_used(), "bytes");
#ifdef WRITE
  *(volatile int *)&constant = 6;
#endif
  return initial[0] + initial[1] + zero[0] + zero[1];
}
"""


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model, of the model's name."""
    made = request.param.made()
    return write_project(c_project(made.source, made.golden), tmp_path_factory.mktemp("project") / made.source.name)


@pytest.fixture(params=BOARDS, ids=lambda board: board.name)
def board(request: pytest.FixtureRequest) -> Board:
    return request.param


def test_a_core_computes_what_python_did(project: Path, board: Board, tmp_path: Path) -> None:
    assert run(board, tmp_path, f"FOLDER={project}", f"NAME={project.name}") == (0, f"{project.name}: {GOLDEN} samples equal\n")


@pytest.mark.parametrize(("array", "what"), [("code", "code"), ("lossy", "lossy file")])
def test_a_wrong_golden_value_is_an_exit_code(project: Path, board: Board, array: str, what: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(project, tmp_path / project.name))
    golden = folder / "examples" / "check" / f"{project.name}_golden.h"
    golden.write_text(with_other_value(golden.read_text(encoding="utf-8"), f"golden_{array}"), encoding="utf-8")
    code, text = run(board, tmp_path, f"FOLDER={folder}", f"NAME={project.name}")
    assert code == 1 and text.startswith(f"{project.name}: {what} differs at ")


def with_other_value(text: str, array: str) -> str:
    """C with another last value, below 256, of an array."""
    found = re.search(rf"\b{array}\[\d*\] = {{[^}}]*?(\d+),?\s*}}", text)
    assert found is not None
    return text[: found.start(1)] + str(int(found[1]) ^ 1) + text[found.end(1) :]


@pytest.mark.parametrize("options", ["-O0", "-O2"])
def test_instructions_and_the_stack_are_counted(board: Board, options: str, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM.replace("LOOPS", str(LOOPS)), encoding="utf-8")
    status, text = run(board, tmp_path, f"MAIN={tmp_path}/main.c", COUNTING, options=options)
    instructions, before, deepest = map(int, text.split()[:3])
    assert status == 7 and text.endswith(" bytes\n")
    assert 0 <= instructions - 2 * LOOPS <= 120
    assert before < 300 and 5000 <= deepest < 5000 + 300


def test_flash_is_read_only(board: Board, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(PROGRAM.replace("LOOPS", str(LOOPS)), encoding="utf-8")
    status, text = run(board, tmp_path, f"MAIN={tmp_path}/main.c", COUNTING, options="-O2 -DWRITE")
    assert status == 3 and text.splitlines()[1:] == ["fault"]


def test_the_readme_counts(board: Board, tmp_path: Path) -> None:
    source = re.search(r"^```c\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert source is not None
    (tmp_path / "count.c").write_text(source[1], encoding="utf-8")
    status, text = run(board, tmp_path, f"MAIN={tmp_path}/count.c", COUNTING)
    numbers = re.fullmatch(r"(\d+) instructions, (\d+) B of stack\n", text)
    assert status == 0 and numbers is not None
    assert 5_000 < int(numbers[1]) < 30_000 and 50 < int(numbers[2]) < 400


def test_the_readme_builds_without_make(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "boards")
    (tmp_path / "c").symlink_to(FOLDER.parent / "c")
    compiled, emulated = [
        shlex.split(line.replace("\\\n", " "))
        for line in re.findall(r"^    ((?:arm|qemu)-(?:.*\\\n)*.*)", README, re.MULTILINE)
    ]
    for command in (compiled, emulated):
        done = subprocess.run(
            [tool(command[0]), *command[1:]], cwd=tmp_path / "boards", capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "heartbeat: 8 samples equal\n" in done.stdout + done.stderr
