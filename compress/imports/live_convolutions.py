"""Convolutions that a layer of a live model may compute with a kernel, by the shapes of what it takes and gives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tiedae.base.windows import Lengths, Window
from tiedae.config.layer_kinds import Shape

from .chain import ChainArray
from .convolutions import ChainConvolution
from .flow import moved_name


def convolutions(names: tuple[str, str], kernel: ChainArray, x: Shape, y: Shape) -> Iterator[ChainConvolution]:
    """The convolutions over a kernel [*window, channels, filters], and their transposes, that give y of x by their shapes."""
    if len(kernel.shape) < 3:
        return
    sizes, channels, filters = kernel.shape[:-2], kernel.shape[-2], kernel.shape[-1]
    if len(sizes) + 1 != len(x) or len(x) != len(y):
        return
    if (channels, filters) == (x[-1], y[-1]):
        for window in _windows(sizes, x[:-1], y[:-1]):
            yield ChainConvolution(*names, kernel, window=window, lengths=x[:-1])
    if (channels, filters) == (y[-1], x[-1]):
        for window in _windows(sizes, y[:-1], x[:-1]):
            yield ChainConvolution(*names, kernel, transposed=True, window=window, lengths=y[:-1])


def moved_convolutions(names: tuple[str, str], kernel: ChainArray, x: Shape, y: Shape) -> Iterator[ChainConvolution]:
    """Those over a kernel whose axes are in another order, as people write who take that for the transpose."""
    axes = len(kernel.shape)
    swapped = (*range(axes - 2), axes - 1, axes - 2)
    orders = [swapped] if axes < 4 else [swapped, (1, 0, 2, 3), (1, 0, 3, 2)]
    for order in orders:
        shape = tuple(kernel.shape[axis] for axis in order)
        read = lambda order=order: kernel.read().transpose(order)  # noqa: E731
        moved = replace(kernel, variable=moved_name(kernel.variable, order), shape=shape, read=read)
        yield from convolutions(names, moved, x, y)


def _windows(sizes: Lengths, lengths: Lengths, places: Lengths) -> Iterator[Window]:
    """The windows of these sizes over axes of these lengths that have `places`, each once."""
    seen: set[tuple[Lengths, bytes]] = set()
    for padding in ("same", "valid"):
        for strides in itertools.product(*(range(1, size + 1) for size in sizes)):
            window = Window(sizes, strides, padding)
            key = strides, np.array(window.pads(lengths)).tobytes()
            if window.places(lengths) == places and key not in seen:
                seen.add(key)
                yield window
