"""Channels first in front of and behind dense layers, as PyTorch flattens: the same layers over channels-last values.

    [7, 7, 32] ─ transpose ─→ [32, 7, 7] ─ flatten ─→ [1568] ─ dense, W        W has its rows in the order of [32, 7, 7]
    [7, 7, 32] ─ flatten ─→ [1568] ─ dense, W's rows in the order of [7, 7, 32]

A decoder that gives [1568], as [32, 7, 7], back has the columns of its kernel moved in the same way. So a tie stays a tie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tiedae.config.layer_kinds import Shape

from .chain import Affine, BatchNorm, ChainArray, ChainFunction, ChainLayer, ChainProduct, ChainReshape
from .convolutions import ChainConvolution, ChainTranspose

Order = tuple[int, ...]


@dataclass(frozen=True)
class Moved:
    """Values of a sample of `shape` in the order that they have where its axes are in `order`."""

    shape: Shape
    order: Order

    @property
    def indices(self) -> np.ndarray:
        """The place that each value was at."""
        return np.arange(math.prod(self.shape)).reshape(self.shape).transpose(self.order).ravel()

    def array(self, array: ChainArray, axis: int) -> ChainArray:
        """An array with one axis in this order; another variable than the one that it was, but the same for each use."""
        name = f"{array.variable}, axis {axis} of {list(self.shape)} as {list(self.order)}"
        return replace(array, variable=name, read=lambda: array.read().take(self.indices, axis))

    def values(self, values: np.ndarray) -> np.ndarray:
        """A number, or a vector in this order."""
        return values if values.size == 1 else values[self.indices]

    def optional(self, array: ChainArray | None) -> ChainArray | None:
        return array if array is None or array.size == 1 else self.array(array, 0)


def without_transposes(layers: Sequence[ChainLayer], shape: Shape) -> tuple[ChainLayer, ...]:
    """The layers without the transposes that dense layers can take into their kernels. `shape`: of a sample."""
    found, shapes = list(layers), list(_shapes(layers, shape))
    for place in [i for i, layer in enumerate(found) if isinstance(layer, ChainTranspose)][::-1]:
        layer = found[place]
        assert isinstance(layer, ChainTranspose)
        if (ahead := _taken_ahead(found[place + 1 :], layer, shapes[place])) is not None:
            found[place:] = ahead
        elif (behind := _taken_behind(found[:place], layer)) is not None:
            found[: place + 1] = behind
    return tuple(found)


def _shapes(layers: Sequence[ChainLayer], shape: Shape) -> Iterator[Shape]:
    for layer in layers:
        yield shape
        shape = layer.output(shape)


def _is_dense(layer: ChainLayer) -> bool:
    return isinstance(layer, ChainProduct) and not isinstance(layer, ChainConvolution)


def _taken_ahead(layers: list[ChainLayer], transpose: ChainTranspose, shape: Shape) -> list[ChainLayer] | None:
    """The layers behind a transpose without it, where a dense one takes its values as one row."""
    dense = next((i for i, layer in enumerate(layers) if not isinstance(layer, ChainFunction | ChainReshape)), None)
    if dense is None or not _is_dense(layers[dense]):
        return None
    reshapes = [layer for layer in layers[:dense] if isinstance(layer, ChainReshape)]
    if not reshapes or reshapes[-1].shape != (math.prod(shape),):
        return None
    back = Moved(transpose.output(shape), tuple(int(axis) for axis in np.argsort(transpose.order)))
    product = layers[dense]
    assert isinstance(product, ChainProduct)
    before = back.optional(product.before)
    product = replace(product, kernel=back.array(product.kernel, 1 if product.transposed else 0), before=before)
    flat = [layer for layer in layers[:dense] if not isinstance(layer, ChainReshape) or layer is reshapes[-1]]
    return [*flat, product, *layers[dense + 1 :]]


def _taken_behind(layers: list[ChainLayer], transpose: ChainTranspose) -> list[ChainLayer] | None:
    """The layers in front of a transpose with it, where a dense one gives its values as one row."""
    own = ChainFunction | BatchNorm | Affine | ChainReshape
    dense = next((i for i in range(len(layers) - 1, -1, -1) if not isinstance(layers[i], own)), None)
    if dense is None or not _is_dense(layers[dense]):
        return None
    reshapes = [i for i in range(dense, len(layers)) if isinstance(layers[i], ChainReshape)]
    if not reshapes or any(isinstance(layer, BatchNorm | Affine) for layer in layers[reshapes[0] :]):
        return None
    last = layers[reshapes[-1]]
    assert isinstance(last, ChainReshape)
    moved = Moved(last.shape, transpose.order)
    kept = [layer for i, layer in enumerate(layers[dense:], dense) if i not in reshapes[:-1]]
    return [*layers[:dense], *(_in_order(layer, moved, transpose) for layer in kept)]


def _in_order(layer: ChainLayer, moved: Moved, transpose: ChainTranspose) -> ChainLayer:
    match layer:
        case ChainProduct():
            kernel = moved.array(layer.kernel, 0 if layer.transposed else 1)
            return replace(layer, kernel=kernel, bias=moved.optional(layer.bias))
        case BatchNorm():
            gamma, beta = moved.optional(layer.gamma), moved.optional(layer.beta)
            mean, variance = moved.array(layer.mean, 0), moved.array(layer.variance, 0)
            return replace(layer, gamma=gamma, beta=beta, mean=mean, variance=variance)
        case Affine():
            return replace(layer, scale=moved.values(layer.scale), offset=moved.values(layer.offset))
        case ChainReshape():
            return replace(layer, shape=transpose.output(layer.shape))
        case _:
            return layer
