"""Pairs of equal copies, as an exporter that folds constants leaves them: when they become one kernel without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import InputError
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import Mirror, mirror

from .hand_made import apart
from .onnx_graphs import Graph

WIDTHS = (12, 6, 3)


def folded(folder: Path, change: float = 0.0) -> Path:
    """12-6-3-6-12 as PyTorch's exporter writes F.linear(h, weight.t()): each transpose is a constant. `change`: of a value."""
    graph = Graph(("n", WIDTHS[0]))
    kernels = [graph.rng.normal(0, 0.5, shape).astype(np.float32) for shape in ((6, 12), (3, 6))]
    copies = [np.ascontiguousarray(kernel.T) for kernel in kernels]
    copies[0][1, 2] += change
    for i, kernel in enumerate((*kernels, *copies[::-1])):
        graph.add("Gemm", graph.array(kernel, f"kernel_{i}"), graph.floats(len(kernel)), transB=1)
        if i in (0, 2):
            graph.add("Relu")
    return graph.save(folder)


def merged(path: Path) -> Mirror:
    found = mirror(read_model(path), tie=True)
    assert (found.tie, found.untied, found.merged) == ("merged", False, True)
    return found


def test_equal_copies_become_one_kernel_without_training(tmp_path: Path) -> None:
    found = merged(folded(tmp_path))
    assert [product.kernel.variable for product in found.products] == ["kernel_0", "kernel_1", "kernel_1", "kernel_0"]
    stored = read_model(tmp_path / "net.onnx").products
    weights = found.weights()
    assert weights.decoder_kernels is None
    for kernel, first, last in zip(weights.kernels, stored, stored[::-1], strict=False):
        assert kernel.tobytes() == np.ascontiguousarray(first.matrix()).tobytes()
        assert kernel.tobytes() == np.ascontiguousarray(last.matrix().T).tobytes()
    assert "equal copies, which become one kernel each without training" in " ".join(found.notes)


def test_a_copy_that_differs_in_a_bit_is_trained(tmp_path: Path) -> None:
    found = mirror(read_model(folded(tmp_path, 1e-6)), tie=True)
    assert (found.tie, found.untied, found.merged) == ("trained", True, False)


def test_copies_stay_two_kernels_until_a_user_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"equal copy: .*`tie = true` .*; equal copies become one as they are"):
        mirror(read_model(folded(tmp_path)))


def test_a_convolution_over_a_copy_becomes_one_kernel(tmp_path: Path) -> None:
    graph = Graph(("n", 1, 8, 8))
    kernel = graph.rng.normal(0, 0.5, (4, 1, 2, 2)).astype(np.float32)
    graph.add("Conv", graph.array(kernel, "w"), graph.floats(4), strides=[2, 2], kernel_shape=[2, 2]).add("Relu")
    graph.add("ConvTranspose", graph.array(kernel, "copy"), graph.floats(1), strides=[2, 2], kernel_shape=[2, 2])
    found = merged(graph.save(tmp_path))
    assert {product.kernel.variable.partition(" ")[0] for product in found.products} == {"w"}


def test_copies_whose_gains_keep_one_kernel_from_serving_both_are_trained(tmp_path: Path) -> None:
    """Behind relu a negative gain's sign can't move into a shared kernel."""
    graph = Graph(("n", 6))
    kernel = graph.rng.normal(0, 0.5, (6, 3)).astype(np.float32)
    statistics = [graph.array(np.array(values, np.float32)) for values in ([-1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1])]
    graph.add("MatMul", graph.array(kernel, "w")).add("BatchNormalization", *statistics).add("Relu")
    graph.add("MatMul", graph.array(np.ascontiguousarray(kernel.T), "copy"))
    found = mirror(read_model(graph.save(tmp_path)), tie=True)
    assert found.untied and not found.merged


def test_copies_of_a_keras_file_become_one_kernel(tmp_path: Path) -> None:
    apart(0.0)("tf_keras").save(tmp_path / "m.keras")
    assert len({product.kernel.variable for product in merged(tmp_path / "m.keras").products}) == 2
