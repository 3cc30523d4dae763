"""The shapes that operations over windows read and write, and their products, counted one by one."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from tiedae.base.errors import ExportError
from tiedae.program.drift import Drift, TrainingScores, drift_text
from tiedae.program.operations import Convolution, MaxPool, Patches, Reshape, Unpatch, Upsample
from tiedae.program.tensors import Kernel, Tensor


def operands(x: tuple[int, ...], y: tuple[int, ...], kernel: tuple[int, int] = (1, 1)) -> SimpleNamespace:
    return SimpleNamespace(
        name="p", tensors={"x": Tensor("x", x), "y": Tensor("y", y)}, kernels={"k": Kernel("k", *kernel)}, constants={}
    )


CONVOLUTIONS = [  # outer, inner, sizes, strides, padding
    ((9, 3), (7, 5), (3,), (1,), "valid"),
    ((9, 3), (5, 5), (3,), (2,), "same"),
    ((8, 6, 2), (6, 5, 4), (3, 2), (1, 1), "valid"),
    ((8, 6, 2), (4, 3, 4), (3, 2), (2, 2), "same"),
    ((8, 6, 1), (8, 6, 4), (3, 3), (1, 1), "same"),
]


@pytest.mark.parametrize(("outer", "inner", "sizes", "strides", "padding"), CONVOLUTIONS)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_has_an_outer_and_an_inner_side(outer, inner, sizes, strides, padding, transposed) -> None:
    kernel = (int(np.prod(sizes)) * outer[-1], inner[-1])
    x, y = (inner, outer) if transposed else (outer, inner)
    program, operation = (
        operands(x, y, kernel),
        Convolution("x", "y", "k", transposed, None, "linear", None, sizes, strides, padding),
    )
    assert operation.shapes(program) == (x, y)
    count = sum(1 for _ in itertools.product(*map(range, inner[:-1]), *map(range, sizes), range(outer[-1]), range(inner[-1])))
    assert operation.multiply_adds(program.tensors["x"], program.tensors["y"]) == count


@pytest.mark.parametrize(
    ("outer", "kernel", "sizes", "text"),
    [
        ((9, 3), (10, 5), (3,), r"a window of \(3,\) does not fit \(9, 3\) and 10 inputs"),
        ((2, 3), (9, 5), (3,), r"a window of \(3,\) does not fit \(2, 3\) and 9 inputs"),
        ((8, 1, 2), (12, 5), (3, 2), "does not fit"),
        ((9, 3), (18, 5), (3, 2), "windows over one or two axes, as many as"),
    ],
)
def test_a_window_that_does_not_fit_is_refused(outer, kernel, sizes, text: str) -> None:
    operation = Convolution("x", "y", "k", False, None, "linear", None, sizes, (1,) * len(sizes), "valid")
    with pytest.raises(ExportError, match=text):
        operation.shapes(operands(outer, (1, 1), kernel))


WINDOWED = [
    ((8, 3), (4,), (2, 3), (2, 12)),
    ((8, 6, 5), (2, 3), (4, 2, 5), (4, 2, 30)),
    ((4, 4, 1), (2, 2), (2, 2, 1), (2, 2, 4)),
]


@pytest.mark.parametrize(("whole", "sizes", "places", "rows"), WINDOWED)
def test_windows_side_by_side(whole, sizes, places, rows) -> None:
    for kind, x, y in ((Patches, whole, rows), (Unpatch, rows, whole), (MaxPool, whole, places), (Upsample, places, whole)):
        program, operation = operands(x, y), kind("x", "y", sizes)
        assert operation.shapes(program) == (x, y)
        operation.check(program)
        values = np.random.default_rng(0).integers(0, 99, (2, *x))
        assert operation.moved(program, values).shape == (2, *y)
    x = np.random.default_rng(1).integers(0, 99, (2, *whole))
    pooled = MaxPool("x", "y", sizes).moved(operands(whole, places), x)
    for place in itertools.product(*map(range, places[:-1])):
        window = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, sizes, strict=True))
        block = x[(slice(None), *window)].reshape(2, -1, whole[-1])
        assert (pooled[(slice(None), *place)] == block.max(axis=1)).all()
    patches = Patches("x", "y", sizes).moved(operands(whole, rows), x)
    np.testing.assert_array_equal(Unpatch("x", "y", sizes).moved(operands(rows, whole), patches), x)
    upsampled = Upsample("x", "y", sizes).moved(operands(places, whole), pooled)
    np.testing.assert_array_equal(MaxPool("x", "y", sizes).moved(operands(whole, places), upsampled), pooled)


@pytest.mark.parametrize("kind", [Patches, MaxPool])
def test_windows_that_do_not_tile_are_refused(kind) -> None:
    with pytest.raises(ExportError, match=r"windows of \(3,\) must divide the axes of x, \(8, 2\)"):
        kind("x", "y", (3,)).shapes(operands((8, 2), (1, 1)))


def test_a_reshape_keeps_every_value() -> None:
    Reshape("x", "y").check(operands((4, 3), (12,)))
    with pytest.raises(ExportError, match=r"y: \(11,\) has 11 values, must have the 12 of x"):
        Reshape("x", "y").check(operands((4, 3), (11,)))


def test_drift_in_words() -> None:
    training = TrainingScores.of(np.arange(2000.0))
    assert training.extreme == pytest.approx(1997.001) and len(training.quantiles) == 256 and training.samples == 2000
    drift = Drift.of(np.array([1.0, 1998.0, 5000.0, 1996.0]), training)
    assert drift.beyond == 0.5 and drift.samples == 4
    assert drift_text(drift).startswith(
        "50 % have a larger error than 99.9 % of the training samples (expected: 0.1 %); distance"
    )
