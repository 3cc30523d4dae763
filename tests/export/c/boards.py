"""Programs of examples/boards in the emulators of their cores."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .compiled import tool

FOLDER = Path(__file__).parents[3] / "examples" / "boards"
STRICT = "-Wpedantic -Wconversion -Werror"
COUNTING = "QEMU=-icount shift=0"


@dataclass(frozen=True)
class Board:
    """A board by its name in the Makefile, with what compiles for it and its emulator."""

    name: str
    target: str
    emulator: str


BOARDS = (
    Board("mps2-an386", "arm-none-eabi", "qemu-system-arm"),
    Board("virt", "riscv64-unknown-elf", "qemu-system-riscv32"),
)


def run(board: Board, build: Path, *variables: str, options: str = "-O2") -> tuple[int, str]:
    """The exit code and the text of a program, built without a warning in `build`; `variables` are make's."""
    for name in ("make", f"{board.target}-gcc", board.emulator):
        tool(name)
    command = [
        "make",
        "-s",
        "-C",
        FOLDER,
        "run",
        f"BOARD={board.name}",
        f"BUILD={build}",
        f"CFLAGS={options} {STRICT}",
        *variables,
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    failed = re.search(r"^make(?:\[\d+\])?: \*\*\* \[Makefile:\d+: (\w+)\] Error (\d+)\n", done.stdout, re.MULTILINE)
    if failed is None:
        assert done.returncode == 0, done.stdout[:3000]
        return 0, done.stdout
    assert failed[1] == "run", done.stdout[:3000]
    return int(failed[2]), done.stdout.replace(failed[0], "")
