"""Lowering of convolutions.

overlapping   x ─ Convolution ─ NAME.unpooled ─ MaxPool ─ NAME         code ─ Rescale ─ Upsample ─ Convolution ─ NAME
tiling        x ─ Patches ─ x.rows ─ Dense ─ …                         code ─ Rescale ─ Upsample ─ Dense, or
                                                                       Product ─ Gain ─ AddBias ─ NAME.rows ─ Unpatch ─ NAME
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tiedae.config.layer_kinds import UNPOOLED

from .construction import Lowering
from .lowering_dense import decode_rows, encode_dense, fused_activation
from .operations import Convolution, MaxPool, Operation, Patches, Unpatch, Upsample

if TYPE_CHECKING:
    from tiedae.compress.convolution import TiedConvolution, TiedConvolutionTranspose


def encode_convolution(lowering: Lowering, layer: TiedConvolution, x: str) -> list[Operation]:
    """pooled(activation(x ∗ W + b))."""
    window, kernel = layer.config.window, lowering.kernels[layer.kernel.name]
    if window.tiles(layer.shape[:-1]):
        rows = lowering.reshaped(x, layer.config.rows(layer.shape))
        return _pooled(lowering, layer, [Patches(x, rows, window.sizes), *encode_dense(lowering, layer, rows)])
    y, rest = lowering.output(layer, x, (*layer.places, kernel.units))
    bias, gains = lowering.bias(layer, x, y, kernel.encode_scales, kernel.inputs)
    convolution = Convolution(
        x, y, kernel.name, False, bias, fused_activation(layer), gains, window.sizes, window.strides, window.padding
    )
    return _pooled(lowering, layer, [convolution, *rest])


def _pooled(lowering: Lowering, layer: TiedConvolution, operations: list[Operation]) -> list[Operation]:
    pools, name = layer.config.pools, layer.tensor_name
    if not pools:
        return operations
    unpooled, tensor = f"{name}{UNPOOLED}", lowering.tensors[name]
    lowering.tensors[unpooled] = replace(tensor, name=unpooled)
    lowering.tensors[name] = replace(tensor, shape=layer.config.output(tensor.shape))
    return [*operations[:-1], replace(operations[-1], y=unpooled), MaxPool(unpooled, name, pools)]


def decode_convolution(lowering: Lowering, layer: TiedConvolutionTranspose, x: str) -> list[Operation]:
    """activation(transposed convolution of the upsampled x + b)."""
    window, kernel = layer.config.window, lowering.kernels[layer.kernel.name]
    x, moved = lowering.rescaled(layer, x)
    if layer.config.pools:
        upsampled = f"{layer.tensor_name}.upsampled"
        shape = (*window.places(layer.shape[:-1]), kernel.units)
        lowering.tensor(upsampled, shape, lowering.tensors[x].quantization)
        moved, x = [*moved, Upsample(x, upsampled, layer.config.pools)], upsampled
    if window.tiles(layer.shape[:-1]):
        operations = decode_rows(lowering, layer, x)
        return [*moved, *lowering.restored(layer, operations, lambda rows, y: Unpatch(rows, y, window.sizes))]
    y, rest = lowering.output(layer, x, layer.shape)
    bias, gains = lowering.bias(layer, x, y, kernel.decode_scales, kernel.units * window.overlap)
    convolution = Convolution(
        x, y, kernel.name, True, bias, fused_activation(layer), gains, window.sizes, window.strides, window.padding
    )
    return [*moved, convolution, *rest]
