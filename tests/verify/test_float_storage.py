"""What a float file stores of each kernel, from stated constants: once, twice where the recipe asks for it, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tiedae.bundle.manifest import KernelInfo, sha256_of
from tiedae.export.model_file import Constant, Contents
from tiedae.verify.verify import _prove_float

A = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
A[0, 1] = 0
B = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
KERNELS = tuple(
    KernelInfo(name=name, shape=values.shape, scale=(1.0,), sha256="0" * 64, pruned=0, sha256_f32=sha256_of(values))
    for name, values in {"kernel_0": A, "kernel_1": B}.items()
)
MASKS = {"kernel_0": A != 0, "kernel_1": np.ones(B.shape, bool)}


def wrong(*matrices: np.ndarray, masks: Any = None, **options: Any) -> dict[tuple[str, str], str]:
    constants = tuple(Constant(f"c{i}", each, str(i)) for i, each in enumerate(matrices))
    contents = Contents("onnx", 1000, (*constants, Constant("bias", A[0], "bias")), ())
    rows = _prove_float(contents, KERNELS, masks or MASKS, None, **options)
    return {(row.kernel, row.statement): row.text for row in rows if not row.ok}


@pytest.mark.parametrize("matrices", [(A, B), (A.T, B), (A.T, B.T)], ids=["as they are", "one transposed", "both transposed"])
@pytest.mark.parametrize("most", [1, 2])
def test_each_kernel_once_holds(matrices: tuple[np.ndarray, ...], most: int) -> None:
    assert wrong(*matrices, most=most) == wrong(*matrices) == {}


def test_a_kernel_twice_holds_where_the_recipe_asks_for_it() -> None:
    assert wrong(A, A.T, B, B.T, most=2) == wrong(A, A.T, B, most=2) == {}
    text = "kernel_0: stored 2 times with the manifest's values, expected once"
    assert wrong(A, A.T, B) == {
        ("kernel_0", "copies"): text,
        ("", "weights"): "matrices of 60 values in all, kernels of 36",
    }
    assert wrong(A, A.T, A, B, most=2) == {
        ("kernel_0", "copies"): "kernel_0: stored 3 times with the manifest's values, expected 1 to 2",
        ("", "weights"): "matrices of 84 values in all, kernels of 36",
    }


@pytest.mark.parametrize(("most", "expected"), [(1, "once"), (2, "1 to 2")])
def test_a_kernel_that_is_not_there_and_another_matrix_are_named(most: int, expected: str) -> None:
    assert wrong(A, B + 1, most=most) == {
        ("kernel_1", "copies"): f"kernel_1: stored 0 times with the manifest's values, expected {expected}"
    }
    assert wrong(A, B, B[:2] + 1, most=most) == {("", "weights"): "matrices of 42 values in all, kernels of 36"}


def test_values_where_the_mask_has_none_are_counted() -> None:
    masks = {**MASKS, "kernel_1": np.arange(12).reshape(4, 3) > 1}
    text = "kernel_1: 2 masked values are not zero, expected 0"
    assert wrong(A, B, masks=masks) == {("kernel_1", "zeros"): text}
