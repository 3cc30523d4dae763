"""From a trained model to its program: the only place where Keras variables become constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..compress.affine import BYTE, Quantization
from ..compress.errors import ExportError
from ..compress.integers import exceeding_pairs
from .operations import Activate, AddBias, Dense, Operation, Product, Requantize, Rescale
from .operations.arithmetic import FUNCTIONS
from .operations.interleave import interleave
from .program import Kernel, Program, Tensor

if TYPE_CHECKING:
    from ..compress.autoencoder import TiedAutoencoder
    from ..compress.kernel import TiedKernel
    from ..compress.layers import TiedDense

Form = Literal["fused", "split"]
RATIOS = (2.0**-9, 2.0**7)
"""Between which the scale of a term over that of the sum stays; int8 additions take ratios of 2⁻¹⁰ to 2⁸."""


def lower(model: TiedAutoencoder, name: str, *, form: Form) -> Program:
    """The program of a model: integers where it has quantizers, else floats.

    `form` is the shape of the decoder (see `program`). Kernels, encoder and code are the same in both forms.
    Raises ExportError where an accumulator could leave int32, a kernel breaks the pair rule that it was quantized by, or the
    kernels are quantized and the activations are not.
    """
    if model.quantized and model.quantizers is None:
        raise ExportError("the model has quantized kernels but float activations; must be float, or quantized as a whole")
    lowering = _Lowering(model, form)
    program = Program(name, lowering.tensors, lowering.kernels, *lowering.operations(), lowering.constants)
    config = model.config
    return program if config.interleave in (1, config.inputs) else interleave(program, config.interleave)


class _Lowering:
    def __init__(self, model: TiedAutoencoder, form: Form) -> None:
        self.model, self.form = model, form
        self.quantized = model.quantizers is not None
        self.fixed: Mapping[str, tuple[tuple[float, float], ...]] = {}
        self.ranges: Mapping[str, tuple[float, float]] = {}
        if model.quantizers is not None:
            from ..compress.quantizers import fixed_ranges

            self.fixed = fixed_ranges(model.config, replace(model.quantizers.spec, form=form))
            self.ranges = {name: chain[-1] for name, chain in self.fixed.items()} | model.quantizers.ranges()
        self.tensors: dict[str, Tensor] = {}
        self.kernels: dict[str, Kernel] = {}
        self.constants: dict[str, np.ndarray] = {}
        for kernel in model.kernels:
            written = Kernel(kernel.name, kernel.inputs, kernel.units)
            if self.quantized:
                written = replace(written, scales=tuple(float(scale) for scale in kernel.scales()), bits=kernel.bits)
            self.kernels[kernel.name] = written
            self.constants[kernel.name] = self.integers(kernel) if self.quantized else kernel.unquantized().numpy()

    def integers(self, kernel: TiedKernel) -> np.ndarray:
        integers = kernel.integers()
        count = exceeding_pairs(integers, kernel.pair_limit) if kernel.bits == 8 else 0
        if count:
            raise ExportError(f"{kernel.name}: {count} pairs of neighbours add to more than {kernel.pair_limit}")
        return integers

    def operations(self) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
        self.tensor("x", self.model.config.inputs)
        encoder, source = [], "x"
        for layer in self.model.encoder.stack:
            encoder += self.encoder_layer(layer, source)
            source = layer.tensor_name
        decoder = []
        for layer in self.model.decoder.stack:
            decoder += self.decoder_layer(layer, source)
            source = layer.tensor_name
        return tuple(encoder), tuple(decoder)

    def tensor(self, name: str, size: int, quantization: Quantization | None = None) -> str:
        quantizers = self.model.quantizers
        if quantization is None and quantizers is not None:
            quantization = Quantization.from_range(*self.ranges[name], quantizers.spec.bits_of(name))
        self.tensors[name] = Tensor(name, (size,), quantization)
        return name

    def coarsen(self, name: str, least: float) -> None:
        """Let no step of a tensor be finer than `least`: ranges of dead layers vanish, which no runtime can express."""
        tensor = self.tensors[name]
        if tensor.quantization is not None and name not in self.fixed:
            self.tensors[name] = replace(tensor, quantization=_at_least(tensor.quantization, least))

    def accumulator_step(self, x: str, kernel: Kernel) -> float:
        """The real value of one integer of a product, the coarsest unit's; 0 in a float program."""
        return self.scale(x) * kernel.decode_scales[0] if self.quantized else 0.0

    def encoder_layer(self, layer: TiedDense, x: str) -> list[Operation]:
        kernel = self.kernels[layer.kernel.name]
        linear, rest = self.activation(layer, kernel.units)
        self.coarsen(linear, self.accumulator_step(x, kernel))
        return [self.dense(layer, x, linear, transposed=False), *rest]

    def decoder_layer(self, layer: TiedDense, x: str) -> list[Operation]:
        kernel = self.kernels[layer.kernel.name]
        operations: list[Operation] = []
        if len(kernel.scales) > 1:
            factors = f"{layer.tensor_name}.factors"
            scales = np.array(kernel.scales, np.float32)
            self.constants[factors] = np.maximum(BYTE.quantize(scales / scales.max()), 1)
            rescaled = self.tensor(f"{layer.tensor_name}.rescaled", kernel.units)
            operations.append(Rescale(x, rescaled, factors, BYTE))
            x = rescaled
        linear, rest = self.activation(layer, kernel.inputs)
        self.coarsen(linear, self.accumulator_step(x, kernel))
        if self.form == "fused":
            return [*operations, self.dense(layer, x, linear, transposed=True), *rest]
        return [*operations, *self.split_layer(layer, x, linear), *rest]

    def split_layer(self, layer: TiedDense, x: str, y: str) -> list[Operation]:
        kernel, activation = self.kernels[layer.kernel.name], _fused(layer)
        if layer.bias is None and (self.quantized or activation == "linear"):
            return [Product(x, y, kernel.name)]  # y's range ends where relu and relu6 do: saturation is the activation
        product = self.tensor(f"{layer.tensor_name}.product", kernel.inputs)
        self.coarsen(product, self.accumulator_step(x, kernel))
        operations: list[Operation] = [Product(x, product, kernel.name)]
        if layer.bias is None:
            return [*operations, Activate(product, y, activation)]
        name = f"{layer.tensor_name}.bias8"
        quantization = self.bias8(layer, product, y) if self.quantized else None
        bias = layer.bias.numpy()
        self.constants[name] = bias if quantization is None else quantization.quantize(bias)
        return [*operations, AddBias(product, y, name, quantization, activation)]

    def bias8(self, layer: TiedDense, product: str, y: str) -> Quantization:
        """The quantization of an 8-bit bias; scales of the sum and its terms are kept within the ratios of an addition."""
        bias = Quantization.from_range(*self.ranges[f"{layer.tensor_name}.bias"])
        least, most = RATIOS
        self.coarsen(y, max(bias.scale, self.scale(product)) / most)
        self.coarsen(product, self.scale(y) * least)
        return _at_least(bias, self.scale(y) * least)

    def scale(self, name: str) -> float:
        quantization = self.tensors[name].quantization
        return 0.0 if quantization is None else quantization.scale

    def dense(self, layer: TiedDense, x: str, y: str, *, transposed: bool) -> Dense:
        kernel = self.kernels[layer.kernel.name]
        bias = None
        if layer.bias is not None:
            bias = f"{layer.tensor_name}.bias"
            self.constants[bias] = self.bias(layer.bias.numpy(), layer.tensor_name, kernel, x, transposed=transposed)
        return Dense(x, y, kernel.name, transposed, bias, _fused(layer))

    def bias(self, real: np.ndarray, name: str, kernel: Kernel, x: str, *, transposed: bool) -> np.ndarray:
        """float32, or int32 in steps of the product: scale of x · scale of the kernel."""
        if not self.quantized:
            return real
        scales = np.array(kernel.decode_scales if transposed else kernel.encode_scales, np.float32)
        steps = np.rint(real.astype(np.float64) / (np.float32(self.scale(x)) * scales))
        terms = kernel.units if transposed else kernel.inputs
        room = 2**31 - 1 - terms * 255 * 127
        if np.abs(steps).max(initial=0) > room:
            raise ExportError(f"layer {name}: {terms} products and the bias can leave a 32-bit accumulator")
        return steps.astype(np.int32)

    def activation(self, layer: TiedDense, size: int) -> tuple[str, list[Operation]]:
        """The tensor that the layer's products are written to, and the operations from there to its output."""
        name = layer.tensor_name
        chain = [Quantization.from_range(*span) for span in self.fixed.get(name, ())]
        rest: list[Operation] = []
        linear = name
        if not FUNCTIONS[layer.activation].fused:
            linear = self.tensor(f"{name}.linear", size)
            if len(chain) == 2:
                self.tensor(f"{name}.raw", size, chain[0])
                rest = [Activate(linear, f"{name}.raw", layer.activation), Requantize(f"{name}.raw", name)]
            else:
                rest = [Activate(linear, name, layer.activation)]
        self.tensor(name, size, chain[-1] if chain else None)
        return linear, rest


def _at_least(quantization: Quantization, scale: float) -> Quantization:
    return replace(quantization, scale=float(np.float32(max(quantization.scale, scale))))


def _fused(layer: TiedDense) -> str:
    return layer.activation if FUNCTIONS[layer.activation].fused else "linear"
