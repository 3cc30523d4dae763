"""Lowering of dense layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .arithmetic import FUNCTIONS
from .construction import Lowering
from .operations import Activate, AddBias, Dense, Operation, Product, Reshape

if TYPE_CHECKING:
    from tiedae.compress.tied_layers import TiedLayer


def encode_dense(lowering: Lowering, layer: TiedLayer, x: str) -> list[Operation]:
    """activation(x · W + b), of x as one row where the layer flattens it."""
    kernel, reshape = lowering.kernels[layer.kernel.name], list[Operation]()
    if layer.config.flatten and len(layer.shape) > 1:
        rows = lowering.reshaped(x, (kernel.inputs,))
        reshape, x = [Reshape(x, rows)], rows
    y, rest = lowering.output(layer, x, lowering.rows(x, kernel.units))
    bias, gains = lowering.bias(layer, x, y, kernel.encode_scales, kernel.inputs)
    return [*reshape, Dense(x, y, kernel.name, False, bias, fused_activation(layer), gains), *rest]


def decode_dense(lowering: Lowering, layer: TiedLayer, x: str) -> list[Operation]:
    """As `decode_rows`, of the rescaled x, in the shape that the layer's encoder flattens."""
    x, rescale = lowering.rescaled(layer, x)
    operations = [*rescale, *decode_rows(lowering, layer, x)]
    return lowering.restored(layer, operations, Reshape) if layer.config.flatten and len(layer.shape) > 1 else operations


def decode_rows(lowering: Lowering, layer: TiedLayer, x: str) -> list[Operation]:
    """activation(x · Wᵀ + b): in the split layout a `Product`, perhaps a `Gain`, an `AddBias`, else one `Dense`."""
    kernel, activation = lowering.kernels[layer.kernel.name], fused_activation(layer)
    y, rest = lowering.output(layer, x, lowering.rows(x, kernel.inputs))
    if lowering.layout != "split":
        bias, gains = lowering.bias(layer, x, y, kernel.decode_scales, kernel.units)
        return [Dense(x, y, kernel.name, True, bias, activation, gains), *rest]
    if layer.bias is None and (lowering.quantized or activation == "linear"):
        return [Product(x, y, kernel.name), *rest]  # saturation computes relu and relu6: y's range ends there
    product = lowering.tensor(f"{layer.tensor_name}.product", lowering.rows(x, kernel.inputs))
    lowering.coarsen(product, lowering.accumulator_step(layer, x))
    multiply = Product(x, product, kernel.name)
    bias = lowering.per_output(layer.offset, product)
    if bias is None:
        return [multiply, Activate(product, y, activation), *rest]
    product, gain = lowering.gained(layer, product)
    name = f"{layer.tensor_name}.bias8"
    quantization = lowering.bias8(layer, product, y) if lowering.quantized else None
    lowering.constants[name] = bias if quantization is None else quantization.quantize(bias)
    return [multiply, *gain, AddBias(product, y, name, quantization, activation), *rest]


def fused_activation(layer: TiedLayer) -> str:
    """What a product applies itself; linear where a table follows."""
    return layer.activation if FUNCTIONS[layer.activation].fused else "linear"
