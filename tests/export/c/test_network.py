"""The network in C: its integers are the program's, all of them."""

from __future__ import annotations

import ctypes
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import ExportError, InputError
from tiedae.config.sample_spec import SampleSpec
from tiedae.export.c.kernels import Storage
from tiedae.export.c.rounding import FORMS, Form, Steps, fit_rounding
from tiedae.export.c.rounding_text import EMULATION, loop
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.c.text import identifier
from tiedae.program.interpreter import execute
from tiedae.program.operations import OPERATIONS
from tiedae.program.operations.dense import Dense
from tiedae.program.program import Program

from ...program import convolutions
from ...variants import every
from .compiled import pointer, run, sanitized, shared
from .programs import random_input, random_program

SAMPLES = 24


def agrees(source: CSource, program: Program, library: ctypes.CDLL, seed: int) -> None:
    x = random_input(program, SAMPLES, seed)
    right = execute(program, "reconstruct", x)
    sizes = {name: (program.tensors[name].shape[0], "uint8") for name in ("code", "y")}
    got = run(library, source, "reconstruct", x, sizes)
    for name in sizes:
        np.testing.assert_array_equal(got[name], right[name], f"seed {seed}: {name}")


@pytest.mark.parametrize(
    ("storage", "forms"),
    [("dense", FORMS), ("sparse", FORMS), ("dense", ("exceptions", "emulation")), ("dense", ("emulation",))],
    ids=["dense", "sparse", "no shift alone", "emulation"],
)
@pytest.mark.parametrize("seed", every(3, range(10)))
def test_c_gives_the_integers_of_a_random_program(seed: int, storage: Storage, forms: tuple[Form, ...], tmp_path: Path) -> None:
    program = random_program(seed)
    source = to_c(program, storage=storage, forms=forms)
    assert set(source.forms.values()) <= set(forms)
    agrees(source, program, shared(source, tmp_path, "-O0"), seed)


@pytest.mark.ci
@pytest.mark.parametrize(
    "flags", [("-O2",), ("-O3", "-mavx2"), pytest.param(("-O3", "-march=native"), marks=pytest.mark.ci)], ids=" ".join
)
@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("seed", [4, 8, 59])
def test_wide_programs_too_with_vectors(seed: int, storage: Storage, flags: tuple[str, ...], tmp_path: Path) -> None:
    """Rows of whole blocks and of the rest, more than 256 units, kernels with and without the pair rule."""
    if "-mavx2" in flags and "avx2" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        pytest.skip("this processor has no AVX2")
    program = random_program(seed, 500)
    source = to_c(program, storage=storage)
    agrees(source, program, shared(source, tmp_path, *flags), seed)


def test_random_programs_have_every_operation_and_layout() -> None:
    programs = [random_program(seed) for seed in range(10)]
    convolved = [convolutions.random_program(seed)[0] for seed in range(10)]
    assert {type(each).__name__ for program in programs + convolved for each in program.operations} == set(OPERATIONS)
    assert {kernel.bits for program in programs for kernel in program.kernels.values()} == set(range(2, 9))
    texts = [to_c(program).source for program in programs]
    assert any("packed" in text for text in texts)
    assert any("dense" in text for text in texts)


STEPS = st.builds(
    lambda multiplier, span, centre, zero_point, low: Steps(
        np.array([centre - span]), np.array([centre + span]), np.float32([multiplier]), zero_point, low, 255
    ),
    st.floats(-5, 0.5).map(lambda exponent: 10**exponent),
    st.integers(0, 2**27),
    st.integers(-(2**22), 2**22),
    st.integers(0, 255),
    st.integers(0, 200),
)


@given(STEPS, st.sampled_from([FORMS, ("exceptions", "emulation")]))
@settings(max_examples=150, deadline=None)
def test_a_formula_is_exact_at_every_threshold(steps: Steps, forms: tuple[Form, ...]) -> None:
    found = fit_rounding(steps, forms)
    if found.form == "emulation":
        return
    least, most = int(steps.least[0]), int(steps.most[0])
    near = [steps.thresholds[0] + d for d in range(-2, 3)] + [np.linspace(least, most, 999).astype(np.int64)]
    sums = np.unique(np.clip(np.concatenate(near), least, most))
    wide = sums.astype(object) * int(found.multiplier[0]) + int(found.addend[0])
    assert max(abs(wide.min()), abs(wide.max())) < 1 << found.bits - 1
    got = steps.low + np.clip(np.array([max(each, 0) >> found.shift for each in wide], np.int64), 0, steps.high - steps.low)
    for _, accumulator, value in found.exceptions:
        got[sums == accumulator] = value
    np.testing.assert_array_equal(got, steps.values(sums[None])[0])


@pytest.mark.parametrize("forms", [("emulation",), FORMS], ids=["emulation", "any form"])
@pytest.mark.parametrize(("multiplier", "span"), [(3e-5, 2**26), (4.7e-3, 2**20), (0.9, 2**12), (3e7, 2**10), (1e-12, 2**30)])
def test_c_rounds_as_the_program(multiplier: float, span: int, forms: tuple[Form, ...], tmp_path: Path) -> None:
    """Sums beyond 2²⁴ too, which binary32 rounds first, and results beyond 32 bits."""
    steps = Steps(np.array([-span]), np.array([span]), np.float32([multiplier]), 100, 3, 250)
    found = fit_rounding(steps, forms)
    emulation, body = EMULATION if found.form == "emulation" else "", "\n".join(loop("tae", found, 20_000))
    text = f"#include <stddef.h>\n#include <stdint.h>\n{emulation}\nvoid tae_test(const int32_t *sums, uint8_t *y)"
    header = "#include <stdint.h>\nvoid tae_test(const int32_t *sums, uint8_t *y);\n"
    source = CSource("tae", f'#include "tae.h"\n{text}\n{{\nsize_t j;\n{body}\n}}\n', header, "", 4, {})
    rng = np.random.default_rng(0)
    ties = np.rint((np.arange(-150, 150) + 0.5) / multiplier)
    sums = np.concatenate([rng.integers(-span, span + 1, 19_400), np.clip(ties, -span, span), np.clip(ties + 1, -span, span)])
    sums, y = sums.astype(np.int32), np.zeros(20_000, np.uint8)
    shared(source, tmp_path).tae_test(pointer(sums), pointer(y))
    np.testing.assert_array_equal(y, steps.values(sums[None])[0])


def test_a_listed_sum_is_that_of_the_input_whose_place_the_output_takes(tmp_path: Path) -> None:
    """156 becomes 128, of which the sum would be the listed one."""
    steps = Steps(np.array([-128]), np.array([127]), np.float32([1.0]), 100, 0, 255)
    listed = replace(fit_rounding(steps), exceptions=((0, 0, 77),))
    body = "\n".join(loop("tae", listed, 256, "((int32_t)y[j] - 128)"))
    header = "#include <stdint.h>\nvoid tae_test(uint8_t *y);\n"
    text = f'#include "tae.h"\n#include <stddef.h>\nvoid tae_test(uint8_t *y)\n{{\nsize_t j;\n{body}\n}}\n'
    y = np.arange(256, dtype=np.uint8)
    shared(CSource("tae", text, header, "", 4, {}), tmp_path).tae_test(pointer(y))
    np.testing.assert_array_equal(y, [77 if x == 128 else min(max(x - 28, 0), 255) for x in range(256)])


@pytest.mark.parametrize(("signature", "other"), [("encode", "decode"), ("decode", "encode")])
def test_a_file_of_one_half_leaves_the_other_out(signature: str, other: str, tmp_path: Path) -> None:
    program = random_program(0)
    source, whole = to_c(program, signatures=[signature]), to_c(program)
    assert len(source.source) < len(whole.source)
    assert f"random_fused_{other}" not in source.source + source.header
    x = random_input(program, SAMPLES, 0)
    right = execute(program, "reconstruct", x)
    given, wanted = (x, "code") if signature == "encode" else (right["code"], "y")
    size = program.tensors[wanted].shape[0]
    got = run(shared(source, tmp_path), source, signature, given, {wanted: (size, "uint8")})
    np.testing.assert_array_equal(got[wanted], right[wanted])


EVIL = "*/ int evil = 1; /* \u00e9\n#ifndef E\n#define E\n[1] = {0}; int evil = 1; static const int8_t more\n#endif\n"
"""A name that closes a comment, and that is a definition where it stands alone."""


def test_names_are_no_text_of_the_file(tmp_path: Path) -> None:
    """`ta.load(…, runtime="c")` compiles what is written of a stranger's manifest: its names must not be code."""
    program = random_program(0)
    kernels = {EVIL + name: replace(kernel, name=EVIL + name) for name, kernel in program.kernels.items()}
    constants = {EVIL + name if name in program.kernels else name: values for name, values in program.constants.items()}
    encoder, decoder = (
        tuple(replace(each, kernel=EVIL + each.kernel) if isinstance(each, Dense) else each for each in part)
        for part in (program.encoder, program.decoder)
    )
    program = replace(program, name=EVIL, kernels=kernels, constants=constants, encoder=encoder, decoder=decoder)
    for storage in ("dense", "sparse"):
        source = replace(to_c(program, storage=storage), name="evil")
        library = shared(replace(source, source=re.sub(r"\A.*", '#include "evil.h"', source.source)), tmp_path)
        assert not hasattr(library, "evil")


def test_codes_beyond_the_bits_and_missing_buffers_are_statuses(tmp_path: Path) -> None:
    program = next(each for each in map(random_program, range(99)) if each.quantization("code").bits < 8)
    source = to_c(program)
    library, arena = shared(source, tmp_path), (ctypes.c_int32 * (source.arena // 4))()
    code, y = (np.zeros(program.tensors[name].shape, np.uint8) for name in ("code", "y"))
    decode = getattr(library, f"{source.name}_decode")
    assert decode(arena, pointer(code), pointer(y)) == 0
    code[-1] = program.quantization("code").top + 1
    assert decode(arena, pointer(code), pointer(y)) == 4
    assert [decode(None, pointer(code), pointer(y)), decode(arena, None, pointer(y)), decode(arena, pointer(code), None)] == [
        2
    ] * 3


def test_the_file_can_hold_the_arena(tmp_path: Path) -> None:
    program = random_program(2)
    source = to_c(program)
    name = f"-D{source.name.upper()}_STATIC_ARENA"
    library = shared(source, tmp_path, name)
    x = random_input(program, 2, 2)
    code = np.zeros(program.tensors["code"].shape, np.uint8)
    assert getattr(library, f"{source.name}_encode")(None, pointer(x[1]), pointer(code)) == 0
    np.testing.assert_array_equal(code, execute(program, "encode", x)["code"][1])


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_no_byte_outside_of_arena_and_buffers_is_touched(storage: Storage, tmp_path: Path) -> None:
    """All blocks have their exact sizes on the heap, under AddressSanitizer and UBSan."""
    program = random_program(8)
    x = random_input(program, 3, 8)
    right = execute(program, "reconstruct", x)
    found = sanitized(to_c(program, storage=storage), x, program, tmp_path)
    assert found == b"".join(right["code"][i].tobytes() + right["y"][i].tobytes() for i in range(len(x)))


def test_wrong_calls_are_errors() -> None:
    program = random_program(0)
    with pytest.raises(InputError, match="signature: got 'both'"):
        to_c(program, signatures=["both"])
    with pytest.raises(ExportError, match="storage: got 'packed', must be one of dense, sparse"):
        to_c(program, storage="packed")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="data of float16: C has no such type"):
        to_c(program, unit=DataUnit(SampleSpec(program.tensors["x"].shape, "float16")))
    with pytest.raises(ExportError, match="got forms shift, none of them is exact"):
        fit_rounding(Steps(np.array([-(2**27)]), np.array([2**27]), np.float32([1.2345e-5]), 128, 0, 255), ["shift"])


def test_sums_beyond_32_bits_are_an_error() -> None:
    program = random_program(0)
    operation = next(each for each in program.encoder if isinstance(each, Dense) and each.bias)
    assert isinstance(operation, Dense) and operation.bias is not None
    large = np.full_like(program.constants[operation.bias], 2**31 - 1)
    wide = replace(program, constants={**program.constants, operation.bias: large})
    with pytest.raises(ExportError, match=r"sums reach 2,147,4.*, C holds them in 32 bits"):
        to_c(wide)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("fashion", "fashion"),
        ("ECG-5000 (mini)", "ecg_5000_mini"),
        ("3d", "m_3d"),
        ("int", "m_int"),
        ("features", "m_features"),
        ("Signal", "m_signal"),
        ("arm-acle", "m_arm_acle"),
        ("Überraschung", "berraschung"),
        ("…", "m"),
        ("TAE_OK", "m_tae_ok"),
        ("tae", "tae"),
        ("a" * 500, "a" * 48),
    ],
)
def test_a_name_becomes_an_identifier(name: str, right: str) -> None:
    assert identifier(name) == right
