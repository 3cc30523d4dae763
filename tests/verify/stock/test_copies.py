"""How often a stock file stores a kernel, from stated constants; and the defaults of the converters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.export import read_onnx
from tiedae.export.model_file import Constant, Contents
from tiedae.runtimes.native_output import quiet
from tiedae.verify.stock.converters import stock_onnx
from tiedae.verify.stock.measurement import kernel_copies

RNG = np.random.default_rng(0)
A = RNG.integers(-127, 128, (6, 4)).astype(np.int8)
CHANGED = A.copy()
CHANGED[0, :3] += 1
B = RNG.integers(-127, 128, (4, 3)).astype(np.int8)


def stored(*values: np.ndarray, storages: Sequence[str] = ()) -> Contents:
    names = storages or [str(i) for i in range(len(values))]
    constants = tuple(Constant(f"c{i}", each, name) for i, (each, name) in enumerate(zip(values, names, strict=True)))
    return Contents("tflite", 1000, constants, ())


COPIES: dict[str, tuple[Contents, list[tuple[int, int]], tuple[int | None, float | None]]] = {
    "once": (stored(A), [(6, 4)], (1, None)),
    "once, transposed": (stored(A.T), [(6, 4)], (1, None)),
    "equal, in the other orientation": (stored(A, A.T), [(6, 4)], (2, 1.0)),
    "equal, in the same orientation": (stored(A, A), [(6, 4)], (2, 1.0)),
    "three of 24 values differ": (stored(A, CHANGED.T), [(6, 4)], (2, 21 / 24)),
    "the second of three differs": (stored(A, CHANGED, A.T), [(6, 4)], (3, 45 / 48)),
    "the third of three differs": (stored(A, A, CHANGED.T), [(6, 4)], (3, 45 / 48)),
    "the first of three is transposed": (stored(A.T, A, CHANGED), [(6, 4)], (3, 45 / 48)),
    "two views of one buffer": (stored(A, A, storages=("0", "0")), [(6, 4)], (1, None)),
    "floats": (stored(A.astype(np.float32), A.T.astype(np.float32)), [(6, 4)], (2, None)),
    "two kernels, twice each": (stored(A, A.T, B, B), [(6, 4), (4, 3)], (2, 1.0)),
    "two kernels, of which one is stored twice": (stored(A, A.T, B), [(6, 4), (4, 3)], (None, None)),
    "two kernels of one shape": (stored(A, CHANGED, A.T, A), [(6, 4), (4, 6)], (2, None)),
    "three matrices for two kernels": (stored(A, CHANGED, A.T), [(6, 4), (4, 6)], (None, None)),
    "none": (stored(B), [(6, 4)], (None, None)),
    "a kernel like a bias": (stored(A, RNG.normal(size=(1, 4))), [(6, 4), (1, 4)], (1, None)),
    "no kernel that has a shape of its own": (stored(A), [(1, 4)], (None, None)),
    "constants of other ranks": (stored(A, A[0], A.reshape(1, 6, 4)), [(6, 4)], (1, None)),
}


@pytest.mark.parametrize("case", COPIES)
def test_copies_of_a_kernel_are_counted_by_shape_and_compared_in_either_orientation(case: str) -> None:
    contents, kernels, expected = COPIES[case]
    copies, equal = kernel_copies(contents, kernels)
    assert (copies, equal) == (expected[0], expected[1] if expected[1] is None else pytest.approx(expected[1]))


def test_onnx_is_of_opset_17_where_none_is_stated(tmp_path: Path) -> None:
    with quiet():
        import tensorflow as tf

        model: Any = tf.Module()
        model.config = ModelConfig((LayerConfig(2),), inputs=3)
        model.kernel = tf.Variable(np.ones((3, 2), np.float32))
        model.encoder = lambda x: tf.matmul(x, model.kernel)
        model.decoder = lambda code: tf.matmul(code, model.kernel, transpose_b=True)
    (tmp_path / "stock.onnx").write_bytes(stock_onnx(model))
    assert read_onnx(tmp_path / "stock.onnx").details["opset"].startswith("17,")
