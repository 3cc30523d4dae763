"""The generated C on other compilers, byte orders and word sizes: what Python computed, byte for byte.

Each program is a folder of `c_project`, whose `main.c` checks golden samples and golden .tae files.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tiedae.apps.c.layout import c_project
from tiedae.codec.container import read, read_frame
from tiedae.export.c.rounding import FORMS
from tiedae.program.operations import OPERATIONS

from .compiled import STRICT, built_check, tool, write_project
from .models import CASES, GOLDEN

pytestmark = pytest.mark.ci

SANITIZE = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PROVIDED = {"memcpy", "memset", "memmove"}
"""What GCC wants of every environment, without a C library too (its manual, "Language Standards")."""


@dataclass(frozen=True)
class Machine:
    """A compiler with its options, and what runs its programs here."""

    name: str
    compiler: str
    options: tuple[str, ...]
    emulator: str = ""


MACHINES = (
    *(Machine(f"{cc} -O{level}", cc, (f"-O{level}",)) for cc in ("gcc", "clang") for level in (0, 2, 3)),
    *(Machine(f"{cc} for this processor", cc, ("-O3", "-march=native")) for cc in ("gcc", "clang")),
    Machine("gcc, sanitizers", "gcc", SANITIZE),
    Machine("clang, sanitizers", "clang", SANITIZE),
    Machine("big-endian", "s390x-linux-gnu-gcc", ("-O2", "-static"), "qemu-s390x"),
    Machine("aarch64", "aarch64-linux-gnu-gcc", ("-O2", "-static"), "qemu-aarch64"),
    Machine("riscv64", "riscv64-linux-gnu-gcc", ("-O2", "-static"), "qemu-riscv64"),
    Machine("32 bits", "i686-linux-gnu-gcc", ("-O2", "-static", "-msse2", "-mfpmath=sse"), "qemu-i386"),
)


@dataclass(frozen=True)
class Chip:
    """A microcontroller's compiler, and the routines of the compiler's own library that objects may call."""

    name: str
    target: str
    options: tuple[str, ...]
    helpers: frozenset[str] = frozenset()


THUMB = frozenset(f"__aeabi_{name}" for name in ("lmul", "llsl", "llsr", "idiv", "idivmod", "uidiv", "uidivmod"))
"""Products and shifts of 64 bits, division of 32: a Cortex-M0+ has no instructions for them."""
CHIPS = (
    Chip("Cortex-M0+", "arm-none-eabi", ("-mcpu=cortex-m0plus", "-mthumb", "-Os"), THUMB),
    Chip("Cortex-M4", "arm-none-eabi", ("-mcpu=cortex-m4", "-mthumb", "-O2")),
    Chip("RV32", "riscv64-unknown-elf", ("-march=rv32imac", "-mabi=ilp32", "-O2")),
)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model, of the model's name."""
    made = request.param.made()
    return write_project(c_project(made.source, made.golden), tmp_path_factory.mktemp("project") / made.source.name)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_c_computes_what_python_did(project: Path, machine: Machine, tmp_path: Path) -> None:
    emulator = [tool(machine.emulator)] if machine.emulator else []
    program = built_check(project, tmp_path / "check", *machine.options, cc=machine.compiler)
    done = subprocess.run([*emulator, program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{project.name}: {GOLDEN} samples equal\n", "")


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_objects_for_microcontrollers_need_no_library(project: Path, chip: Chip, tmp_path: Path) -> None:
    source, made = project / "src" / f"{project.name}.c", tmp_path / "model.o"
    command = [tool(f"{chip.target}-gcc"), *STRICT, *chip.options, "-ffreestanding", "-c", source, "-o", made]
    subprocess.run(command, check=True, timeout=300)
    listed = subprocess.run([tool(f"{chip.target}-nm"), "-u", made], capture_output=True, text=True, check=True)
    assert {line.split()[-1] for line in listed.stdout.splitlines()} <= PROVIDED | chip.helpers


def test_the_cases_have_every_operation_rounding_and_frame() -> None:
    cases = [case.made() for case in CASES]
    assert {type(each).__name__ for made in cases for each in made.program.operations} == set(OPERATIONS)
    assert {form for made in cases for form in made.source.forms.values()} == set(FORMS)
    modes = {"lossy": {0}, "bounded": {1, 2}, "lossless": {1, 2}}
    for made in cases:
        assert made.golden.anomalies is not None and set(made.golden.anomalies.tolist()) == {0, 1}
        for file in made.golden.files:
            found = read(file.content, "golden")
            assert {read_frame(file.content, frame, found.header).mode for frame in found.frames} == modes[file.kind]
