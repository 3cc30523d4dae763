"""Tensors and kernels refuse values that are not theirs; so does a program whose parts do not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from tiedae.base.errors import DataError, ExportError
from tiedae.compress.affine import BYTE, Quantization
from tiedae.config.scaling import Scaling
from tiedae.program.file_io import FileIO
from tiedae.program.program import Program
from tiedae.program.tensors import Kernel, Tensor, flat

NARROW = Quantization(0.5, 3, 7)


@pytest.mark.parametrize("shape", [(), (0,), (3, -1), (2.0,), ("2",)])
def test_a_shape_is_positive_integers(shape: tuple) -> None:
    with pytest.raises(ExportError, match="must be one or more positive integers"):
        Tensor("x", shape)


@pytest.mark.parametrize(("shape", "size"), [((1,), 1), ((3, 4), 12), ((2, 3, 4), 24)])
def test_values_of_a_batch_are_shaped_and_flattened(shape: tuple[int, ...], size: int) -> None:
    tensor, values = Tensor("x", shape), np.arange(5 * size).reshape(5, size)
    assert tensor.size == size and tensor.shaped(values).shape == (5, *shape)
    np.testing.assert_array_equal(flat(tensor.shaped(values)), values)


@pytest.mark.parametrize(
    ("quantization", "values", "text"),
    [
        (None, np.zeros((2, 3), np.float32), ""),
        (BYTE, np.full((2, 3), 255, np.uint8), ""),
        (NARROW, np.full((2, 3), 127, np.uint8), ""),
        (NARROW, np.zeros((0, 3), np.uint8), ""),
        (None, [[1.0, 2.0, 3.0]], r"f: x must be float32 \[batch, 3\], got list"),
        (None, np.zeros((2, 3)), r"f: x must be float32 \[batch, 3\], got float64 \[2, 3\]$"),
        (None, np.zeros((2, 4), np.float32), r"got float32 \[2, 4\]$"),
        (
            BYTE,
            np.zeros((2, 3), np.float32),
            r"got float32 \[2, 3\]; program.quantization\('x'\).quantize converts real values$",
        ),
        (BYTE, np.zeros((2, 4), np.uint8), r"got uint8 \[2, 4\]$"),
        (None, np.array([[1, np.nan, 2]], np.float32), "and finite, got nan"),
        (None, np.array([[1, 2, -np.inf]], np.float32), "and finite, got -inf"),
        (NARROW, np.array([[1, 128, 2]], np.uint8), r"in 0…127 \(7 bits\), got 128"),
    ],
)
def test_only_values_of_its_dtype_shape_and_range_pass(quantization: Quantization | None, values: object, text: str) -> None:
    tensor = Tensor("x", (3,), quantization)
    assert tensor.dtype == ("uint8" if quantization else "float32")
    if not text:
        tensor.require(values, "f")
        return
    with pytest.raises(DataError, match=text):
        tensor.require(values, "f")


def test_a_tensor_without_quantization_has_none() -> None:
    assert Tensor("x", (3,), NARROW).affine == NARROW
    with pytest.raises(ExportError, match=r"^tensor x is not quantized$"):
        _ = Tensor("x", (3,)).affine


@pytest.mark.parametrize("scale", [0, 0.0, -1.0, float("inf"), float("nan"), "1"])
def test_a_scale_is_positive_and_finite(scale: object) -> None:
    with pytest.raises(ExportError, match="kernel k: scale must be positive and finite, got "):
        Kernel("k", 3, 2, (1.0, scale))


@pytest.mark.parametrize("bits", [1, 9, 0])
def test_kernels_have_two_to_eight_bits(bits: int) -> None:
    assert [Kernel("k", 3, 2, (1,), bits).bits for bits in (2, 8)] == [2, 8]
    with pytest.raises(ExportError, match=f"bits must lie in 2…8, got {bits}"):
        Kernel("k", 3, 2, (), bits)


def test_the_decoder_s_scale_is_the_largest() -> None:
    kernel = Kernel("k", 3, 2, (0.5, 2.0))
    assert kernel.encode_scales == (0.5, 2.0) and kernel.decode_scales == (2.0,)
    assert Kernel("k", 3, 2).decode_scales == ()


def changed(program: Program, **constants: np.ndarray | None) -> dict:
    whole = {**program.constants, **constants}
    return {"constants": {name: values for name, values in whole.items() if values is not None}}


def with_kernel(program: Program, **fields: object) -> dict:
    kernel = dataclasses.replace(program.kernels["kernel_0"], **fields)
    return {"kernels": {**program.kernels, "kernel_0": kernel}}


def with_tensor(program: Program, **fields: object) -> dict:
    return {"tensors": {**program.tensors, "code": dataclasses.replace(program.tensors["code"], **fields)}}


WRONG: dict[str, tuple[Callable[[Program], dict], str]] = {
    "no operation": (lambda program: {"encoder": program.encoder[1:]}, "reads 'encoder_0' before it is written"),
    "one tensor more": (lambda p: {"tensors": {**p.tensors, "z": Tensor("z", (1,), BYTE)}}, "but operations use"),
    "no kernel": (lambda program: changed(program, kernel_0=None), "there are no constants of kernel_0"),
    "a float tensor": (
        lambda program: with_tensor(program, quantization=None),
        "some tensors are quantized, must be all or none",
    ),
    "a float kernel": (
        lambda p: changed(p, kernel_0=p.constants["kernel_0"].astype(np.float32)),
        "a kernel of 8 bits holds int8 in −127…127, got float32",
    ),
    "another shape": (
        lambda p: changed(p, kernel_0=p.constants["kernel_0"].T),
        r"shape \(12, 20\) in constants, \(20, 12\) declared",
    ),
    "−128": (lambda p: changed(p, kernel_0=np.full((20, 12), -128, np.int8)), "holds int8 in −127…127, got -128…0"),
    "beyond 4 bits": (
        lambda p: with_kernel(p, bits=4) | changed(p, kernel_0=np.full((20, 12), 8, np.int8)),
        "in −8…7, got 0…8",
    ),
    "two scales": (lambda p: with_kernel(p, scales=(1.0, 1.0)), "2 scales, must be 1 or 12, one per unit"),
    "no scale": (lambda p: with_kernel(p, scales=()), "0 scales, must be 1 or 12, one per unit"),
}


@pytest.mark.parametrize("what", WRONG)
def test_parts_that_do_not_fit_are_refused(what: str, make_program: Callable[..., Program]) -> None:
    program = make_program()
    change, text = WRONG[what]
    with pytest.raises(ExportError, match=text):
        dataclasses.replace(program, **change(program))


def test_a_program_without_a_code_is_refused(make_program: Callable[..., Program]) -> None:
    program = make_program((20, 12), ("relu",))
    renamed = {name.replace("code", "c"): tensor for name, tensor in program.tensors.items()}
    parts = {
        half: tuple(
            dataclasses.replace(each, x=each.x.replace("code", "c"), y=each.y.replace("code", "c"))
            for each in getattr(program, half)
        )
        for half in ("encoder", "decoder")
    }
    with pytest.raises(ExportError, match=r"needs tensors x, code and y, got \["):
        dataclasses.replace(program, tensors=renamed, **parts)


def test_a_float_program_has_no_scales(make_program: Callable[..., Program]) -> None:
    program = make_program(quantized=False)
    with pytest.raises(ExportError, match="1 scales, must be none in a float program"):
        dataclasses.replace(program, **with_kernel(program, scales=(1.0,)))


def test_pairs_beyond_the_rule_are_counted_in_kernels_of_8_bits(make_program: Callable[..., Program]) -> None:
    kernel = np.zeros((20, 12), np.int8)
    kernel[0, 0] = kernel[1, 0] = kernel[4, 3] = kernel[5, 3] = 100
    program = make_program()
    assert dict(program.exceeding_pairs) == {}
    wide = dataclasses.replace(program, **changed(program, kernel_0=kernel))
    assert dict(wide.exceeding_pairs) == {"kernel_0": 2}
    narrow = dataclasses.replace(program, **(with_kernel(program, bits=7) | changed(program, kernel_0=np.minimum(kernel, 63))))
    assert dict(narrow.exceeding_pairs) == {} == dict(make_program(quantized=False).exceeding_pairs)


@pytest.mark.parametrize("count", [1, 3, 19, 21])
def test_a_scaling_has_one_number_or_one_for_each_input(count: int, make_program: Callable[..., Program]) -> None:
    program = make_program(byte_data=False)
    for right in (Scaling("minmax", 0.0, 2.0), Scaling("minmax", (0.0,) * 20, (2.0,) * 20)):
        assert program.file_io(FileIO("float32", right)).scaling == right
    with pytest.raises(ExportError, match=f"scaling: got {count} offsets and scales, must be one, or 20, one per input"):
        program.file_io(FileIO("float32", Scaling("minmax", (0.0,) * count, (2.0,) * count)))
