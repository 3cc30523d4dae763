"""Interleaving the inputs: rows of the first kernel that lie in one tile then belong to inputs far apart.

A pattern of pruning that holds along both axes looks at small tiles of a kernel. Neighbouring inputs, the pixels of a picture
or the samples of a signal, have alike weights: in a tile of four neighbours all of a unit's weights matter or none does.
Channels are permuted before pruning for the same reason (Pool & Yu 2021); here the permutation is one that a transposition
does, so that no order has to be stored.
"""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from .autoencoder import TiedAutoencoder
from .errors import InputError

BY_INPUT = ("kernel_0", "kernel_0.mask", "y.bias")
"""The variables of a model that have an entry or a row per input."""


def input_order(inputs: int, ways: int) -> np.ndarray:
    """Which input each row of the first kernel belongs to, int [inputs]: in turn one of each of `ways` equal parts."""
    return np.arange(inputs).reshape(ways, -1).T.ravel()


def interleave(model: TiedAutoencoder, ways: int) -> TiedAutoencoder:
    """A float model of the same function whose first kernel has its rows in the order of so many interleaved parts.

    Masks move with their rows: do it before pruning by a pattern of tiles, which another order of rows does not have.
    Raises RecipeError where `ways` does not divide the inputs, InputError where a kernel is quantized or clustered.
    """
    for kernel in model.kernels:
        if kernel.granularity is not None or kernel.clusters is not None:
            raise InputError(f"{kernel.name} is quantized or clustered; interleave the inputs before")
    other = TiedAutoencoder(replace(model.config, interleave=ways))
    inputs = model.config.inputs
    moved = np.argsort(input_order(inputs, model.config.interleave))[input_order(inputs, ways)]
    for kernel, mine in zip(other.kernels, model.kernels, strict=True):
        if mine.mask is not None:
            kernel.set_mask(mine.mask.numpy())
    state = model.state()
    for name, variable in other.state().items():
        values = state[name].numpy()
        variable.assign(values[moved] if name in BY_INPUT else values)
    return other
