"""What scales a chain's samples, and gives the output in their unit of measure back: the data's scaling, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tiedae.base.errors import InputError
from tiedae.config.layer_kinds import Shape
from tiedae.config.scaling import Scaling

from .chain import Affine, BatchNorm, Chain, ChainFunction, ChainLayer, ChainProduct
from .places import with_shapes

MOST_SCALES = 1 << 20
"""Values of a sample that have a scale each."""
SAME = 1e-6
"""Largest relative difference of the output's scaling from the inverse of the input's: float32."""


def without_scaling(chain: Chain, layers: Sequence[ChainLayer]) -> tuple[Scaling | None, bool, Sequence[ChainLayer]]:
    """The scaling at the input, whether its inverse is at the output, and the layers between them."""
    computing = [i for i, layer in enumerate(layers) if isinstance(layer, ChainProduct | ChainFunction | BatchNorm)]
    if not computing:
        return None, False, layers
    first, last = computing[0], computing[-1] + 1
    placed = list(with_shapes(layers, chain.shape))
    head, tail = _affine(chain, placed[:first]), _affine(chain, placed[last:])
    rest = [layer for i, layer in enumerate(layers) if first <= i < last or not isinstance(layer, Affine)]
    if tail is not None:
        layer = next(layer for layer in layers[last:] if isinstance(layer, Affine))
        _require_inverse(chain, layer, head, tail)
    return None if head is None else _scaling(chain, layers, *head), tail is not None, rest


def _require_inverse(chain: Chain, layer: ChainLayer, head: Any, tail: tuple[np.ndarray, np.ndarray]) -> None:
    """Raise InputError unless `tail` undoes `head`: (scale, offset) of values each."""
    if head is not None and len({values.size for values in (*head, *tail)} - {1}) <= 1:
        scale, offset = tail[0] * head[0], tail[0] * head[1] + tail[1]
        size = 1 + np.abs(tail[1]).max()
        if np.abs(scale - 1).max() <= SAME and np.abs(offset).max() <= SAME * size:
            return
    right = "must be the inverse of the scaling at the input, which the files do; leave it out and train again"
    raise InputError(f"{chain.source}: {layer.title}: scales the output, {right}")


def _affine(chain: Chain, placed: Sequence[tuple[ChainLayer, Shape]]) -> tuple[np.ndarray, np.ndarray] | None:
    """The (scale, offset) that the affine layers among these amount to, float64, of one value or of all; None without one."""
    found = None
    for layer, shape in placed:
        if isinstance(layer, Affine):
            scale, offset = (_spread(chain, np.asarray(each, np.float64), shape) for each in (layer.scale, layer.offset))
            before = (np.ones(1), np.zeros(1)) if found is None else found
            found = before[0] * scale, before[1] * scale + offset
    return found


def _spread(chain: Chain, values: np.ndarray, shape: Shape) -> np.ndarray:
    """One number, or one for each value of a sample of `shape`; InputError for too many."""
    if values.size != 1 and math.prod(shape) > MOST_SCALES:
        got = f"scales {math.prod(shape):,} values by channel"
        raise InputError(f"{chain.source}: {got}, must be {MOST_SCALES:,} at most, or scaled by one number")
    return values.reshape(1) if values.size == 1 else np.broadcast_to(values, shape).reshape(-1)


def _scaling(chain: Chain, layers: Sequence[ChainLayer], scale: np.ndarray, offset: np.ndarray) -> Scaling:
    """x · scale + offset as a scaling: (x − middle) / size."""
    layer = next(layer for layer in layers if isinstance(layer, Affine))
    if not (np.isfinite(scale).all() and np.isfinite(offset).all() and scale.min() > 0):
        raise InputError(f"{chain.source}: {layer.title}: multiplies by {scale.min():g}, must be finite and above 0")
    inputs = math.prod(chain.shape)
    size, middle = 1 / scale, -offset / scale
    if all(np.ptp(values) == 0 for values in (size, middle)):
        size, middle = float(size[0]), float(middle[0])
        if middle == 0 and math.isclose(size, 255, rel_tol=SAME):
            return Scaling("byte", 0.0, 255.0)
        return Scaling("minmax", middle, size)
    size, middle = (np.broadcast_to(values, inputs) for values in (size, middle))
    return Scaling("standard", tuple(middle.tolist()), tuple(size.tolist()))
