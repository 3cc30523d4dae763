"""Nets of convolutions of given sizes, with random weights, as integer programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tiedae.base.windows import Window
from tiedae.program.operations import Convolution, Dense, MaxPool, Operation, Reshape, Upsample
from tiedae.program.program import Program

from .convolutions import Building, integer_program


@dataclass(frozen=True)
class Layer:
    """A convolution with padding `same`, and its pooling."""

    units: int
    size: int
    stride: int = 1
    pool: int = 1


def net_program(name: str, sample: tuple[int, ...], layers: Sequence[Layer], units: int = 0) -> tuple[Program, np.ndarray]:
    """The integer program of `float_net`, and samples of its `x`, uint8 [16, *sample]."""
    rng = np.random.default_rng(1)
    x = rng.random((16, *sample)).astype(np.float32)
    program = integer_program(float_net(name, sample, layers, units), x, rng)
    return program, program.quantization("x").quantize(x)


def float_net(name: str, sample: tuple[int, ...], layers: Sequence[Layer], units: int = 0) -> Program:
    """A float program with random weights: convolutions, and a dense layer of `units` behind them, if they are not 0; relu,
    linear at both ends."""
    building, source, shape, before = Building(np.random.default_rng(0)), "x", sample, "linear"
    building.tensor("x", sample)
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1 and not units
        source, shape = convolved(building, index, layer, source, shape, before, last)
        before = "relu"
    if units:
        flattened(building, len(layers), source, shape, units)
    decoder = [operation for part in reversed(building.decoders) for operation in part]
    return Program(name, building.tensors, building.kernels, tuple(building.encoder), tuple(decoder), building.constants)


def convolved(
    building: Building, index: int, layer: Layer, source: str, shape: tuple[int, ...], before: str, last: bool
) -> tuple[str, tuple[int, ...]]:
    """Both directions of a layer; the tensor that it writes, and its shape. `before`: the activation of its decoder."""
    axes = len(shape) - 1
    window, pool = Window((layer.size,) * axes, (layer.stride,) * axes, "same"), (layer.pool,) * axes
    places = window.places(shape[:-1])
    small = (*(n // layer.pool for n in places), layer.units)
    name, y = "code" if last else f"encoder_{index}", "y" if index == 0 else f"decoder_{index}"
    conv = building.tensor(f"{name}.unpooled" if layer.pool > 1 else name, (*places, layer.units))
    kernel = building.kernel(index, layer.size**axes * shape[-1], layer.units)
    options: dict[str, Any] = {"sizes": window.sizes, "strides": window.strides, "padding": window.padding}
    bias = building.vector(f"{name}.bias", layer.units)
    building.encoder.append(Convolution(source, conv, kernel, False, bias, "linear" if last else "relu", **options))
    z, part = "code" if last else f"decoder_{index + 1}", list[Operation]()
    if layer.pool > 1:
        building.encoder.append(MaxPool(conv, building.tensor(name, small), pool))
        part.append(Upsample(z, building.tensor(f"{y}.upsampled", (*places, layer.units)), pool))
        z = f"{y}.upsampled"
    bias = building.vector(f"{y}.bias", shape[-1])
    part.append(Convolution(z, building.tensor(y, shape), kernel, True, bias, before, **options))
    building.decoders.append(part)
    return name, small


def flattened(building: Building, index: int, source: str, shape: tuple[int, ...], units: int) -> None:
    """Both directions of a dense layer on a feature map."""
    size, y = math.prod(shape), f"decoder_{index}"
    kernel = building.kernel(index, size, units)
    flat, rows = (building.tensor(f"{name}.flat", (size,)) for name in (source, y))
    code = building.tensor("code", (units,))
    building.encoder += [Reshape(source, flat), Dense(flat, code, kernel, False, building.vector("code.bias", units), "linear")]
    dense = Dense(code, rows, kernel, True, building.vector(f"{y}.bias", size), "relu")
    building.decoders.append([dense, Reshape(rows, building.tensor(y, shape))])
