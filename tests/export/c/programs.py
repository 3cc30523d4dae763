"""Random integer programs: every operation, every width of integers, both layouts and granularities."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np

from tiedae.compress.affine import BYTE, SIGMOID_OUTPUT, TANH_OUTPUT, Quantization
from tiedae.compress.integers import within_pairs
from tiedae.program.lowering import interleave
from tiedae.program.operations import Operation
from tiedae.program.operations.dense import AddBias, Dense, Product
from tiedae.program.operations.elementwise import Activate, Gain, Requantize, Rescale
from tiedae.program.program import Kernel, Program, Tensor

FUSED = ("linear", "relu", "relu6")
TABLES = {"sigmoid": SIGMOID_OUTPUT, "tanh": TANH_OUTPUT}


class Draft:
    """A program under construction, from the seed of its numbers."""

    def __init__(self, seed: int, layout: Literal["fused", "split"]) -> None:
        self.rng, self.layout = np.random.default_rng(seed), layout
        self.gaining = np.random.default_rng((seed, 1))
        self.tensors: dict[str, Tensor] = {}
        self.kernels: dict[str, Kernel] = {}
        self.constants: dict[str, np.ndarray] = {}

    def program(self, widest: int) -> Program:
        rng = self.rng
        widths = [int(rng.integers(1, widest)) for _ in range(int(rng.integers(2, 5)))]
        self.tensor("x", widths[0], self.quantization())
        encoder, decoder, x = [], [], "x"
        for i, (inputs, units) in enumerate(pairwise(widths)):
            self.kernel(i, inputs, units)
            y = "code" if i == len(widths) - 2 else f"encoder_{i}"
            encoder += self.encoded(i, x, y)
            x = y
        for i in reversed(range(len(widths) - 1)):
            y = f"decoder_{i}" if i else "y"
            decoder += self.decoded(i, x, y)
            x = y
        name = f"random {self.layout}"
        made = Program(name, self.tensors, self.kernels, tuple(encoder), tuple(decoder), self.constants)
        groups = [n for n in range(2, widths[0]) if widths[0] % n == 0]
        return interleave(made, int(rng.choice(groups))) if groups and rng.random() < 0.5 else made

    def quantization(self, bits: int = 8) -> Quantization:
        zero_point = 0 if self.rng.random() < 0.5 else int(self.rng.integers(0, 1 << bits))
        return Quantization(float(np.float32(self.rng.uniform(0.001, 0.1))), zero_point, bits)

    def tensor(self, name: str, size: int, quantization: Quantization) -> str:
        self.tensors[name] = Tensor(name, (size,), quantization)
        return name

    def kernel(self, i: int, inputs: int, units: int) -> None:
        rng, bits = self.rng, int(self.rng.integers(2, 9))
        top = (1 << bits - 1) - 1
        values = rng.integers(-top - (bits < 8), top + 1, (inputs, units)).astype(np.int8)
        values[rng.random(values.shape) < rng.choice([0.0, 0.5, 0.9])] = 0
        scales = rng.uniform(0.001, 0.02, units if rng.random() < 0.5 else 1).astype(np.float32)
        self.kernels[f"kernel_{i}"] = Kernel(f"kernel_{i}", inputs, units, tuple(map(float, scales)), bits)
        self.constants[f"kernel_{i}"] = within_pairs(values) if rng.random() < 0.7 else values

    def ranged(self, x: str, scale: float, size: int) -> Quantization:
        """A quantization of sums of `size` products: multipliers from 10⁻⁵ to above 1."""
        step = self.tensors[x].quantization.scale * scale * 10 ** self.rng.uniform(-0.2, 2.5) * np.sqrt(size)
        zero_point = 0 if self.rng.random() < 0.4 else int(self.rng.integers(0, 256))
        return Quantization(float(np.float32(step)), zero_point)

    def bias(self, name: str, size: int, spread: float) -> str | None:
        if self.rng.random() < 0.2:
            return None
        self.constants[name] = np.rint(self.rng.normal(0, spread, size)).astype(np.int32)
        return name

    def gains(self, y: str, size: int) -> str | None:
        """Of two layers in five, between 1/5 and 5; in a split decoder their own 8 bits."""
        if self.gaining.random() < 0.6:
            return None
        name, real = f"{y}.gains", np.exp(self.gaining.uniform(-1.6, 1.6, size)).astype(np.float32)
        self.constants[name] = real
        return name

    def encoded(self, i: int, x: str, y: str) -> list[Operation]:
        kernel = self.kernels[f"kernel_{i}"]
        quantization = self.ranged(x, max(kernel.scales), kernel.inputs)
        if y == "code":
            bits = int(self.rng.integers(4, 9))
            quantization = Quantization(quantization.scale, quantization.zero_point >> 8 - bits, bits)
        bias = self.bias(f"{y}.bias", kernel.units, 300 * np.sqrt(kernel.inputs))
        self.tensor(y, kernel.units, quantization)
        return [Dense(x, y, kernel.name, False, bias, str(self.rng.choice(FUSED)), self.gains(y, kernel.units))]

    def decoded(self, i: int, x: str, y: str) -> list[Operation]:
        rng, kernel, operations = self.rng, self.kernels[f"kernel_{i}"], []
        if len(kernel.scales) > 1:
            factors, rescaled = f"{y}.factors", f"{y}.rescaled"
            self.constants[factors] = rng.integers(1, 256, kernel.units).astype(np.uint8)
            self.tensor(rescaled, kernel.units, self.quantization())
            operations, x = [Rescale(x, rescaled, factors, BYTE)], rescaled
        linear, rest = y, []
        if y == "y" and rng.random() < 0.6:
            function = str(rng.choice(list(TABLES)))
            linear, last = self.tensor(f"{y}.linear", kernel.inputs, self.quantization()), TABLES[function]
            rest = [Activate(linear, y, function)]
            if rng.random() < 0.5:
                self.tensor(f"{y}.raw", kernel.inputs, last)
                rest = [Activate(linear, f"{y}.raw", function), Requantize(f"{y}.raw", y)]
                last = self.quantization()
            self.tensor(y, kernel.inputs, last)
        product = linear if self.layout == "fused" else f"{y}.product"
        self.tensor(product, kernel.inputs, self.ranged(x, kernel.decode_scales[0], kernel.units))
        activation = str(rng.choice(FUSED))
        if self.layout == "fused":
            bias = self.bias(f"{y}.bias", kernel.inputs, 300 * np.sqrt(kernel.units))
            return [*operations, Dense(x, linear, kernel.name, True, bias, activation, self.gains(y, kernel.inputs)), *rest]
        scale = self.tensors[product].quantization.scale
        self.tensor(
            linear, kernel.inputs, Quantization(float(np.float32(scale * rng.uniform(0.5, 4))), int(rng.integers(0, 256)))
        )
        self.constants[f"{y}.bias8"] = rng.integers(0, 256, kernel.inputs).astype(np.uint8)
        bias8 = Quantization(float(np.float32(scale * rng.uniform(0.1, 2))), int(rng.integers(0, 256)))
        operations.append(Product(x, product, kernel.name))
        if (gains := self.gains(y, kernel.inputs)) is not None:
            own = Quantization.from_range(0.0, float(self.constants[gains].max()))
            self.constants[gains] = own.quantize(self.constants[gains])
            gained = self.tensor(f"{y}.gained", kernel.inputs, self.tensors[product].quantization)
            operations.append(Gain(product, gained, gains, own))
            product = gained
        return [*operations, AddBias(product, linear, f"{y}.bias8", bias8, activation), *rest]


def random_program(seed: int, widest: int = 40) -> Program:
    """Of a seed; its layout alternates."""
    return Draft(seed, ("fused", "split")[seed % 2]).program(widest)


def random_input(program: Program, count: int, seed: int) -> np.ndarray:
    """uint8 [count, inputs] of the whole range, many 0, some rows all lowest or highest."""
    rng, tensor = np.random.default_rng(seed), program.tensors["x"]
    top = program.quantization("x").top
    x = rng.integers(0, top + 1, (count, *tensor.shape)).astype(np.uint8)
    x[rng.random(x.shape) < 0.4] = 0
    x[0], x[1] = 0, top
    return x
