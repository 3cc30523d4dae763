"""Convolutions in C: the program's integers over one stored kernel, in memory that is stated before compiling."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import ExportError
from tiedae.compress.integers import kernel_bounds
from tiedae.export.c.kernels import STORAGES, Storage
from tiedae.export.c.reader import read_c
from tiedae.export.c.source import to_c
from tiedae.export.storage_check import prove
from tiedae.program.interpreter import execute
from tiedae.program.operations import Convolution, Dense, Operation, Patches, Reshape
from tiedae.program.program import Program

from ...program.convolution_nets import Layer, net_program
from ...program.convolutions import random_program
from ...variants import every
from .compiled import run, sanitized, shared, write


def with_bits(program: Program, bits: int) -> Program:
    """Its kernels in fewer bits."""
    kernels = {name: replace(kernel, bits=bits) for name, kernel in program.kernels.items()}
    values = {name: program.constants[name] >> 8 - bits for name in kernels}
    assert all(each.min() >= kernel_bounds(bits)[0] for each in values.values())
    return replace(program, kernels=kernels, constants={**program.constants, **values})


def of_seed(seed: int) -> tuple[Program, np.ndarray, Storage]:
    """A random program, samples of its `x`, and a storage: every third program has kernels of 3 bits."""
    program, x = random_program(seed)
    return with_bits(program, 3) if seed % 3 == 0 else program, x, STORAGES[seed // 3 % 2]


def agrees(program: Program, x: np.ndarray, storage: Storage, folder: Path, *flags: str) -> None:
    source, right = to_c(program, storage=storage), execute(program, "reconstruct", x)
    sizes = {name: (program.tensors[name].size, "uint8") for name in ("code", "y")}
    got = run(shared(source, folder, *flags), source, "reconstruct", np.ascontiguousarray(x), sizes)
    for name in sizes:
        np.testing.assert_array_equal(got[name], right[name].reshape(len(x), -1), name)


@pytest.mark.parametrize("seed", every(17, range(100)))
def test_c_gives_the_integers_of_a_random_program(seed: int, tmp_path: Path) -> None:
    agrees(*of_seed(seed), tmp_path, "-O0")


@pytest.mark.parametrize("flags", every(3, ["-O2", "-O3 -mavx2", "-O3 -march=native"]))
@pytest.mark.parametrize("sample", every(2, [((9, 7, 3),), ((11, 4),)]))
@pytest.mark.parametrize("storage", every(2, STORAGES))
def test_wide_layers_too_with_vectors(storage: Storage, sample: tuple[int, ...], flags: str, tmp_path: Path) -> None:
    """Rows of whole blocks and of the rest, in both directions."""
    if "-mavx2" in flags and "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    program, x = net_program("wide", sample, (Layer(84, 3, 2), Layer(300, 2), Layer(70, 3, 1)))
    agrees(program, x, storage, tmp_path, *flags.split())


@pytest.mark.parametrize("seed", every(3, [6, 9, 13]))
def test_no_byte_outside_of_arena_and_buffers_is_touched(seed: int, tmp_path: Path) -> None:
    program, x, storage = of_seed(seed)
    assert any(isinstance(each, Convolution) for each in program.operations)
    right = execute(program, "reconstruct", x)
    found = sanitized(to_c(program, storage=storage), x, program, tmp_path)
    assert found == b"".join(right["code"][i].tobytes() + right["y"][i].tobytes() for i in range(len(x)))


@pytest.mark.parametrize("seed", range(8))
def test_each_kernel_is_stored_once(seed: int, tmp_path: Path) -> None:
    program, _, storage = of_seed(seed)
    contents = read_c(write(to_c(program, storage=storage), tmp_path))
    assert [str(each) for each in prove(contents, program) if not each.ok] == []
    shapes = {name: next(s for s in contents.signatures if s.name == name) for name in ("encode", "decode")}
    assert shapes["encode"].outputs[0].shape == shapes["decode"].inputs[0].shape == (None, *program.tensors["code"].shape)


@pytest.mark.parametrize("sample", [(28, 28, 1), (1024, 2)])
def test_memory_is_two_activations_and_the_sums_of_a_window(sample: tuple[int, ...]) -> None:
    """The sums of the layer before may leave a gap of their size."""
    program, _ = net_program("net", sample, (Layer(16, 3, 2), Layer(8, 3, 1, 2)))
    source = to_c(program)

    def needs(operation: Operation) -> tuple[int, int]:
        """Bytes of activations, and of sums with the row of a window."""
        x, y = (program.tensors[name] for name in (operation.x, operation.y))
        tensors = sum(each.size for each in (x, y) if each.name not in ("x", "code", "y"))
        if not isinstance(operation, Convolution):
            return tensors, 0
        inputs = program.kernels[operation.kernel].inputs
        return tensors, 4 * 3 * y.shape[-1] if operation.transposed else 4 * y.shape[-1] + inputs

    found = list(map(needs, program.operations))
    most, gap = max(map(sum, found)), max(sums for _, sums in found)
    assert most <= source.arena <= most + gap + 8
    assert gap <= 0.1 * most
    assert f"_ARENA_BYTES {source.arena}\n" in source.header


def test_what_only_names_values_anew_has_no_function() -> None:
    """`Reshape`, and windows that are lines of a sample already."""
    program, _ = random_program(6)
    anew = [each for each in program.operations if isinstance(each, Reshape)]
    text, written = to_c(program).source, len(list(program.operations))
    assert anew and any(isinstance(each, Patches) for each in program.encoder)
    assert len(re.findall(r"^static void conv_step_\d+\(", text, re.MULTILINE)) == written - len(anew) - 2


def test_sums_beyond_32_bits_are_an_error() -> None:
    program, _ = random_program(0)
    for operation in program.operations:
        if isinstance(operation, Convolution) and operation.bias is not None:
            constants = {**program.constants, operation.bias: np.full_like(program.constants[operation.bias], 2**31 - 1)}
            with pytest.raises(ExportError, match=rf"^{re.escape(operation.y)}: sums reach 2,\d.*, C holds them in 32 bits"):
                to_c(replace(program, constants=constants))


def test_gains_and_scales_per_unit_occur() -> None:
    programs = [random_program(seed)[0] for seed in range(0, 100, 17)]
    assert any(isinstance(each, Dense) and each.gains for program in programs for each in program.operations)
    assert any(len(kernel.scales) > 1 for program in programs for kernel in program.kernels.values())
