"""A program under construction: the tensors, kernels and constants of a trained model, which lowering adds to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from msgspec import structs

from tiedae.base.errors import ExportError
from tiedae.compress.affine import BYTE, Quantization
from tiedae.compress.integers import exceeding_pairs
from tiedae.compress.patterns import of_rows

from .arithmetic import FUNCTIONS, clear_of_ties
from .operations import Activate, Gain, Operation, Requantize, Rescale
from .tensors import Kernel, Tensor

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.kernel import TiedKernel
    from tiedae.compress.quantizers import DecoderLayout
    from tiedae.compress.tied_layers import TiedLayer

Back = Callable[[str, str], Operation]
"""(rows, y) → the operation that puts the rows of a decoder where they belong in its output."""
RATIOS = (2.0**-9, 2.0**7)
"""Allowed range of a term's scale over the sum's scale; int8 additions support 2⁻¹⁰ to 2⁸."""


class Lowering:
    """A program under construction. The functions of `lowering.LOWERINGS` add tensors and constants and return operations.

    `tensors`, `kernels` and `constants` become those of the program; all kernels exist from the start. `tables`: sigmoid and
    tanh by the tensor that they read.
    """

    def __init__(self, model: TiedAutoencoder, layout: DecoderLayout) -> None:
        self.model, self.layout = model, layout
        self.quantized = model.quantizers is not None
        self.fixed: Mapping[str, tuple[tuple[float, float], ...]] = {}
        self.ranges: Mapping[str, tuple[float, float]] = {}
        if model.quantizers is not None:
            from tiedae.compress.quantizers import fixed_ranges

            self.fixed = fixed_ranges(model.config, structs.replace(model.quantizers.spec, layout=layout))
            self.ranges = {name: chain[-1] for name, chain in self.fixed.items()} | model.quantizers.ranges()
        self.tensors: dict[str, Tensor] = {}
        self.kernels: dict[str, Kernel] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.tables: dict[str, Activate] = {}
        for kernel in model.kernels:
            written = Kernel(kernel.name, kernel.inputs, kernel.units)
            if self.quantized:
                written = replace(written, scales=tuple(float(scale) for scale in kernel.scales()), bits=kernel.bits)
            self.kernels[kernel.name] = written
            self.constants[kernel.name] = self._integers(kernel) if self.quantized else kernel.matrix

    def _integers(self, kernel: TiedKernel) -> np.ndarray:
        integers = kernel.integers()
        count = exceeding_pairs(integers, kernel.pair_limit) if kernel.bits == 8 else 0
        if count:
            raise ExportError(f"{kernel.name}: {count} pairs of neighbours add to more than {kernel.pair_limit}, must be none")
        return integers

    def tensor(self, name: str, shape: tuple[int, ...], quantization: Quantization | None = None) -> str:
        """Add a tensor of `shape` and return its name; its quantization defaults to the model's range of the tensor."""
        quantizers = self.model.quantizers
        if quantization is None and quantizers is not None:
            low, high = self.ranges[name]
            quantization = Quantization.from_range(low, high, quantizers.spec.bits_of(name))
            if quantizers.spec.fixes(name):
                quantization = replace(quantization, scale=quantizers.spec.code_scale)
        self.tensors[name] = Tensor(name, shape, quantization)
        return name

    def rows(self, x: str, size: int) -> tuple[int, ...]:
        """The shape of `x` with `size` values on the last axis."""
        return (*self.tensors[x].shape[:-1], size)

    def scale(self, name: str) -> float:
        """The scale of a tensor; 0 in a float program."""
        quantization = self.tensors[name].quantization
        return 0.0 if quantization is None else quantization.scale

    def coarsen(self, name: str, least: float) -> None:
        """Raise a tensor's scale to at least `least`: dead layers have vanishing ranges, which no runtime can express.

        The scale of a table's input then changes a little where an output lies next to a tie, see `clear_of_ties`.
        """
        tensor = self.tensors[name]
        if tensor.quantization is not None and name not in self.fixed:
            coarser = _at_least(tensor.quantization, least)
            quantizers = self.model.quantizers
            if coarser != tensor.quantization and quantizers is not None and not quantizers.is_free(name):
                raise ExportError(f"code_scale: got {tensor.quantization.scale:g}, must be {least:g} or more for this model")
            self.tensors[name] = replace(tensor, quantization=coarser)
        table = self.tables.get(name)
        if table is not None and tensor.quantization is not None:
            tensor, y = self.tensors[name], self.tensors[table.y].affine
            clear = clear_of_ties(table.function, tensor.affine, y, least)
            self.tensors[name] = replace(tensor, quantization=clear)

    def reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        """Add NAME.rows, a tensor of the same values in another shape or order, and return its name."""
        return self.tensor(f"{name}.rows", shape, self.tensors[name].quantization)

    def restored(self, layer: TiedLayer, operations: list[Operation], back: Back) -> list[Operation]:
        """The operations of a decoder layer whose linear output is rows, with `back` from them to `layer.shape`."""
        linear = f"{layer.tensor_name}.linear"
        y = linear if linear in self.tensors else layer.tensor_name
        rows = self.reshaped(y, self.tensors[y].shape)
        at = next(i for i, operation in enumerate(operations) if operation.y == y)
        after = {y, *(operation.y for operation in operations[at + 1 :])}
        self.tensors |= {name: replace(self.tensors[name], shape=layer.shape) for name in after}
        return [*operations[:at], replace(operations[at], y=rows), back(rows, y), *operations[at + 1 :]]

    def output(self, layer: TiedLayer, x: str, shape: tuple[int, ...]) -> tuple[str, list[Operation]]:
        """The tensor of `shape` that holds the layer's linear output, and the operations from it to the layer's output.

        The scale is at least the accumulator's, see `accumulator_step`.
        """
        name = layer.tensor_name
        chain = [Quantization.from_range(*span) for span in self.fixed.get(name, ())]
        rest: list[Operation] = []
        linear = name
        if not FUNCTIONS[layer.activation].fused:
            linear = self.tensor(f"{name}.linear", shape)
            table = Activate(linear, name, layer.activation)
            rest = [table]
            if len(chain) == 2:
                self.tensor(f"{name}.raw", shape, chain[0])
                table = replace(table, y=f"{name}.raw")
                rest = [table, Requantize(table.y, name)]
            self.tables[linear] = table
        self.tensor(name, shape, chain[-1] if chain else None)
        self.coarsen(linear, self.accumulator_step(layer, x, layer.gains))
        return linear, rest

    def accumulator_step(self, layer: TiedLayer, x: str, gains: np.ndarray | None = None) -> float:
        """The largest scale of the accumulator, over all units and `gains`; 0 in a float program."""
        step = self.scale(x) * self.kernels[layer.kernel.name].decode_scales[0] if self.quantized else 0.0
        return step if gains is None else step * float(gains.max())

    def rescaled(self, layer: TiedLayer, x: str) -> tuple[str, list[Operation]]:
        """The input of a decoder product; for a kernel with a scale per unit, `x` times one factor per unit by a `Rescale`."""
        kernel = self.kernels[layer.kernel.name]
        if len(kernel.scales) <= 1:
            return x, []
        factors = f"{layer.tensor_name}.factors"
        scales = np.array(kernel.scales, np.float32)
        self.constants[factors] = np.maximum(BYTE.quantize(scales / scales.max()), 1)
        rescaled = self.tensor(f"{layer.tensor_name}.rescaled", self.tensors[x].shape)
        return rescaled, [Rescale(x, rescaled, factors, BYTE)]

    def bias(self, layer: TiedLayer, x: str, y: str, scales: tuple[float, ...], terms: int) -> tuple[str | None, str | None]:
        """Add the bias of a sum of `terms` products, and the gains of both, for outputs `y`, and return their names.

        The bias is float32, or int32 with scale of x · `scales` · gains.
        """
        real, bias = self.per_output(layer.offset, y), f"{layer.tensor_name}.bias"
        if real is None:
            return None, None
        if not self.quantized:
            self.constants[bias] = real
            return bias, self.gains(layer, y)
        room, source, units = 2**31 - 1 - terms * 255 * 127, np.float32(self.scale(x)), np.array(scales, np.float32)
        gains = self.gains(layer, y, np.abs(real) / (source * units * room))
        if gains is not None:
            units = units * self.constants[gains]
        integers = np.rint(real.astype(np.float64) / (source * units))
        if np.abs(integers).max(initial=0) > room:
            text = f"{terms} products and the bias can overflow a 32-bit accumulator"
            raise ExportError(f"layer {layer.tensor_name}: {text}")
        self.constants[bias] = integers.astype(np.int32)
        return bias, gains

    def per_output(self, values: np.ndarray | None, y: str) -> np.ndarray | None:
        """Values per channel of a layer, [channels], for the last axis of `y`: as they are, or at each place of a window."""
        return None if values is None else of_rows(values, self.tensors[y].shape[-1])

    def gains(self, layer: TiedLayer, y: str, least: np.ndarray | float = 0.0) -> str | None:
        """Add the gains of a layer for outputs `y` and return their name: float32, a little above `least`, since a channel that
        is next to constant would else have a bias beyond its accumulator; None without batch normalization."""
        found = self.per_output(layer.gains, y)
        if found is None:
            return None
        if found.min() <= 0:
            channel = int(np.argmin(found))
            raise ExportError(
                f"layer {layer.tensor_name}: the gain of channel {channel} is {found[channel]:g}, must be positive"
            )
        name = f"{layer.tensor_name}.gains"
        self.constants[name] = np.maximum(found, np.multiply(least, 1.001, dtype=np.float32))
        return name

    def gained(self, layer: TiedLayer, product: str) -> tuple[str, list[Operation]]:
        """A decoder's product times its gains in the split layout, and the `Gain`; without gains the product."""
        real = self.gains(layer, product)
        if real is None:
            return product, []
        found = self.constants.pop(real)
        gained, gains = self.tensor(f"{layer.tensor_name}.gained", self.tensors[product].shape), f"{real}8"
        quantization = Quantization.from_range(*self.ranges[real]) if self.quantized else None
        self.constants[gains] = found if quantization is None else quantization.quantize(found)
        return gained, [Gain(product, gained, gains, quantization)]

    def bias8(self, layer: TiedLayer, product: str, y: str) -> Quantization:
        """The quantization of an 8-bit bias. Keeps the scales of the sum and its terms within `RATIOS`."""
        bias = Quantization.from_range(*self.ranges[f"{layer.tensor_name}.bias"])
        least, most = RATIOS
        self.coarsen(y, max(bias.scale, self.scale(product)) / most)
        self.coarsen(product, self.scale(y) * least)
        return _at_least(bias, self.scale(y) * least)


def _at_least(quantization: Quantization, scale: float) -> Quantization:
    return replace(quantization, scale=float(np.float32(max(quantization.scale, scale))))
