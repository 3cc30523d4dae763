"""A program with another scale of its codes: the same kernels, centred codes, reals up to half a step, in every target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiedae.base.errors import ExportError, InputError
from tiedae.bundle.bundle import model_files
from tiedae.compress.affine import Quantization
from tiedae.config.config import ExportConfig
from tiedae.export.code_scale import factor_limits, with_code, with_factor
from tiedae.export.targets import TARGETS, Programs
from tiedae.program.interpreter import execute
from tiedae.program.operations import Dense
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES

from ..conftest import build_program

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "relu code": {"activations": ("relu", "relu")},
    "relu6 code": {"activations": ("relu", "relu6")},
    "one layer": {"widths": (20, 5), "activations": ("linear",)},
    "unit": {"granularity": "unit"},
    "no bias": {"bias": False},
    "code of 5 bits": {"code_bits": 5},
    "kernels of 4 bits": {"bits": 4},
    "interleaved": {"interleave": 4},
    "gains": {"gains": True},
    "floats": {"byte_data": False, "output_activation": "linear"},
}


def programs_of(**options: Any) -> Programs:
    return Programs(*(build_program(form=form, **options) for form in ("split", "fused")))


def run(program: Program, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = execute(program, "reconstruct", x)
    return values["code"], values["y"]


def samples(program: Program, count: int = 400) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, *program.tensors["x"].shape)).astype(np.uint8)


@pytest.fixture(params=OPTIONS)
def programs(request: pytest.FixtureRequest) -> Programs:
    return programs_of(**OPTIONS[request.param])


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0, 3.0])
def test_kernels_stay_and_codes_keep_their_reals(programs: Programs, factor: float) -> None:
    before, after = programs.reference, with_factor(programs, samples(programs.reference), factor).reference
    x = samples(before)
    old, new = before.quantization("code"), after.quantization("code")
    assert new.scale == float(np.float32(old.scale * factor)) and new.bits == old.bits
    assert {name: after.constants[name] is before.constants[name] for name in before.kernels} == dict.fromkeys(
        before.kernels, True
    )
    assert after.kernels == before.kernels and (after.encoder, after.decoder) == (before.encoder, before.decoder)
    (codes, _), (coarse, _) = run(before, x), run(after, x)
    inside = (coarse > 0) & (coarse < new.top) & (codes > 0) & (codes < old.top)
    assert inside.mean() > 0.1
    gap = np.abs(old.dequantize(codes) - new.dequantize(coarse))[inside]
    assert gap.max() <= 0.5001 * (old.scale + new.scale)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0])
def test_codes_are_centred_in_their_bits(programs: Programs, factor: float) -> None:
    before = programs.reference
    after = with_factor(programs, samples(before), factor).reference
    found = run(after, samples(before))[0].astype(int)
    code = after.quantization("code")
    if getattr(before.encoder[-1], "activation", "") in ("relu", "relu6"):
        assert code.zero_point == before.quantization("code").zero_point == found.min()
        return
    margins = int(found.min()), code.top - int(found.max())
    assert abs(margins[0] - margins[1]) <= 4 and min(margins) > 0


def test_both_layouts_give_the_same_codes_and_reconstruct_like_before(programs: Programs) -> None:
    x = samples(programs.reference)
    _, y = run(programs.reference, x)
    coarser = with_factor(programs, x, 1.25)
    np.testing.assert_array_equal(run(coarser.split, x)[0], run(coarser.fused, x)[0])
    quantization = programs.reference.quantization("y")
    span = np.ptp(quantization.dequantize(y))
    for layout, before in ((coarser.split, programs.split), (coarser.fused, programs.fused)):
        gap = quantization.dequantize(run(layout, x)[1]) - quantization.dequantize(run(before, x)[1])
        limit = 0.02 if programs.reference.quantization("code").bits == 8 else 0.1
        assert np.sqrt(np.square(gap).mean()) < limit * span and abs(gap.mean()) < limit * span / 3


@pytest.mark.parametrize("target", TARGETS)
def test_files_compute_what_the_program_does(programs: Programs, target: str, tmp_path: Path) -> None:
    from tiedae.runtimes.table import usual

    x = samples(programs.reference)
    changed = with_factor(programs, x, 2.0)
    files = model_files({"int8": changed}, ExportConfig(targets=(target,)), "uint8")
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    suffix = TARGETS[target].suffix
    whole = next(name for name in files if name in (f"toy.int8{suffix}", f"toy{suffix}"))
    session = RUNTIMES[usual(target)].open({"reconstruct": tmp_path / whole})
    got, (codes, y) = session.run("reconstruct", x), run(changed.of(target), x)
    np.testing.assert_array_equal(got["code"], codes)
    np.testing.assert_array_equal(got["y"], y)


@given(st.integers(0, 20), st.floats(0.3, 6))
def test_biases_of_the_decoder_keep_their_reals(seed: int, factor: float) -> None:
    program = build_program(seed=seed)
    old = program.quantization("code")
    after = with_code(program, Quantization(float(np.float32(old.scale * factor)), old.zero_point))
    reader = next(operation for operation in after.decoder if operation.x == "code")
    assert isinstance(reader, Dense) and reader.bias is not None
    before, now = (each.constants[reader.bias] * reader.bias_scales(each).astype(np.float64) for each in (program, after))
    assert (np.abs(before - now) <= 0.5 * reader.bias_scales(after)[0] + 2e-7 * np.abs(before)).all()  # scales are float32
    same = [name for name in program.constants if after.constants[name] is program.constants[name]]
    assert set(program.constants) - set(same) == {reader.bias}


@pytest.mark.parametrize("factor", [0, -2, float("nan"), float("inf")])
def test_a_factor_is_a_positive_number(factor: float) -> None:
    with pytest.raises(InputError, match=r"factor: got .*, must be a number above 0: the factor on the scale of the codes"):
        with_factor(programs_of(), np.zeros((1, 20), np.uint8), factor)


@pytest.mark.parametrize("side", [0, 1])
def test_products_limit_the_factor(side: int) -> None:
    programs = programs_of()
    limit = factor_limits(programs)[side]
    beyond, within = (limit * 1.01, limit * 0.99) if side else (limit * 0.99, limit * 1.01)
    x = samples(programs.reference)
    with pytest.raises(InputError, match=rf"factor: got {beyond:g}, must lie in .*….*, which the program's products allow"):
        with_factor(programs, x, beyond)
    if side:
        with_factor(programs, x, within)
    else:  # nearly all codes saturate
        with pytest.raises(InputError, match="units have one code for all training samples; must be nearer to 1"):
            with_factor(programs, x, within)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_codes_of_a_fixed_scale_have_no_factor(activation: str) -> None:
    programs = programs_of(activations=("relu", activation))
    with pytest.raises(InputError, match=f"factor: {activation} fixes the scale of the codes"):
        with_factor(programs, np.zeros((1, 20), np.uint8), 2.0)


def test_float_programs_have_no_factor(make_program: Callable[..., Program]) -> None:
    program = make_program(quantized=False)
    with pytest.raises(InputError, match="is float, must be an integer program"):
        with_factor(Programs(program, program), np.zeros((1, 20), np.uint8), 2.0)
    with pytest.raises(ExportError, match="tensor code is not quantized"):
        with_code(program, Quantization(1.0, 0))


def test_a_bias_beyond_32_bits_is_refused(make_program: Callable[..., Program]) -> None:
    program = make_program()
    bias = next(operation.bias for operation in program.decoder if isinstance(operation, Dense) and operation.x == "code")
    large = {**program.constants, bias: np.full_like(program.constants[bias], 2**30)}
    program = Program(program.name, program.tensors, program.kernels, program.encoder, program.decoder, large)
    old = program.quantization("code")
    with pytest.raises(InputError, match="products and the bias can overflow a 32-bit accumulator"):
        with_code(program, Quantization(float(np.float32(old.scale / 4)), old.zero_point))


def test_a_factor_of_one_code_is_refused(make_program: Callable[..., Program]) -> None:
    programs = programs_of()
    x = np.repeat(samples(programs.reference, 1), 50, axis=0)
    with_factor(programs, x, 4.0)  # units that never change are not the factor's fault
    x[:, 0] ^= np.arange(50, dtype=np.uint8)
    with pytest.raises(InputError, match=r"factor: got 14, by which \d of 5 units have one code for all training samples"):
        with_factor(programs, x, 14.0)
