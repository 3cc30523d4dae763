"""Random programs with convolutions over signals and images, float or integer, in the fused layout."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from tiedae.base.windows import Window
from tiedae.compress.affine import BYTE, Quantization
from tiedae.compress.integers import within_pairs
from tiedae.program.arithmetic import FUNCTIONS, clear_of_ties
from tiedae.program.interpreter import execute
from tiedae.program.operations import (
    Activate,
    Convolution,
    Dense,
    MaxPool,
    Operation,
    Patches,
    Reshape,
    Unpatch,
    Upsample,
)
from tiedae.program.operations.convolution import Moving
from tiedae.program.program import Program
from tiedae.program.tensors import Kernel, Tensor

ACTIVATIONS = ("relu", "linear", "relu6", "tanh", "sigmoid")


@dataclass
class Building:
    """A float program under construction: encoder layers, and the decoder layers that mirror them."""

    rng: np.random.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    encoder: list[Operation] = field(default_factory=list)
    decoders: list[list[Operation]] = field(default_factory=list)

    def tensor(self, name: str, shape: tuple[int, ...]) -> str:
        self.tensors[name] = Tensor(name, shape)
        return name

    def kernel(self, index: int, inputs: int, units: int) -> str:
        name = f"kernel_{index}"
        self.kernels[name] = Kernel(name, inputs, units)
        self.constants[name] = self.rng.normal(0, 1 / math.sqrt(inputs), (inputs, units)).astype(np.float32)
        return name

    def vector(self, name: str, size: int, *, gains: bool = False) -> str:
        values = np.exp(self.rng.normal(0, 0.4, size)) if gains else self.rng.normal(0, 0.2, size)
        self.constants[name] = values.astype(np.float32)
        return name

    def affine(self, name: str, size: int, gained: bool) -> tuple[str, str | None]:
        """A bias, and gains or None."""
        return self.vector(f"{name}.bias", size), self.vector(f"{name}.gains", size, gains=True) if gained else None

    def activated(self, name: str, activation: str, shape: tuple[int, ...]) -> tuple[str, str, list[Operation]]:
        """(tensor that a product writes, its fused activation, the operations from there to `name`)."""
        self.tensor(name, shape)
        if FUNCTIONS[activation].fused:
            return name, activation, []
        return self.tensor(f"{name}.linear", shape), "linear", [Activate(f"{name}.linear", name, activation)]


def random_program(seed: int, *, quantized: bool = True, tiles: bool | None = None) -> tuple[Program, np.ndarray]:
    """A program with one to three convolutions and perhaps a dense layer behind them, and samples of its `x`, [16, *shape].

    `tiles`: whether windows tile the sample (no `Convolution`), at random by default.
    """
    rng = np.random.default_rng(seed)
    axes, activation, output = int(rng.integers(1, 3)), str(rng.choice(ACTIVATIONS)), str(rng.choice(ACTIVATIONS))
    shape = (*(int(n) for n in rng.integers(12, 25, axes)), int(rng.integers(1, 4)))
    building = Building(rng)
    count, dense = int(rng.integers(1, 4)), bool(rng.random() < 0.4)
    source, before = building.tensor("x", shape), output
    for index in range(count):
        last = index == count - 1 and not dense
        source, shape = _convolution(building, index, source, shape, (activation, before), last, tiles)
        before = activation
    if dense:
        _flat_dense(building, count, source, shape, before)
    decoder = [operation for part in reversed(building.decoders) for operation in part]
    program = Program("conv", building.tensors, building.kernels, tuple(building.encoder), tuple(decoder), building.constants)
    x = rng.random((16, *building.tensors["x"].shape)).astype(np.float32)
    if not quantized:
        return program, x
    program = integer_program(program, x, rng)
    return program, program.quantization("x").quantize(x)


def _convolution(building, index, source, shape, activations, last, tiles):
    rng = building.rng
    *lengths, channels = shape
    window = _window(rng, tuple(lengths), tiles)
    places, units, inputs = window.places(tuple(lengths)), int(rng.integers(2, 12)), math.prod(window.sizes) * channels
    pools = [[k for k in (1, 2, 3) if n % k == 0] for n in places]
    pool = tuple(int(rng.choice(each)) for each in pools) if rng.random() < 0.4 else (1,) * len(places)
    kernel, name, mirror = building.kernel(index, inputs, units), "code" if last else f"encoder_{index}", _mirror(index)
    small = (*(n // k for n, k in zip(places, pool, strict=True)), units)
    pooled, gained = math.prod(pool) > 1, bool(rng.random() < 0.3)
    y, fused, rest = building.activated(f"{name}.unpooled" if pooled else name, activations[0], (*places, units))
    rest += (
        [MaxPool(building.tensor(f"{name}.unpooled", (*places, units)), building.tensor(name, small), pool)] if pooled else []
    )
    bias, gains = (
        building.vector(f"{name}.bias", units),
        building.vector(f"{name}.gains", units, gains=True) if gained else None,
    )
    tiled = window.tiles(tuple(lengths))
    options = {"sizes": window.sizes, "strides": window.strides, "padding": window.padding}
    if tiled:
        rows = building.tensor(f"{source}.rows", (*places, inputs))
        building.encoder += [Patches(source, rows, window.sizes), Dense(rows, y, kernel, False, bias, fused, gains), *rest]
    else:
        building.encoder += [Convolution(source, y, kernel, False, bias, fused, gains, **options), *rest]
    z, part = name, []
    if pooled:
        z = building.tensor(f"{mirror}.upsampled", (*places, units))
        part.append(Upsample(name if last else _mirror(index + 1), z, pool))
    elif not last:
        z = _mirror(index + 1)
    y, fused, rest = building.activated(mirror, activations[1], tuple(shape))
    if tiled:
        bias, gains = (
            building.vector(f"{mirror}.bias", inputs),
            building.vector(f"{mirror}.gains", inputs, gains=True) if gained else None,
        )
        rows = building.tensor(f"{y}.rows", (*places, inputs))
        part += [Dense(z, rows, kernel, True, bias, fused, gains), Unpatch(rows, y, window.sizes), *rest]
    else:
        bias, gains = building.affine(mirror, channels, gained)
        part += [Convolution(z, y, kernel, True, bias, fused, gains, **options), *rest]
    building.decoders.append(part)
    return name, small


def _window(rng: np.random.Generator, lengths: tuple[int, ...], tiles: bool | None) -> Window:
    """A random window that tiles the sample or does not, as asked."""
    for _ in range(100):
        sizes = tuple(int(rng.integers(1, min(5, n) + 1)) for n in lengths)
        strides = tuple(int(rng.integers(1, k + 1)) for k in sizes)
        window = Window(sizes, strides, ("same", "valid")[int(rng.integers(2))])
        if tiles is not None and rng.random() < 0.9:
            divisors = [[k for k in range(1, 5) if n % k == 0] for n in lengths]
            sizes = tuple(int(rng.choice(each)) for each in divisors)
            window = Window(sizes, sizes)
        if tiles in (None, window.tiles(lengths)):
            return window
    raise AssertionError(f"no window for {lengths}")


def _flat_dense(building, index, source, shape, before):
    size, units = math.prod(shape), 6
    kernel, mirror = building.kernel(index, size, units), _mirror(index)
    flat = building.tensor(f"{source}.flat", (size,))
    building.tensor("code", (units,))
    building.encoder += [
        Reshape(source, flat),
        Dense(flat, "code", kernel, False, building.vector("code.bias", units), "linear"),
    ]
    y, fused, rest = building.activated(mirror, before, tuple(shape))
    rows = building.tensor(f"{y}.flat", (size,))
    dense = Dense("code", rows, kernel, True, building.vector(f"{mirror}.bias", size), fused)
    building.decoders.append([dense, Reshape(rows, y), *rest])


def _mirror(index: int) -> str:
    return "y" if index == 0 else f"decoder_{index}"


def integer_program(program: Program, x: np.ndarray, rng: np.random.Generator) -> Program:
    """The integer program of a float one, over the ranges of its tensors for `x`."""
    values = execute(program, "reconstruct", x)
    tensors, kernels, constants = {}, {}, dict(program.constants)
    scale_per_unit = bool(rng.random() < 0.2)
    for name, kernel in program.kernels.items():
        real = program.constants[name]
        largest = np.abs(real).max(0) if scale_per_unit else np.abs(real).max(keepdims=True)[0]
        scales = (largest / 127).astype(np.float32)
        kernels[name] = replace(kernel, scales=tuple(float(scale) for scale in scales[: kernel.units if scale_per_unit else 1]))
        constants[name] = within_pairs(np.rint(real / scales).astype(np.int8))
    for name, found in values.items():
        range_ = float(found.min()), float(found.max())
        tensors[name] = replace(program.tensors[name], quantization=Quantization.from_range(*range_))
    if rng.random() < 0.5:
        tensors["x"] = replace(tensors["x"], quantization=BYTE)
    for operation in program.operations:
        if isinstance(operation, Activate):
            fixed = FUNCTIONS[operation.function].output
            if fixed is not None:
                clear = clear_of_ties(operation.function, tensors[operation.x].quantization, fixed)
                tensors[operation.x] = replace(tensors[operation.x], quantization=clear)
                tensors[operation.y] = replace(tensors[operation.y], quantization=fixed)
    _with_biases(program, tensors, kernels, constants)
    return Program(program.name, tensors, kernels, program.encoder, program.decoder, constants)


def _with_biases(program: Program, tensors: dict, kernels: dict, constants: dict) -> None:
    """Biases of 32 bits, after outputs whose scale is finer than the accumulator's have become coarser."""
    _moved(program, tensors)
    dense = [operation for operation in program.operations if isinstance(operation, Dense)]
    for operation in (*dense, *dense):
        target = tensors[operation.y]
        coarsest = float(np.float32(tensors[operation.x].affine.scale) * _scales(operation, kernels, constants).max())
        if target.affine.scale < coarsest:
            tensors[target.name] = replace(target, quantization=replace(target.affine, scale=float(np.float32(coarsest))))
            _moved(program, tensors)
    for operation in dense:
        steps = np.float32(tensors[operation.x].affine.scale) * _scales(operation, kernels, constants)
        constants[operation.bias] = np.rint(program.constants[operation.bias] / steps).astype(np.int32)


def _scales(operation: Dense, kernels: dict, constants: dict) -> np.ndarray:
    kernel = kernels[operation.kernel]
    scales = np.array(kernel.decode_scales if operation.transposed else kernel.encode_scales, np.float32)
    return scales if operation.gains is None else scales * constants[operation.gains]


def _moved(program: Program, tensors: dict) -> None:
    """What moves has one quantization, that of the tensor which an operation computes."""
    for operation in program.operations:
        if isinstance(operation, Moving) and not isinstance(operation, Unpatch | Reshape):
            tensors[operation.y] = replace(tensors[operation.y], quantization=tensors[operation.x].quantization)
    for operation in program.operations:
        if isinstance(operation, Unpatch | Reshape):
            tensors[operation.y] = replace(tensors[operation.y], quantization=tensors[operation.x].quantization)
